//! The Redis side of a group: what its dispatcher needs of the stream, and what the loops send.

use std::sync::Arc;
use std::time::Duration;

use deadpool_redis::redis::{RedisError, pipe};

use super::super::advice;
use super::super::conn::{Connections, error};
use super::super::entry::{Entry, EntryId};
use super::super::settings::Settings;
use super::super::stream::{MAX_CLAIM, StreamClient};
use super::liveness::{Beat, Liveness};
use crate::broker::dispatch::{
    AckBatch, AckDriver, AckReply, DispatchEntry, Driver, Refetched, Returned, SubscriptionId, Workers,
};
use crate::telemetry::Telemetry;
use crate::telemetry::events::broker::{
    AcksAccepted, AcksDelayed, AcksRefused, EntriesGone, HandBackFailed, LivenessDenied, MetadataUnreadable,
};

/// The most ids in one XACK.
const MAX_ACK: usize = 256;
/// The idle time of entries that are handed back, where `processingTimeout` does not say: every daprd takes them over then.
const LONG_IDLE: Duration = Duration::from_secs(60);

/// One consumer of a group, as its loops use it.
pub(super) struct GroupClient {
    /// The name of the component, for logs.
    pub(super) component: Arc<str>,
    pub(super) settings: Arc<Settings>,
    /// For everything but publishing and reading.
    pub(super) connections: Arc<Connections>,
    pub(super) stream: StreamClient,
    pub(super) liveness: Liveness,
    pub(super) telemetry: Telemetry,
}

impl GroupClient {
    /// The text of an error, for logs.
    pub(super) fn error_text(&self, error: &RedisError) -> String {
        error::error_text(error, &self.settings.host)
    }

    /// The text of an error, with what to do about it.
    pub(super) fn advised_text(&self, error: &RedisError) -> String {
        format!("{}{}", self.error_text(error), advice::on(error))
    }

    /// Send one heartbeat.
    ///
    /// # Errors
    /// If Redis did not answer.
    pub(super) async fn beat(&self) -> Result<(), RedisError> {
        if self.liveness.beat(&self.connections).await? == Beat::JustDenied {
            self.telemetry.emit(LivenessDenied { component: &self.component });
        }
        Ok(())
    }

    /// Entries for the dispatcher. Metadata that cannot be read is logged.
    fn checked(&self, entries: Vec<Entry>) -> Vec<DispatchEntry<EntryId>> {
        let checked = entries.into_iter().map(|entry| {
            if let Some(reason) = &entry.metadata_error {
                let (component, position) = (&*self.component, entry.id.into());
                self.telemetry.emit(MetadataUnreadable { component, position, reason });
            }
            DispatchEntry { id: entry.id, data: entry.data, metadata: entry.metadata, attempt: entry.attempt }
        });
        checked.collect()
    }

    /// Fetch entries of this consumer again: those that exist, and the ids of those that do not. See [`StreamClient::refetch`].
    ///
    /// # Errors
    /// If Redis did not answer, or refused.
    pub(super) async fn fetch(
        &self,
        topic: &str,
        ids: &[EntryId],
        force: bool,
    ) -> Result<(Vec<Entry>, Vec<EntryId>), RedisError> {
        let found = self.stream.refetch(topic, ids, force).await?;
        let missing = ids.iter().copied().filter(|id| !found.iter().any(|entry| entry.id == *id)).collect();
        Ok((found, missing))
    }

    /// Remove entries from the pending ones that no longer exist: servers before version 7 keep them until they are acknowledged.
    ///
    /// # Errors
    /// If Redis did not answer.
    pub(super) async fn strike(&self, topic: &str, missing: &[EntryId]) -> Result<(), RedisError> {
        if missing.is_empty() {
            return Ok(());
        }
        let mut acks = pipe();
        acks.add_command(self.stream.ack(topic, missing));
        self.connections.pipeline(&acks).await.map(drop)
    }
}

impl Workers<GroupClient> {
    /// Take in what was read of a subscription, or claimed for it.
    pub(super) fn accept_read(self: &Arc<Self>, subscription: &SubscriptionId, entries: Vec<Entry>) {
        self.accept(subscription, self.driver().checked(entries));
    }
}

