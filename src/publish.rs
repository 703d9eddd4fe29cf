//! The publish path: check, wrap, send.

use crate::pubsub::Catalog;
use crate::telemetry::Telemetry;
use crate::telemetry::trace::Tracing;

/// Publishes for one sidecar. Clones are handles to the same.
#[derive(Clone)]
pub struct Publisher {}

impl Publisher {
    /// A publisher for this app.
    pub fn new(_app_id: &str, _catalog: Catalog, _tracing: Tracing, _telemetry: Telemetry) -> Self {
        Self {}
    }
}
