//! One subscription at work: a message of the broker goes to the app, and the app's verdict settles it
//! (tests/spec/delivery.md, "B7. Inbound handling of one message").
//!
//! Three ends are possible. What succeeded is acknowledged. What is not to be delivered (dropped, expired, without
//! route) goes to the dead-letter topic if there is one, and is acknowledged. What failed goes there too, or else comes
//! again later: planning that is the broker's business (D1).

use std::borrow::Cow;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use chrono::Utc;
use tokio::sync::Notify;

use crate::app::health::AppHealth;
use crate::app::{Channel, Delivery, FailureReason, Verdict};
use crate::broker::Sink;
use crate::delivery::dead_letter::{DeadLetter, DeadLetterReason};
use crate::delivery::subscriptions::Subscription;
use crate::envelope::{self, Event, EventError};
use crate::expr::{EvaluationError, Subject};
use crate::health::Report;
use crate::message::{Incoming, Settlement};
use crate::pubsub::Pubsub;
use crate::resiliency::{CallError, Interruption, Policy};
use crate::shutdown::Stop;
use crate::telemetry::Telemetry;
use crate::telemetry::metrics::Ingress;
use crate::telemetry::trace::Tracing;

/// Key under which the app learns the component.
const PUBSUB_NAME: &str = "pubsubName";

/// Why an event is not given to an unhealthy app (tests/spec/resources-cli.md, "11.5 App health checks").
const UNHEALTHY: &str = "app is not in a healthy state";

/// The sink of one subscription.
pub(super) struct Consumer {
    pub(super) subscription: Arc<Subscription>,
    pub(super) pubsub: Arc<Pubsub>,
    pub(super) channel: Arc<dyn Channel>,
    pub(super) tracing: Tracing,
    /// Told when the app cannot be reached.
    pub(super) app_is_gone: Arc<Notify>,
    /// `None` without health checks.
    pub(super) health: Option<AppHealth>,
    /// What deliveries go through; `None` is one attempt without limit.
    pub(super) policy: Option<Policy>,
    pub(super) stop: Stop,
    /// Where it says whether it is read.
    pub(super) report: Report,
    pub(super) telemetry: Telemetry,
}

/// How it ended for an event.
pub(super) enum Outcome {
    /// The app has it.
    Delivered,
    /// It is not to be delivered.
    Rejected(DeadLetterReason),
    /// It could not be delivered.
    Failed(DeadLetterReason),
}

/// What is known of an event before the app is asked.
struct Prepared {
    path: Arc<str>,
    body: Bytes,
    traceparent: Option<String>,
}

