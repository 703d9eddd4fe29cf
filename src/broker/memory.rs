//! The embedded broker: messages live in this process and end with it (spec redis.md 19, design.md D2).
//!
//! Every subscription whose topic matches gets every message, in order, from a bounded queue of its own: one at a time, or as many as its
//! sink has places for. A message that was not acknowledged waits beside the queue and comes again.

use std::collections::BTreeMap;
use std::panic::AssertUnwindSafe;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use async_trait::async_trait;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use futures_util::stream::{FuturesUnordered, StreamExt};
use tokio::sync::mpsc;
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
const REDELIVERY: Backoff = Backoff::doubling(Duration::from_secs(1), Duration::from_secs(60));

/// A `pubsub.in-memory` component.
pub struct MemoryBroker {
    subscriptions: Arc<RwLock<Vec<Subscription>>>,
    last_number: AtomicU64,
    closed: AtomicBool,
    telemetry: Telemetry,
}

#[derive(Clone)]
struct Subscription {
    number: u64,
    pattern: Arc<str>,
    queue: mpsc::Sender<Incoming>,
}

impl MemoryBroker {
    /// An empty broker.
    pub fn new(telemetry: Telemetry) -> Self {
        Self {
            subscriptions: Arc::default(),
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
            let full = || {
                BrokerError::new(
                    BrokerErrorKind::Unavailable,
                    format_args!(
                        "the queue of topic {} is full: {QUEUE} messages wait for the app; publish more slowly or make the subscriber faster",
                        subscription.pattern
                    ),
                )
            };
            match tokio::time::timeout(PATIENCE, subscription.queue.clone().reserve_owned()).await {
                Ok(Ok(place)) => places.push((place, subscription.pattern)),
                // It ended in this moment.
                Ok(Err(_)) => {}
                Err(_) => return Err(full()),
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
        let (queue, messages) = mpsc::channel(QUEUE);
        let number = self.last_number.fetch_add(1, Ordering::Relaxed);
        let subscription = Subscription {
            number,
            pattern: Arc::from(request.topic),
            queue,
        };
        let all = self.subscriptions.clone();
        all.write()
            .unwrap_or_else(PoisonError::into_inner)
            .push(subscription);
        let mut serving = Serving {
            places: sink.places().unwrap_or(1).max(1),
            sink,
            messages,
            waiting: BTreeMap::new(),
            last_waiting: 0,
            telemetry: self.telemetry.clone(),
        };
        Ok(Box::pin(async move {
            serving.run(&stop).await;
            all.write()
                .unwrap_or_else(PoisonError::into_inner)
                .retain(|other| other.number != number);
        }))
    }

    async fn close(&self) {
        self.closed.store(true, Ordering::Relaxed);
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
        while in_hand.next().await.is_some() {}
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
