//! One batch: its events are sorted by path, delivered path by path, and each message is settled by its own outcome
//! (tests/spec/delivery.md, "B15. Bulk subscribe"; D19, D20).

use std::sync::Arc;

use chrono::Utc;
use futures_util::stream::{self, StreamExt};
use uuid::Uuid;

use super::attempts;
use crate::app::{BulkDelivery, BulkEntry, BulkEvent, FailureReason, Verdict};
use crate::delivery::consumer::{Consumer, Outcome, RoutingError, id_in, reason_of, reason_of_interruption, trace_of};
use crate::delivery::dead_letter::DeadLetterReason;
use crate::envelope::Event;
use crate::expr::Subject;
use crate::json;
use crate::message::{Incoming, Settlement};

/// So many dead letters are under way at a time.
const LETTERS: usize = 100;

/// Entries of a batch that go to one path.
struct Request<'a> {
    delivery: BulkDelivery<'a>,
    /// Where each entry stands in the batch.
    places: Vec<usize>,
    /// The trace of the last event that has one.
    trace: Option<String>,
}

/// What is known of an event before the app is asked.
struct Prepared<'a> {
    path: Arc<str>,
    event: BulkEvent<'a>,
    trace: Option<String>,
}

/// Handle a batch to its end: one settlement for each message, in their order.
pub(super) async fn settle(consumer: &Consumer, messages: Vec<Incoming>) -> Vec<Settlement> {
    let outcomes = outcomes(consumer, &messages).await;
    let settling = messages.into_iter().zip(outcomes).map(async |(message, outcome)| match outcome {
        Outcome::Delivered => Settlement::Ack,
        Outcome::Rejected(reason) => consumer.end(message, &reason).await,
        Outcome::Failed(reason) => consumer.fail(message, &reason).await,
    });
    stream::iter(settling).buffered(LETTERS).collect().await
}

/// How it ended for each message.
async fn outcomes(consumer: &Consumer, messages: &[Incoming]) -> Vec<Outcome> {
    let is_raw = match &consumer.subscription.is_raw {
        Ok(is_raw) => *is_raw,
        Err(error) => {
            consumer.telemetry.raw_flag_invalid(error);
            let outcome = || Outcome::Failed(DeadLetterReason::new("raw-flag", error.as_str()));
            return messages.iter().map(|_| outcome()).collect();
        }
    };
    let mut requests: Vec<Request<'_>> = Vec::new();
    let mut outcomes: Vec<Outcome> = Vec::with_capacity(messages.len());
    for (place, message) in messages.iter().enumerate() {
        match prepare(consumer, message, is_raw) {
            Ok(prepared) => {
                add(&mut requests, consumer, message, place, prepared);
                // Replaced by the app's verdict.
                outcomes.push(Outcome::Delivered);
            }
            Err(outcome) => outcomes.push(outcome),
        }
    }
    for mut request in requests {
        request.delivery.traceparent = consumer.tracing.at_delivery(request.trace.as_deref());
        let results = attempts::deliver(consumer, &request.delivery).await;
        for (place, result) in request.places.into_iter().zip(results) {
            outcomes[place] = match result {
                Ok(verdict) => outcome_of(consumer, &messages[place], verdict),
                Err(interruption) => Outcome::Failed(reason_of_interruption(interruption)),
            };
        }
    }
    outcomes
}

/// The path of an event and what to deliver of it, or its end.
fn prepare<'a>(consumer: &Consumer, message: &'a Incoming, is_raw: bool) -> Result<Prepared<'a>, Outcome> {
    let spec = &consumer.subscription.spec;
    if is_raw {
        let text = || Ok(Subject::new(&json::valid_text(&message.data).into()));
        return Ok(Prepared { path: route(consumer, text, "")?, event: BulkEvent::Raw(&message.data), trace: None });
    }
    let event = Event::parse(&message.data).map_err(|error| {
        consumer.telemetry.bulk_event_undecodable(&spec.pubsub, &spec.topic, &error);
        Outcome::Failed(DeadLetterReason::new("undecodable", error.to_string()))
    })?;
    if event.is_expired(Utc::now()) {
        return Err(consumer.expired(&event));
    }
    let subject = || Ok(Subject::new(&event.to_json_value()?));
    Ok(Prepared {
        path: route(consumer, subject, &event.id())?,
        event: BulkEvent::Json(&message.data),
        trace: trace_of(&event).map(Into::into),
    })
}

fn route(
    consumer: &Consumer,
    subject: impl FnOnce() -> Result<Subject, RoutingError>,
    id: &str,
) -> Result<Arc<str>, Outcome> {
    let subscription = &consumer.subscription;
    let (pubsub, topic) = (&subscription.spec.pubsub, &subscription.spec.topic);
    match subscription.rules.path(subject) {
        Ok(Some(path)) => Ok(path.clone()),
        Ok(None) => {
            consumer.telemetry.bulk_event_without_route(pubsub, topic);
            Err(Outcome::Rejected(DeadLetterReason::no_route()))
        }
        Err(error) => {
            consumer.telemetry.routing_failed(pubsub, topic, id, &error);
            Err(Outcome::Failed(DeadLetterReason::new("rule-error", error.to_string())))
        }
    }
}

/// Put an event into the request for its path.
fn add<'a>(
    requests: &mut Vec<Request<'a>>,
    consumer: &'a Consumer,
    message: &'a Incoming,
    place: usize,
    prepared: Prepared<'a>,
) {
    let known = requests.iter().position(|request| request.delivery.path == prepared.path);
    let at = known.unwrap_or_else(|| {
        requests.push(Request::to(prepared.path, consumer));
        requests.len() - 1
    });
    let request = &mut requests[at];
    request.places.push(place);
    request.delivery.entries.push(BulkEntry {
        id: Uuid::new_v4().to_string(),
        event: prepared.event,
        metadata: message.has_metadata.then_some(&message.metadata),
    });
    if prepared.trace.is_some() {
        request.trace = prepared.trace;
    }
}

impl<'a> Request<'a> {
    fn to(path: Arc<str>, consumer: &'a Consumer) -> Self {
        Self {
            delivery: BulkDelivery {
                id: Uuid::new_v4().to_string(),
                path,
                pubsub: &consumer.pubsub.name,
                topic: &consumer.subscription.spec.topic,
                entries: Vec::new(),
                traceparent: None,
            },
            places: Vec::new(),
            trace: None,
        }
    }
}

fn outcome_of(consumer: &Consumer, message: &Incoming, verdict: Verdict) -> Outcome {
    let spec = &consumer.subscription.spec;
    match verdict {
        Verdict::Success => Outcome::Delivered,
        Verdict::Drop(reason @ FailureReason::Status(_)) => {
            consumer.telemetry.event_dropped(&spec.topic, &id_in(&message.data));
            Outcome::Rejected(reason_of(&reason))
        }
        // The whole request was refused: acknowledged, and never a letter.
        Verdict::Drop(reason) => {
            let reason = reason_of(&reason);
            consumer.telemetry.event_given_up(&spec.pubsub, &spec.topic, reason.code);
            Outcome::Delivered
        }
        Verdict::Retry(reason) => Outcome::Failed(reason_of(&reason)),
    }
}
