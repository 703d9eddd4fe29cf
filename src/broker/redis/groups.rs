//! The consumer groups that a component reads for. Most read for one; a subscription may name another (`consumerGroup`), or want one for
//! this instance alone (`fanOut`).
//!
//! One XREADGROUP reads for one group, so each has entries in flight, loops and a reading connection of its own, however many topics it
//! has (D11). `concurrency` and `queueDepth` apply to each. Publishing, upkeep and acks of all groups share their connections.

use std::collections::BTreeMap;
use std::sync::Arc;

use deadpool_redis::redis::RedisError;
use parking_lot::{Mutex, MutexGuard};

use super::group::fan_out::{self, FanOut};
use super::group::liveness::Liveness;
use super::group::{ComponentContext, ConsumerGroup};
use crate::shutdown::Stop;

/// All groups of a component.
pub(super) struct Groups {
    context: ComponentContext,
    known: Mutex<KnownGroups>,
}

#[derive(Default)]
struct KnownGroups {
    groups: BTreeMap<String, Arc<ConsumerGroup>>,
    /// By the group after which they are named.
    fan_outs: BTreeMap<String, Arc<FanOut>>,
}

impl Groups {
    /// No group yet.
    pub(super) fn new(context: ComponentContext) -> Self {
        Self { context, known: Mutex::default() }
    }

    /// A group whose entries instances share.
    pub(super) fn shared(&self, group: &str) -> Arc<ConsumerGroup> {
        self.known().get(&self.context, group, Liveness::new)
    }

    /// The group that this instance has for itself, named after the group `base`. It is registered for a topic before it is created.
    ///
    /// # Errors
    /// If Redis did not answer.
    pub(super) async fn private(&self, base: &str, topic: &str, stop: &Stop) -> Result<Arc<ConsumerGroup>, RedisError> {
        let context = &self.context;
        let (group, fan_out) = {
            let mut known = self.known();
            let fan_out = known.fan_outs.get(base).cloned().unwrap_or_else(|| {
                let fan_out = Arc::new(FanOut::new(
                    base,
                    context.settings.fan_out_expiry,
                    context.component.clone(),
                    context.connections.clone(),
                    context.telemetry.clone(),
                ));
                known.fan_outs.insert(base.to_owned(), fan_out.clone());
                context.tasks.spawn("redis fan out", fan_out::run(fan_out.clone(), stop.clone()));
                fan_out
            });
            (known.get(context, &fan_out.group, Liveness::of_private_group), fan_out)
        };
        fan_out.enrol(topic).await?;
        Ok(group)
    }

    /// Every group that has been read for.
    pub(super) fn started(&self) -> Vec<Arc<ConsumerGroup>> {
        self.known().groups.values().filter(|group| group.has_started()).cloned().collect()
    }

    /// The groups of this instance alone.
    pub(super) fn fan_outs(&self) -> Vec<Arc<FanOut>> {
        self.known().fan_outs.values().cloned().collect()
    }

    fn known(&self) -> MutexGuard<'_, KnownGroups> {
        self.known.lock()
    }
}

impl KnownGroups {
    fn get(
        &mut self,
        context: &ComponentContext,
        group: &str,
        liveness: impl FnOnce(&str) -> Liveness,
    ) -> Arc<ConsumerGroup> {
        let new = || Arc::new(ConsumerGroup::new(context, group, liveness(group)));
        self.groups.entry(group.to_owned()).or_insert_with(new).clone()
    }
}
