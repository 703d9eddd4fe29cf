//! The embedded broker: messages live in this process and end with it (spec redis.md 19, design.md D2).
//!
//! Every subscription whose topic matches gets every message, in order, from a bounded queue of its own: one at a time, or as many as its
//! sink has places for. A message that was not acknowledged waits beside the queue and comes again. The queue of a subscription that ends
//! is kept for a while, for the case that it begins again: files change, apps get well. Sidecars of one process may share the messages
//! ([`hub`]); each takes them as a consumer group of its own. With `ack: none` no message comes again.

mod early;
pub mod hub;

use std::collections::BTreeMap;
use std::panic::AssertUnwindSafe;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::Duration;

use async_trait::async_trait;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use futures_util::stream::{FuturesUnordered, StreamExt};
use tokio::sync::mpsc;
use tokio::sync::mpsc::OwnedPermit;
use tokio::time::Instant;

use self::early::Early;
use crate::backoff::Backoff;
use crate::broker::ack::Ack;
use crate::broker::{Broker, BrokerError, BrokerErrorKind, Sink, SubscribeRequest};
use crate::message::{Incoming, Outgoing, Settlement};
use crate::shutdown::Stop;
use crate::telemetry::Telemetry;

/// Messages that wait in the queue of one subscription; a publish waits for a place.
const QUEUE: usize = 1_000;
/// How long a publish waits for a place before it fails.
const PATIENCE: Duration = Duration::from_secs(5);
/// Messages of one subscription that wait for their redelivery; beyond it the queue is not emptied until one is done.
const MOST_WAITING: usize = 10_000;
/// How long the queue of a subscription that has ended goes on taking messages, for the next one to the same topic.
const KEPT: Duration = Duration::from_secs(300);
const REDELIVERY: Backoff = Backoff::doubling(Duration::from_secs(1), Duration::from_secs(60));

/// A `pubsub.in-memory` component of one sidecar.
pub struct MemoryBroker {
    store: Arc<Store>,
    /// Whose subscriptions these are: the app id where the store is shared.
    group: Arc<str>,
    closed: AtomicBool,
    /// Where a subscription does not say.
    ack: Ack,
    telemetry: Telemetry,
}

/// The queues of all subscriptions, those of other sidecars included.
#[derive(Default)]
struct Store {
    subscriptions: RwLock<Vec<Subscription>>,
    idle: Mutex<Vec<Idle>>,
    last_number: AtomicU64,
    /// What was published lately; only where the store is shared.
    early: Option<Mutex<Early>>,
}

#[derive(Clone)]
struct Subscription {
    number: u64,
    group: Arc<str>,
    pattern: Arc<str>,
    queue: mpsc::Sender<Incoming>,
    /// Since when nobody takes anything out of the queue.
    idle_since: Option<Instant>,
}

impl Subscription {
    fn is_over(&self) -> bool {
        self.idle_since.is_some_and(|since| since.elapsed() > KEPT)
    }

    /// A place for one message; `None` if it has no more need of it.
    async fn place(&self) -> Result<Option<OwnedPermit<Incoming>>, BrokerError> {
        if self.idle_since.is_some() {
            // Nobody waits for a subscription that may never come back.
            return Ok(self.queue.clone().try_reserve_owned().ok());
        }
        let reserving = self.queue.clone().reserve_owned();
        match tokio::time::timeout(PATIENCE, reserving).await {
            // An error: it ended in this moment.
            Ok(place) => Ok(place.ok()),
            Err(_) => Err(BrokerError::new(
                BrokerErrorKind::Unavailable,
                format_args!(
                    "the queue of topic {} is full: {QUEUE} messages wait for the app; publish more slowly or make the subscriber faster",
                    self.pattern
                ),
            )),
        }
    }
}

/// What an ended subscription leaves behind.
struct Idle {
    number: u64,
    messages: mpsc::Receiver<Incoming>,
    waiting: BTreeMap<(Instant, u64), Incoming>,
}

impl MemoryBroker {
    /// An empty broker of this sidecar alone.
    pub fn new(telemetry: Telemetry) -> Self {
        Self::on(Arc::default(), "", telemetry)
    }

    fn on(store: Arc<Store>, group: &str, telemetry: Telemetry) -> Self {
        Self {
            store,
            group: Arc::from(group),
            closed: AtomicBool::new(false),
            ack: Ack::default(),
            telemetry,
        }
    }

    /// The same, acknowledging otherwise where a subscription does not say.
    #[must_use]
    pub fn acknowledging(self, ack: Ack) -> Self {
        Self { ack, ..self }
    }

    fn check_open(&self) -> Result<(), BrokerError> {
        if self.closed.load(Ordering::Relaxed) {
            Err(BrokerError::closed())
        } else {
            Ok(())
        }
    }
}

