//! The embedded broker: messages live in this process and end with it (tests/spec/redis.md, "19. pubsub.in-memory";
//! D2).
//!
//! Every subscription whose topic matches gets every message, in order, from a bounded queue of its own: one at a time, or as many as its
//! sink has places for. A message that was not acknowledged waits beside the queue and comes again. The queue of a subscription that ends
//! is kept for a while, for the case that it begins again: files change, apps get well. While the component itself is gone (its file was
//! deleted, or the sidecar restarts after SIGHUP), nothing of it is forgotten: the [`hub`] holds the messages as long as the process lives.
//! Sidecars of one process may share the messages; each takes them as a consumer group of its own. With `ack: none` no message comes
//! again.

mod early;
pub mod hub;

use std::collections::{BTreeMap, BTreeSet};
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use futures_util::stream::{FuturesUnordered, StreamExt};
use parking_lot::{Mutex, MutexGuard, RwLock, RwLockReadGuard, RwLockWriteGuard};
use tokio::sync::mpsc;
use tokio::sync::mpsc::OwnedPermit;
use tokio::time::Instant;

use self::early::Early;
use crate::backoff::Backoff;
use crate::broker::ack::{self, Ack};
use crate::broker::options::OptionNames;
use crate::broker::{Broker, BrokerError, BrokerErrorKind, Sink, SubscribeRequest};
use crate::message::{Incoming, Outgoing, Position, Settlement};
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

/// What an in-memory component reads in the metadata of a subscription.
pub(super) const OPTIONS: OptionNames = OptionNames { options: &[ack::ACK], settings: &[] };

/// The settings that mean something to an in-memory component.
pub(super) const SETTINGS: &[&str] =
    &[ack::ACK, "allowedTopics", "consumerID", "protectedTopics", "publishingScopes", "subscriptionScopes"];

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
    idle: Mutex<Vec<Queue>>,
    /// The groups whose component is gone for now: their queues are kept without limit of time. Locked after `subscriptions`.
    closed: Mutex<BTreeSet<Arc<str>>>,
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
    /// Has it been logged that the queue is full while nobody takes anything out of it?
    is_overflow_logged: Arc<AtomicBool>,
    /// To the worker: messages that the one before it had given to the app, and that come again at this time.
    returned: mpsc::UnboundedSender<(Instant, Incoming)>,
}

impl Subscription {
    fn is_over(&self) -> bool {
        self.idle_since.is_some_and(|since| since.elapsed() > KEPT)
    }

    /// A place for one message; `None` if it has no more need of it.
    async fn place(&self, telemetry: &Telemetry) -> Result<Option<OwnedPermit<Incoming>>, BrokerError> {
        if self.idle_since.is_some() {
            // Nobody waits for a subscription that may never come back.
            let place = self.queue.clone().try_reserve_owned().ok();
            if place.is_none() && !self.is_overflow_logged.swap(true, Ordering::Relaxed) {
                telemetry.idle_queue_full(&self.pattern, QUEUE);
            }
            return Ok(place);
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

/// The messages of one subscription: with its worker, or kept for the next one.
struct Queue {
    number: u64,
    messages: mpsc::Receiver<Incoming>,
    returned: mpsc::UnboundedReceiver<(Instant, Incoming)>,
    /// Ordered by the time of their redelivery; the number tells equal times apart.
    waiting: BTreeMap<(Instant, u64), Incoming>,
    last_waiting: u64,
}

impl Queue {
    /// Deliver a message (again) at this time.
    fn wait(&mut self, due: Instant, message: Incoming) {
        self.last_waiting += 1;
        self.waiting.insert((due, self.last_waiting), message);
    }

    /// How many messages it holds.
    fn len(&self) -> usize {
        self.messages.len() + self.waiting.len()
    }
}

impl MemoryBroker {
    /// An empty broker of this sidecar alone.
    pub fn new(telemetry: Telemetry) -> Self {
        Self::on(Arc::default(), "", telemetry)
    }

    fn on(store: Arc<Store>, group: &str, telemetry: Telemetry) -> Self {
        store.open_group(group);
        Self { store, group: Arc::from(group), closed: AtomicBool::new(false), ack: Ack::default(), telemetry }
    }

    /// The same, acknowledging otherwise where a subscription does not say.
    #[must_use]
    pub fn acknowledging(self, ack: Ack) -> Self {
        Self { ack, ..self }
    }

    fn check_open(&self) -> Result<(), BrokerError> {
        if self.closed.load(Ordering::Relaxed) { Err(BrokerError::closed()) } else { Ok(()) }
    }
}

impl Store {
    /// A store whose new subscriptions begin with what was published lately.
    fn remembering() -> Self {
        Self { early: Some(Mutex::default()), ..Self::default() }
    }

    fn all(&self) -> RwLockReadGuard<'_, Vec<Subscription>> {
        self.subscriptions.read()
    }

    fn all_mut(&self) -> RwLockWriteGuard<'_, Vec<Subscription>> {
        self.subscriptions.write()
    }

    fn idle(&self) -> MutexGuard<'_, Vec<Queue>> {
        self.idle.lock()
    }

