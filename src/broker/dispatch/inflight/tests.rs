//! Turns, space, phases and policies: what is in flight as the loops around it use it.

use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;

use super::*;
use crate::message::{Incoming, Position};

struct Unused;

#[async_trait]
impl Sink for Unused {
    async fn accept(&self, _: Incoming) -> Settlement {
        Settlement::Ack
    }
}

/// A sink with a limit of its own.
struct Basket(usize);

#[async_trait]
impl Sink for Basket {
    async fn accept(&self, _: Incoming) -> Settlement {
        Settlement::Ack
    }

    fn max_in_flight(&self) -> Option<usize> {
        Some(self.0)
    }
}

/// The number of an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct Number(u64);

impl From<Number> for Position {
    fn from(number: Number) -> Self {
        Self::Sequence(number.0)
    }
}

/// A table, with its subscriptions by topic.
struct Table {
    inflight: InFlight<Number>,
    subscriptions: BTreeMap<String, SubscriptionId>,
}

fn with_policy(policy: DispatchPolicy, topics: &[&str]) -> Table {
    let mut table = Table { inflight: InFlight::new(4, 100, policy), subscriptions: BTreeMap::new() };
    table.open_all(topics);
    table
}

fn table(concurrency: usize, depth: usize, topics: &[&str]) -> Table {
    let inflight = InFlight::new(concurrency, depth, DispatchPolicy::default());
    let mut table = Table { inflight, subscriptions: BTreeMap::new() };
    table.open_all(topics);
    table
}

impl Table {
    fn open_all(&mut self, topics: &[&str]) {
        for topic in topics {
            self.open(topic, Arc::new(Unused));
        }
    }

    fn open(&mut self, topic: &str, sink: Arc<dyn Sink>) {
        let subscription = self.inflight.open(&Arc::from(topic), sink, Ack::Explicit);
        self.subscriptions.insert(topic.to_owned(), subscription);
    }

    fn to(&self, topic: &str) -> &SubscriptionId {
        &self.subscriptions[topic]
    }

    /// Take entries in. Returns those to hand back.
    fn accept(&self, topic: &str, ids: impl IntoIterator<Item = u64>) -> Vec<u64> {
        numbers(self.inflight.accept(self.to(topic), entries(ids)))
    }

    fn finish(&self, topic: &str, number: u64, settlement: Settlement) -> Finished<Number> {
        self.inflight.finished(self.to(topic), Number(number), settlement, Instant::now())
    }

    /// The topics of the next read, and how many entries of each.
    fn plan(&self) -> Option<(Vec<String>, usize)> {
        let plan = self.inflight.plan()?;
        let topics = plan.subscriptions.iter().map(|subscription| subscription.topic.to_string());
        Some((topics.collect(), plan.count))
    }

    fn running(&self) -> Vec<String> {
        named(std::iter::from_fn(|| self.inflight.next()))
    }
}

fn entries(ids: impl IntoIterator<Item = u64>) -> Vec<DispatchEntry<Number>> {
    let entry = |id| DispatchEntry { id: Number(id), data: Bytes::new(), metadata: None, attempt: 1 };
    ids.into_iter().map(entry).collect()
}

fn named(jobs: impl IntoIterator<Item = Job<Number>>) -> Vec<String> {
    jobs.into_iter().map(|job| format!("{}{}", job.subscription.topic, job.entry.id.0)).collect()
}

fn numbers(returned: Vec<Returned<Number>>) -> Vec<u64> {
    let mut numbers: Vec<_> = returned.into_iter().map(|returned| returned.id.0).collect();
    numbers.sort_unstable();
    numbers
}

fn plan(topics: &[&str], count: usize) -> Option<(Vec<String>, usize)> {
    Some((topics.iter().map(|topic| (*topic).to_owned()).collect(), count))
}

#[test]
fn topics_take_turns_and_the_last_slot_is_for_one_that_has_none() {
    let table = table(4, 100, &["a", "b", "c"]);
    table.accept("a", 1..=9);
    table.accept("b", 1..=2);
    assert_eq!(table.running(), ["a1", "b1", "a2"]);
    table.accept("c", [1]);
    assert_eq!(table.running(), ["c1"]);
}

