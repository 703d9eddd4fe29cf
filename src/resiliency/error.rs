//! Why a call under a policy has failed.

/// Why an operation has failed under its policy.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CallError<E> {
    /// The last call failed.
    #[error("{0}")]
    Failed(E),
    /// The policy ended the call, or did not let it through.
    #[error("{0}")]
    Interrupted(Interruption),
}

/// How a policy ends or refuses a call; the texts are daprd's (tests/spec/http-api.md, "5.7 Broker error text").
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Interruption {
    /// The call took longer than the policy's timeout.
    #[error("context deadline exceeded")]
    Timeout,
    /// The breaker is open.
    #[error("circuit breaker is open")]
    Open,
    /// The breaker is half-open and has let through `maxRequests` calls.
    #[error("too many requests")]
    Busy,
}