    /// The subscriptions that get a message. One that begins later finds it among the early ones, if these are kept.
    fn receivers(&self, message: &Outgoing) -> Vec<Subscription> {
        let subscriptions = self.all();
        if let Some(early) = &self.early {
            // Under the lock of the subscriptions: a new one gets the message either here or from there, not twice.
            lock(early).add(message);
        }
        subscriptions.iter().filter(|subscription| matches(&subscription.pattern, &message.topic)).cloned().collect()
    }

    /// Is there an idle queue whose time is over?
    fn has_over(&self) -> bool {
        let subscriptions = self.all();
        let mut over = subscriptions.iter().filter(|subscription| subscription.is_over());
        over.any(|over| !self.closed().contains(&over.group))
    }

    /// A queue that takes messages from now on.
    fn new_queue(&self, group: &Arc<str>, pattern: &str) -> Queue {
        let (queue, messages) = mpsc::channel(QUEUE);
        let (return_to, returned) = mpsc::unbounded_channel();
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
            is_overflow_logged: Arc::default(),
            returned: return_to,
        });
        Queue { number, messages, returned, waiting: BTreeMap::new(), last_waiting: 0 }
    }

    /// What an ended subscription of the same group to the same topic has left, to be gone on with.
    fn taken_up(&self, group: &str, pattern: &str) -> Option<Queue> {
        let mut subscriptions = self.all_mut();
        let same = |known: &&mut Subscription| {
            known.idle_since.is_some() && *known.group == *group && *known.pattern == *pattern
        };
        let subscription = subscriptions.iter_mut().find(same)?;
        let mut idle = self.idle();
        let place = idle.iter().position(|idle| idle.number == subscription.number)?;
        subscription.idle_since = None;
        subscription.is_overflow_logged = Arc::default();
        Some(idle.swap_remove(place))
    }

    /// Keep the queue of a subscription that has ended, for the next one of its group to this topic.
    fn leave(&self, mut left: Queue) {
        let mut subscriptions = self.all_mut();
        let own = subscriptions.iter_mut().find(|subscription| subscription.number == left.number);
        if let Some(own) = own {
            while let Ok((due, message)) = left.returned.try_recv() {
                left.wait(due, message);
            }
            own.idle_since = Some(Instant::now());
            self.idle().push(left);
        }
    }

    /// Put a message back into a queue that its worker has left: perhaps another worker has taken the queue up since.
    fn give_back(&self, number: u64, due: Instant, message: Incoming) {
        let subscriptions = self.all();
        let own = subscriptions.iter().find(|subscription| subscription.number == number);
        match own {
            Some(own) if own.idle_since.is_none() => {
                // Fails only if the worker has just ended together with the process.
                let _ = own.returned.send((due, message));
            }
            Some(_) => {
                let mut idle = self.idle();
                if let Some(queue) = idle.iter_mut().find(|queue| queue.number == number) {
                    queue.wait(due, message);
                }
            }
            None => {}
        }
    }

    /// The component of this group exists (again): from now on its idle queues are dropped when their time is over.
    fn open_group(&self, group: &str) {
        let mut subscriptions = self.all_mut();
        if !self.closed().remove(group) {
            return;
        }
        for subscription in subscriptions.iter_mut() {
            if *subscription.group == *group && subscription.idle_since.is_some() {
                subscription.idle_since = Some(Instant::now());
            }
        }
    }

    /// The component of this group is gone: what it holds is kept until it comes back.
    fn close_group(&self, group: &Arc<str>) {
        let _subscriptions = self.all_mut();
        self.closed().insert(group.clone());
    }

    fn closed(&self) -> MutexGuard<'_, BTreeSet<Arc<str>>> {
        self.closed.lock()
    }

    /// Drop the idle queues whose time is over.
    fn forget_idle(&self, telemetry: &Telemetry) {
        let mut subscriptions = self.all_mut();
        let (closed, mut idle) = (self.closed(), self.idle());
        subscriptions.retain(|subscription| {
            let is_kept = !subscription.is_over() || closed.contains(&subscription.group);
            if !is_kept && let Some(place) = idle.iter().position(|idle| idle.number == subscription.number) {
                let held = idle.swap_remove(place).len();
                if held > 0 {
                    telemetry.idle_queue_dropped(&subscription.pattern, held, KEPT);
                }
            }
            is_kept
        });
    }
}

