//! Growing pauses between tries, with jitter so that many that failed together do not try again together.

use std::time::Duration;

/// Further steps do not change a pause. Also keeps the numbers finite.
const MAX_STEPS: u32 = 500;

/// How the pauses of a series of tries grow. It has no state: the caller counts the failures.
#[derive(Clone, Copy, Debug)]
pub struct Backoff {
    first: Duration,
    longest: Duration,
    growth: f64,
    /// The largest random change of a pause, as a fraction of it.
    spread: f64,
}

impl Backoff {
    /// A pause that doubles from `first` up to `longest`, by 20 % more or less.
    pub const fn doubling(first: Duration, longest: Duration) -> Self {
        Self { first, longest, growth: 2.0, spread: 0.2 }
    }

    /// The pauses of daprd's own retries: half a second, growing by half each time, by 50 % more or less
    /// (tests/spec/delivery.md, "B2. Programmatic discovery over HTTP", "B6. Starting a subscription").
    pub const fn as_daprd(longest: Duration) -> Self {
        Self { first: Duration::from_millis(500), longest, growth: 1.5, spread: 0.5 }
    }

    /// The pause after this many failures in a row (1 or more), at most `longest`.
    pub fn after(self, failures: u32) -> Duration {
        let steps = i32::try_from(failures.saturating_sub(1).min(MAX_STEPS)).unwrap_or(0);
        let longest = self.longest.as_secs_f64();
        let mean = (self.first.as_secs_f64() * self.growth.powi(steps)).min(longest);
        let jitter = 1.0 - self.spread + 2.0 * self.spread * fastrand::f64();
        Duration::try_from_secs_f64((mean * jitter).min(longest)).unwrap_or(self.longest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The mean after this many failures, while the pause is below the longest.
    fn check(backoff: Backoff, failures: u32, mean: f64) {
        let (least, most) = (1.0 - backoff.spread, 1.0 + backoff.spread);
        for _ in 0..50 {
            let pause = backoff.after(failures).as_secs_f64();
            assert!(
                (mean * least - 1e-6..=mean * most + 1e-6).contains(&pause) && pause <= backoff.longest.as_secs_f64(),
                "{failures}: {pause} is not near {mean}"
            );
        }
    }

    #[test]
    fn pauses_grow_up_to_the_longest() {
        let doubling = Backoff::doubling(Duration::from_secs(1), Duration::from_secs(60));
        for (failures, mean) in [(0, 1.0), (1, 1.0), (2, 2.0), (3, 4.0), (6, 32.0)] {
            check(doubling, failures, mean);
        }
        let as_daprd = Backoff::as_daprd(Duration::from_secs(2));
        for (failures, mean) in [(1, 0.5), (2, 0.75), (3, 1.125), (4, 1.6875)] {
            check(as_daprd, failures, mean);
        }
        for failures in [7, 20, 5000, u32::MAX] {
            check(doubling, failures, 60.0);
            check(as_daprd, failures, 2.0);
        }
        check(Backoff::doubling(Duration::ZERO, Duration::from_secs(1)), 5000, 0.0);
        check(Backoff::doubling(Duration::from_secs(9), Duration::from_secs(3)), 1, 3.0);
        check(Backoff::doubling(Duration::from_secs(1), Duration::MAX), 3, 4.0);
    }
}
