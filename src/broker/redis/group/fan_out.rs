//! The group that an instance has for itself (`fanOut`), and the removal of those whose instance died without removing them.
//!
//! Two kinds of keys beside the group after which they are named, which daprd does not see:
//! - `sidestream:{group}:fan-out` is a hash from the group of each instance to its topics;
//! - `sidestream:{group}:fan-out:<group of the instance>` expires when its instance has not renewed it for `fanOutExpiry`.
//!
//! Each instance that fans out after the same group removes the groups whose key has expired. Time is that of Redis.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use deadpool_redis::redis::{Pipeline, RedisError, Value, cmd, pipe};
use parking_lot::{Mutex, MutexGuard};
use uuid::Uuid;

use super::super::conn::Connections;
use super::super::reply;
use super::super::stream::destroy_group;
use crate::shutdown::Stop;
use crate::telemetry::Telemetry;
use crate::telemetry::events::broker::{FanOutDenied, FanOutGroupRemoved};

/// The longest time between two sweeps.
const MAX_PERIOD: Duration = Duration::from_secs(60);

/// One instance's own group.
pub(in crate::broker::redis) struct FanOut {
    /// Its name; no other instance has it.
    pub(in crate::broker::redis) group: String,
    registry: String,
    expiry: Duration,
    state: Mutex<FanOutState>,
    /// The name of the component, for logs.
    component: Arc<str>,
    connections: Arc<Connections>,
    telemetry: Telemetry,
}

#[derive(Default)]
struct FanOutState {
    topics: BTreeSet<String>,
    /// The server does not permit writing these keys: groups of dead instances are not removed.
    is_denied: bool,
}

impl FanOut {
    /// A group named after `base`, removed by others when this instance has been gone for `expiry`.
    pub(in crate::broker::redis) fn new(
        base: &str,
        expiry: Duration,
        component: Arc<str>,
        connections: Arc<Connections>,
        telemetry: Telemetry,
    ) -> Self {
        Self {
            group: format!("{base}-{}", Uuid::new_v4().simple()),
            registry: format!("sidestream:{{{base}}}:fan-out"),
            expiry,
            state: Mutex::default(),
            component,
            connections,
            telemetry,
        }
    }

    /// The group is going to be created for a topic. It is registered before, so that it cannot be forgotten.
    ///
    /// # Errors
    /// If Redis did not answer.
    pub(in crate::broker::redis) async fn enrol(&self, topic: &str) -> Result<(), RedisError> {
        self.state().topics.insert(topic.to_owned());
        self.renew().await
    }

    /// Remove the group, for good.
    pub(in crate::broker::redis) async fn remove(&self) {
        let mut commands = pipe();
        for topic in &self.state().topics {
            commands.add_command(destroy_group(topic, &self.group));
        }
        commands.cmd("HDEL").arg(&self.registry).arg(&self.group);
        commands.cmd("DEL").arg(self.key(&self.group));
        // If it fails, the key expires and other instances remove the group.
        let _ = self.connections.pipeline(&commands).await;
    }

    async fn tick(&self) -> Result<(), RedisError> {
        self.renew().await?;
        if !self.state().is_denied {
            self.sweep().await?;
        }
        Ok(())
    }

    async fn renew(&self) -> Result<(), RedisError> {
        let topics: Vec<_> = self.state().topics.iter().cloned().collect();
        let mut commands = pipe();
        commands
            .cmd("SET")
            .arg(self.key(&self.group))
            .arg(1)
            .arg("PX")
            .arg(u64::try_from(self.expiry.as_millis()).unwrap_or(u64::MAX));
        commands.cmd("HSET").arg(&self.registry).arg(&self.group).arg(topics.join("\n"));
        let replies = self.connections.pipeline(&commands).await?;
        let is_refused = replies.into_iter().any(|reply| {
            let refusal = reply.extract_error().err();
            refusal.is_some_and(|error| error.code() == Some("NOPERM"))
        });
        if is_refused && !std::mem::replace(&mut self.state().is_denied, true) {
            self.telemetry.emit(FanOutDenied { component: &self.component });
        }
        Ok(())
    }

    /// Remove the groups of instances that have been gone for too long. Several may do this at a time: they agree.
    async fn sweep(&self) -> Result<(), RedisError> {
        for (group, topics) in self.dead().await? {
            let mut commands = pipe();
            for topic in topics.split('\n').filter(|topic| !topic.is_empty()) {
                commands.add_command(destroy_group(topic, &group));
            }
            self.connections.pipeline(&commands).await?;
            self.deregister(&group).await?;
            self.telemetry.emit(FanOutGroupRemoved { component: &self.component, group: &group });
        }
        Ok(())
    }

    async fn deregister(&self, group: &str) -> Result<(), RedisError> {
        let mut command = cmd("HDEL");
        command.arg(&self.registry).arg(group);
        self.connections.command(&command).await.map(drop)
    }

    /// Groups whose key has expired, with their topics.
    async fn dead(&self) -> Result<Vec<(String, String)>, RedisError> {
        let mut question = cmd("HKEYS");
        question.arg(&self.registry);
        let Value::Array(groups) = self.connections.command(&question).await? else {
            return Ok(Vec::new());
        };
        let others: Vec<String> =
            groups.into_iter().filter_map(reply::text).filter(|group| *group != self.group).collect();
        let replies = self.connections.pipeline(&self.questions(&others)).await?;
        let dead = others.into_iter().zip(replies.chunks_exact(2));
        Ok(dead
            .filter(|(_, replies)| replies[0] == Value::Int(0))
            .filter_map(|(group, replies)| Some((group, reply::text(replies[1].clone())?)))
            .collect())
    }

    /// Asks of each group whether its key exists, and for its topics.
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

    fn state(&self) -> MutexGuard<'_, FanOutState> {
        self.state.lock()
    }
}

/// Renew the key and remove groups of dead instances, until `stop`.
pub(in crate::broker::redis) async fn run(fan_out: Arc<FanOut>, stop: Stop) {
    let period = (fan_out.expiry / 4).min(MAX_PERIOD);
    let mut is_well = true;
    while stop.sleep(if is_well { period } else { period / 4 }).await {
        // Failures are not logged here: the readers log that Redis does not answer.
        let Some(done) = stop.run_until_triggered(fan_out.tick()).await else {
            break;
        };
        is_well = done.is_ok();
    }
}
