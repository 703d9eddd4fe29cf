//! Who this consumer is, and how the others of its group know that it lives (D9).
//!
//! Beside the group stand two kinds of keys, which daprd does not see:
//! - `sidestream:{group}:alive:<consumer>` expires a few seconds after its owner last renewed it;
//! - `sidestream:{group}:instances` is a hash from each consumer to the topics it may have entries of.
//!
//! The braces keep all keys of a group in one slot of a cluster.

use std::collections::BTreeSet;
use std::time::Duration;

use deadpool_redis::redis::{Pipeline, RedisError, Value, pipe};
use parking_lot::{Mutex, MutexGuard};
use tokio::time::Instant;
use uuid::Uuid;

use super::conn::Connections;

/// How long a consumer counts as alive after its last sign.
const LIFE: Duration = Duration::from_secs(6);
/// How often it gives one.
pub(super) const SIGN: Duration = Duration::from_secs(1);
// The entries of the dead are taken over within ten seconds (D9): a sign runs out, and the next look finds it so.
const _: () = assert!(LIFE.as_secs() + 2 * SIGN.as_secs() < 10);

/// One consumer of a group.
pub(super) struct Instance {
    /// Its name within the group; no other process has it.
    pub(super) consumer: String,
    pub(super) registry: String,
    alive_prefix: String,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    topics: BTreeSet<String>,
    /// Topics of which entries were handed back and may still be in this consumer's list.
    left: BTreeSet<String>,
    /// The topics as they stand in the registry.
    registered: Option<String>,
    signed_before: bool,
    /// When the last sign was given that Redis has confirmed.
    signed: Option<Instant>,
    /// A sign was late, and nobody has seen to it yet.
    late: bool,
    /// The server does not let us write these keys: entries are taken over by their idle time only.
    denied: bool,
}

/// What a sign of life showed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sign {
    /// Confirmed. If the last one had expired, see [`Instance::take_late`].
    Given,
    /// This server does not permit it (told once).
    JustDenied,
    /// As before: not permitted.
    Denied,
}

impl Instance {
    pub(super) fn new(group: &str) -> Self {
        Self {
            consumer: format!("{group}-{}", Uuid::new_v4().simple()),
            registry: format!("sidestream:{{{group}}}:instances"),
            alive_prefix: format!("sidestream:{{{group}}}:alive:"),
            state: Mutex::default(),
        }
    }

    /// The only consumer of a group of its own: it has no others to tell that it lives.
    pub(super) fn alone(group: &str) -> Self {
        let alone = Self::new(group);
        alone.state().denied = true;
        Self { consumer: group.to_owned(), ..alone }
    }

    /// The key that exists while this consumer lives.
    pub(super) fn alive_key(&self, consumer: &str) -> String {
        format!("{}{consumer}", self.alive_prefix)
    }

    /// This consumer is going to read a topic.
    pub(super) fn reads(&self, topic: &str) {
        self.state().topics.insert(topic.to_owned());
    }

    /// This consumer has let go of entries of a topic that others are to take.
    pub(super) fn leaves_entries(&self, topic: &str) {
        self.state().left.insert(topic.to_owned());
    }

    /// This consumer does not read a topic any more.
    pub(super) fn stops_reading(&self, topic: &str) {
        self.state().topics.remove(topic);
    }

    /// Give a sign of life, and see to it that the registry names this consumer with its topics.
    ///
    /// # Errors
    /// If Redis did not answer.
    pub(super) async fn sign(&self, connections: &Connections) -> Result<Sign, RedisError> {
        if self.state().denied {
            return Ok(Sign::Denied);
        }
        let (signs, topics) = self.signs();
        let mut begun = Instant::now();
        let answers = connections.pipeline(&signs).await?;
        let Some(lost) = self.read_signs(&answers, topics) else {
            return Ok(Sign::JustDenied);
        };
        if lost {
            let mut again = pipe();
            self.begin_life(&mut again);
            begun = Instant::now();
            connections.pipeline(&again).await?;
        }
        self.state().signed = Some(begun);
        Ok(Sign::Given)
    }

