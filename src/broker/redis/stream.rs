//! The commands of Redis Streams, each built in one place, as one consumer of a group sends them (tests/spec/redis.md, "6. Publish",
//! "8. Subscribe", "12. Reclaim loop (one per topic)").

use std::sync::Arc;
use std::time::Duration;

use deadpool_redis::redis::{Cmd, RedisError, Value, cmd};

use super::conn::Connections;
use super::entry::{self, Entry, EntryId, Pending};
use super::settings::Trim;
use crate::json::push_map;
use crate::message::{Metadata, Outgoing};

/// The most ids in one XCLAIM.
pub(super) const MAX_CLAIM: usize = 500;

/// Sends stream commands for one consumer of a group. Commands that go in a pipeline, or on the connection of a reader, are only built.
pub(super) struct StreamClient {
    connections: Arc<Connections>,
    /// The name of the group.
    pub(super) group: String,
    /// The name of the consumer within the group.
    pub(super) consumer: String,
}

/// The outcome of claiming entries of other consumers.
pub(super) struct Claimed {
    /// The entries that belong to this consumer now.
    pub(super) entries: Vec<Entry>,
    /// Some no longer exist in the stream. Servers before version 7 assign these to this consumer, too; later ones leave them out.
    pub(super) has_deleted: bool,
}

impl StreamClient {
    /// A consumer of a group.
    pub(super) fn new(connections: Arc<Connections>, group: &str, consumer: &str) -> Self {
        Self { connections, group: group.to_owned(), consumer: consumer.to_owned() }
    }

    /// Create the group so that it gets everything after the entry `after`, if it does not exist.
    ///
    /// # Errors
    /// If Redis did not answer, or refused.
    pub(super) async fn create_group(&self, topic: &str, after: &str) -> Result<(), RedisError> {
        match self.connections.command(&self.group_creation(topic, after)).await {
            Err(error) if error.code() != Some("BUSYGROUP") => Err(error),
            _ => Ok(()),
        }
    }

    /// XGROUP CREATE: see [`StreamClient::create_group`].
    pub(super) fn group_creation(&self, topic: &str, after: &str) -> Cmd {
        let mut command = cmd("XGROUP");
        command.arg("CREATE").arg(topic).arg(&self.group).arg(after).arg("MKSTREAM");
        command
    }

    /// Delete this consumer. Entries that it has are lost with it.
    ///
    /// # Errors
    /// If Redis did not answer, or refused.
    pub(super) async fn delete_consumer(&self, topic: &str) -> Result<(), RedisError> {
        let mut command = cmd("XGROUP");
        command.arg("DELCONSUMER").arg(topic).arg(&self.group).arg(&self.consumer);
        self.connections.command(&command).await.map(drop)
    }

    /// XREADGROUP for new entries of several topics, at most `count` of each, which waits for the first one for at most `block`.
    pub(super) fn blocking_read<T: AsRef<str>>(&self, topics: &[T], count: usize, block: Duration) -> Cmd {
        let mut command = self.reading(count);
        command.arg("BLOCK").arg(millis(block)).arg("STREAMS");
        for topic in topics {
            command.arg(topic.as_ref());
        }
        for _ in topics {
            command.arg(">");
        }
        command
    }

    /// XREADGROUP for new entries of one topic, which does not wait.
    pub(super) fn reading_of(&self, topic: &str, count: usize) -> Cmd {
        self.reading_after(topic, count, ">")
    }

    /// Read new entries of one topic.
    ///
    /// # Errors
    /// If Redis did not answer, or refused.
    pub(super) async fn read(&self, topic: &str, count: usize) -> Result<Vec<(String, Vec<Entry>)>, RedisError> {
        self.connections.command(&self.reading_of(topic, count)).await.map(entry::entries_by_topic)
    }

    /// XREADGROUP that needs the same rights and conditions as any other, and returns no entry: what this consumer has after the last id.
    pub(super) fn trial_read(&self, topic: &str) -> Cmd {
        // The highest id but one: Redis takes the highest for `>`.
        self.reading_after(topic, 1, "18446744073709551615-18446744073709551614")
    }

    fn reading_after(&self, topic: &str, count: usize, after: &str) -> Cmd {
        let mut command = self.reading(count);
        command.arg("STREAMS").arg(topic).arg(after);
        command
    }

    fn reading(&self, count: usize) -> Cmd {
        let mut command = cmd("XREADGROUP");
        command.arg("GROUP").arg(&self.group).arg(&self.consumer).arg("COUNT").arg(count);
        command
    }

