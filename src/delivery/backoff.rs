//! Growing pauses between attempts: half a second, half as much again each time, by half more or less at random (spec B2, B6).

use std::time::Duration;

const FIRST: Duration = Duration::from_millis(500);
const GROWTH: f64 = 1.5;
const SPREAD: f64 = 0.5;

/// The pauses of one series of attempts.
#[derive(Debug)]
pub(super) struct Backoff {
    next: Duration,
    longest: Duration,
}

impl Backoff {
    /// Pauses that grow up to `longest`.
    pub(super) fn up_to(longest: Duration) -> Self {
        Self {
            next: FIRST.min(longest),
            longest,
        }
    }

    /// The next pause.
    pub(super) fn pause(&mut self) -> Duration {
        let pause = self
            .next
            .mul_f64(1.0 - SPREAD + 2.0 * SPREAD * fastrand::f64());
        self.next = self.next.mul_f64(GROWTH).min(self.longest);
        pause
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_their_limit_and_stay_near_their_mean() {
        let mut backoff = Backoff::up_to(Duration::from_secs(2));
        for mean in [500, 750, 1125, 1687, 2000, 2000] {
            let pause = backoff.pause().as_millis();
            assert!(
                (mean / 2..=mean * 3 / 2 + 1).contains(&pause),
                "{pause} is not near {mean}"
            );
        }
    }
}
