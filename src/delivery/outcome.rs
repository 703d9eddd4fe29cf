//! How the delivery of an event ended, and the reason that its dead letter carries.

use crate::app::FailureReason;
use crate::resiliency::Interruption;

/// The end of a delivery.
#[derive(Clone, Debug)]
pub(super) enum Outcome {
    /// The app has taken the event.
    Delivered,
    /// The event is not to be delivered. With a dead-letter topic it is acknowledged once its dead letter is written, otherwise at once.
    Rejected(DeadLetterReason),
    /// The event could not be delivered. Without a dead-letter topic the broker delivers it again later.
    Failed(DeadLetterReason),
}

/// Why an event was not delivered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct DeadLetterReason {
    /// One of a fixed set of words, for programs: `expired`, `no-route`, `dropped` and so on.
    pub(super) code: &'static str,
    /// Details, for people.
    pub(super) detail: String,
}

impl DeadLetterReason {
    pub(super) fn new(code: &'static str, detail: impl Into<String>) -> Self {
        Self { code, detail: detail.into() }
    }
}

impl From<&FailureReason> for DeadLetterReason {
    fn from(reason: &FailureReason) -> Self {
        let code = match reason {
            FailureReason::Status(status) if status == "DROP" => "dropped",
            FailureReason::Status(status) if status == "RETRY" => "retry",
            FailureReason::Status(_) => "unknown-status",
            FailureReason::Code { .. } => "http-status",
            FailureReason::Unreachable(_) => "unreachable",
            FailureReason::Unanswered(_) => "no-answer",
        };
        Self::new(code, reason.to_string())
    }
}

impl From<Interruption> for DeadLetterReason {
    fn from(interruption: Interruption) -> Self {
        let code = match interruption {
            Interruption::Timeout => "timeout",
            Interruption::Open | Interruption::Busy => "circuit-open",
        };
        Self::new(code, interruption.to_string())
    }
}
