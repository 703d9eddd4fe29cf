//! The name of this consumer, and how the others of its group know that it lives (D9).
//!
//! Two kinds of keys beside the group, which daprd does not see:
//! - `sidestream:{group}:alive:<consumer>` expires a few seconds after its owner last renewed it;
//! - `sidestream:{group}:instances` is a hash from each consumer to the topics of which it may have entries.
//!
//! The braces keep all keys of a group in one slot of a cluster.

use std::collections::BTreeSet;
use std::time::Duration;

use deadpool_redis::redis::{Pipeline, RedisError, Value, pipe};
use parking_lot::{Mutex, MutexGuard};
use tokio::time::Instant;
use uuid::Uuid;

use super::super::conn::Connections;

/// How long a consumer counts as alive after its last heartbeat.
const LIFETIME: Duration = Duration::from_secs(6);
/// The time between heartbeats.
pub(super) const PERIOD: Duration = Duration::from_secs(1);
// Entries of a dead instance are taken over within ten seconds (D9): its key expires, and the next sweep finds that.
const _: () = assert!(LIFETIME.as_secs() + 2 * PERIOD.as_secs() < 10);

/// One consumer of a group.
pub(in crate::broker::redis) struct Liveness {
    /// Its name within the group; no other process has it.
    pub(super) consumer: String,
    /// The key of the hash of instances.
    pub(super) registry: String,
    alive_prefix: String,
    state: Mutex<LivenessState>,
}

#[derive(Default)]
struct LivenessState {
    topics: BTreeSet<String>,
    /// Topics of which entries were handed back and may still be in this consumer's list.
    handed_back: BTreeSet<String>,
    /// The topics as the registry has them.
    registered: Option<String>,
    heartbeats: Heartbeats,
    /// When the last heartbeat was sent that Redis has confirmed.
    confirmed: Option<Instant>,
    /// A heartbeat lapsed, and entries claimed by others have not been dropped yet.
    lapsed: bool,
}

/// Whether heartbeats are sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Heartbeats {
    /// Not for now: nothing is in flight. The key may expire, and no entries are lost by that.
    #[default]
    Paused,
    /// One each second: a key that has expired means that one lapsed.
    Beating,
    /// Never: the server does not permit writing these keys, or there are no others in the group. Entries are taken over by idle time.
    Denied,
}

/// The outcome of a heartbeat.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Beat {
    /// Redis has it. If the key had expired, see [`Liveness::take_lapse`].
    Confirmed,
    /// The server does not permit it; returned once.
    JustDenied,
    /// Not permitted, as before.
    Denied,
}

impl Liveness {
    /// A new consumer of a group that it shares with others.
    pub(in crate::broker::redis) fn new(group: &str) -> Self {
        Self {
            consumer: format!("{group}-{}", Uuid::new_v4().simple()),
            registry: format!("sidestream:{{{group}}}:instances"),
            alive_prefix: format!("sidestream:{{{group}}}:alive:"),
            state: Mutex::default(),
        }
    }

    /// The only consumer of a group of its own, which needs no heartbeats.
    pub(in crate::broker::redis) fn of_private_group(group: &str) -> Self {
        let liveness = Self::new(group);
        liveness.state().heartbeats = Heartbeats::Denied;
        Self { consumer: group.to_owned(), ..liveness }
    }

    /// The key that exists while this consumer lives.
    pub(super) fn alive_key(&self, consumer: &str) -> String {
        format!("{}{consumer}", self.alive_prefix)
    }

    /// This consumer is going to read a topic.
    pub(super) fn reads(&self, topic: &str) {
        self.state().topics.insert(topic.to_owned());
    }

    /// This consumer has handed back entries of a topic, which others are to take.
    pub(super) fn leaves_entries(&self, topic: &str) {
        self.state().handed_back.insert(topic.to_owned());
    }

    /// This consumer does not read a topic any more.
    pub(super) fn stops_reading(&self, topic: &str) {
        self.state().topics.remove(topic);
    }

    /// Send a heartbeat, and keep the entry of this consumer in the registry up to date.
    ///
    /// # Errors
    /// If Redis did not answer.
    pub(super) async fn beat(&self, connections: &Connections) -> Result<Beat, RedisError> {
        if self.is_denied() {
            return Ok(Beat::Denied);
        }
        let (commands, topics) = self.commands();
        let mut sent = Instant::now();
        let replies = connections.pipeline(&commands).await?;
        let Some(had_expired) = self.read_replies(&replies, topics) else {
            return Ok(Beat::JustDenied);
        };
        if had_expired {
            let mut again = pipe();
            self.set_alive(&mut again);
            sent = Instant::now();
            connections.pipeline(&again).await?;
        }
        self.state().confirmed = Some(sent);
        Ok(Beat::Confirmed)
    }

