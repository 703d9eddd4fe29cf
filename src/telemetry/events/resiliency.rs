//! Resiliency policies: retries, and breakers that open and close (tests/spec/resources-cli.md, "8.4 Execution").

use std::fmt::{self, Display};
use std::time::Duration;

use crate::duration::GoDuration;
use crate::telemetry::event::Event;
use crate::telemetry::log::{Level, Log};

const RUNTIME: &str = "dapr.runtime";

/// The calls that a policy is applied to.
#[derive(Clone, Copy, Debug)]
pub struct Operation<'a> {
    /// The component.
    pub component: &'a str,
    /// A delivery, not a publish.
    pub is_inbound: bool,
}

impl Display for Operation<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let direction = if self.is_inbound { "input" } else { "output" };
        write!(f, "component[{}] {direction}", self.component)
    }
}

/// An operation has failed for the first time and is tried again.
pub struct RetryPlanned<'a> {
    /// The operation.
    pub operation: Operation<'a>,
    /// The pause before the next attempt.
    pub delay: Duration,
    /// The failure.
    pub error: &'a dyn Display,
}

impl Event for RetryPlanned<'_> {
    fn log(&self, log: &Log) {
        let (operation, delay, error) = (self.operation, GoDuration::from(self.delay), self.error);
        log.write(
            Level::Warn,
            RUNTIME,
            format_args!("Error processing operation {operation}. Retrying in {delay}…"),
            &[],
        );
        log.write(Level::Debug, RUNTIME, format_args!("Error for operation {operation} was: {error}"), &[]);
    }
}

/// An operation has succeeded after failures.
pub struct Recovered<'a> {
    /// The operation.
    pub operation: Operation<'a>,
    /// Attempts, the successful one included.
    pub attempts: u64,
}

impl Event for Recovered<'_> {
    fn log(&self, log: &Log) {
        let Self { operation, attempts } = self;
        log.write(
            Level::Info,
            RUNTIME,
            format_args!("Recovered processing operation {operation} after {attempts} attempts"),
            &[],
        );
    }
}

/// A circuit breaker opens, half-opens or closes.
pub struct BreakerChanged<'a> {
    /// The names of its policy and its component.
    pub name: &'a str,
    /// The state before: `closed`, `half-open` or `open`.
    pub from: &'a str,
    /// The state now.
    pub to: &'a str,
}

impl Event for BreakerChanged<'_> {
    fn log(&self, log: &Log) {
        let Self { name, from, to } = self;
        log.write(
            Level::Info,
            RUNTIME,
            format_args!("Circuit breaker \"{name}\" changed state from {from} to {to}"),
            &[],
        );
    }
}
