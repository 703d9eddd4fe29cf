//! One batch: its events are sorted by path, delivered path by path, and each message is settled by its own outcome
//! (tests/spec/delivery.md, "B15. Bulk subscribe"; D19, D20).

use std::sync::Arc;

use chrono::Utc;
use futures_util::stream::{self, StreamExt};
use uuid::Uuid;

use super::attempts;
use crate::app::{BulkDelivery, BulkEntry, BulkEvent, Reason, Verdict};
use crate::delivery::consumer::{Consumer, Ending, RoutingError, cause_of, cause_of_interruption, id_in, trace_of};
use crate::delivery::dead_letter::Cause;
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
    let endings = endings(consumer, &messages).await;
    let settling = messages.into_iter().zip(endings).map(async |(message, ending)| match ending {
        Ending::Done => Settlement::Ack,
        Ending::Over(cause) => consumer.end(message, &cause).await,
        Ending::Failed(cause) => consumer.fail(message, &cause).await,
    });
    stream::iter(settling).buffered(LETTERS).collect().await
}

/// How it ended for each message.
async fn endings(consumer: &Consumer, messages: &[Incoming]) -> Vec<Ending> {
    let is_raw = match &consumer.subscription.is_raw {
        Ok(is_raw) => *is_raw,
        Err(error) => {
            consumer.telemetry.raw_flag_invalid(error);
            let ending = || Ending::Failed(Cause::new("raw-flag", error.as_str()));
            return messages.iter().map(|_| ending()).collect();
        }
    };
    let mut requests: Vec<Request<'_>> = Vec::new();
    let mut endings: Vec<Ending> = Vec::with_capacity(messages.len());
    for (place, message) in messages.iter().enumerate() {
        match prepare(consumer, message, is_raw) {
            Ok(prepared) => {
                add(&mut requests, consumer, message, place, prepared);
                // Replaced by the app's verdict.
                endings.push(Ending::Done);
            }
            Err(ending) => endings.push(ending),
        }
    }
    for mut request in requests {
        request.delivery.traceparent = consumer.tracing.at_delivery(request.trace.as_deref());
        let outcomes = attempts::deliver(consumer, &request.delivery).await;
        for (place, outcome) in request.places.into_iter().zip(outcomes) {
            endings[place] = match outcome {
                Ok(verdict) => ending_of(consumer, &messages[place], verdict),
                Err(interruption) => Ending::Failed(cause_of_interruption(interruption)),
            };
        }
    }
    endings
}

/// The path of an event and what to deliver of it, or its end.
fn prepare<'a>(consumer: &Consumer, message: &'a Incoming, is_raw: bool) -> Result<Prepared<'a>, Ending> {
    let spec = &consumer.subscription.spec;
    if is_raw {
        let text = || Ok(Subject::new(&json::valid_text(&message.data).into()));
        return Ok(Prepared { path: route(consumer, text, "")?, event: BulkEvent::Raw(&message.data), trace: None });
    }
    let event = Event::parse(&message.data).map_err(|error| {
        consumer.telemetry.bulk_event_undecodable(&spec.pubsub, &spec.topic, &error);
        Ending::Failed(Cause::new("undecodable", error.to_string()))
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
) -> Result<Arc<str>, Ending> {
    let subscription = &consumer.subscription;
    let (pubsub, topic) = (&subscription.spec.pubsub, &subscription.spec.topic);
    match subscription.rules.path(subject) {
        Ok(Some(path)) => Ok(path.clone()),
        Ok(None) => {
            consumer.telemetry.bulk_event_without_route(pubsub, topic);
            Err(Ending::Over(Cause::no_route()))
        }
        Err(error) => {
            consumer.telemetry.routing_failed(pubsub, topic, id, &error);
            Err(Ending::Failed(Cause::new("rule-error", error.to_string())))
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

fn ending_of(consumer: &Consumer, message: &Incoming, verdict: Verdict) -> Ending {
    let spec = &consumer.subscription.spec;
    match verdict {
        Verdict::Success => Ending::Done,
        Verdict::Drop(reason @ Reason::Status(_)) => {
            consumer.telemetry.event_dropped(&spec.topic, &id_in(&message.data));
            Ending::Over(cause_of(&reason))
        }
        // The whole request was refused: acknowledged, and never a letter.
        Verdict::Drop(reason) => {
            let cause = cause_of(&reason);
            consumer.telemetry.event_given_up(&spec.pubsub, &spec.topic, cause.reason);
            Ending::Done
        }
        Verdict::Retry(reason) => Ending::Failed(cause_of(&reason)),
    }
}
