//! Messages as the queues hold them.

use std::time::Duration;

use crate::broker::dispatch::DispatchEntry;
use crate::message::{Outgoing, Position};

/// Messages that the queue of one subscription holds; a publish waits for space.
pub(super) const MAX_QUEUED: usize = 1_000;
/// How long the queue of a subscription that has ended goes on taking messages, for the next one to the same topic.
pub(super) const KEPT: Duration = Duration::from_secs(300);

/// The number of a message in its broker, counted from 1.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Sequence(pub(super) u64);

impl From<Sequence> for Position {
    fn from(sequence: Sequence) -> Self {
        Self::Sequence(sequence.0)
    }
}

/// A message as a queue holds it. Its `attempt` counts the deliveries that it has had.
pub(super) type QueuedEntry = DispatchEntry<Sequence>;

/// A published message for a queue.
pub(super) fn entry(sequence: Sequence, message: &Outgoing) -> QueuedEntry {
    QueuedEntry { id: sequence, data: message.data.clone(), metadata: message.metadata.clone(), attempt: 0 }
}