#[test]
fn one_topic_alone_has_all_slots() {
    let table = table(3, 100, &["a"]);
    table.accept("a", 1..=9);
    assert_eq!(table.running(), ["a1", "a2", "a3"]);
}

#[test]
fn an_entry_is_in_flight_once() {
    let table = table(1, 100, &["a"]);
    table.accept("a", [1, 1]);
    table.accept("a", [1, 2]);
    assert_eq!(table.running(), ["a1"]);
    table.accept("a", [1]);
    table.finish("a", 1, Settlement::Ack);
    table.accept("a", [1]);
    assert_eq!(table.running(), ["a2"]);
}

#[test]
fn no_more_is_read_than_there_is_space_for() {
    let table = table(2, 8, &["a"]);
    assert_eq!(table.plan(), plan(&["a"], 10));
    table.accept("a", 1..=4);
    assert_eq!(table.plan(), plan(&["a"], 6));
    table.accept("a", 5..=6);
    assert_eq!(table.plan(), None);
}

#[test]
fn a_full_topic_is_left_out_and_the_others_are_read() {
    let table = table(2, 38, &["a", "b"]);
    table.accept("a", 1..=15);
    assert_eq!(table.plan().unwrap().0, ["b"]);
}

#[test]
fn a_retry_waits_and_comes_back_with_a_higher_attempt() {
    let table = table(1, 10, &["a"]);
    let (now, later) = (Instant::now(), Instant::now() + Duration::from_secs(1));
    table.accept("a", [1]);
    assert_eq!(table.inflight.next().unwrap().entry.attempt, 1);
    let finished = table.inflight.finished(table.to("a"), Number(1), Settlement::Retry, later);
    assert_eq!(finished, Finished::Waits);
    assert!(table.inflight.take_due(now).is_empty());
    let due = BTreeMap::from([(table.to("a").clone(), vec![Number(1)])]);
    assert_eq!(table.inflight.take_due(later), due);
    table.accept("a", [1]);
    assert_eq!(table.inflight.next().unwrap().entry.attempt, 2);
}

#[test]
fn closing_hands_back_what_has_not_begun_and_waits_for_the_rest() {
    let table = table(1, 10, &["a"]);
    table.accept("a", [1, 2]);
    table.inflight.next().unwrap();
    assert_eq!(numbers(table.inflight.close(table.to("a"))), [2]);
    assert_eq!(table.accept("a", [3]), [3]);
    assert!(!table.inflight.is_empty(table.to("a")));
    let finished = table.finish("a", 1, Settlement::Retry);
    assert!(matches!(finished, Finished::HandBack(Returned { id: Number(1), attempts: 1, .. })), "{finished:?}");
    assert!(table.inflight.is_empty(table.to("a")));
}

#[test]
fn what_others_have_claimed_is_not_begun() {
    let table = table(1, 10, &["a"]);
    table.accept("a", [1, 2, 3]);
    table.inflight.next().unwrap();
    table.inflight.forget_claimed(table.to("a"), &[Number(1), Number(2)]);
    table.finish("a", 1, Settlement::Ack);
    assert_eq!(table.running(), ["a3"]);
}

#[test]
fn a_sink_with_a_limit_of_its_own_gets_more_than_concurrency() {
    let mut table = table(2, 8, &["a"]);
    table.open("b", Arc::new(Basket(4)));
    table.accept("a", 1..=3);
    table.accept("b", 1..=6);
    assert_eq!(table.running(), ["a1", "a2"], "b does not share the slots");
    assert_eq!(named(table.inflight.next_batch()), ["b1", "b2", "b3", "b4"]);
    assert!(table.inflight.next_batch().is_empty());
    table.finish("b", 2, Settlement::Ack);
    assert_eq!(named(table.inflight.next_batch()), ["b5"]);
    assert!(table.running().is_empty(), "nor does it free one");
    table.finish("a", 1, Settlement::Ack);
    assert_eq!(table.running(), ["a3"]);
}