#[async_trait]
impl Broker for MemoryBroker {
    fn capabilities(&self) -> &'static [&'static str] {
        &["SUBSCRIBE_WILDCARDS"]
    }

    fn options(&self) -> &'static OptionNames {
        &OPTIONS
    }

    async fn connect(&self) -> Result<(), BrokerError> {
        Ok(())
    }

    async fn publish(&self, message: Outgoing) -> Result<Option<Position>, BrokerError> {
        self.check_open()?;
        if self.store.has_over() {
            self.store.forget_idle(&self.telemetry);
        }
        let mut places = Vec::new();
        // All places first: either every subscription gets the message or, with an error, none does.
        for subscription in self.store.receivers(&message) {
            if let Some(place) = subscription.place(&self.telemetry).await? {
                places.push((place, subscription.pattern));
            }
        }
        for (place, topic) in places {
            place.send(incoming(topic, &message));
        }
        Ok(None)
    }

    async fn subscribe(
        &self,
        request: SubscribeRequest,
        sink: Arc<dyn Sink>,
        stop: Stop,
    ) -> Result<BoxFuture<'static, ()>, BrokerError> {
        self.check_open()?;
        self.store.forget_idle(&self.telemetry);
        let queue = self
            .store
            .taken_up(&self.group, &request.topic)
            .unwrap_or_else(|| self.store.new_queue(&self.group, &request.topic));
        let mut serving = Serving {
            places: sink.places().unwrap_or(1).max(1),
            sink,
            ack: request.options.ack.unwrap_or(self.ack),
            in_hand: BTreeMap::new(),
            number: queue.number,
            queue: Some(queue),
            store: self.store.clone(),
            telemetry: self.telemetry.clone(),
        };
        Ok(Box::pin(async move { serving.run(&stop).await }))
    }

    async fn close(&self) {
        self.closed.store(true, Ordering::Relaxed);
        self.store.close_group(&self.group);
    }
}

fn lock(early: &Mutex<Early>) -> MutexGuard<'_, Early> {
    early.lock()
}

