//! What a sidecar tells about itself: one value that every part holds a clone of.
//!
//! Everything notable is an [`Event`](event::Event): its log line and its counters stand together in [`events`], and no other module logs
//! or counts. A sidecar has its own [`Telemetry`]; nothing is global.

pub mod event;
pub mod log;
pub mod metrics;
pub mod trace;

pub mod events;

use std::sync::Arc;

use self::log::Log;
use self::metrics::Metrics;

/// Log and metrics of one sidecar. Clones are handles to the same.
#[derive(Clone)]
pub struct Telemetry(Arc<Parts>);

struct Parts {
    log: Log,
    metrics: Metrics,
}

impl Telemetry {
    /// From its parts.
    pub fn new(log: Log, metrics: Metrics) -> Self {
        Self(Arc::new(Parts { log, metrics }))
    }

    /// The metrics page.
    pub fn render_metrics(&self) -> String {
        self.0.metrics.render()
    }
}
