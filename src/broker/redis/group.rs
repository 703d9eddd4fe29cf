//! The consumer groups that a component reads for. Most read for one; a subscription may name another (`consumerGroup`), or want one for
//! this instance alone (`fanOut`).
//!
//! One XREADGROUP reads for one group, so each has a board, five loops and a reading connection of its own, however
//! many topics it has (D11). `concurrency` and `queueDepth` hold for each. Publishing, upkeep and acks of all groups
//! share their connections.

use std::collections::BTreeMap;
use std::sync::Arc;

use deadpool_redis::redis::RedisError;
use parking_lot::{Mutex, MutexGuard};

use super::Shared;
use super::fan_out::{self, FanOut};
use super::instance::Instance;
use super::settings::Settings;
use crate::shutdown::Stop;

/// All groups of a component.
pub(super) struct Groups {
    own: Arc<Shared>,
    others: Mutex<Others>,
}

#[derive(Default)]
struct Others {
    shared: BTreeMap<String, Arc<Shared>>,
    /// By the group after which they are named.
    fan_outs: BTreeMap<String, Arc<FanOut>>,
}

impl Groups {
    /// The component's own group, and no other yet.
    pub(super) fn new(own: Arc<Shared>) -> Self {
        Self { own, others: Mutex::default() }
    }

    /// A group whose entries instances share.
    pub(super) fn shared(&self, group: &str) -> Arc<Shared> {
        if *group == *self.own.settings.group {
            return self.own.clone();
        }
        let mut others = self.others();
        let beside = || Arc::new(beside(&self.own, Instance::new(group), group));
        let known = others.shared.entry(group.to_owned());
        known.or_insert_with(beside).clone()
    }

    /// The group that this instance alone has, named after a group. Before it is made for a topic, others learn whose it is.
    ///
    /// # Errors
    /// If Redis did not answer.
    pub(super) async fn alone(&self, base: &str, topic: &str, stop: &Stop) -> Result<Arc<Shared>, RedisError> {
        let (shared, fan_out) = {
            let mut others = self.others();
            let known = others.fan_outs.get(base).cloned();
            let fan_out = known.unwrap_or_else(|| {
                let fan_out = Arc::new(FanOut::new(base, self.own.settings.fan_out_expiry));
                others.fan_outs.insert(base.to_owned(), fan_out.clone());
                let sweeping = fan_out::run(fan_out.clone(), self.own.clone(), stop.clone());
                self.own.tasks.spawn("redis fan out", sweeping);
                fan_out
            });
            let beside = || {
                let instance = Instance::alone(&fan_out.group);
                Arc::new(beside(&self.own, instance, &fan_out.group))
            };
            let known = others.shared.entry(fan_out.group.clone());
            (known.or_insert_with(beside).clone(), fan_out)
        };
        fan_out.enrol(&self.own, topic).await?;
        Ok(shared)
    }

    /// Every group that has been read for.
    pub(super) fn all(&self) -> Vec<Arc<Shared>> {
        let others = self.others();
        let all = std::iter::once(&self.own).chain(others.shared.values());
        all.filter(|shared| shared.loops.is_completed()).cloned().collect()
    }

    /// The groups of this instance alone.
    pub(super) fn fan_outs(&self) -> Vec<Arc<FanOut>> {
        self.others().fan_outs.values().cloned().collect()
    }

    fn others(&self) -> MutexGuard<'_, Others> {
        self.others.lock()
    }
}

/// The same component for another group.
fn beside(own: &Shared, instance: Instance, group: &str) -> Shared {
    let settings = Settings { group: group.to_owned(), ..(*own.settings).clone() };
    let beside = Shared::new(
        &own.name,
        Arc::new(settings),
        instance,
        own.topology.clone(),
        own.connections.clone(),
        own.tasks.clone(),
        own.telemetry.clone(),
    );
    Shared { one_by_one: own.one_by_one.clone(), ..beside }
}