impl Store {
    /// A store whose new subscriptions begin with what was published lately.
    fn remembering() -> Self {
        Self {
            early: Some(Mutex::default()),
            ..Self::default()
        }
    }

    fn all(&self) -> RwLockReadGuard<'_, Vec<Subscription>> {
        let guard = self.subscriptions.read();
        guard.unwrap_or_else(PoisonError::into_inner)
    }

    fn all_mut(&self) -> RwLockWriteGuard<'_, Vec<Subscription>> {
        let guard = self.subscriptions.write();
        guard.unwrap_or_else(PoisonError::into_inner)
    }

    fn idle(&self) -> MutexGuard<'_, Vec<Idle>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The subscriptions that get a message. One that begins later finds it among the early ones, if these are kept.
    fn receivers(&self, message: &Outgoing) -> Vec<Subscription> {
        let subscriptions = self.all();
        if let Some(early) = &self.early {
            // Under the lock of the subscriptions: a new one gets the message either here or from there, not twice.
            lock(early).add(message);
        }
        subscriptions
            .iter()
            .filter(|subscription| matches(&subscription.pattern, &message.topic))
            .cloned()
            .collect()
    }

    /// A queue that takes messages from now on.
    fn new_queue(&self, group: &Arc<str>, pattern: &str) -> Idle {
        let (queue, messages) = mpsc::channel(QUEUE);
        let number = self.last_number.fetch_add(1, Ordering::Relaxed);
        let pattern: Arc<str> = Arc::from(pattern);
        let mut subscriptions = self.all_mut();
        if let Some(early) = &self.early {
            for message in lock(early).for_subscription(&pattern) {
                // The queue is empty and has as many places as there are early messages.
                let _ = queue.try_send(message);
            }
        }
        subscriptions.push(Subscription {
            number,
            group: group.clone(),
            pattern,
            queue,
            idle_since: None,
        });
        Idle {
            number,
            messages,
            waiting: BTreeMap::new(),
        }
    }

    /// What an ended subscription of the same group to the same topic has left, to be gone on with.
    fn taken_up(&self, group: &str, pattern: &str) -> Option<Idle> {
        let mut subscriptions = self.all_mut();
        let same = |known: &&mut Subscription| {
            known.idle_since.is_some() && *known.group == *group && *known.pattern == *pattern
        };
        let subscription = subscriptions.iter_mut().find(same)?;
        let mut idle = self.idle();
        let place = idle
            .iter()
            .position(|idle| idle.number == subscription.number)?;
        subscription.idle_since = None;
        Some(idle.swap_remove(place))
    }

    /// Keep the queue of a subscription that has ended.
    fn leave(&self, left: Idle) {
        let mut subscriptions = self.all_mut();
        let own = subscriptions
            .iter_mut()
            .find(|subscription| subscription.number == left.number);
        if let Some(own) = own {
            own.idle_since = Some(Instant::now());
            self.idle().push(left);
        }
    }

    /// Let go of what nobody has come back for.
    fn forget_idle(&self) {
        self.forget(Subscription::is_over);
    }

    /// Let go of everything of a group: nobody will come back.
    fn forget_group(&self, group: &str) {
        self.forget(|subscription| *subscription.group == *group);
    }

    fn forget(&self, is_gone: impl Fn(&Subscription) -> bool) {
        let mut subscriptions = self.all_mut();
        subscriptions.retain(|subscription| !is_gone(subscription));
        let is_known = |idle: &Idle| {
            subscriptions
                .iter()
                .any(|subscription| subscription.number == idle.number)
        };
        self.idle().retain(is_known);
    }
}

#[async_trait]
impl Broker for MemoryBroker {
    fn capabilities(&self) -> &'static [&'static str] {
        &["SUBSCRIBE_WILDCARDS"]
    }

    async fn connect(&self) -> Result<(), BrokerError> {
        Ok(())
    }

    async fn publish(&self, message: Outgoing) -> Result<(), BrokerError> {
        self.check_open()?;
        let mut places = Vec::new();
        // All places first: either every subscription gets the message or, with an error, none does.
        for subscription in self.store.receivers(&message) {
            if subscription.is_over() {
                self.store.forget_idle();
            } else if let Some(place) = subscription.place().await? {
                places.push((place, subscription.pattern));
            }
        }
        for (place, topic) in places {
            place.send(incoming(topic, &message));
        }
        Ok(())
    }

    async fn subscribe(
        &self,
        request: SubscribeRequest,
        sink: Arc<dyn Sink>,
        stop: Stop,
    ) -> Result<BoxFuture<'static, ()>, BrokerError> {
        self.check_open()?;
        let ack = Ack::of_subscription(&request.metadata).map_err(|error| {
            let error = format_args!("subscription metadata: {error}");
            BrokerError::new(BrokerErrorKind::Misconfigured, error)
        })?;
        self.store.forget_idle();
        let Idle {
            number,
            messages,
            waiting,
        } = self
            .store
            .taken_up(&self.group, &request.topic)
            .unwrap_or_else(|| self.store.new_queue(&self.group, &request.topic));
        let store = self.store.clone();
        let mut serving = Serving {
            places: sink.places().unwrap_or(1).max(1),
            sink,
            ack: ack.unwrap_or(self.ack),
            messages,
            last_waiting: waiting.keys().map(|(_, number)| *number).max().unwrap_or(0),
            waiting,
            telemetry: self.telemetry.clone(),
        };
        Ok(Box::pin(async move {
            serving.run(&stop).await;
            let left = Idle {
                number,
                messages: serving.messages,
                waiting: serving.waiting,
            };
            store.leave(left);
        }))
    }

    async fn close(&self) {
        self.closed.store(true, Ordering::Relaxed);
        self.store.forget_group(&self.group);
    }
}

