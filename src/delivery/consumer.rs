//! One subscription at work: a message of the broker goes to the app, and the app's verdict settles it (spec delivery.md B7).
//!
//! Three ends are possible. What succeeded is acknowledged. What is not to be delivered (dropped, expired, without route) goes to the
//! dead-letter topic if there is one, and is acknowledged. What failed goes there too, or else comes again later: planning that is the
//! broker's business (design.md D1).

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use chrono::Utc;
use serde_json::{Map, Value};
use tokio::sync::Notify;

use crate::app::{Channel, Delivery, Reason, Verdict};
use crate::broker::Sink;
use crate::delivery::dead_letter::{Cause, Letter};
use crate::delivery::subscriptions::Subscription;
use crate::envelope::{self, Event, EventError};
use crate::expr::{EvaluationError, Subject};
use crate::message::{Incoming, Metadata, Settlement};
use crate::pubsub::Pubsub;
use crate::shutdown::Stop;
use crate::telemetry::Telemetry;
use crate::telemetry::trace::Tracing;

/// Key under which the app learns the component.
const PUBSUB_NAME: &str = "pubsubName";

/// The sink of one subscription.
pub(super) struct Consumer {
    pub(super) subscription: Arc<Subscription>,
    pub(super) pubsub: Arc<Pubsub>,
    pub(super) channel: Arc<dyn Channel>,
    pub(super) tracing: Tracing,
    /// Told when the app cannot be reached.
    pub(super) app_is_gone: Arc<Notify>,
    pub(super) stop: Stop,
    pub(super) telemetry: Telemetry,
}

/// How it ended for an event.
enum Ending {
    /// The app has it.
    Done,
    /// It is not to be delivered.
    Over(Cause),
    /// It could not be delivered.
    Failed(Cause),
}

/// What is known of an event before the app is asked.
struct Prepared {
    path: Arc<str>,
    body: Bytes,
    traceparent: Option<String>,
}

