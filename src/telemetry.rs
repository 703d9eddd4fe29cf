//! Log and metrics of one sidecar, in one value that every part holds a clone of.
//!
//! Code reports a notable event with [`Telemetry::emit`]; its log line and its counters are defined in [`events`]. No other
//! module logs or counts. Nothing here is global, so that many sidecars can run in one process.

pub mod event;
pub mod log;
pub mod metrics;
pub mod trace;

pub mod events;

use std::sync::Arc;

use self::event::Event;
use self::log::Log;
use self::metrics::Metrics;

/// Log and metrics of one sidecar. Clones are handles to the same.
#[derive(Clone)]
pub struct Telemetry(Arc<Outputs>);

struct Outputs {
    log: Log,
    metrics: Metrics,
}

impl Telemetry {
    /// Telemetry that writes to this log and counts in these metrics.
    pub fn new(log: Log, metrics: Metrics) -> Self {
        Self(Arc::new(Outputs { log, metrics }))
    }

    /// The metrics page, in the text format of Prometheus.
    pub fn render_metrics(&self) -> String {
        self.0.metrics.render()
    }

    /// Reports an event: counts it, then logs it.
    #[expect(clippy::needless_pass_by_value, reason = "an event is made to be reported, and reported once")]
    pub fn emit(&self, event: impl Event) {
        event.count(&self.0.metrics);
        event.log(&self.0.log);
    }
}
