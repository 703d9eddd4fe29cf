//! From a stored message to an event that can be given to the app: the event is parsed, checked for expiry, and routed
//! (tests/spec/delivery.md, "B7. Inbound handling of one message (non-bulk)", "B15. Bulk subscribe").
//!
//! Single and bulk subscriptions differ: a bulk subscription delivers raw payloads as they are, and reads neither binary
//! CloudEvents nor trace attributes from the metadata.

use std::borrow::Cow;
use std::sync::Arc;

use bytes::Bytes;
use chrono::Utc;

use super::outcome::{DeadLetterReason, Outcome};
use super::subscriptions::Subscription;
use crate::envelope::{self, Event, EventError};
use crate::expr::{EvaluationError, Subject};
use crate::json;
use crate::message::{EventRef, Incoming};
use crate::telemetry::Telemetry;
use crate::telemetry::events::delivery::{DeliveryMode, Expired, RoutingFailed, Undecodable, Unrouted};
use crate::telemetry::events::subscription::RawFlagInvalid;

/// Prepares the messages of one subscription, and reports those that cannot be delivered.
#[derive(Clone, Copy)]
pub(super) struct Preparer<'a> {
    pub(super) subscription: &'a Subscription,
    /// The app id of the subscriber.
    pub(super) subscriber: &'a str,
    pub(super) mode: DeliveryMode,
    pub(super) telemetry: &'a Telemetry,
}

/// A message as it was parsed.
#[derive(Default)]
pub(super) struct Prepared {
    /// `None` if the message is no event, and for raw payloads of a bulk subscription.
    event: Option<Event>,
    /// The event that was made around a raw payload, to be delivered instead of it.
    pub(super) wrapper: Option<Bytes>,
}

/// The path of the app that takes an event, or the outcome if the event is not to be delivered.
pub(super) type Route = Result<Arc<str>, Outcome>;