    /// XACK.
    pub(super) fn ack(&self, topic: &str, ids: &[EntryId]) -> Cmd {
        let mut command = cmd("XACK");
        command.arg(topic).arg(&self.group);
        with_ids(command, ids)
    }

    /// Acknowledge one entry. Returns whether this call removed it from the pending entries: `true` for exactly one of all callers.
    ///
    /// # Errors
    /// If Redis did not answer. The entry may be acknowledged all the same.
    pub(super) async fn ack_once(&self, topic: &str, id: EntryId) -> Result<bool, RedisError> {
        Ok(self.connections.command(&self.ack(topic, &[id])).await? == Value::Int(1))
    }

    /// The pending entries from an id on, at most `count`: of one consumer, or of all.
    ///
    /// # Errors
    /// If Redis did not answer, or refused.
    pub(super) async fn pending(
        &self,
        topic: &str,
        from: &str,
        count: usize,
        consumer: Option<&str>,
    ) -> Result<Vec<Pending>, RedisError> {
        self.connections
            .command(&self.pending_range(topic, None, from, count, consumer))
            .await
            .map(entry::pending_entries)
    }

    /// XPENDING for entries that have been idle for at least `idle`, at most `count`. Servers before version 6.2 refuse it.
    pub(super) fn pending_idle(&self, topic: &str, idle: Duration, count: usize) -> Cmd {
        self.pending_range(topic, Some(idle), "-", count, None)
    }

    /// Is it certain that this consumer has no pending entry of the topic?
    pub(super) async fn has_no_pending(&self, topic: &str) -> bool {
        let reply = self.connections.command(&self.pending_range(topic, None, "-", 1, Some(&self.consumer))).await;
        match reply {
            Ok(reply @ Value::Array(_)) => entry::pending_entries(reply).is_empty(),
            _ => false,
        }
    }

    fn pending_range(
        &self,
        topic: &str,
        idle: Option<Duration>,
        from: &str,
        count: usize,
        consumer: Option<&str>,
    ) -> Cmd {
        let mut command = cmd("XPENDING");
        command.arg(topic).arg(&self.group);
        if let Some(idle) = idle {
            command.arg("IDLE").arg(millis(idle));
        }
        command.arg(from).arg("+").arg(count);
        if let Some(consumer) = consumer {
            command.arg(consumer);
        }
        command
    }

    /// Take entries over from other consumers, if they have been idle for at least `idle`.
    ///
    /// # Errors
    /// If Redis did not answer: some may belong to this consumer then all the same.
    pub(super) async fn claim(&self, topic: &str, idle: Duration, ids: &[EntryId]) -> Result<Claimed, RedisError> {
        let reply = self.connections.command(&self.claiming(topic, idle, ids)).await?;
        Ok(Claimed { has_deleted: entry::has_nil(&reply), entries: entry::claimed_entries(reply) })
    }

    /// Fetch entries of this consumer again. Those that no longer exist in the stream are left out. With `force` an entry that is no longer
    /// pending becomes so again, which happens when the consumer was deleted.
    ///
    /// # Errors
    /// If Redis did not answer, or refused.
    pub(super) async fn refetch(&self, topic: &str, ids: &[EntryId], force: bool) -> Result<Vec<Entry>, RedisError> {
        let mut command = self.claiming(topic, Duration::ZERO, ids);
        if force {
            command.arg("FORCE");
        }
        self.connections.command(&command).await.map(entry::claimed_entries)
    }

    /// XCLAIM that resets the idle time of entries of this consumer. JUSTID leaves the count of deliveries alone.
    pub(super) fn keep_alive(&self, topic: &str, ids: &[EntryId]) -> Cmd {
        let mut command = self.claiming(topic, Duration::ZERO, ids);
        command.arg("JUSTID");
        command
    }

    /// Make entries of this consumer look as if they had been idle for so long, so that others take them over.
    ///
    /// # Errors
    /// If Redis did not answer, or refused.
    pub(super) async fn hand_back(&self, topic: &str, idle: Duration, ids: &[EntryId]) -> Result<(), RedisError> {
        let mut command = self.claiming(topic, Duration::ZERO, ids);
        command.arg("IDLE").arg(millis(idle)).arg("JUSTID");
        self.connections.command(&command).await.map(drop)
    }