fn lock(early: &Mutex<Early>) -> MutexGuard<'_, Early> {
    early.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A published message as a subscription to `topic` gets it.
fn incoming(topic: Arc<str>, message: &Outgoing) -> Incoming {
    Incoming {
        topic,
        data: message.data.clone(),
        metadata: message.metadata.clone().unwrap_or_default(),
        has_metadata: message.metadata.is_some(),
        attempt: 1,
        only_once: false,
    }
}

/// The worker of one subscription.
struct Serving {
    sink: Arc<dyn Sink>,
    ack: Ack,
    /// Messages that the sink may hold at a time.
    places: usize,
    messages: mpsc::Receiver<Incoming>,
    /// By the time of their redelivery and a number that keeps those of one time apart.
    waiting: BTreeMap<(Instant, u64), Incoming>,
    last_waiting: u64,
    telemetry: Telemetry,
}

impl Serving {
    /// Hand over until `stop`; what the sink has in hand then is finished.
    async fn run(&mut self, stop: &Stop) {
        let mut in_hand = FuturesUnordered::new();
        while !stop.is_ordered() {
            let is_free = in_hand.len() < self.places;
            let due = self.waiting.keys().next().map(|(due, _)| *due);
            let next = tokio::select! {
                biased;
                () = stop.ordered() => break,
                Some((message, settlement)) = in_hand.next() => {
                    self.settle(message, settlement);
                    continue;
                }
                () = tokio::time::sleep_until(due.unwrap_or_else(Instant::now)), if is_free && due.is_some() => self.waiting.pop_first().map(|(_, message)| message),
                message = self.messages.recv(), if is_free && self.waiting.len() < MOST_WAITING => message,
            };
            let Some(mut message) = next else { break };
            message.only_once = self.ack == Ack::None;
            in_hand.push(hand(self.sink.clone(), message));
        }
        while let Some((message, settlement)) = in_hand.next().await {
            self.settle(message, settlement);
        }
    }

    fn settle(&mut self, message: Incoming, settlement: Settlement) {
        if settlement == Settlement::Ack {
            return;
        }
        if message.only_once {
            return self.telemetry.not_delivered_again(&message.topic);
        }
        let pause = REDELIVERY.after(message.attempt);
        self.telemetry
            .redelivery_planned(&message.topic, message.attempt, pause);
        self.last_waiting += 1;
        let again = Incoming {
            attempt: message.attempt.saturating_add(1),
            ..message
        };
        self.waiting
            .insert((Instant::now() + pause, self.last_waiting), again);
    }
}

/// Hand a message to its sink. A panic there must not end the subscription: it counts as a retry.
async fn hand(sink: Arc<dyn Sink>, message: Incoming) -> (Incoming, Settlement) {
    let settlement = AssertUnwindSafe(sink.accept(message.clone()))
        .catch_unwind()
        .await
        .unwrap_or(Settlement::Retry);
    (message, settlement)
}

/// Does a subscription's topic match a published one? A star at the end stands for one character or more.
fn matches(pattern: &str, topic: &str) -> bool {
    pattern == topic
        || pattern
            .strip_suffix('*')
            .is_some_and(|prefix| topic.len() > prefix.len() && topic.starts_with(prefix))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_at_the_end_stands_for_at_least_one_character() {
        #[track_caller]
        fn check(pattern: &str, topic: &str, expected: bool) {
            assert_eq!(matches(pattern, topic), expected, "{pattern} {topic}");
        }
        check("t", "t", true);
        check("t", "t1", false);
        check("t*", "t", false);
        check("t*", "t1", true);
        check("t*", "tX/y", true);
        check("t*", "t*", true);
        check("*", "t", true);
        check("*", "", false);
        check("a*b", "axb", false);
    }
}