    /// No other instance can have declared this consumer dead since the last check.
    pub(super) fn is_well(&self) -> bool {
        !self.state().lapsed && self.is_current()
    }

    /// Is the last heartbeat still valid?
    pub(super) fn is_current(&self) -> bool {
        let state = self.state();
        state.heartbeats == Heartbeats::Denied
            || state.confirmed.is_some_and(|confirmed| confirmed.elapsed() < LIFETIME)
    }

    /// Are there no heartbeats of this consumer?
    pub(super) fn is_denied(&self) -> bool {
        self.state().heartbeats == Heartbeats::Denied
    }

    /// Did a heartbeat lapse? Others may have claimed entries then. The caller drops these, or calls [`Liveness::keep_lapse`].
    pub(super) fn take_lapse(&self) -> bool {
        std::mem::take(&mut self.state().lapsed)
    }

    /// The entries that others may have claimed could not be dropped.
    pub(super) fn keep_lapse(&self) {
        self.state().lapsed = true;
    }

    /// Nothing is in flight: a key that expires from now on is no lapse.
    pub(super) fn pause(&self) {
        let mut state = self.state();
        if state.heartbeats == Heartbeats::Beating {
            state.heartbeats = Heartbeats::Paused;
        }
    }

    /// Had the key expired? `None` if the server does not permit it.
    fn read_replies(&self, replies: &[Value], topics: String) -> Option<bool> {
        let is_refused =
            replies.iter().any(|reply| matches!(reply, Value::ServerError(error) if error.code() == "NOPERM"));
        let mut state = self.state();
        if is_refused {
            state.heartbeats = Heartbeats::Denied;
            return None;
        }
        state.registered =
            (replies.get(1) == Some(&Value::Int(1)) || state.registered.as_ref() != Some(&topics)).then_some(topics);
        let had_expired = replies.first() == Some(&Value::Int(0));
        state.lapsed |= had_expired && state.heartbeats == Heartbeats::Beating;
        state.heartbeats = Heartbeats::Beating;
        Some(had_expired)
    }

    /// Remove the key and the entry of this consumer. Entries that it has handed back are found by the registry.
    pub(super) async fn deregister(&self, connections: &Connections) {
        let (handed_back, heartbeats) = {
            let state = self.state();
            (join(&state.handed_back), state.heartbeats)
        };
        if heartbeats != Heartbeats::Beating {
            return;
        }
        let mut commands = pipe();
        commands.cmd("DEL").arg(self.alive_key(&self.consumer));
        if handed_back.is_empty() {
            commands.cmd("HDEL").arg(&self.registry).arg(&self.consumer);
        } else {
            commands.cmd("HSET").arg(&self.registry).arg(&self.consumer).arg(handed_back);
        }
        // If it fails, the key expires by itself.
        let _ = connections.pipeline(&commands).await;
    }

    fn commands(&self) -> (Pipeline, String) {
        let (topics, is_changed) = {
            let state = self.state();
            let topics = join(&state.topics.union(&state.handed_back).cloned().collect());
            let is_changed = state.registered.as_ref() != Some(&topics);
            (topics, is_changed)
        };
        let mut commands = pipe();
        self.prolong(&mut commands);
        if is_changed {
            commands.cmd("HSET").arg(&self.registry).arg(&self.consumer).arg(&topics);
        } else {
            commands.cmd("HEXISTS").arg(&self.registry).arg(&self.consumer);
        }
        (commands, topics)
    }

    fn set_alive(&self, commands: &mut Pipeline) {
        commands.cmd("SET").arg(self.alive_key(&self.consumer)).arg(1).arg("PX").arg(LIFETIME.as_millis() as u64);
    }

    /// Not by SET, which a Redis whose memory is full refuses: all instances would look dead.
    fn prolong(&self, commands: &mut Pipeline) {
        commands.cmd("PEXPIRE").arg(self.alive_key(&self.consumer)).arg(LIFETIME.as_millis() as u64);
    }

    fn state(&self) -> MutexGuard<'_, LivenessState> {
        self.state.lock()
    }
}

/// Topics as one text, one a line. A topic that contains a line break, which no path of a publish can have, is only not taken over early.
fn join(topics: &BTreeSet<String>) -> String {
    topics.iter().map(String::as_str).collect::<Vec<_>>().join("\n")
}
