//! Growing pauses between tries, with jitter so that many who failed together do not come back together.

use std::time::Duration;

/// A pause that doubles from `first` up to `longest`.
#[derive(Clone, Copy, Debug)]
pub struct Backoff {
    pub first: Duration,
    pub longest: Duration,
}

impl Backoff {
    /// The pause after this many failures in a row (1 or more): doubled each time, ±20 %, never longer than `longest`.
    pub fn after(self, failures: u32) -> Duration {
        let doubled = self
            .first
            .saturating_mul(1 << failures.saturating_sub(1).min(20));
        doubled
            .mul_f64(0.8 + 0.4 * fastrand::f64())
            .min(self.longest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_the_longest() {
        let backoff = Backoff {
            first: Duration::from_secs(1),
            longest: Duration::from_secs(60),
        };
        for (failures, seconds) in [(1, 1.0), (2, 2.0), (3, 4.0), (6, 32.0)] {
            let pause = backoff.after(failures).as_secs_f64();
            assert!(
                (seconds * 0.8..=seconds * 1.2).contains(&pause),
                "{failures}: {pause}"
            );
        }
        for failures in [7, 20, u32::MAX] {
            assert!(
                backoff.after(failures) <= backoff.longest
                    && backoff.after(failures) >= backoff.longest.mul_f64(0.8)
            );
        }
    }
}