    /// Can nobody have taken this consumer for dead since somebody last saw to that?
    pub(super) fn is_well(&self) -> bool {
        !self.state().late && self.is_sure()
    }

    /// Is the last sign still good?
    pub(super) fn is_sure(&self) -> bool {
        let state = self.state();
        state.denied || state.signed.is_some_and(|signed| signed.elapsed() < LIFE)
    }

    /// Does the server not permit signs?
    pub(super) fn is_denied(&self) -> bool {
        self.state().denied
    }

    /// Had a sign expired before the next one? Others may have taken our entries then. Whoever asks sees to it.
    pub(super) fn take_late(&self) -> bool {
        std::mem::take(&mut self.state().late)
    }

    /// Nobody could see to it.
    pub(super) fn still_late(&self) {
        self.state().late = true;
    }

    /// Nothing is in hand, and no signs are given for a while.
    pub(super) fn rests(&self) {
        self.state().signed_before = false;
    }

    /// Was the key gone? `None` if the server does not permit it.
    fn read_signs(&self, answers: &[Value], topics: String) -> Option<bool> {
        let refused =
            answers.iter().any(|answer| matches!(answer, Value::ServerError(error) if error.code() == "NOPERM"));
        let mut state = self.state();
        if refused {
            state.denied = true;
            return None;
        }
        state.registered =
            (answers.get(1) == Some(&Value::Int(1)) || state.registered.as_ref() != Some(&topics)).then_some(topics);
        let lost = answers.first() == Some(&Value::Int(0));
        state.late |= lost && state.signed_before;
        state.signed_before = true;
        Some(lost)
    }

    /// Say that this consumer is gone. Entries it has handed back are found by the registry.
    pub(super) async fn farewell(&self, connections: &Connections) {
        let (left, denied) = {
            let state = self.state();
            (join(&state.left), state.denied || !state.signed_before)
        };
        if denied {
            return;
        }
        let mut commands = pipe();
        commands.cmd("DEL").arg(self.alive_key(&self.consumer));
        if left.is_empty() {
            commands.cmd("HDEL").arg(&self.registry).arg(&self.consumer);
        } else {
            commands.cmd("HSET").arg(&self.registry).arg(&self.consumer).arg(left);
        }
        // If it does not get through, the sign of life expires by itself.
        let _ = connections.pipeline(&commands).await;
    }

    fn signs(&self) -> (Pipeline, String) {
        let (topics, changed) = {
            let state = self.state();
            let topics = join(&state.topics.union(&state.left).cloned().collect());
            let changed = state.registered.as_ref() != Some(&topics);
            (topics, changed)
        };
        let mut signs = pipe();
        self.prolong_life(&mut signs);
        if changed {
            signs.cmd("HSET").arg(&self.registry).arg(&self.consumer).arg(&topics);
        } else {
            signs.cmd("HEXISTS").arg(&self.registry).arg(&self.consumer);
        }
        (signs, topics)
    }

    fn begin_life(&self, commands: &mut Pipeline) {
        commands.cmd("SET").arg(self.alive_key(&self.consumer)).arg(1).arg("PX").arg(LIFE.as_millis() as u64);
    }

    /// Not by SET: a Redis that is full refuses it, and all the living would look dead.
    fn prolong_life(&self, commands: &mut Pipeline) {
        commands.cmd("PEXPIRE").arg(self.alive_key(&self.consumer)).arg(LIFE.as_millis() as u64);
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock()
    }
}

/// Topics as one text. A line break cannot be part of the path of a publish, and a topic that has one all the same is only not taken
/// over early.
fn join(topics: &BTreeSet<String>) -> String {
    topics.iter().map(String::as_str).collect::<Vec<_>>().join("\n")
}
