//! Brokers that could not be reached at the start: each is tried until it is reached or its component goes (D12).

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinHandle;

use super::handles::Handles;
use crate::backoff::Backoff;
use crate::health::Health;
use crate::pubsub::Pubsub;
use crate::shutdown::Stop;
use crate::telemetry::Telemetry;
use crate::telemetry::events::lifecycle::BrokerReached;

/// Pauses between attempts.
const PAUSES: Backoff = Backoff::doubling(Duration::from_millis(200), Duration::from_secs(5));

/// The brokers that are being tried.
pub(super) struct Connecting {
    handles: Handles,
    /// By name of the component.
    attempts: BTreeMap<String, (Stop, JoinHandle<()>)>,
}

impl Connecting {
    pub(super) fn new(handles: Handles) -> Self {
        Self { handles, attempts: BTreeMap::new() }
    }

    /// Try to reach this one from now on. Readiness waits for it.
    pub(super) fn begin(&mut self, pubsub: Arc<Pubsub>) {
        let Handles { telemetry, tasks, stop, health, .. } = &self.handles;
        let (name, stop) = (pubsub.name.clone(), stop.child());
        let connecting = connect_with_retry(pubsub, health.clone(), telemetry.clone(), stop.clone());
        self.attempts.insert(name, (stop, tasks.spawn("broker contact", connecting)));
    }

    /// The component of this name goes: stop trying, and let readiness wait no longer.
    pub(super) async fn end(&mut self, name: &str) {
        if let Some((stop, task)) = self.attempts.remove(name) {
            stop.trigger();
            // A task that panicked has ended, too.
            let _ = task.await;
        }
        self.handles.health.has(name);
    }
}

async fn connect_with_retry(pubsub: Arc<Pubsub>, health: Health, telemetry: Telemetry, stop: Stop) {
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
        if !stop.sleep(PAUSES.after(failures)).await {
            return;
        }
    }
}
