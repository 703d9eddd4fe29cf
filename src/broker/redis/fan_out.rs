//! The group that an instance has for itself (`fanOut`), and what becomes of those whose instance died without removing them.
//!
//! Beside the group after which they are named stand two kinds of keys, which daprd does not see:
//! - `sidestream:{group}:fan-out` is a hash from the group of each instance to its topics;
//! - `sidestream:{group}:fan-out:<group of the instance>` expires when its instance has not renewed it for `fanOutExpiry`.
//!
//! Whoever fans out after the same group removes the groups whose key has expired. Time is that of Redis.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use deadpool_redis::redis::{Pipeline, RedisError, Value, cmd, pipe};
use parking_lot::{Mutex, MutexGuard};
use uuid::Uuid;

use super::stream::destroy_group;
use super::{Shared, reply};
use crate::shutdown::Stop;

/// The longest time between two looks at who has died.
const LONGEST_PERIOD: Duration = Duration::from_secs(60);

/// One instance's own group.
pub(super) struct FanOut {
    /// Its name; no other instance has it.
    pub(super) group: String,
    registry: String,
    expiry: Duration,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    topics: BTreeSet<String>,
    /// The server does not let us write these keys: groups of the dead stay.
    denied: bool,
}

impl FanOut {
    /// A group named after `base`.
    pub(super) fn new(base: &str, expiry: Duration) -> Self {
        Self {
            group: format!("{base}-{}", Uuid::new_v4().simple()),
            registry: format!("sidestream:{{{base}}}:fan-out"),
            expiry,
            state: Mutex::default(),
        }
    }

    /// The group is going to exist for a topic, too. Others know of it before it does, so that it cannot be forgotten.
    ///
    /// # Errors
    /// If Redis did not answer.
    pub(super) async fn enrol(&self, shared: &Shared, topic: &str) -> Result<(), RedisError> {
        self.state().topics.insert(topic.to_owned());
        self.renew(shared).await
    }

    /// Remove the group, for good.
    pub(super) async fn leave(&self, shared: &Shared) {
        let mut commands = pipe();
        for topic in &self.state().topics {
            commands.add_command(destroy_group(topic, &self.group));
        }
        commands.cmd("HDEL").arg(&self.registry).arg(&self.group);
        commands.cmd("DEL").arg(self.key(&self.group));
        // If it does not get through, the key expires and others do it.
        let _ = shared.connections.pipeline(&commands).await;
    }

    async fn tick(&self, shared: &Shared) -> Result<(), RedisError> {
        self.renew(shared).await?;
        if !self.state().denied {
            self.sweep(shared).await?;
        }
        Ok(())
    }

    async fn renew(&self, shared: &Shared) -> Result<(), RedisError> {
        let topics: Vec<_> = self.state().topics.iter().cloned().collect();
        let mut commands = pipe();
        commands
            .cmd("SET")
            .arg(self.key(&self.group))
            .arg(1)
            .arg("PX")
            .arg(u64::try_from(self.expiry.as_millis()).unwrap_or(u64::MAX));
        commands.cmd("HSET").arg(&self.registry).arg(&self.group).arg(topics.join("\n"));
        let answers = shared.connections.pipeline(&commands).await?;
        let refused = answers.into_iter().find_map(|answer| {
            let error = answer.extract_error().err()?;
            (error.code() == Some("NOPERM")).then_some(error)
        });
        if refused.is_some() && !std::mem::replace(&mut self.state().denied, true) {
            shared.telemetry.redis_fan_out_denied(&shared.name);
        }
        Ok(())
    }

    /// Remove the groups of instances that have been gone for too long. Several may do this at a time: they agree.
    async fn sweep(&self, shared: &Shared) -> Result<(), RedisError> {
        for (group, topics) in self.dead(shared).await? {
            let mut commands = pipe();
            for topic in topics.split('\n').filter(|topic| !topic.is_empty()) {
                commands.add_command(destroy_group(topic, &group));
            }
            shared.connections.pipeline(&commands).await?;
            self.strike(shared, &group).await?;
            shared.telemetry.redis_fan_out_swept(&shared.name, &group);
        }
        Ok(())
    }

    async fn strike(&self, shared: &Shared, group: &str) -> Result<(), RedisError> {
        let mut command = cmd("HDEL");
        command.arg(&self.registry).arg(group);
        shared.connections.command(&command).await.map(drop)
    }

    async fn dead(&self, shared: &Shared) -> Result<Vec<(String, String)>, RedisError> {
        let mut question = cmd("HKEYS");
        question.arg(&self.registry);
        let Value::Array(groups) = shared.connections.command(&question).await? else {
            return Ok(Vec::new());
        };
        let others: Vec<String> =
            groups.into_iter().filter_map(reply::text).filter(|group| *group != self.group).collect();
        let answers = shared.connections.pipeline(&self.questions(&others)).await?;
        let dead = others.into_iter().zip(answers.chunks_exact(2));
        Ok(dead
            .filter(|(_, answers)| answers[0] == Value::Int(0))
            .filter_map(|(group, answers)| Some((group, reply::text(answers[1].clone())?)))
            .collect())
    }

    /// Does it live, and what does it read?
    fn questions(&self, groups: &[String]) -> Pipeline {
        let mut questions = pipe();
        for group in groups {
            questions.cmd("EXISTS").arg(self.key(group));
            questions.cmd("HGET").arg(&self.registry).arg(group);
        }
        questions
    }

    fn key(&self, group: &str) -> String {
        format!("{}:{group}", self.registry)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock()
    }
}

/// Renew the sign of life and look for the dead, until `stop`.
pub(super) async fn run(fan_out: Arc<FanOut>, shared: Arc<Shared>, stop: Stop) {
    let period = (fan_out.expiry / 4).min(LONGEST_PERIOD);
    let mut is_well = true;
    while stop.sleep(if is_well { period } else { period / 4 }).await {
        let Some(done) = stop.run_until_triggered(fan_out.tick(&shared)).await else {
            break;
        };
        // That Redis does not answer is told by those who need it more often.
        is_well = done.is_ok();
    }
}
