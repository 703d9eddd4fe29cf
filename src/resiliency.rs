//! Policies at work: retry( circuit breaker( timeout( call ))) around what goes out (tests/spec/resources-cli.md, "8.4
//! Execution").
//!
//! [`Targets`] says which policy a component has; `Pubsub::send` and the consumers of `delivery` run their calls through it. What the
//! policies are is read in `resources::resiliency`. Nothing here knows brokers, apps or events.

mod breaker;
mod retry;
mod targets;

use std::fmt::Display;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, timeout};

pub use self::breaker::TRIP_VARIABLES;
use self::retry::Delays;
use self::targets::BreakerHandle;
pub use self::targets::Targets;
use crate::resources::kinds::policies::{Direction, Retry};
use crate::shutdown::Stop;
use crate::telemetry::Telemetry;
use crate::telemetry::events::resiliency::{Operation, Recovered, RetryPlanned};

/// What is done for one component in one direction. There is none without a retry, a timeout or a breaker.
pub struct Policy {
    component: Arc<str>,
    direction: Direction,
    timeout: Option<Duration>,
    retry: Option<Retry>,
    breaker: Option<BreakerHandle>,
    /// Ends the retries.
    stop: Stop,
    telemetry: Telemetry,
}

/// Why an operation has failed under its policy.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CallError<E> {
    /// The last call failed.
    #[error("{0}")]
    Failed(E),
    /// The policy ended the wait for the call, or did not let it through.
    #[error("{0}")]
    Interrupted(Interruption),
}

/// What a policy does to a call; the texts are daprd's (tests/spec/http-api.md, "5.7 Broker error text").
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Interruption {
    /// It took too long.
    #[error("context deadline exceeded")]
    Timeout,
    /// The breaker is open.
    #[error("circuit breaker is open")]
    Open,
    /// The breaker is half-open and has let through enough.
    #[error("too many requests")]
    Busy,
}

impl Policy {
    /// Call, and call again as the policy says. `http_code` is the HTTP status behind an error, if it was that; `matching` looks at it.
    ///
    /// A dropped future ends it at once and counts as a failure for the breaker. When everything stops, what is being called is
    /// finished, and no other call follows.
    ///
    /// # Errors
    /// What the last call said, or what the policy did to it.
    pub async fn run<T, E, F>(
        &self,
        http_code: impl Fn(&E) -> Option<u16>,
        mut call: impl FnMut() -> F,
    ) -> Result<T, CallError<E>>
    where
        E: Display,
        F: Future<Output = Result<T, E>>,
    {
        let begun = Instant::now();
        let mut delays = self.retry.as_ref().map(Delays::new);
        let mut attempts = 1;
        loop {
            let failure = match self.attempt(call()).await {
                Ok(done) => {
                    if attempts > 1 {
                        self.telemetry.emit(Recovered { operation: self.operation(), attempts });
                    }
                    return Ok(done);
                }
                Err(failure) => failure,
            };
            let delay = delays
                .as_mut()
                .filter(|delays| delays.covers(&failure, &http_code))
                .and_then(|delays| delays.after(begun.elapsed()));
            let Some(delay) = delay else {
                return Err(failure);
            };
            if attempts == 1 {
                self.telemetry.emit(RetryPlanned { operation: self.operation(), delay, error: &failure });
            }
            if !self.stop.sleep(delay).await {
                return Err(failure);
            }
            attempts += 1;
        }
    }

    /// One call behind the breaker, within the time.
    async fn attempt<T, E>(&self, call: impl Future<Output = Result<T, E>>) -> Result<T, CallError<E>> {
        let permit = match &self.breaker {
            Some(guard) => Some(guard.breaker().enter().map_err(CallError::Interrupted)?),
            None => None,
        };
        let result = match self.timeout {
            None => call.await.map_err(CallError::Failed),
            Some(limit) => match timeout(limit, call).await {
                Ok(result) => result.map_err(CallError::Failed),
                Err(_) => Err(CallError::Interrupted(Interruption::Timeout)),
            },
        };
        if result.is_ok()
            && let Some(permit) = permit
        {
            permit.succeeded();
        }
        result
    }

    fn operation(&self) -> Operation<'_> {
        Operation { component: &self.component, is_inbound: self.direction == Direction::Inbound }
    }
}

#[cfg(test)]
pub(crate) mod tests;
