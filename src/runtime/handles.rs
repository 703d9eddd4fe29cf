//! The parts that nearly every piece of a sidecar uses.

use std::sync::Arc;

use crate::config::Settings;
use crate::health::Health;
use crate::pubsub::Catalog;
use crate::shutdown::{Stop, Tasks};
use crate::telemetry::Telemetry;

/// The shared parts of one sidecar. Clones share them.
#[derive(Clone)]
pub(super) struct Handles {
    pub(super) settings: Arc<Settings>,
    pub(super) telemetry: Telemetry,
    pub(super) tasks: Tasks,
    /// Ends everything but the subscriptions, which end before.
    pub(super) stop: Stop,
    pub(super) health: Health,
    pub(super) catalog: Catalog,
}

impl Handles {
    pub(super) fn new(settings: Settings, telemetry: Telemetry) -> Self {
        Self {
            settings: Arc::new(settings),
            telemetry,
            tasks: Tasks::new(),
            stop: Stop::new(),
            health: Health::default(),
            catalog: Catalog::default(),
        }
    }
}
