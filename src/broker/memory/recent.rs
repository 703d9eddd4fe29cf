//! Messages that were published lately to a shared broker: a new subscription begins with them, as a new consumer group begins at the start
//! of a stream. So the apps of a run file may start in any order.

use std::collections::VecDeque;
use std::time::Duration;

use tokio::time::Instant;

use super::entry::{self, MAX_QUEUED, QueuedEntry, Sequence, entry};
use super::pattern::matches;
use crate::message::Outgoing;

/// How long a message is remembered.
const KEPT: Duration = entry::KEPT;
/// The most messages: as many as a queue has space for.
const MAX_MESSAGES: usize = MAX_QUEUED;
/// The most bytes of payload.
const MAX_BYTES: usize = 16 << 20;

/// The messages, oldest first.
#[derive(Default)]
pub(super) struct RecentMessages {
    messages: VecDeque<(Instant, Sequence, Outgoing)>,
    bytes: usize,
}

impl RecentMessages {
    /// Remember a message, and forget those that are too old or too many.
    pub(super) fn add(&mut self, sequence: Sequence, message: &Outgoing) {
        self.bytes += message.data.len();
        self.messages.push_back((Instant::now(), sequence, message.clone()));
        while self.is_too_much() {
            let Some((_, _, oldest)) = self.messages.pop_front() else {
                return;
            };
            self.bytes -= oldest.data.len();
        }
    }

    /// The messages that a new subscription begins with, in order.
    pub(super) fn for_subscription(&self, pattern: &str) -> Vec<QueuedEntry> {
        let wanted =
            self.messages.iter().filter(|(at, _, message)| at.elapsed() <= KEPT && matches(pattern, &message.topic));
        wanted.map(|(_, sequence, message)| entry(*sequence, message)).collect()
    }

    fn is_too_much(&self) -> bool {
        self.messages.len() > MAX_MESSAGES
            || self.bytes > MAX_BYTES
            || self.messages.front().is_some_and(|(at, _, _)| at.elapsed() > KEPT)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;

    fn message(topic: &str, data: Vec<u8>) -> Outgoing {
        Outgoing { topic: topic.to_owned(), data: Bytes::from(data), metadata: None }
    }

    fn found(recent: &RecentMessages, pattern: &str) -> usize {
        recent.for_subscription(pattern).len()
    }

    #[tokio::test(start_paused = true)]
    async fn only_what_is_young_and_not_too_much_is_remembered() {
        let mut recent = RecentMessages::default();
        recent.add(Sequence::default(), &message("a", vec![1]));
        recent.add(Sequence::default(), &message("b", vec![2]));
        assert_eq!((found(&recent, "a"), found(&recent, "*")), (1, 2));
        for _ in 0..MAX_MESSAGES {
            recent.add(Sequence::default(), &message("c", vec![3]));
        }
        assert_eq!((found(&recent, "a"), found(&recent, "c")), (0, MAX_MESSAGES));
        recent.add(Sequence::default(), &message("d", vec![0; MAX_BYTES]));
        assert_eq!((found(&recent, "c"), found(&recent, "d")), (0, 1));
        tokio::time::advance(KEPT + Duration::from_secs(1)).await;
        assert_eq!(found(&recent, "d"), 0);
        recent.add(Sequence::default(), &message("e", vec![4]));
        assert_eq!((recent.messages.len(), recent.bytes), (1, 1));
    }
}
