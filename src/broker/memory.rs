//! The embedded broker: messages live in this process and end with it (spec redis.md 19, design.md D2).
//!
//! Every subscription whose topic matches gets every message, in order, from a bounded queue of its own: one at a time, or as many as its
//! sink has places for. A message that was not acknowledged waits beside the queue and comes again. The queue of a subscription that ends
//! is kept for a while, for the case that it begins again: files change, apps get well.

use std::collections::BTreeMap;
use std::panic::AssertUnwindSafe;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::Duration;

use async_trait::async_trait;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use futures_util::stream::{FuturesUnordered, StreamExt};
use tokio::sync::mpsc;
use tokio::sync::mpsc::OwnedPermit;
use tokio::time::Instant;

use crate::backoff::Backoff;
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

/// A `pubsub.in-memory` component.
pub struct MemoryBroker {
    subscriptions: Arc<RwLock<Vec<Subscription>>>,
    idle: Arc<Mutex<Vec<Idle>>>,
    last_number: AtomicU64,
    closed: AtomicBool,
    telemetry: Telemetry,
}

#[derive(Clone)]
struct Subscription {
    number: u64,
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
    /// An empty broker.
    pub fn new(telemetry: Telemetry) -> Self {
        Self {
            subscriptions: Arc::default(),
            idle: Arc::default(),
            last_number: AtomicU64::new(0),
            closed: AtomicBool::new(false),
            telemetry,
        }
    }

    fn matching(&self, topic: &str) -> Vec<Subscription> {
        let subscriptions = self
            .subscriptions
            .read()
            .unwrap_or_else(PoisonError::into_inner);
        subscriptions
            .iter()
            .filter(|subscription| matches(&subscription.pattern, topic))
            .cloned()
            .collect()
    }

    /// A queue that takes messages from now on.
    fn new_queue(&self, pattern: &str) -> Idle {
        let (queue, messages) = mpsc::channel(QUEUE);
        let number = self.last_number.fetch_add(1, Ordering::Relaxed);
        let subscription = Subscription {
            number,
            pattern: Arc::from(pattern),
            queue,
            idle_since: None,
        };
        self.subscriptions
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .push(subscription);
        Idle {
            number,
            messages,
            waiting: BTreeMap::new(),
        }
    }

    /// What an ended subscription to the same topic has left, to be gone on with.
    fn taken_up(&self, pattern: &str) -> Option<Idle> {
        let mut subscriptions = self
            .subscriptions
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        let same =
            |known: &&mut Subscription| known.idle_since.is_some() && *known.pattern == *pattern;
        let subscription = subscriptions.iter_mut().find(same)?;
        let mut idle = all_of(&self.idle);
        let place = idle
            .iter()
            .position(|idle| idle.number == subscription.number)?;
        subscription.idle_since = None;
        Some(idle.swap_remove(place))
    }

    /// Let go of what nobody has come back for.
    fn forget_idle(&self) {
        let mut subscriptions = self
            .subscriptions
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        subscriptions.retain(|subscription| !subscription.is_over());
        let is_known = |idle: &Idle| {
            subscriptions
                .iter()
                .any(|subscription| subscription.number == idle.number)
        };
        all_of(&self.idle).retain(is_known);
    }

    fn check_open(&self) -> Result<(), BrokerError> {
        if self.closed.load(Ordering::Relaxed) {
            Err(BrokerError::new(
                BrokerErrorKind::Closed,
                "component is closed",
            ))
        } else {
            Ok(())
        }
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
        for subscription in self.matching(&message.topic) {
            if subscription.is_over() {
                self.forget_idle();
            } else if let Some(place) = subscription.place().await? {
                places.push((place, subscription.pattern));
            }
        }
        let has_metadata = message.metadata.is_some();
        let metadata = message.metadata.unwrap_or_default();
        for (place, topic) in places {
            place.send(Incoming {
                topic,
                data: message.data.clone(),
                metadata: metadata.clone(),
                has_metadata,
                attempt: 1,
            });
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
        self.forget_idle();
        let Idle {
            number,
            messages,
            waiting,
        } = self
            .taken_up(&request.topic)
            .unwrap_or_else(|| self.new_queue(&request.topic));
        let (all, idle) = (self.subscriptions.clone(), self.idle.clone());
        let mut serving = Serving {
            places: sink.places().unwrap_or(1).max(1),
            sink,
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
            leave(&all, &idle, left);
        }))
    }

    async fn close(&self) {
        self.closed.store(true, Ordering::Relaxed);
        all_of(&self.idle).clear();
    }
}

fn all_of(idle: &Mutex<Vec<Idle>>) -> MutexGuard<'_, Vec<Idle>> {
    idle.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Keep the queue of a subscription that has ended.
fn leave(all: &RwLock<Vec<Subscription>>, idle: &Mutex<Vec<Idle>>, left: Idle) {
    let mut all = all.write().unwrap_or_else(PoisonError::into_inner);
    let own = all
        .iter_mut()
        .find(|subscription| subscription.number == left.number);
    if let Some(own) = own {
        own.idle_since = Some(Instant::now());
        all_of(idle).push(left);
    }
}

/// The worker of one subscription.
struct Serving {
    sink: Arc<dyn Sink>,
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
            let Some(message) = next else { break };
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