/// Why the rules have no answer.
#[derive(Debug, thiserror::Error)]
pub(super) enum RoutingError {
    #[error(transparent)]
    Event(#[from] EventError),
    #[error(transparent)]
    Rule(#[from] EvaluationError),
}

#[async_trait]
impl Sink for Consumer {
    async fn accept(&self, mut message: Incoming) -> Settlement {
        if self.stop.is_triggered() && !message.only_once {
            return Settlement::Retry;
        }
        let name = self.pubsub.name.clone();
        message.metadata.insert(PUBSUB_NAME.to_owned(), name);
        let outcome = match self.prepare(&message) {
            Err(outcome) => outcome,
            Ok(prepared) => self.deliver(prepared, &mut message).await,
        };
        match outcome {
            Outcome::Delivered => Settlement::Ack,
            Outcome::Rejected(reason) => self.end(message, &reason).await,
            Outcome::Failed(reason) => {
                let settlement = self.fail(message, &reason).await;
                self.count_failure(settlement);
                settlement
            }
        }
    }

    fn reading(&self, reading: Result<(), &str>) {
        self.report.reads(reading);
    }
}

impl Consumer {
    /// Everything up to the call of the app (B7, steps 2 to 5).
    fn prepare(&self, message: &Incoming) -> Result<Prepared, Outcome> {
        let is_raw = match &self.subscription.is_raw {
            Ok(is_raw) => *is_raw,
            Err(error) => {
                self.telemetry.raw_flag_invalid(error);
                return Err(Outcome::Failed(DeadLetterReason::new("raw-flag", error.as_str())));
            }
        };
        let (event, body) = self.read(message, is_raw)?;
        if event.is_expired(Utc::now()) {
            return Err(self.expired(&event));
        }
        let path = self.path(&event)?;
        let traceparent = self.tracing.at_delivery(trace_of(&event).as_deref());
        Ok(Prepared { path, body, traceparent })
    }

    /// The event as rules and trace see it, and the body to deliver.
    fn read(&self, message: &Incoming, is_raw: bool) -> Result<(Event, Bytes), Outcome> {
        let Incoming { data, metadata, .. } = message;
        if is_raw {
            let topic = &self.subscription.spec.topic;
            let wrapper = envelope::raw_event(data, &self.pubsub.name, topic, metadata);
            let event = Event::parse(&wrapper).map_err(|error| self.undecodable(&error))?;
            return Ok((event, wrapper));
        }
        let event = match metadata.get("content-type") {
            Some(kind) if is_binary(kind) => Event::binary(data, kind, metadata),
            _ => {
                let mut event = Event::parse(data).map_err(|error| self.undecodable(&error))?;
                event.fill_trace(metadata);
                event
            }
        };
        Ok((event, data.clone()))
    }

    fn path(&self, event: &Event) -> Result<Arc<str>, Outcome> {
        let spec = &self.subscription.spec;
        let subject = || Ok(Subject::new(&event.to_json_value()?));
        match self.subscription.rules.path::<RoutingError>(subject) {
            Ok(Some(path)) => Ok(path.clone()),
            Ok(None) => {
                self.telemetry.event_without_route(&spec.pubsub, &spec.topic, &event.id());
                Err(Outcome::Rejected(DeadLetterReason::no_route()))
            }
            Err(error) => {
                self.telemetry.routing_failed(&spec.pubsub, &spec.topic, &event.id(), &error);
                Err(Outcome::Failed(DeadLetterReason::new("rule-error", error.to_string())))
            }
        }
    }

    async fn deliver(&self, prepared: Prepared, message: &mut Incoming) -> Outcome {
        let delivery = Delivery {
            path: prepared.path,
            body: prepared.body,
            metadata: std::mem::take(&mut message.metadata),
            traceparent: prepared.traceparent,
            // Where the event can be put aside, it is not delivered with less than it came with.
            must_keep_headers: self.subscription.dead_letter_topic().is_some(),
        };
        let outcome = match &self.policy {
            None => self.attempt(&delivery).await.map_err(CallError::Failed),
            Some(policy) => policy.run(FailureReason::code, || self.attempt(&delivery)).await,
        };
        let outcome = outcome.unwrap_or_else(|failure| match failure {
            CallError::Failed(reason) => Outcome::Failed(reason_of(&reason)),
            CallError::Interrupted(interruption) => self.interrupted(&delivery.body, interruption),
        });
        message.metadata = delivery.metadata;
        outcome
    }

    /// Give it to the app once. What failed has been told.
    async fn attempt(&self, delivery: &Delivery) -> Result<Outcome, FailureReason> {
        let verdict = match self.reason_not_to_ask() {
            None => self.channel.deliver(delivery).await,
            Some(reason) => Verdict::Retry(reason),
        };
        let spec = &self.subscription.spec;
        self.telemetry.attempt_ended(&spec.pubsub, &spec.topic, ingress_of(&verdict));
        match verdict {
            Verdict::Success => Ok(Outcome::Delivered),
            Verdict::Drop(reason) => Ok(self.dropped(&delivery.body, &reason)),
            Verdict::Retry(reason) => {
                self.failed(&delivery.body, &reason);
                Err(reason)
            }
        }
    }

    fn undecodable(&self, error: &EventError) -> Outcome {
        let spec = &self.subscription.spec;
        self.telemetry.event_undecodable(&spec.pubsub, &spec.topic, error);
        Outcome::Failed(DeadLetterReason::new("undecodable", error.to_string()))
    }

    pub(super) fn expired(&self, event: &Event) -> Outcome {
        let spec = &self.subscription.spec;
        let expiration = event.text("expiration").unwrap_or_default();
        self.telemetry.event_expired(&spec.pubsub, &spec.topic, &event.id(), &expiration);
        Outcome::Rejected(DeadLetterReason::new("expired", format!("expired at {expiration}")))
    }

    fn dropped(&self, body: &Bytes, reason: &FailureReason) -> Outcome {
        let (topic, id) = (&self.subscription.spec.topic, id_in(body));
        match reason {
            FailureReason::Code { .. } => self.telemetry.event_refused(topic, &id, reason),
            FailureReason::Status(_) | FailureReason::Unreachable(_) | FailureReason::Unanswered(_) => {
                self.telemetry.event_dropped(topic, &id);
            }
        }
        Outcome::Rejected(reason_of(reason))
    }

    fn failed(&self, body: &Bytes, reason: &FailureReason) {
        let (topic, id) = (&self.subscription.spec.topic, id_in(body));
        match reason {
            FailureReason::Status(status) if status == "RETRY" => self.telemetry.retry_wanted(topic, &id),
            FailureReason::Status(status) => self.telemetry.status_unknown(topic, &id, status),
            FailureReason::Code { .. } => self.telemetry.delivery_refused(topic, &id, reason),
            FailureReason::Unanswered(error) => self.telemetry.delivery_unanswered(topic, &id, error),
            FailureReason::Unreachable(error) => {
                self.app_is_gone.notify_one();
                self.telemetry.delivery_unanswered(topic, &id, error);
            }
        }
    }

    fn interrupted(&self, body: &Bytes, interruption: Interruption) -> Outcome {
        let (topic, id) = (&self.subscription.spec.topic, id_in(body));
        self.telemetry.delivery_unanswered(topic, &id, &interruption.to_string());
        Outcome::Failed(reason_of_interruption(interruption))
    }

    /// What is not to be delivered is acknowledged, but not before its letter is written (D3).
    pub(super) async fn end(&self, message: Incoming, reason: &DeadLetterReason) -> Settlement {
        let spec = &self.subscription.spec;
        match self.subscription.dead_letter_topic() {
            None => {
                self.telemetry.event_given_up(&spec.pubsub, &spec.topic, reason.code);
                Settlement::Ack
            }
            Some(topic) => self.dead_letter(message, topic, reason).await,
        }
    }

    fn is_app_healthy(&self) -> bool {
        self.health.as_ref().is_none_or(AppHealth::is_healthy)
    }

    /// An unhealthy app is not asked.
    pub(super) fn reason_not_to_ask(&self) -> Option<FailureReason> {
        (!self.is_app_healthy()).then(|| FailureReason::Unanswered(UNHEALTHY.to_owned()))
    }

    /// What failed while the subscription stops, or is about to for an unhealthy app, did not fail for good: it is handed back (B18).
    pub(super) async fn fail(&self, message: Incoming, reason: &DeadLetterReason) -> Settlement {
        match self.subscription.dead_letter_topic() {
            Some(topic) if message.only_once || (!self.stop.is_triggered() && self.is_app_healthy()) => {
                self.dead_letter(message, topic, reason).await
            }
            _ => Settlement::Retry,
        }
    }

    /// Beside its attempts a failure counts once for its end; what is handed back at the stop has none (B7, B19).
    fn count_failure(&self, settlement: Settlement) {
        if !self.stop.is_triggered() {
            let ingress = match settlement {
                Settlement::Ack => Ingress::Drop,
                Settlement::Retry => Ingress::Retry,
            };
            let spec = &self.subscription.spec;
            self.telemetry.failure_ended(&spec.pubsub, &spec.topic, ingress);
        }
    }

    async fn dead_letter(&self, message: Incoming, topic: &str, reason: &DeadLetterReason) -> Settlement {
        let spec = &self.subscription.spec;
        // In a batch nothing is added to metadata: an entry that somebody else wrote without any leaves a letter without any.
        let is_bare = !message.has_metadata && message.metadata.is_empty();
        let letter = DeadLetter {
            data: message.data,
            metadata: (!is_bare).then_some(message.metadata),
            origin: &spec.topic,
            attempts: message.attempt,
            reason,
        };
        if let Err(error) = letter.send(&self.pubsub, topic).await {
            self.telemetry.dead_letter_failed(&spec.topic, topic, &error);
            return Settlement::Retry;
        }
        let (pubsub, origin) = (&spec.pubsub, &spec.topic);
        if is_bare {
            self.telemetry.bare_event_dead_lettered(pubsub, origin, topic, reason.code, &reason.detail);
        } else {
            self.telemetry.event_dead_lettered(pubsub, origin, topic, reason.code);
        }
        Settlement::Ack
    }
}

/// How an attempt is counted (B19).
fn ingress_of(verdict: &Verdict) -> Ingress {
    match verdict {
        Verdict::Success => Ingress::Success,
        Verdict::Drop(FailureReason::Status(_)) => Ingress::DropWithSuccess,
        Verdict::Drop(_) => Ingress::Drop,
        Verdict::Retry(_) => Ingress::Retry,
    }
}

pub(super) fn reason_of(reason: &FailureReason) -> DeadLetterReason {
    let word = match reason {
        FailureReason::Status(status) if status == "DROP" => "dropped",
        FailureReason::Status(status) if status == "RETRY" => "retry",
        FailureReason::Status(_) => "unknown-status",
        FailureReason::Code { .. } => "http-status",
        FailureReason::Unreachable(_) => "unreachable",
        FailureReason::Unanswered(_) => "no-answer",
    };
    DeadLetterReason::new(word, reason.to_string())
}

pub(super) fn reason_of_interruption(interruption: Interruption) -> DeadLetterReason {
    let word = match interruption {
        Interruption::Timeout => "timeout",
        Interruption::Open | Interruption::Busy => "circuit-open",
    };
    DeadLetterReason::new(word, interruption.to_string())
}

/// The trace that the event belongs to (B20).
pub(super) fn trace_of(event: &Event) -> Option<Cow<'_, str>> {
    if event.has("traceparent") { event.text("traceparent") } else { event.text("traceid") }
}

fn is_binary(kind: &str) -> bool {
    let base = kind.split_once(';').map_or(kind, |(base, _)| base);
    base.eq_ignore_ascii_case("application/octet-stream")
}

/// The id of a delivered body, for the log of what went wrong.
pub(super) fn id_in(body: &Bytes) -> String {
    Event::parse(body).map(|event| event.id().into_owned()).unwrap_or_default()
}

#[cfg(test)]
mod tests;
