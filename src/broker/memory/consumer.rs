//! The consumer of one subscription: takes messages from its queue and has them dispatched.

use std::collections::HashMap;
use std::convert::Infallible;
use std::sync::Arc;

use futures_util::stream::{FuturesUnordered, StreamExt};
use parking_lot::Mutex;
use tokio::time::Instant;

use super::entry::{QueuedEntry, Sequence};
use super::store::{Queue, Store};
use crate::broker::ack::Ack;
use crate::broker::contract::Sink;
use crate::broker::dispatch::{Dispatcher, Driver, Refetched, Returned, SubscriptionId, redelivery};
use crate::message::EventRef;
use crate::shutdown::Stop;
use crate::telemetry::Telemetry;
use crate::telemetry::events::broker::RedeliveryPlanned;

/// Delivers the messages of one subscription. Dropped before its end, it leaves all of them in the store, also those with the app.
pub(super) struct QueueConsumer {
    dispatcher: Dispatcher<QueueDriver>,
    subscription: SubscriptionId,
    /// `None` once it has been left in the store.
    queue: Option<Queue>,
    /// The most messages with the sink at a time.
    max_in_flight: usize,
}

/// The messages of a queue that are in flight.
struct QueueDriver {
    /// The name of the component, for logs.
    pubsub: String,
    store: Arc<Store>,
    /// The number of the queue in the store.
    number: u64,
    /// By number; without those that are acknowledged.
    held: Mutex<HashMap<Sequence, QueuedEntry>>,
    telemetry: Telemetry,
}

impl QueueConsumer {
    /// A consumer of a queue. Nothing is delivered yet.
    pub(super) fn new(
        pubsub: &str,
        topic: &Arc<str>,
        sink: Arc<dyn Sink>,
        ack: Ack,
        queue: Queue,
        store: Arc<Store>,
        telemetry: Telemetry,
    ) -> Self {
        let driver = QueueDriver {
            pubsub: pubsub.to_owned(),
            store,
            number: queue.number,
            held: Mutex::default(),
            telemetry: telemetry.clone(),
        };
        let backoff = redelivery::backoff(redelivery::MAX_PAUSE);
        let dispatcher = Dispatcher::new(driver, pubsub, 1, 0, backoff, telemetry);
        let max_in_flight = sink.max_in_flight().unwrap_or(1).max(1);
        let subscription = dispatcher.inflight.open(topic, sink, ack);
        Self { dispatcher, subscription, queue: Some(queue), max_in_flight }
    }

    /// Deliver until `stop`. Messages with the sink are finished then, while the next consumer may have begun.
    pub(super) async fn run(&mut self, stop: &Stop) {
        let Self { dispatcher, subscription, queue, max_in_flight } = &mut *self;
        let (driver, inflight) = (&dispatcher.driver, &dispatcher.inflight);
        let mut delivering = FuturesUnordered::new();
        while let Some(open) = queue.as_mut().filter(|_| !stop.is_triggered()) {
            for (due, entry) in open.take_waiting() {
                inflight.accept_waiting(subscription, entry.id, entry.attempt, due);
                driver.held.lock().insert(entry.id, entry);
            }
            let ready = std::iter::from_fn(|| inflight.next()).chain(inflight.next_batch());
            delivering.extend(ready.map(|job| dispatcher.deliver(job)));
            let is_free = delivering.len() < *max_in_flight;
            let due = inflight.next_due();
            tokio::select! {
                biased;
                () = stop.triggered() => break,
                Some(_) = delivering.next() => {}
                Some((due, entry)) = open.returned.recv() => open.wait(due, entry),
                () = tokio::time::sleep_until(due.unwrap_or_else(Instant::now)), if is_free && due.is_some() => {
                    for (subscription, ids) in inflight.take_due(Instant::now()) {
                        dispatcher.fetch(&subscription, &ids).await;
                    }
                }
                message = open.messages.recv(), if is_free && !inflight.is_full(subscription) => {
                    let Some(message) = message else { break };
                    inflight.accept(subscription, [driver.hold(message)]);
                }
            }
        }
        leave(dispatcher, subscription, queue);
        while let Some(back) = delivering.next().await {
            if let Some((_, returned)) = back {
                driver.report_returned(subscription, &returned);
                driver.give_back(returned);
            }
        }
    }
}

impl Drop for QueueConsumer {
    fn drop(&mut self) {
        leave(&self.dispatcher, &self.subscription, &mut self.queue);
        for returned in self.dispatcher.inflight.abandon(&self.subscription) {
            self.dispatcher.driver.give_back(returned);
        }
    }
}

/// Leave the queue in the store, with the messages that the sink has not begun.
fn leave(dispatcher: &Dispatcher<QueueDriver>, subscription: &SubscriptionId, queue: &mut Option<Queue>) {
    if let Some(mut queue) = queue.take() {
        for returned in dispatcher.inflight.close(subscription) {
            if let Some((due, entry)) = dispatcher.driver.release(returned) {
                queue.wait(due, entry);
            }
        }
        dispatcher.driver.store.leave(queue);
    }
}

impl QueueDriver {
    /// Hold a message, and get it for its first delivery.
    fn hold(&self, message: QueuedEntry) -> QueuedEntry {
        let entry = QueuedEntry { attempt: message.attempt + 1, ..message.clone() };
        self.held.lock().insert(message.id, message);
        entry
    }

    /// Let go of a message; `None` if it is acknowledged.
    fn release(&self, returned: Returned<Sequence>) -> Option<(Instant, QueuedEntry)> {
        let entry = self.held.lock().remove(&returned.id)?;
        Some((returned.due.unwrap_or_else(Instant::now), QueuedEntry { attempt: returned.attempts, ..entry }))
    }

    /// Put a message back into the queue, which has been left.
    fn give_back(&self, returned: Returned<Sequence>) {
        if let Some((due, entry)) = self.release(returned) {
            self.store.give_back(self.number, due, entry);
        }
    }

    fn report_returned(&self, subscription: &SubscriptionId, returned: &Returned<Sequence>) {
        let event = EventRef {
            pubsub: &self.pubsub,
            topic: &subscription.topic,
            position: Some(returned.id.into()),
            attempt: returned.attempts,
            ..EventRef::default()
        };
        let due = returned.due.unwrap_or_else(Instant::now);
        self.telemetry.emit(RedeliveryPlanned { event, pause: due.saturating_duration_since(Instant::now()) });
    }
}

impl Driver for QueueDriver {
    type Id = Sequence;
    type Error = Infallible;

    const MAX_REFETCH: usize = usize::MAX;

    async fn refetch(&self, _: &SubscriptionId, ids: &[Sequence]) -> Result<Refetched<Sequence>, Infallible> {
        let held = self.held.lock();
        Ok(Refetched { entries: ids.iter().filter_map(|id| held.get(id).cloned()).collect(), gone: Vec::new() })
    }

    async fn hand_back(&self, _: &SubscriptionId, entries: &[Returned<Sequence>]) {
        entries.iter().for_each(|returned| self.give_back(*returned));
    }

    async fn ack_first(&self, _: &SubscriptionId, id: Sequence) -> Result<bool, Infallible> {
        Ok(self.held.lock().remove(&id).is_some())
    }

    fn ack_now(&self, _: &SubscriptionId, id: Sequence) -> bool {
        self.held.lock().remove(&id);
        true
    }
}
