//! Events of resiliency policies: retries, and breakers that open and close (tests/spec/resources-cli.md, "8.4
//! Execution").

use std::fmt::{self, Display};
use std::time::Duration;

use crate::duration::GoDuration;
use crate::telemetry::Telemetry;
use crate::telemetry::log::Level;

const RUNTIME: &str = "dapr.runtime";

/// What a policy is applied to.
#[derive(Clone, Copy, Debug)]
pub struct Operation<'a> {
    /// The component.
    pub component: &'a str,
    /// A delivery, not a publish.
    pub is_inbound: bool,
}

impl Display for Operation<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let way = if self.is_inbound { "input" } else { "output" };
        write!(f, "component[{}] {way}", self.component)
    }
}

impl Telemetry {
    /// The first failure of an operation that is tried again.
    pub fn retrying(&self, operation: &Operation<'_>, pause: Duration, error: &dyn Display) {
        let pause = GoDuration::from(pause);
        self.0.log.write(
            Level::Warn,
            RUNTIME,
            format_args!("Error processing operation {operation}. Retrying in {pause}…"),
            &[],
        );
        self.0.log.write(Level::Debug, RUNTIME, format_args!("Error for operation {operation} was: {error}"), &[]);
    }

    /// An operation has succeeded after failures.
    pub fn recovered(&self, operation: &Operation<'_>, attempts: u64) {
        self.0.log.write(
            Level::Info,
            RUNTIME,
            format_args!("Recovered processing operation {operation} after {attempts} attempts"),
            &[],
        );
    }

    /// A breaker opens, half-opens or closes.
    pub fn breaker_changed(&self, name: &str, from: &str, to: &str) {
        self.0.log.write(
            Level::Info,
            RUNTIME,
            format_args!("Circuit breaker \"{name}\" changed state from {from} to {to}"),
            &[],
        );
    }
}
