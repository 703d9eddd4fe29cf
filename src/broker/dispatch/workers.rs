//! Tasks that deliver: as many at a time as `concurrency` allows, or as a sink takes. Each entry is delivered to its end.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use futures_util::FutureExt;
use futures_util::future::join_all;
use futures_util::stream::{FuturesUnordered, StreamExt};
use tokio::sync::Mutex;
use tokio::time::Instant;

use super::dispatcher::Dispatcher;
use super::driver::{DispatchEntry, Driver, Returned, TaskNames};
use super::inflight::{InFlight, Job};
use super::subscription_id::SubscriptionId;
use crate::shutdown::Tasks;

/// Delivers what is in flight, in tasks. They start with [`Workers::start`] and end when nothing is ready.
pub(in crate::broker) struct Workers<D: Driver> {
    pub(super) dispatcher: Dispatcher<D>,
    /// Batches are handed to their sinks by one task after another, to keep the order of the stream.
    batching: Mutex<()>,
    /// How many tasks hand entries back.
    handing_back: AtomicUsize,
    tasks: Tasks,
    names: TaskNames,
}

impl<D: Driver> Workers<D> {
    pub(in crate::broker) fn new(dispatcher: Dispatcher<D>, tasks: Tasks, names: TaskNames) -> Self {
        Self { dispatcher, batching: Mutex::default(), handing_back: AtomicUsize::new(0), tasks, names }
    }

    /// The broker's side.
    pub(in crate::broker) fn driver(&self) -> &D {
        &self.dispatcher.driver
    }

    /// The entries in flight.
    pub(in crate::broker) fn inflight(&self) -> &InFlight<D::Id> {
        &self.dispatcher.inflight
    }

    /// Take entries in. Those of a subscription that has ended are handed back. They are delivered after [`Workers::start`].
    pub(in crate::broker) fn accept(
        self: &Arc<Self>,
        subscription: &SubscriptionId,
        entries: impl IntoIterator<Item = DispatchEntry<D::Id>>,
    ) {
        let back = self.dispatcher.inflight.accept(subscription, entries);
        self.hand_back_later(subscription, back);
    }

    /// Start as many tasks as there are entries ready and slots free.
    pub(in crate::broker) fn start(self: &Arc<Self>) {
        while let Some(job) = self.dispatcher.inflight.next() {
            self.tasks.spawn(self.names.delivery, self.clone().work(job));
        }
        if self.dispatcher.inflight.has_batch() {
            self.tasks.spawn(self.names.batch_delivery, self.clone().deliver_batches());
        }
    }

    /// Fetch what is due for redelivery, all subscriptions at a time, and deliver it.
    pub(in crate::broker) async fn redeliver_due(self: &Arc<Self>, now: Instant) {
        let due = self.dispatcher.inflight.take_due(now);
        let fetches = due.iter().map(|(subscription, ids)| async {
            let back = self.dispatcher.fetch(subscription, ids).await;
            self.hand_back_later(subscription, back);
            self.start();
        });
        join_all(fetches).await;
    }

    /// Is no task handing entries back?
    pub(in crate::broker) fn has_handed_back(&self) -> bool {
        self.handing_back.load(Ordering::Relaxed) == 0
    }

    /// One slot: deliver an entry, then the next one, until none is ready for it.
    async fn work(self: Arc<Self>, job: Job<D::Id>) {
        let mut next = Some(job);
        while let Some(job) = next {
            self.deliver(job).await;
            next = self.dispatcher.inflight.next();
        }
    }

    /// Deliver what is ready to sinks that take many entries at a time.
    async fn deliver_batches(self: Arc<Self>) {
        let mut in_hand = FuturesUnordered::new();
        {
            let _in_turn = self.batching.lock().await;
            let jobs = self.dispatcher.inflight.next_batch().into_iter();
            in_hand.extend(jobs.map(|job| self.deliver(job)));
            // Polled once, each is with its sink.
            poll_all(&mut in_hand);
        }
        while in_hand.next().await.is_some() {
            // The entries of one batch end together, and so free their slots for the next batch together.
            poll_all(&mut in_hand);
            self.start();
        }
    }

    async fn deliver(self: &Arc<Self>, job: Job<D::Id>) {
        if let Some((subscription, returned)) = self.dispatcher.deliver(job).await {
            self.hand_back_later(&subscription, vec![returned]);
        }
    }

    /// Hand entries back in a task of its own.
    fn hand_back_later(self: &Arc<Self>, subscription: &SubscriptionId, entries: Vec<Returned<D::Id>>) {
        if entries.is_empty() {
            return;
        }
        let (workers, subscription) = (self.clone(), subscription.clone());
        self.handing_back.fetch_add(1, Ordering::Relaxed);
        self.tasks.spawn(self.names.hand_back, async move {
            workers.dispatcher.driver.hand_back(&subscription, &entries).await;
            workers.handing_back.fetch_sub(1, Ordering::Relaxed);
            workers.dispatcher.inflight.left.notify_waiters();
        });
    }
}

/// Poll all, and remove those that are done.
fn poll_all<F: Future<Output = ()>>(in_hand: &mut FuturesUnordered<F>) {
    while in_hand.next().now_or_never().flatten().is_some() {}
}