#[test]
fn a_sink_of_batches_is_read_for_however_full_the_others_are() {
    let mut table = table(2, 8, &["a"]);
    table.open("b", Arc::new(Basket(100)));
    assert_eq!(table.plan().unwrap().1, 10);
    table.accept("a", 1..=10);
    assert_eq!(table.plan(), plan(&["b"], 200));
    table.accept("b", 1..=60);
    assert_eq!(table.inflight.next_batch().len(), 60);
    assert_eq!(table.plan(), plan(&["b"], 140));
    table.accept("b", 61..=151);
    assert_eq!(table.inflight.next_batch().len(), 40);
    assert_eq!(table.plan(), None, "51 wait for a sink that is full");
    table.finish("b", 1, Settlement::Ack);
    table.inflight.next_batch();
    assert_eq!(table.plan(), plan(&["b"], 50));
    assert_eq!(table.inflight.close(table.to("b")).len(), 50);
    assert_eq!(table.plan(), None);
}

#[test]
fn a_topic_may_have_several_subscriptions() {
    let mut table = table(4, 100, &["a"]);
    let first = table.to("a").clone();
    table.open("a", Arc::new(Unused));
    assert!(table.inflight.open_only(&Arc::from("a"), Arc::new(Unused), Ack::Explicit).is_none());
    table.inflight.accept(&first, entries([1, 2]));
    table.accept("a", [1]);
    let jobs: Vec<_> = std::iter::from_fn(|| table.inflight.next()).collect();
    assert_eq!(jobs.iter().filter(|job| job.subscription == first).count(), 2, "each gets its own copy, in turns");
    assert_eq!(named(jobs), ["a1", "a1", "a2"]);
    table.inflight.close(&first);
    assert_eq!(
        table.inflight.finished(&first, Number(1), Settlement::Ack, Instant::now()),
        Finished::Acknowledge(Number(1))
    );
    assert!(!table.inflight.is_empty(table.to("a")), "the other one goes on");
}

#[test]
fn a_broker_that_redelivers_by_itself_gets_failed_entries_back() {
    let policy = DispatchPolicy { redelivery: Redelivery::Native, ..DispatchPolicy::default() };
    let table = with_policy(policy, &["a"]);
    let due = Instant::now() + Duration::from_secs(1);
    table.accept("a", [1]);
    table.running();
    let finished = table.inflight.finished(table.to("a"), Number(1), Settlement::Retry, due);
    assert_eq!(finished, Finished::HandBack(Returned { id: Number(1), attempts: 1, due: Some(due) }));
    assert!(table.inflight.is_empty(table.to("a")));
    assert_eq!(table.inflight.next_due(), None);
}

#[test]
fn an_offset_is_acknowledged_when_all_before_it_is_done() {
    let policy = DispatchPolicy { ack_order: AckOrder::Offset, ..DispatchPolicy::default() };
    let table = with_policy(policy, &["a"]);
    table.accept("a", 1..=4);
    table.running();
    assert_eq!(table.finish("a", 2, Settlement::Ack), Finished::Waits);
    assert_eq!(table.finish("a", 4, Settlement::Ack), Finished::Waits);
    assert_eq!(table.finish("a", 1, Settlement::Ack), Finished::Acknowledge(Number(2)));
    table.inflight.acked(table.to("a"), &[Number(2)]);
    assert_eq!(table.inflight.held()[0].1.len(), 2, "3 and 4 are still in flight");
    assert_eq!(table.finish("a", 3, Settlement::Retry), Finished::Waits);
    table.inflight.take_due(Instant::now());
    table.accept("a", [3]);
    table.running();
    assert_eq!(table.finish("a", 3, Settlement::Ack), Finished::Acknowledge(Number(4)));
    table.inflight.acked(table.to("a"), &[Number(4)]);
    assert!(table.inflight.is_empty(table.to("a")));
}
