//! One policy at work: retry( circuit breaker( timeout( call ))) (tests/spec/resources-cli.md, "8.4 Execution").

use std::fmt::Display;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, timeout};

use super::breaker::BreakerHandle;
use super::error::{CallError, Interruption};
use super::retry::Delays;
use crate::resources::kinds::policies::{Direction, Retry};
use crate::shutdown::Stop;
use crate::telemetry::Telemetry;
use crate::telemetry::events::resiliency::{Operation, Recovered, RetryPlanned};

/// Timeout, retry and circuit breaker for the calls of one component in one direction. At least one of the three is set.
pub struct Policy {
    pub(super) component: Arc<str>,
    pub(super) direction: Direction,
    pub(super) timeout: Option<Duration>,
    pub(super) retry: Option<Retry>,
    pub(super) breaker: Option<BreakerHandle>,
    /// Ends the retries.
    pub(super) stop: Stop,
    pub(super) telemetry: Telemetry,
}

impl Policy {
    /// Call until a call succeeds or the policy allows no other. `http_code` gives the HTTP status behind an error, if there
    /// was one: a policy may name the statuses to retry after.
    ///
    /// Dropping the future ends the call at once; the breaker counts it as a failure. At the stop the call that is going on is
    /// finished, and no other follows.
    ///
    /// # Errors
    /// The error of the last call, or how the policy ended it.
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
            Some(handle) => Some(handle.breaker().enter().map_err(CallError::Interrupted)?),
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
