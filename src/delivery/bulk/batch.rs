//! One batch: its events are sorted by route, delivered route by route, and each message is settled by its own outcome
//! (tests/spec/delivery.md, "B15. Bulk subscribe"; D19, D20).

use std::borrow::Cow;
use std::sync::Arc;

use futures_util::stream::{self, StreamExt};
use uuid::Uuid;

use super::attempts;
use crate::app::{BulkDelivery, BulkEntry, BulkEvent, FailureReason, Verdict};
use crate::delivery::consumer::Consumer;
use crate::delivery::outcome::{DeadLetterReason, Outcome};
use crate::delivery::prepare::{Prepared, Preparer, Route};
use crate::envelope::Event;
use crate::message::{Incoming, Settlement};
use crate::telemetry::events::delivery::{BulkEventDropped, DeliveryMode, Dropped};

/// Dead letters that are sent at a time.
const MAX_DEAD_LETTERS: usize = 100;

/// The messages of a batch, and what they were parsed to.
struct Batch<'a> {
    consumer: &'a Consumer,
    preparer: Preparer<'a>,
    messages: &'a [Incoming],
    prepared: &'a [Prepared],
}

/// The entries of a batch that go to one route.
struct BatchRequest<'a> {
    delivery: BulkDelivery<'a>,
    /// The index of each entry in the batch.
    indexes: Vec<usize>,
    /// The trace of the last event that has one.
    trace: Option<Cow<'a, str>>,
}

/// Handle a batch to its end: one settlement for each message, in their order.
pub(super) async fn settle(consumer: &Consumer, messages: Vec<Incoming>) -> Vec<Settlement> {
    let preparer = consumer.preparer(DeliveryMode::Bulk);
    let is_raw = preparer.is_raw();
    let prepare = |message| match &is_raw {
        Ok(is_raw) => preparer.prepare(message, *is_raw),
        Err(outcome) => (Prepared::default(), Err(outcome.clone())),
    };
    let (prepared, routes): (Vec<_>, Vec<_>) = messages.iter().map(prepare).unzip();
    let batch = Batch { consumer, preparer, messages: &messages, prepared: &prepared };
    let outcomes = batch.deliver(routes, is_raw.unwrap_or_default()).await;
    let settling = messages.into_iter().zip(prepared).zip(outcomes).map(async |((message, prepared), outcome)| {
        let id = prepared.id();
        let event = preparer.event_ref(&message, &id);
        consumer.settle(message, event, outcome).await
    });
    stream::iter(settling).buffered(MAX_DEAD_LETTERS).collect().await
}

impl<'a> Batch<'a> {
    /// The outcome for each message, in their order.
    async fn deliver(&self, routes: Vec<Route>, is_raw: bool) -> Vec<Outcome> {
        let mut requests: Vec<BatchRequest<'_>> = Vec::new();
        let mut outcomes: Vec<Outcome> = Vec::with_capacity(routes.len());
        for (index, route) in routes.into_iter().enumerate() {
            outcomes.push(match route {
                Ok(route) => {
                    self.request_to(route, &mut requests).add(
                        index,
                        &self.messages[index],
                        &self.prepared[index],
                        is_raw,
                    );
                    // Replaced by the app's verdict.
                    Outcome::Delivered
                }
                Err(outcome) => outcome,
            });
        }
        for mut request in requests {
            request.delivery.traceparent = self.consumer.tracing.at_delivery(request.trace.as_deref());
            let results = attempts::deliver(self.consumer, &request.delivery).await;
            for (index, result) in request.indexes.into_iter().zip(results) {
                outcomes[index] = match result {
                    Ok(Verdict::Success) => Outcome::Delivered,
                    Ok(Verdict::Drop(reason)) => self.dropped(index, &reason),
                    Ok(Verdict::Retry(reason)) => Outcome::Failed((&reason).into()),
                    Err(interruption) => Outcome::Failed(interruption.into()),
                };
            }
        }
        outcomes
    }

    /// The request for a route; a new one if there is none yet.
    fn request_to<'r>(&self, route: Arc<str>, requests: &'r mut Vec<BatchRequest<'a>>) -> &'r mut BatchRequest<'a> {
        let known = requests.iter().position(|request| request.delivery.path == route);
        let index = known.unwrap_or_else(|| {
            requests.push(BatchRequest::new(route, self.consumer));
            requests.len() - 1
        });
        &mut requests[index]
    }

    fn dropped(&self, index: usize, reason: &FailureReason) -> Outcome {
        let (message, telemetry) = (&self.messages[index], &self.consumer.telemetry);
        let mut id = self.prepared[index].id();
        if id.is_empty() {
            // A raw payload may be an event all the same.
            id = Event::parse(&message.data).map(|event| event.id().into_owned()).unwrap_or_default().into();
        }
        let event = self.preparer.event_ref(message, &id);
        match reason {
            FailureReason::Status(_) => {
                telemetry.emit(BulkEventDropped { event });
                Outcome::Rejected(reason.into())
            }
            // The app refused the whole request: its events are acknowledged without a dead letter.
            FailureReason::Code { .. } | FailureReason::Unreachable(_) | FailureReason::Unanswered(_) => {
                telemetry.emit(Dropped { event, reason: DeadLetterReason::from(reason).code });
                Outcome::Delivered
            }
        }
    }
}

impl<'a> BatchRequest<'a> {
    fn new(path: Arc<str>, consumer: &'a Consumer) -> Self {
        let delivery = BulkDelivery {
            id: Uuid::new_v4().to_string(),
            path,
            pubsub: &consumer.pubsub.name,
            topic: &consumer.subscription.spec.topic,
            entries: Vec::new(),
            traceparent: None,
        };
        Self { delivery, indexes: Vec::new(), trace: None }
    }

    fn add(&mut self, index: usize, message: &'a Incoming, prepared: &'a Prepared, is_raw: bool) {
        self.indexes.push(index);
        self.delivery.entries.push(BulkEntry {
            id: Uuid::new_v4().to_string(),
            event: if is_raw { BulkEvent::Raw(&message.data) } else { BulkEvent::Json(&message.data) },
            metadata: message.has_metadata.then_some(&message.metadata),
        });
        if let Some(trace) = prepared.trace() {
            self.trace = Some(trace);
        }
    }
}
