//! The trait of notable events. Each kind of event is a type, and the code that reports one builds a value with named facts.
//!
//! The type decides how it is logged and counted, so that wording and metric names are in one place. Spans and journal
//! records will be further methods of the trait.

use crate::telemetry::log::Log;
use crate::telemetry::metrics::Metrics;

/// A notable event. The types are in [`events`](super::events).
pub trait Event {
    /// Writes the log lines of this event. Without an implementation there are none.
    fn log(&self, _log: &Log) {}

    /// Adds this event to the metrics. Without an implementation it is not counted.
    fn count(&self, _metrics: &Metrics) {}
}
