//! What is notable is a value: one type per kind of event, built where it happens.
//!
//! An event knows its log lines and its counters, so that their wording and their names stand in one place and the code that reports it
//! names facts only. Spans and journal records are further methods of the same trait.

use crate::telemetry::Telemetry;
use crate::telemetry::log::Log;
use crate::telemetry::metrics::Metrics;

/// Something notable. The types are in [`events`](super::events).
pub trait Event {
    /// Write the log lines of this event, if it has any.
    fn log(&self, _log: &Log) {}

    /// Add this event to the counters, if it is counted.
    fn count(&self, _metrics: &Metrics) {}
}

impl Telemetry {
    /// Report an event: count it, and log it.
    #[expect(clippy::needless_pass_by_value, reason = "an event is made to be reported, and reported once")]
    pub fn emit(&self, event: impl Event) {
        event.count(&self.0.metrics);
        event.log(&self.0.log);
    }
}
