//! Taking entries that are pending already: our own whose redelivery is due, and those of others who cannot finish them.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use deadpool_redis::redis::{RedisError, pipe};

use super::entry::{Entry, EntryId, Pending};
use super::stream::MAX_CLAIM;
use super::{Shared, work};

/// The right to claim. An entry that has been claimed and is not on the board yet looks like a stray: so nobody looks for strays
/// while somebody claims.
pub(super) type Claiming<'a> = tokio::sync::MutexGuard<'a, ()>;

/// Whether the group's list must have an entry that is to be fetched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Listed {
    /// It was seen there; if it is gone by now, somebody has acknowledged it.
    Still,
    /// We have it in hand. If the list has lost it, because somebody has deleted the consumer, it goes back there.
    OrAgain,
}

/// Fetch entries of ours from the stream again and put them on the board. Returns those that the stream no longer has: they are
/// struck from the group's list as well.
///
/// # Errors
/// If Redis did not answer; then nothing has changed.
pub(super) async fn fetch(
    shared: &Arc<Shared>,
    topic: &str,
    ids: &[EntryId],
    listed: Listed,
    _alone: &Claiming<'_>,
) -> Result<Vec<EntryId>, RedisError> {
    let mut gone = Vec::new();
    for ids in ids.chunks(MAX_CLAIM) {
        let found = shared.stream.refetch(topic, ids, listed == Listed::OrAgain).await?;
        let missing: Vec<_> = ids.iter().copied().filter(|id| !found.iter().any(|entry| entry.id == *id)).collect();
        accept(shared, topic, found);
        if !missing.is_empty() {
            // Servers before 7 keep deleted entries in the list of pending ones until somebody acknowledges them.
            let mut acks = pipe();
            acks.add_command(shared.stream.ack(topic, &missing));
            shared.connections.pipeline(&acks).await?;
            gone.extend(missing);
        }
    }
    Ok(gone)
}

/// Take entries over from other consumers, if they have been idle for at least `idle`, and put them on the board. Tells how many.
///
/// # Errors
/// If Redis did not answer. Some may be ours then all the same: strays.
pub(super) async fn take_over(
    shared: &Arc<Shared>,
    topic: &str,
    pending: &[Pending],
    idle: Duration,
    _alone: &Claiming<'_>,
) -> Result<usize, RedisError> {
    let deliveries: HashMap<EntryId, u32> = pending.iter().map(|row| (row.id, row.deliveries)).collect();
    let ids: Vec<_> = pending.iter().map(|row| row.id).collect();
    let mut taken = 0;
    for ids in ids.chunks(MAX_CLAIM) {
        let claimed = shared.stream.claim(topic, idle, ids).await.inspect_err(|_| shared.look_for_strays())?;
        if claimed.has_deleted {
            // Servers before 7 give entries that the stream no longer has as nothing, but they are ours then: as strays they are struck.
            shared.look_for_strays();
        }
        let mut entries = claimed.entries;
        for entry in &mut entries {
            entry.attempt = deliveries.get(&entry.id).copied().unwrap_or(0).saturating_add(1);
        }
        taken += entries.len();
        accept(shared, topic, entries);
    }
    Ok(taken)
}

fn accept(shared: &Arc<Shared>, topic: &str, entries: Vec<Entry>) {
    work::accept(shared, vec![(topic.to_owned(), entries)]);
}
