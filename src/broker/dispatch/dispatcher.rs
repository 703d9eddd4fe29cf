//! Delivers entries to sinks and settles them.

use std::panic::AssertUnwindSafe;

use futures_util::FutureExt;
use tokio::time::Instant;

use super::ack_queue::AckQueue;
use super::at_most_once::{self, Claim};
use super::driver::{Driver, Returned};
use super::inflight::{Finished, InFlight, Job};
use super::subscription_id::SubscriptionId;
use crate::backoff::Backoff;
use crate::broker::ack::Ack;
use crate::message::{EventRef, Incoming, Settlement};
use crate::telemetry::Telemetry;
use crate::telemetry::events::broker::{NotDeliveredAgain, RedeliveryPlanned};

/// The entries in flight, and how they are delivered and settled.
pub(in crate::broker) struct Dispatcher<D: Driver> {
    pub(in crate::broker) driver: D,
    pub(in crate::broker) inflight: InFlight<D::Id>,
    pub(super) acks: AckQueue<D::Id>,
    pub(super) backoff: Backoff,
    /// The name of the component.
    pubsub: String,
    telemetry: Telemetry,
}

/// An entry to hand back to the broker.
type HandBack<I> = (SubscriptionId, Returned<I>);

impl<D: Driver> Dispatcher<D> {
    /// At most `concurrency` entries are with sinks at a time, and `queue_depth` more are read ahead.
    pub(in crate::broker) fn new(
        driver: D,
        pubsub: &str,
        concurrency: usize,
        queue_depth: usize,
        backoff: Backoff,
        telemetry: Telemetry,
    ) -> Self {
        Self {
            driver,
            inflight: InFlight::new(concurrency, queue_depth, D::POLICY),
            acks: AckQueue::new(concurrency),
            backoff,
            pubsub: pubsub.to_owned(),
            telemetry,
        }
    }

    /// Deliver an entry and settle it. A panic of the sink counts as [`Settlement::Retry`]. Returns the entry if it is to be handed back.
    pub(in crate::broker) async fn deliver(&self, job: Job<D::Id>) -> Option<HandBack<D::Id>> {
        let Job { subscription, sink, ack, entry } = job;
        let (id, attempt) = (entry.id, entry.attempt);
        let only_once = match ack {
            Ack::Explicit => false,
            Ack::None => match at_most_once::claim(&self.driver, &subscription, id).await {
                Claim::Granted => true,
                Claim::Taken => {
                    self.forget(&subscription, id);
                    return None;
                }
                Claim::Unknown => return self.settle(subscription, id, attempt, Settlement::Retry),
            },
        };
        let incoming = Incoming {
            topic: subscription.topic.clone(),
            data: entry.data,
            has_metadata: entry.metadata.is_some(),
            metadata: entry.metadata.unwrap_or_default(),
            position: Some(id.into()),
            attempt,
            only_once,
        };
        let delivery = AssertUnwindSafe(sink.accept(incoming)).catch_unwind();
        let settlement = delivery.await.unwrap_or(Settlement::Retry);
        if !only_once {
            return self.settle(subscription, id, attempt, settlement);
        }
        self.forget(&subscription, id);
        if settlement == Settlement::Retry {
            self.telemetry.emit(NotDeliveredAgain { event: self.event(&subscription, id, attempt) });
        }
        None
    }

    /// The one exit of an entry that its sink has finished.
    fn settle(
        &self,
        subscription: SubscriptionId,
        id: D::Id,
        attempt: u32,
        settlement: Settlement,
    ) -> Option<HandBack<D::Id>> {
        let pause = self.backoff.after(attempt);
        match self.inflight.finished(&subscription, id, settlement, Instant::now() + pause) {
            Finished::Acknowledge(id) if self.driver.ack_now(&subscription, id) => {
                self.inflight.acked(&subscription, &[id]);
            }
            Finished::Acknowledge(id) => self.acks.add(&subscription, id),
            Finished::HandBack(returned) => return Some((subscription, returned)),
            Finished::Waits if settlement == Settlement::Retry => {
                let event = self.event(&subscription, id, attempt);
                self.telemetry.emit(RedeliveryPlanned { event, pause });
            }
            Finished::Waits => {}
        }
        None
    }

    /// Remove an entry that is acknowledged already.
    fn forget(&self, subscription: &SubscriptionId, id: D::Id) {
        self.inflight.finished(subscription, id, Settlement::Ack, Instant::now());
        self.inflight.acked(subscription, &[id]);
    }

    fn event<'a>(&'a self, subscription: &'a SubscriptionId, id: D::Id, attempt: u32) -> EventRef<'a> {
        EventRef {
            pubsub: &self.pubsub,
            topic: &subscription.topic,
            position: Some(id.into()),
            attempt,
            ..EventRef::default()
        }
    }
}
