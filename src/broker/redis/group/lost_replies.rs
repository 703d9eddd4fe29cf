//! Entries that Redis has assigned to this consumer and that never arrived, because the reply was lost with a connection.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use deadpool_redis::redis::RedisError;
use futures_util::future::join_all;
use tokio::sync::{Mutex, MutexGuard};

use super::super::conn::error;
use super::super::entry::EntryId;
use super::super::stream::MAX_CLAIM;
use super::client::GroupClient;
use crate::broker::dispatch::{InFlight, SubscriptionId, Workers};

/// Rows of XPENDING in one reply.
pub(super) const PAGE: usize = 1000;

/// Held while claiming: a claimed entry that is not yet in flight would look like a lost reply, so that search takes this lock, too.
pub(super) type ClaimGuard<'a> = MutexGuard<'a, ()>;

/// Suspicions of lost replies of a group, and the lock that keeps claims and searches apart.
#[derive(Default)]
pub(super) struct LostReplies {
    suspicions: AtomicU64,
    claims: Mutex<()>,
}

impl LostReplies {
    /// A reply may have been lost: the readers search before their next read.
    pub(super) fn suspect(&self, inflight: &InFlight<EntryId>) {
        self.suspicions.fetch_add(1, Ordering::Relaxed);
        inflight.reader.notify_one();
    }

    /// How often a reply may have been lost so far: a reader whose last search was at another number searches again.
    pub(super) fn suspicions(&self) -> u64 {
        self.suspicions.load(Ordering::Relaxed)
    }

    /// Wait for the right to claim.
    pub(super) async fn claim(&self) -> ClaimGuard<'_> {
        self.claims.lock().await
    }

    /// Find entries of these subscriptions whose reply was lost, and take them in.
    ///
    /// # Errors
    /// If Redis did not answer.
    pub(super) async fn recover(
        &self,
        workers: &Arc<Workers<GroupClient>>,
        subscriptions: &[SubscriptionId],
    ) -> Result<(), RedisError> {
        let guard = self.claim().await;
        let searches = subscriptions.iter().map(|subscription| recover_of(workers, subscription, &guard));
        join_all(searches).await.into_iter().collect()
    }
}

async fn recover_of(
    workers: &Arc<Workers<GroupClient>>,
    subscription: &SubscriptionId,
    _guard: &ClaimGuard<'_>,
) -> Result<(), RedisError> {
    let (client, topic) = (workers.driver(), &subscription.topic);
    let own = Some(&*client.stream.consumer);
    let mut from = "-".to_owned();
    loop {
        let page = match client.stream.pending(topic, &from, PAGE, own).await {
            Ok(page) => page,
            // Redis refuses this topic for now: the reader finds that out, too.
            Err(error) if !error::is_transient(&error) => return Ok(()),
            Err(error) => return Err(error),
        };
        let ids = workers.inflight().unknown(subscription, page.iter().map(|row| row.id));
        for ids in ids.chunks(MAX_CLAIM) {
            // Without FORCE: an entry that is not pending any more has been acknowledged.
            let (found, missing) = client.fetch(topic, ids, false).await?;
            workers.accept_read(subscription, found);
            workers.start();
            client.strike(topic, &missing).await?;
        }
        match page.last() {
            Some(last) if page.len() == PAGE => from = format!("({}", last.id),
            _ => return Ok(()),
        }
    }
}