/// Why the rules have no answer.
#[derive(Debug, thiserror::Error)]
enum RoutingError {
    #[error(transparent)]
    Event(#[from] EventError),
    #[error(transparent)]
    Rule(#[from] EvaluationError),
}

#[async_trait]
impl Sink for Consumer {
    async fn accept(&self, mut message: Incoming) -> Settlement {
        if self.stop.is_ordered() {
            return Settlement::Retry;
        }
        let name = self.pubsub.name.clone();
        message.metadata.insert(PUBSUB_NAME.to_owned(), name);
        let ending = match self.prepare(&message) {
            Err(ending) => ending,
            Ok(prepared) => self.deliver(prepared, &mut message).await,
        };
        match ending {
            Ending::Done => Settlement::Ack,
            Ending::Over(cause) => self.end(message, &cause).await,
            Ending::Failed(cause) => self.fail(message, &cause).await,
        }
    }
}

impl Consumer {
    /// Everything up to the call of the app (B7, steps 2 to 5).
    fn prepare(&self, message: &Incoming) -> Result<Prepared, Ending> {
        let is_raw = match &self.subscription.is_raw {
            Ok(is_raw) => *is_raw,
            Err(error) => {
                self.telemetry.raw_flag_invalid(error);
                return Err(Ending::Failed(Cause::new("raw-flag", error.as_str())));
            }
        };
        let seen = self.seen(message, is_raw);
        let event = Event::parse(&seen).map_err(|error| self.undecodable(&error))?;
        if event.is_expired(Utc::now()) {
            return Err(self.expired(&event));
        }
        let path = self.path(&event, &message.metadata)?;
        let traceparent = self
            .tracing
            .at_delivery(trace_of(&event, &message.metadata).as_deref());
        let body = if is_raw {
            seen.clone()
        } else {
            message.data.clone()
        };
        Ok(Prepared {
            path,
            body,
            traceparent,
        })
    }

    /// The bytes of the event as rules and trace see it.
    fn seen(&self, message: &Incoming, is_raw: bool) -> Bytes {
        if is_raw {
            let spec = &self.subscription.spec;
            return envelope::raw_event(
                &message.data,
                &self.pubsub.name,
                &spec.topic,
                &message.metadata,
            );
        }
        match message.metadata.get("content-type") {
            Some(kind) if is_binary(kind) => binary_event(message, kind),
            _ if message.data.trim_ascii() == b"null" => Bytes::from_static(b"{}"),
            _ => message.data.clone(),
        }
    }

    fn path(&self, event: &Event<'_>, metadata: &Metadata) -> Result<Arc<str>, Ending> {
        let found = self.subscription.rules.path::<RoutingError>(|| {
            let mut tree = event.to_json_value()?;
            fill_trace(&mut tree, metadata);
            Ok(Subject::new(&tree))
        });
        match found {
            Ok(Some(path)) => Ok(path.clone()),
            Ok(None) => {
                let spec = &self.subscription.spec;
                self.telemetry
                    .event_without_route(&spec.pubsub, &spec.topic, &id_of(event));
                Err(Ending::Over(Cause::new(
                    "no-route",
                    "no rule matches and there is no default route",
                )))
            }
            Err(error) => {
                let spec = &self.subscription.spec;
                self.telemetry
                    .routing_failed(&spec.pubsub, &spec.topic, &id_of(event), &error);
                Err(Ending::Failed(Cause::new("rule-error", error.to_string())))
            }
        }
    }

    async fn deliver(&self, prepared: Prepared, message: &mut Incoming) -> Ending {
        let delivery = Delivery {
            path: prepared.path,
            body: prepared.body,
            metadata: std::mem::take(&mut message.metadata),
            traceparent: prepared.traceparent,
        };
        let verdict = self.channel.deliver(&delivery).await;
        let ending = match verdict {
            Verdict::Success => Ending::Done,
            Verdict::Drop(reason) => self.dropped(&delivery.body, &reason),
            Verdict::Retry(reason) => self.failed(&delivery.body, &reason),
        };
        message.metadata = delivery.metadata;
        ending
    }

    fn undecodable(&self, error: &EventError) -> Ending {
        let spec = &self.subscription.spec;
        self.telemetry
            .event_undecodable(&spec.pubsub, &spec.topic, error);
        Ending::Failed(Cause::new("undecodable", error.to_string()))
    }

    fn expired(&self, event: &Event<'_>) -> Ending {
        let spec = &self.subscription.spec;
        let expiration = event.text("expiration").unwrap_or_default();
        self.telemetry
            .event_expired(&spec.pubsub, &spec.topic, &id_of(event), &expiration);
        Ending::Over(Cause::new("expired", format!("expired at {expiration}")))
    }

    fn dropped(&self, body: &Bytes, reason: &Reason) -> Ending {
        let (topic, id) = (&self.subscription.spec.topic, id_in(body));
        match reason {
            Reason::Code { .. } => self.telemetry.event_refused(topic, &id, reason),
            Reason::Status(_) | Reason::Unreachable(_) | Reason::Unanswered(_) => {
                self.telemetry.event_dropped(topic, &id);
            }
        }
        Ending::Over(cause_of(reason))
    }

    fn failed(&self, body: &Bytes, reason: &Reason) -> Ending {
        let (topic, id) = (&self.subscription.spec.topic, id_in(body));
        match reason {
            Reason::Status(status) if status == "RETRY" => self.telemetry.retry_wanted(topic, &id),
            Reason::Status(status) => self.telemetry.status_unknown(topic, &id, status),
            Reason::Code { .. } => self.telemetry.delivery_refused(topic, &id, reason),
            Reason::Unanswered(error) => self.telemetry.delivery_unanswered(topic, &id, error),
            Reason::Unreachable(error) => {
                self.app_is_gone.notify_one();
                self.telemetry.delivery_unanswered(topic, &id, error);
            }
        }
        Ending::Failed(cause_of(reason))
    }

    /// What is not to be delivered is acknowledged, but not before its letter is written (design.md D3).
    async fn end(&self, message: Incoming, cause: &Cause) -> Settlement {
        let spec = &self.subscription.spec;
        match self.subscription.dead_letter_topic() {
            None => {
                self.telemetry
                    .event_given_up(&spec.pubsub, &spec.topic, cause.reason);
                Settlement::Ack
            }
            Some(topic) => self.dead_letter(message, topic, cause).await,
        }
    }

    /// What failed while everything stops did not fail for good: it is handed back (B18).
    async fn fail(&self, message: Incoming, cause: &Cause) -> Settlement {
        match self.subscription.dead_letter_topic() {
            Some(topic) if !self.stop.is_ordered() => self.dead_letter(message, topic, cause).await,
            _ => Settlement::Retry,
        }
    }

    async fn dead_letter(&self, message: Incoming, topic: &str, cause: &Cause) -> Settlement {
        let spec = &self.subscription.spec;
        let letter = Letter {
            data: message.data,
            metadata: message.metadata,
            origin: &spec.topic,
            attempts: message.attempt,
            cause,
        };
        match letter.send(&self.pubsub, topic).await {
            Ok(()) => {
                self.telemetry
                    .event_dead_lettered(&spec.pubsub, &spec.topic, topic, cause.reason);
                Settlement::Ack
            }
            Err(error) => {
                self.telemetry
                    .dead_letter_failed(&spec.topic, topic, &error);
                Settlement::Retry
            }
        }
    }
}

fn cause_of(reason: &Reason) -> Cause {
    let word = match reason {
        Reason::Status(status) if status == "DROP" => "dropped",
        Reason::Status(status) if status == "RETRY" => "retry",
        Reason::Status(_) => "unknown-status",
        Reason::Code { .. } => "http-status",
        Reason::Unreachable(_) => "unreachable",
        Reason::Unanswered(_) => "no-answer",
    };
    Cause::new(word, reason.to_string())
}

/// The trace that the event belongs to (B20): its own, or that of the metadata.
fn trace_of(event: &Event<'_>, metadata: &Metadata) -> Option<String> {
    ["traceparent", "traceid"].into_iter().find_map(|name| {
        if event.has(name) {
            event.text(name).map(std::borrow::Cow::into_owned)
        } else {
            metadata.get(name).cloned()
        }
    })
}

/// Trace attributes that the event lacks come from the metadata; a `traceparent` sets `traceid` too (B7, step 3).
fn fill_trace(event: &mut Value, metadata: &Metadata) {
    let Value::Object(fields) = event else {
        return;
    };
    if !fields.contains_key("traceparent")
        && let Some(parent) = metadata.get("traceparent")
    {
        fields.insert("traceparent".to_owned(), parent.as_str().into());
        fields.insert("traceid".to_owned(), parent.as_str().into());
    }
    for name in ["traceid", "tracestate"] {
        if !fields.contains_key(name)
            && let Some(value) = metadata.get(name)
        {
            fields.insert(name.to_owned(), value.as_str().into());
        }
    }
}

/// A CloudEvent in binary mode: its attributes stand in the metadata. Only rules and trace see this; the body stays as it is.
fn binary_event(message: &Incoming, kind: &str) -> Bytes {
    let mut fields = Map::new();
    for (key, value) in &message.metadata {
        let lower = key.to_lowercase();
        if let Some(name) = lower.strip_prefix("ce_") {
            fields.insert(name.to_owned(), value.as_str().into());
        }
    }
    fields.insert(
        "data".to_owned(),
        String::from_utf8_lossy(&message.data).into(),
    );
    fields.insert("datacontenttype".to_owned(), kind.into());
    Bytes::from(Value::Object(fields).to_string())
}

fn is_binary(kind: &str) -> bool {
    let base = kind.split_once(';').map_or(kind, |(base, _)| base);
    base.eq_ignore_ascii_case("application/octet-stream")
}

fn id_of(event: &Event<'_>) -> String {
    event
        .text("id")
        .map(std::borrow::Cow::into_owned)
        .unwrap_or_default()
}

/// The id of a delivered body, for the log of what went wrong.
fn id_in(body: &Bytes) -> String {
    Event::parse(body)
        .map(|event| id_of(&event))
        .unwrap_or_default()
}

#[cfg(test)]
mod tests;