impl Driver for GroupClient {
    type Id = EntryId;
    type Error = RedisError;

    const MAX_REFETCH: usize = MAX_CLAIM;

    /// With FORCE, because these entries are in flight here: one that is not pending any more, because its consumer was deleted, becomes so
    /// again. The caller holds the guard of [`LostReplies`](super::lost_replies::LostReplies) until the entries are in flight.
    async fn refetch(&self, subscription: &SubscriptionId, ids: &[EntryId]) -> Result<Refetched<EntryId>, RedisError> {
        let (found, missing) = self.fetch(&subscription.topic, ids, true).await?;
        let struck = self.strike(&subscription.topic, &missing).await;
        let gone = if struck.is_ok() { missing } else { Vec::new() };
        Ok(Refetched { entries: self.checked(found), gone })
    }

    /// Make entries look as if they had been idle for long, so that another consumer takes them over at once.
    async fn hand_back(&self, subscription: &SubscriptionId, entries: &[Returned<EntryId>]) {
        if entries.is_empty() {
            return;
        }
        let topic = &subscription.topic;
        let idle = self.settings.processing_timeout.unwrap_or(LONG_IDLE);
        let ids: Vec<_> = entries.iter().map(|returned| returned.id).collect();
        for ids in ids.chunks(MAX_CLAIM) {
            if let Err(error) = self.stream.hand_back(topic, idle, ids).await {
                // They stay with this consumer and are taken over like those of a dead one.
                self.telemetry.emit(HandBackFailed { topic, count: ids.len(), error: &error });
            }
        }
        self.liveness.leaves_entries(topic);
    }

    async fn ack_first(&self, subscription: &SubscriptionId, id: EntryId) -> Result<bool, RedisError> {
        self.stream.ack_once(&subscription.topic, id).await
    }

    fn report_gone(&self, subscription: &SubscriptionId, count: usize) {
        self.telemetry.emit(EntriesGone { topic: &subscription.topic, count });
    }
}

impl AckDriver for GroupClient {
    async fn ack(&self, batch: &AckBatch<EntryId>) -> Vec<AckReply<RedisError>> {
        let mut commands = pipe();
        for (subscription, ids) in batch {
            for ids in ids.chunks(MAX_ACK) {
                commands.add_command(self.stream.ack(&subscription.topic, ids));
            }
        }
        let mut replies = self.connections.each(&commands).await.into_iter();
        let of_subscription = |ids: &Vec<EntryId>| {
            let (mut failure, mut refusal) = (None, None);
            for reply in replies.by_ref().take(ids.len().div_ceil(MAX_ACK)) {
                match reply {
                    Ok(reply) => refusal = reply.extract_error().err().or(refusal.take()),
                    Err(error) => failure = Some(error.into_error()),
                }
            }
            match (failure, refusal) {
                (Some(failure), _) => AckReply::Failed(failure),
                (None, Some(refusal)) if !is_void(&refusal) => AckReply::Refused(refusal),
                _ => AckReply::Confirmed,
            }
        };
        batch.values().map(of_subscription).collect()
    }

    fn report_delayed(&self, error: &RedisError) {
        let error = self.error_text(error);
        self.telemetry.emit(AcksDelayed { component: &self.component, error: &error });
    }

    fn report_refused(&self, subscription: &SubscriptionId, error: &RedisError) {
        let remedy = match error.code() {
            Some("NOPERM") => " (grant the user of redisUsername +xack on the key of the topic)",
            _ => advice::on(error),
        };
        let error = format!("{}{remedy}", self.error_text(error));
        self.telemetry.emit(AcksRefused { component: &self.component, topic: &subscription.topic, error: &error });
    }

    fn report_accepted(&self) {
        self.telemetry.emit(AcksAccepted { component: &self.component });
    }
}

/// Does the group no longer exist? Then there is nothing to acknowledge.
fn is_void(error: &RedisError) -> bool {
    matches!(error.code(), Some("NOGROUP" | "WRONGTYPE"))
}
