//! Brokers that are away: each is tried until it is there or no longer wanted (D12).

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinHandle;

use crate::backoff::Backoff;
use crate::health::Health;
use crate::pubsub::Pubsub;
use crate::shutdown::{Stop, Tasks};
use crate::telemetry::Telemetry;
use crate::telemetry::events::lifecycle::BrokerReached;

/// Pauses between tries.
const REACH: Backoff = Backoff::doubling(Duration::from_millis(200), Duration::from_secs(5));

/// All that are being tried, by name of the component.
pub(super) struct Contacts {
    health: Health,
    telemetry: Telemetry,
    tasks: Tasks,
    /// Ends all.
    stop: Stop,
    trying: BTreeMap<String, (Stop, JoinHandle<()>)>,
}

impl Contacts {
    pub(super) fn new(health: Health, telemetry: Telemetry, tasks: Tasks, stop: Stop) -> Self {
        Self { health, telemetry, tasks, stop, trying: BTreeMap::new() }
    }

    /// Try to reach this one from now on; readiness waits for it.
    pub(super) fn begin(&mut self, pubsub: Arc<Pubsub>) {
        let (name, stop) = (pubsub.name.clone(), self.stop.child());
        let (health, telemetry) = (self.health.clone(), self.telemetry.clone());
        let trying = reach(pubsub, health, telemetry, stop.clone());
        let task = self.tasks.spawn("broker contact", trying);
        self.trying.insert(name, (stop, task));
    }

    /// The component of this name goes: nobody waits for it any more.
    pub(super) async fn end(&mut self, name: &str) {
        if let Some((stop, task)) = self.trying.remove(name) {
            stop.trigger();
            // A task that panicked has ended too.
            let _ = task.await;
        }
        self.health.has(name);
    }
}

async fn reach(pubsub: Arc<Pubsub>, health: Health, telemetry: Telemetry, stop: Stop) {
    let mut failures = 0;
    while let Some(result) = stop.run_until_triggered(pubsub.connect()).await {
        match result {
            Ok(()) => {
                health.has(&pubsub.name);
                telemetry.emit(BrokerReached { component: &pubsub.name });
                return;
            }
            Err(error) => health.waits_for(&pubsub.name, &error.message),
        }
        failures += 1;
        if !stop.sleep(REACH.after(failures)).await {
            return;
        }
    }
}
