//! Turns, room, phases: the board as its loops use it.

use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;

use super::*;
use crate::message::Incoming;

struct Nobody;

#[async_trait]
impl Sink for Nobody {
    async fn accept(&self, _: Incoming) -> Settlement {
        Settlement::Ack
    }
}

fn board(concurrency: usize, depth: usize, topics: &[&str]) -> Board {
    let board = Board::new(concurrency, depth);
    for topic in topics {
        board.open(&Arc::from(*topic), Arc::new(Nobody), Ack::Explicit).unwrap();
    }
    board
}

/// A sink that may hold so many.
struct Basket(usize);

#[async_trait]
impl Sink for Basket {
    async fn accept(&self, _: Incoming) -> Settlement {
        Settlement::Ack
    }

    fn places(&self) -> Option<usize> {
        Some(self.0)
    }
}

fn entries(ids: impl IntoIterator<Item = u64>) -> Vec<Entry> {
    let entry = |id| Entry {
        id: format!("{id}-0").parse().unwrap(),
        data: Bytes::new(),
        metadata: None,
        oddity: None,
        attempt: 1,
    };
    ids.into_iter().map(entry).collect()
}

fn running(board: &Board) -> Vec<String> {
    named(std::iter::from_fn(|| board.next()))
}

fn named(jobs: impl IntoIterator<Item = Job>) -> Vec<String> {
    let name = |job: Job| {
        let id = job.entry.id.to_string();
        format!("{}{}", job.topic, id.split('-').next().unwrap())
    };
    jobs.into_iter().map(name).collect()
}

fn id(id: u64) -> EntryId {
    format!("{id}-0").parse().unwrap()
}

#[test]
fn topics_take_turns_and_the_last_place_is_for_one_that_has_none() {
    let board = board(4, 100, &["a", "b", "c"]);
    board.accept("a", entries(1..=9));
    board.accept("b", entries(1..=2));
    assert_eq!(running(&board), ["a1", "b1", "a2"]);
    board.accept("c", entries([1]));
    assert_eq!(running(&board), ["c1"]);
}

#[test]
fn one_topic_alone_has_all_places() {
    let board = board(3, 100, &["a"]);
    board.accept("a", entries(1..=9));
    assert_eq!(running(&board), ["a1", "a2", "a3"]);
}

#[test]
fn an_entry_is_on_the_board_once() {
    let board = board(1, 100, &["a"]);
    board.accept("a", entries([1, 1]));
    board.accept("a", entries([1, 2]));
    assert_eq!(running(&board), ["a1"]);
    board.accept("a", entries([1]));
    board.finished("a", id(1), Settlement::Ack, Instant::now());
    board.accept("a", entries([1]));
    assert_eq!(running(&board), ["a2"]);
}

#[test]
fn no_more_is_read_than_there_is_room_for() {
    let board = board(2, 8, &["a"]);
    assert_eq!(board.plan().unwrap().count, 10);
    board.accept("a", entries(1..=4));
    assert_eq!(board.plan().unwrap().count, 6);
    board.accept("a", entries(5..=6));
    assert_eq!(board.plan(), None);
}

#[test]
fn a_full_topic_is_left_out_and_the_others_are_read() {
    let board = board(2, 38, &["a", "b"]);
    board.accept("a", entries(1..=15));
    assert_eq!(board.plan().unwrap().topics, [Arc::from("b")]);
}

#[test]
fn a_retry_waits_and_comes_back_with_a_higher_attempt() {
    let board = board(1, 10, &["a"]);
    let now = Instant::now();
    board.accept("a", entries([1]));
    assert_eq!(board.next().unwrap().entry.attempt, 1);
    assert!(!board.finished("a", id(1), Settlement::Retry, now + Duration::from_secs(1)));
    assert!(board.take_due(now).is_empty());
    assert_eq!(board.take_due(now + Duration::from_secs(1)), BTreeMap::from([(Arc::from("a"), vec![id(1)])]));
    board.accept("a", entries([1]));
    assert_eq!(board.next().unwrap().entry.attempt, 2);
}

#[test]
fn closing_hands_back_what_has_not_begun_and_waits_for_the_rest() {
    let board = board(1, 10, &["a"]);
    board.accept("a", entries([1, 2]));
    board.next().unwrap();
    assert_eq!(board.close("a"), [id(2)]);
    assert_eq!(board.accept("a", entries([3])), [id(3)]);
    assert!(!board.is_empty("a"));
    assert!(board.finished("a", id(1), Settlement::Retry, Instant::now()), "handed back, not waited for");
    assert!(board.is_empty("a"));
}

#[test]
fn what_others_have_taken_is_not_begun() {
    let board = board(1, 10, &["a"]);
    board.accept("a", entries([1, 2, 3]));
    board.next().unwrap();
    board.disown("a", &[id(1), id(2)]);
    board.finished("a", id(1), Settlement::Ack, Instant::now());
    assert_eq!(running(&board), ["a3"]);
}

#[test]
fn a_sink_with_places_of_its_own_gets_more_than_concurrency() {
    let board = board(2, 8, &["a"]);
    board.open(&Arc::from("b"), Arc::new(Basket(4)), Ack::Explicit).unwrap();
    board.accept("a", entries(1..=3));
    board.accept("b", entries(1..=6));
    assert_eq!(running(&board), ["a1", "a2"], "b does not share the places");
    assert_eq!(named(board.gathered()), ["b1", "b2", "b3", "b4"]);
    assert!(board.gathered().is_empty());
    board.finished("b", id(2), Settlement::Ack, Instant::now());
    assert_eq!(named(board.gathered()), ["b5"]);
    assert!(running(&board).is_empty(), "nor does it free one");
    board.finished("a", id(1), Settlement::Ack, Instant::now());
    assert_eq!(running(&board), ["a3"]);
}

#[test]
fn what_gathers_is_read_however_full_the_others_are() {
    let board = board(2, 8, &["a"]);
    board.open(&Arc::from("b"), Arc::new(Basket(100)), Ack::Explicit).unwrap();
    assert_eq!(board.plan().unwrap().count, 10);
    board.accept("a", entries(1..=10));
    let plan = |topics: &[&str], count| {
        Some(ReadPlan { topics: topics.iter().map(|topic| Arc::from(*topic)).collect(), count })
    };
    assert_eq!(board.plan(), plan(&["b"], 200));
    board.accept("b", entries(1..=60));
    assert_eq!(board.gathered().len(), 60);
    assert_eq!(board.plan(), plan(&["b"], 140));
    board.accept("b", entries(61..=151));
    assert_eq!(board.gathered().len(), 40);
    assert_eq!(board.plan(), None, "51 wait for a sink that is full");
    board.finished("b", id(1), Settlement::Ack, Instant::now());
    board.gathered();
    assert_eq!(board.plan(), plan(&["b"], 50));
    assert_eq!(board.close("b").len(), 50);
    assert_eq!(board.plan(), None);
}
