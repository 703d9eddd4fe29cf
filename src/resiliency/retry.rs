//! The pauses of a retry policy. Reads no clock: the elapsed time is an argument.

use std::time::Duration;

use super::error::{CallError, Interruption};
use crate::resources::kinds::policies::{Pause, Retry};

/// Parameters of an exponential policy that have no setting (tests/spec/resources-cli.md, "8.2 Schema and defaults").
const INITIAL_PAUSE: Duration = Duration::from_millis(500);
const GROWTH: f64 = 1.5;
const JITTER: f64 = 0.5;
const MAX_ELAPSED: Duration = Duration::from_secs(15 * 60);

/// The pauses between the calls of one operation.
pub(super) struct Delays<'a> {
    retry: &'a Retry,
    left: Option<u64>,
    /// The next pause of an exponential policy, before jitter.
    next: Duration,
}

impl<'a> Delays<'a> {
    pub(super) fn new(retry: &'a Retry) -> Self {
        Self { retry, left: retry.max_retries, next: INITIAL_PAUSE }
    }

    /// Does the policy retry after this failure? If it lists codes, a failure with a code must match one; a failure without a
    /// code is always retried.
    pub(super) fn covers<E>(&self, failure: &CallError<E>, http_code: impl Fn(&E) -> Option<u16>) -> bool {
        let codes = &self.retry.http_codes;
        match failure {
            CallError::Interrupted(Interruption::Open | Interruption::Busy) => false,
            CallError::Interrupted(Interruption::Timeout) => true,
            CallError::Failed(error) => http_code(error).is_none_or(|code| {
                let contains = |(first, last): &(u16, u16)| (*first..=*last).contains(&code);
                codes.is_empty() || codes.iter().any(contains)
            }),
        }
    }

    /// The pause before the next call; `None` if there is to be no other. `elapsed` counts from the start of the first call.
    pub(super) fn after(&mut self, elapsed: Duration) -> Option<Duration> {
        if let Some(left) = &mut self.left {
            *left = left.checked_sub(1)?;
        }
        match self.retry.pause {
            Pause::Constant(pause) => Some(pause),
            Pause::Exponential(longest) => {
                let pause = self.next.mul_f64(1.0 - JITTER + 2.0 * JITTER * fastrand::f64());
                self.next = self.next.mul_f64(GROWTH).min(longest);
                (elapsed + pause <= MAX_ELAPSED).then_some(pause)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn retry(pause: Pause, max_retries: Option<u64>, http_codes: &[(u16, u16)]) -> Retry {
        Retry { pause, max_retries, http_codes: http_codes.to_vec(), grpc_codes: Vec::new() }
    }

    #[test]
    fn a_constant_policy_pauses_as_often_as_it_says() {
        let second = Duration::from_secs(1);
        for (max_retries, expected) in [(Some(0), 0), (Some(1), 1), (Some(3), 3), (None, 10)] {
            let retry = retry(Pause::Constant(second), max_retries, &[]);
            let mut delays = Delays::new(&retry);
            // Time does not matter to it.
            let pauses: Vec<_> = (0..10).map_while(|_| delays.after(MAX_ELAPSED * 2)).collect();
            assert_eq!(pauses, vec![second; expected], "{max_retries:?}");
        }
    }

    #[test]
    fn an_exponential_policy_grows_up_to_its_longest() {
        let retry = retry(Pause::Exponential(Duration::from_secs(2)), None, &[]);
        let mut delays = Delays::new(&retry);
        for middle in [0.5, 0.75, 1.125, 1.6875, 2.0, 2.0] {
            let pause = delays.after(Duration::ZERO).unwrap().as_secs_f64();
            let around = middle * 0.5..=middle * 1.5;
            assert!(around.contains(&pause), "{pause} is not around {middle}");
        }
    }

    #[test]
    fn an_exponential_policy_ends_after_a_quarter_of_an_hour() {
        let retry = retry(Pause::Exponential(Duration::from_secs(60)), None, &[]);
        let mut delays = Delays::new(&retry);
        assert!(delays.after(MAX_ELAPSED - Duration::from_secs(1)).is_some());
        assert_eq!(delays.after(MAX_ELAPSED), None);
    }

    #[test]
    fn codes_decide_only_where_there_is_a_list_and_a_code() {
        let list = [(429, 429), (500, 502)];
        let call = CallError::Failed;
        for (codes, failure, expected) in [
            (&[][..], call(Some(500)), true),
            (&list[..], call(Some(429)), true),
            (&list[..], call(Some(502)), true),
            (&list[..], call(Some(503)), false),
            (&list[..], call(Some(428)), false),
            (&list[..], call(None), true),
            (&list[..], CallError::Interrupted(Interruption::Timeout), true),
            (&[][..], CallError::Interrupted(Interruption::Open), false),
            (&[][..], CallError::Interrupted(Interruption::Busy), false),
        ] {
            let retry = retry(Pause::Constant(Duration::ZERO), None, codes);
            let covered = Delays::new(&retry).covers(&failure, |code: &Option<u16>| *code);
            assert_eq!(covered, expected, "{codes:?} {failure:?}");
        }
    }
}