/// An event cannot be routed.
#[derive(Debug, thiserror::Error)]
enum RoutingError {
    #[error(transparent)]
    Event(#[from] EventError),
    #[error(transparent)]
    Rule(#[from] EvaluationError),
}

impl<'a> Preparer<'a> {
    /// `rawPayload` of the subscription. If it is no boolean, every delivery fails.
    pub(super) fn is_raw(&self) -> Result<bool, Outcome> {
        let Subscription { spec, is_raw, .. } = self.subscription;
        is_raw.as_ref().copied().map_err(|error| {
            self.telemetry.emit(RawFlagInvalid { pubsub: &spec.pubsub, topic: &spec.topic, error });
            Outcome::Failed(DeadLetterReason::new("raw-flag", error.as_str()))
        })
    }

    /// Parse a message, and decide where to deliver it. `is_raw` is what [`Preparer::is_raw`] returned.
    pub(super) fn prepare(&self, message: &Incoming, is_raw: bool) -> (Prepared, Route) {
        match self.parse(message, is_raw) {
            Ok(prepared) => {
                let route = self.route(message, prepared.event.as_ref());
                (prepared, route)
            }
            Err(error) => {
                self.telemetry.emit(Undecodable { event: self.event_ref(message, ""), mode: self.mode, error: &error });
                let reason = DeadLetterReason::new("undecodable", error.to_string());
                (Prepared::default(), Err(Outcome::Failed(reason)))
            }
        }
    }

    /// Identify the event of a message in reports. `id` may be empty.
    pub(super) fn event_ref<'b>(&self, message: &Incoming, id: &'b str) -> EventRef<'b>
    where
        'a: 'b,
    {
        EventRef {
            pubsub: &self.subscription.spec.pubsub,
            topic: &self.subscription.spec.topic,
            id: Some(id).filter(|id| !id.is_empty()),
            position: message.position,
            subscriber: Some(self.subscriber),
            attempt: message.attempt,
            trace: None,
        }
    }

    fn parse(&self, message: &Incoming, is_raw: bool) -> Result<Prepared, EventError> {
        let Incoming { data, metadata, .. } = message;
        let parsed = |event| Prepared { event: Some(event), wrapper: None };
        if self.mode == DeliveryMode::Bulk {
            return if is_raw { Ok(Prepared::default()) } else { Event::parse(data).map(parsed) };
        }
        if is_raw {
            let spec = &self.subscription.spec;
            let wrapper = envelope::raw_event(data, &spec.pubsub, &spec.topic, metadata);
            return Ok(Prepared { event: Some(Event::parse(&wrapper)?), wrapper: Some(wrapper) });
        }
        match metadata.get("content-type") {
            Some(kind) if is_binary(kind) => Ok(parsed(Event::binary(data, kind, metadata))),
            _ => {
                let mut event = Event::parse(data)?;
                event.fill_trace(metadata);
                Ok(parsed(event))
            }
        }
    }

    /// The path of an event, unless it is too old or no rule takes it. Without `event` rules see the payload as a text.
    fn route(&self, message: &Incoming, event: Option<&Event>) -> Route {
        let id = || event.map(Event::id).unwrap_or_default();
        if let Some(event) = event
            && event.is_expired(Utc::now())
        {
            let expiration = event.text("expiration").unwrap_or_default();
            self.telemetry.emit(Expired { event: self.event_ref(message, &id()), expiration: &expiration });
            return Err(Outcome::Rejected(DeadLetterReason::new("expired", format!("expired at {expiration}"))));
        }
        let subject = || match event {
            Some(event) => Ok(Subject::new(&event.to_json_value()?)),
            None => Ok(Subject::new(&json::valid_text(&message.data).into())),
        };
        match self.subscription.rules.path::<RoutingError>(subject) {
            Ok(Some(path)) => Ok(path.clone()),
            Ok(None) => {
                self.telemetry.emit(Unrouted { event: self.event_ref(message, &id()), mode: self.mode });
                let detail = "no rule matches and there is no default route";
                Err(Outcome::Rejected(DeadLetterReason::new("no-route", detail)))
            }
            Err(error) => {
                self.telemetry.emit(RoutingFailed { event: self.event_ref(message, &id()), error: &error });
                Err(Outcome::Failed(DeadLetterReason::new("rule-error", error.to_string())))
            }
        }
    }
}

impl Prepared {
    /// The id of the event, empty if there is none.
    pub(super) fn id(&self) -> Cow<'_, str> {
        self.event.as_ref().map(Event::id).unwrap_or_default()
    }

    /// The trace that the event belongs to (tests/spec/delivery.md, "B20. Trace context at delivery").
    pub(super) fn trace(&self) -> Option<Cow<'_, str>> {
        self.event.as_ref().and_then(trace_of)
    }
}

fn trace_of(event: &Event) -> Option<Cow<'_, str>> {
    if event.has("traceparent") { event.text("traceparent") } else { event.text("traceid") }
}

fn is_binary(content_type: &str) -> bool {
    let base = content_type.split_once(';').map_or(content_type, |(base, _)| base);
    base.eq_ignore_ascii_case("application/octet-stream")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::delivery::testing::message;

    #[test]
    fn the_trace_is_that_of_the_event_else_of_the_metadata() {
        for (event, metadata, expected) in [
            (r#"{"traceparent":"a","traceid":"b"}"#, &[("traceparent", "m")][..], Some("a")),
            (r#"{"traceid":"b"}"#, &[], Some("b")),
            (r#"{"traceid":"b"}"#, &[("traceparent", "m")], Some("m")),
            ("{}", &[("traceparent", "m")], Some("m")),
            ("{}", &[("traceid", "m")], Some("m")),
            (r#"{"traceparent":5}"#, &[], None),
            (r#"{"traceparent":null,"traceid":"b"}"#, &[], Some("b")),
            ("{}", &[("tracestate", "a=b")], None),
        ] {
            let data = Bytes::from_static(event.as_bytes());
            let mut read = Event::parse(&data).unwrap();
            read.fill_trace(&message("t", b"", metadata).metadata);
            assert_eq!(trace_of(&read).as_deref(), expected, "{event} {metadata:?}");
        }
    }
}