    /// XCLAIM for this consumer of entries that have been idle for at least `idle`.
    fn claiming(&self, topic: &str, idle: Duration, ids: &[EntryId]) -> Cmd {
        let mut command = cmd("XCLAIM");
        command.arg(topic).arg(&self.group).arg(&self.consumer).arg(millis(idle));
        with_ids(command, ids)
    }
}

/// XGROUP DESTROY.
pub(super) fn destroy_group(topic: &str, group: &str) -> Cmd {
    let mut command = cmd("XGROUP");
    command.arg("DESTROY").arg(topic).arg(group);
    command
}

/// Bytes of XADD beside topic and data.
const XADD_OVERHEAD: usize = 192;

/// XADD (tests/spec/redis.md, "6. Publish"). `now_millis` is the time from which `streamTTL` counts back.
pub(super) fn add(message: &Outgoing, trim: Option<Trim>, now_millis: i64) -> Cmd {
    // All the space at once, so that growing copies nothing.
    let mut command = Cmd::with_capacity(10, message.data.len() + message.topic.len() + XADD_OVERHEAD);
    command.arg("XADD").arg(&message.topic);
    match trim {
        Some(Trim::ExactLength(length)) => drop(command.arg("MAXLEN").arg(length)),
        Some(Trim::Length(length)) => drop(command.arg("MAXLEN").arg("~").arg(length)),
        Some(Trim::Age(age)) => {
            let oldest = format!("{}-1", now_millis.saturating_sub(age));
            command.arg("MINID").arg("~").arg(oldest);
        }
        None => {}
    }
    command.arg("*").arg("data").arg(&message.data[..]);
    if let Some(metadata) = &message.metadata {
        command.arg("metadata").arg(encode_metadata(metadata));
    }
    command
}

fn encode_metadata(metadata: &Metadata) -> Vec<u8> {
    let mut json = Vec::with_capacity(2 + 32 * metadata.len());
    push_map(&mut json, metadata);
    json
}

fn with_ids(mut command: Cmd, ids: &[EntryId]) -> Cmd {
    for id in ids {
        command.arg(id.to_string());
    }
    command
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    #[track_caller]
    fn written(message: &Outgoing, trim: Option<Trim>, expected: &[u8]) {
        let packed = add(message, trim, 1_741_917_566_000).get_packed_command();
        assert_eq!(String::from_utf8_lossy(&packed), String::from_utf8_lossy(expected));
    }

    fn outgoing(metadata: Option<&[(&str, &str)]>) -> Outgoing {
        let metadata =
            metadata.map(|pairs| pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect());
        Outgoing { topic: "orders".to_owned(), data: Bytes::from_static(b"\x00\xff\n"), metadata }
    }

    #[test]
    fn an_entry_is_written_byte_for_byte_as_by_daprd() {
        let raw = b"*7\r\n$4\r\nXADD\r\n$6\r\norders\r\n$1\r\n*\r\n$4\r\ndata\r\n$3\r\n\x00\xff\n\r\n$8\r\nmetadata\r\n$21\r\n{\"rawPayload\":\"true\"}\r\n";
        written(&outgoing(Some(&[("rawPayload", "true")])), None, raw);
        written(
            &outgoing(None),
            None,
            b"*5\r\n$4\r\nXADD\r\n$6\r\norders\r\n$1\r\n*\r\n$4\r\ndata\r\n$3\r\n\x00\xff\n\r\n",
        );
        let metadata = encode_metadata(
            &outgoing(Some(&[("ttlInSeconds", "60"), ("foo", "a&b"), ("cloudevent.subject", "s1")])).metadata.unwrap(),
        );
        assert_eq!(metadata, br#"{"cloudevent.subject":"s1","foo":"a\u0026b","ttlInSeconds":"60"}"#);
    }

    #[test]
    fn streams_are_trimmed_with_each_entry() {
        let packed = |trim| {
            String::from_utf8_lossy(&add(&outgoing(None), Some(trim), 1_741_917_566_000).get_packed_command())
                .into_owned()
        };
        assert!(packed(Trim::ExactLength(10)).contains("MAXLEN\r\n$2\r\n10\r\n"));
        assert!(packed(Trim::Length(1000)).contains("MAXLEN\r\n$1\r\n~\r\n$4\r\n1000\r\n"));
        assert!(packed(Trim::Age(3_600_000)).contains("MINID\r\n$1\r\n~\r\n$15\r\n1741913966000-1\r\n"));
    }
}
