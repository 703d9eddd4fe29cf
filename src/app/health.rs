//! Health checks: probes the app for as long as the sidecar runs (tests/spec/resources-cli.md, "11.5 App health checks").
//!
//! [`AppHealth`] is the result: `delivery` runs subscriptions for a healthy app only, and `runtime` ends a blocked shutdown when the app
//! is unhealthy. The app's [`Channel`] does the probing.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Notify, watch};
use tokio::time::MissedTickBehavior;

use crate::app::channel::{Channel, ProbeError};
use crate::config::AppHealthSettings;
use crate::shutdown::{Stop, Tasks};
use crate::telemetry::Telemetry;
use crate::telemetry::events::app::{AppHealthy, AppProbesStarted, AppUnhealthy};

/// Whether the app is healthy. Clones are handles to the same.
#[derive(Clone, Debug)]
pub struct AppHealth(watch::Receiver<bool>);

/// The probes of one app.
pub struct Probes {
    /// The app.
    pub channel: Arc<dyn Channel>,
    /// Path, interval, timeout and threshold.
    pub settings: AppHealthSettings,
    /// Notified when a probe finds that nothing listens on the app's port.
    pub app_is_gone: Arc<Notify>,
    /// Log and metrics.
    pub telemetry: Telemetry,
}

impl AppHealth {
    /// Probe the app until `stop`: at once, then once per interval. It counts as unhealthy until the first success.
    pub fn watch(probes: Probes, tasks: &Tasks, stop: Stop) -> Self {
        let (status, seen) = watch::channel(false);
        tasks.spawn("app health", async move {
            stop.run_until_triggered(probes.run(&status)).await;
        });
        Self(seen)
    }

    /// Is the app healthy now?
    pub fn is_healthy(&self) -> bool {
        *self.0.borrow()
    }

    /// Resolves when the app is healthy; at once if it is. Never, once the probes have ended.
    pub async fn healthy(&self) {
        self.is(true).await;
    }

    /// Resolves when the app is unhealthy; at once if it is. Never, once the probes have ended.
    pub async fn unhealthy(&self) {
        self.is(false).await;
    }

    async fn is(&self, healthy: bool) {
        if self.0.clone().wait_for(|now| *now == healthy).await.is_err() {
            std::future::pending().await
        }
    }
}

impl Probes {
    async fn run(&self, status: &watch::Sender<bool>) {
        self.telemetry.emit(AppProbesStarted);
        // The timer panics on an interval of zero.
        let interval = self.settings.interval.max(Duration::from_millis(1));
        let mut pace = tokio::time::interval(interval);
        pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut tally = Tally::new(self.settings.threshold);
        loop {
            pace.tick().await;
            let found = self.probe().await;
            let was_healthy = tally.is_healthy();
            tally.add(found.is_ok());
            match found {
                Ok(()) if !was_healthy => self.telemetry.emit(AppHealthy),
                Err(error) if was_healthy && !tally.is_healthy() => {
                    self.telemetry.emit(AppUnhealthy { reason: &error });
                }
                Ok(()) | Err(_) => {}
            }
            status.send_if_modified(|now| std::mem::replace(now, tally.is_healthy()) != tally.is_healthy());
        }
    }

    async fn probe(&self) -> Result<(), ProbeError> {
        let AppHealthSettings { path, timeout, .. } = &self.settings;
        let found = tokio::time::timeout(*timeout, self.channel.probe(path))
            .await
            .unwrap_or(Err(ProbeError::Timeout(*timeout)));
        if matches!(found, Err(ProbeError::Unreachable(_))) {
            self.app_is_gone.notify_one();
        }
        found
    }
}

/// Failures so far. As in daprd they need not be consecutive: only the success that ends an unhealthy state resets them.
struct Tally {
    failures: u32,
    threshold: u32,
}

impl Tally {
    fn new(threshold: u32) -> Self {
        Self { failures: threshold, threshold }
    }

    fn is_healthy(&self) -> bool {
        self.failures < self.threshold
    }

    fn add(&mut self, is_success: bool) {
        if !is_success {
            self.failures = self.failures.saturating_add(1).min(self.threshold);
        } else if !self.is_healthy() {
            self.failures = 0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Probe as `+` and `-`; expected is the status after each, `H` or `u`.
    fn check(threshold: u32, probes: &str, expected: &str) {
        let mut tally = Tally::new(threshold);
        assert!(!tally.is_healthy());
        let got: String = probes
            .chars()
            .map(|probe| {
                tally.add(probe == '+');
                if tally.is_healthy() { 'H' } else { 'u' }
            })
            .collect();
        assert_eq!(got, expected, "{threshold} {probes}");
    }

    #[test]
    fn failures_add_up_to_the_threshold() {
        check(1, "+-+--+", "HuHuuH");
        check(3, "---+", "uuuH");
        check(3, "+---+", "HHHuH");
        check(3, "+--++", "HHHHH");
        check(2, "+-----+-+-", "HHuuuuHHHu");
    }

    #[test]
    fn successes_in_between_do_not_set_the_failures_back() {
        check(3, "+-+-+-", "HHHHHu");
    }
}