/// A published message as a subscription to `topic` gets it.
fn incoming(topic: Arc<str>, message: &Outgoing) -> Incoming {
    Incoming {
        topic,
        position: None,
        data: message.data.clone(),
        metadata: message.metadata.clone().unwrap_or_default(),
        has_metadata: message.metadata.is_some(),
        attempt: 1,
        only_once: false,
    }
}

/// The worker of one subscription. Dropped before its end, it leaves everything that it had, what is with the app included.
struct Serving {
    sink: Arc<dyn Sink>,
    ack: Ack,
    /// Messages that the sink may hold at a time.
    places: usize,
    number: u64,
    /// `None` once it has been left in the store.
    queue: Option<Queue>,
    /// What the sink has in hand, by a number that counts up.
    in_hand: BTreeMap<u64, Incoming>,
    store: Arc<Store>,
    telemetry: Telemetry,
}

impl Serving {
    /// Hand over until `stop`; what the sink has in hand then is finished, while the next worker may have begun.
    async fn run(&mut self, stop: &Stop) {
        let mut handing = FuturesUnordered::new();
        let mut last_handed = 0;
        while let Some(queue) = self.queue.as_mut().filter(|_| !stop.is_triggered()) {
            let is_free = handing.len() < self.places;
            let due = queue.waiting.keys().next().map(|(due, _)| *due);
            let next = tokio::select! {
                biased;
                () = stop.triggered() => break,
                Some((handed, settlement)) = handing.next() => {
                    self.settle(handed, settlement);
                    continue;
                }
                Some((due, message)) = queue.returned.recv() => {
                    queue.wait(due, message);
                    continue;
                }
                () = tokio::time::sleep_until(due.unwrap_or_else(Instant::now)), if is_free && due.is_some() => queue.waiting.pop_first().map(|(_, message)| message),
                message = queue.messages.recv(), if is_free && queue.waiting.len() < MOST_WAITING => message,
            };
            let Some(mut message) = next else { break };
            message.only_once = self.ack == Ack::None;
            last_handed += 1;
            self.in_hand.insert(last_handed, message.clone());
            handing.push(hand(self.sink.clone(), last_handed, message));
        }
        self.leave();
        while let Some((handed, settlement)) = handing.next().await {
            self.settle(handed, settlement);
        }
    }

    fn settle(&mut self, handed: u64, settlement: Settlement) {
        let Some(message) = self.in_hand.remove(&handed) else {
            return;
        };
        if settlement == Settlement::Ack {
            return;
        }
        if message.only_once {
            return self.telemetry.not_delivered_again(&message.topic);
        }
        let pause = REDELIVERY.after(message.attempt);
        self.telemetry.redelivery_planned(&message.topic, message.attempt, pause);
        self.again(Instant::now() + pause, message);
    }

    fn again(&mut self, due: Instant, message: Incoming) {
        let message = Incoming { attempt: message.attempt.saturating_add(1), ..message };
        match &mut self.queue {
            Some(queue) => queue.wait(due, message),
            None => self.store.give_back(self.number, due, message),
        }
    }

    fn leave(&mut self) {
        if let Some(queue) = self.queue.take() {
            self.store.leave(queue);
        }
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        for message in std::mem::take(&mut self.in_hand).into_values() {
            if !message.only_once {
                self.again(Instant::now(), message);
            }
        }
        self.leave();
    }
}

/// Hand a message to its sink. A panic there must not end the subscription: it counts as a retry.
async fn hand(sink: Arc<dyn Sink>, handed: u64, message: Incoming) -> (u64, Settlement) {
    let settlement = AssertUnwindSafe(sink.accept(message)).catch_unwind().await.unwrap_or(Settlement::Retry);
    (handed, settlement)
}

/// Does a subscription's topic match a published one? A star at the end stands for one character or more.
fn matches(pattern: &str, topic: &str) -> bool {
    pattern == topic
        || pattern.strip_suffix('*').is_some_and(|prefix| topic.len() > prefix.len() && topic.starts_with(prefix))
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
