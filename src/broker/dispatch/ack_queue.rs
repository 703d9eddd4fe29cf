//! Acks that wait to be sent.

use std::future::pending;
use std::mem;

use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until, timeout_at};

use super::driver::{AckBatch, Id};
use super::subscription_id::SubscriptionId;

/// The queue. A sink adds one ack at a time; the sender takes them in batches.
pub(super) struct AckQueue<I> {
    waiting: Mutex<WaitingAcks<I>>,
    /// A batch with this many acks is sent without waiting for more.
    enough: usize,
    first: Notify,
    full: Notify,
}

struct WaitingAcks<I> {
    batch: AckBatch<I>,
    count: usize,
}

impl<I: Id> AckQueue<I> {
    pub(super) fn new(enough: usize) -> Self {
        let waiting = WaitingAcks { batch: AckBatch::new(), count: 0 };
        Self { waiting: Mutex::new(waiting), enough, first: Notify::new(), full: Notify::new() }
    }

    /// Queues the ack of an entry.
    pub(super) fn add(&self, subscription: &SubscriptionId, id: I) {
        let mut waiting = self.waiting.lock();
        match waiting.batch.get_mut(subscription) {
            Some(ids) => ids.push(id),
            None => drop(waiting.batch.insert(subscription.clone(), vec![id])),
        }
        waiting.count += 1;
        let count = waiting.count;
        drop(waiting);
        if count == 1 {
            self.first.notify_one();
        }
        if count == self.enough {
            self.full.notify_one();
        }
    }

    /// Waits for a first ack, then until `until` or until there are enough. At `due` it returns what there is, perhaps
    /// nothing.
    pub(super) async fn collect(&self, until: Instant, due: Option<Instant>) -> AckBatch<I> {
        let due = async {
            match due {
                Some(due) => sleep_until(due).await,
                None => pending().await,
            }
        };
        tokio::select! {
            () = self.first.notified() => if Instant::now() < until {
                // A permit left over from acks that were taken already only ends this wait early.
                let _ = timeout_at(until, self.full.notified()).await;
            },
            () = due => {}
        }
        let mut waiting = self.waiting.lock();
        waiting.count = 0;
        mem::take(&mut waiting.batch)
    }

    /// Queues acks again that the broker did not confirm.
    pub(super) fn put_back(&self, subscription: SubscriptionId, ids: Vec<I>) {
        let mut waiting = self.waiting.lock();
        waiting.count += ids.len();
        waiting.batch.entry(subscription).or_default().extend(ids);
        drop(waiting);
        self.first.notify_one();
    }
}
