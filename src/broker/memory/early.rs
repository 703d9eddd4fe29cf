//! What was published lately to a shared broker: a new subscription begins with it, as a new consumer group begins at the start of a
//! stream. So the apps of a run file may start in any order.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::{QUEUE, matches};
use crate::message::{Incoming, Outgoing};

/// How long a message is remembered.
const KEPT: Duration = super::KEPT;
/// The most messages: as many as a queue has places for.
const MOST_MESSAGES: usize = QUEUE;
/// The most bytes of payload.
const MOST_BYTES: usize = 16 << 20;

/// The messages, oldest first.
#[derive(Default)]
pub(super) struct Early {
    messages: VecDeque<(Instant, Outgoing)>,
    bytes: usize,
}

impl Early {
    /// Remember a message, and forget what is too old or too much.
    pub(super) fn add(&mut self, message: &Outgoing) {
        self.bytes += message.data.len();
        self.messages.push_back((Instant::now(), message.clone()));
        while self.is_too_much() {
            let Some((_, oldest)) = self.messages.pop_front() else {
                return;
            };
            self.bytes -= oldest.data.len();
        }
    }

    /// What a new subscription begins with, in order.
    pub(super) fn for_subscription(&self, pattern: &Arc<str>) -> Vec<Incoming> {
        let wanted =
            self.messages.iter().filter(|(at, message)| at.elapsed() <= KEPT && matches(pattern, &message.topic));
        wanted.map(|(_, message)| super::incoming(pattern.clone(), message)).collect()
    }

    fn is_too_much(&self) -> bool {
        self.messages.len() > MOST_MESSAGES
            || self.bytes > MOST_BYTES
            || self.messages.front().is_some_and(|(at, _)| at.elapsed() > KEPT)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;

    fn message(topic: &str, data: Vec<u8>) -> Outgoing {
        Outgoing { topic: topic.to_owned(), data: Bytes::from(data), metadata: None }
    }

    fn found(early: &Early, pattern: &str) -> usize {
        early.for_subscription(&Arc::from(pattern)).len()
    }

    #[tokio::test(start_paused = true)]
    async fn only_what_is_young_and_not_too_much_is_remembered() {
        let mut early = Early::default();
        early.add(&message("a", vec![1]));
        early.add(&message("b", vec![2]));
        assert_eq!((found(&early, "a"), found(&early, "*")), (1, 2));
        for _ in 0..MOST_MESSAGES {
            early.add(&message("c", vec![3]));
        }
        assert_eq!((found(&early, "a"), found(&early, "c")), (0, MOST_MESSAGES));
        early.add(&message("d", vec![0; MOST_BYTES]));
        assert_eq!((found(&early, "c"), found(&early, "d")), (0, 1));
        tokio::time::advance(KEPT + Duration::from_secs(1)).await;
        assert_eq!(found(&early, "d"), 0);
        early.add(&message("e", vec![4]));
        assert_eq!((early.messages.len(), early.bytes), (1, 1));
    }
}
