//! Helpers of the tests: a Redis server of their own, recording sinks, waiting for conditions.

pub(crate) mod app;
pub(crate) mod conformance;
pub(crate) mod http;
pub(crate) mod port;
pub(crate) mod process;
pub(crate) mod proxy;
pub(crate) mod redis;
pub(crate) mod redis_cluster;
pub(crate) mod redis_sentinel;
pub(crate) mod sidecar;
pub(crate) mod sink;
pub(crate) mod subscribed;
pub(crate) mod tls;

use std::future::Future;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use sidestream::telemetry::Telemetry;
use sidestream::telemetry::log::{Level, Log};
use sidestream::telemetry::metrics::Metrics;

/// How long a test waits for a condition: far longer than anything takes on a busy machine, and shorter than the minute
/// after which the sidecar looks for changes by itself (files, entries handed back).
pub(crate) const PATIENCE: Duration = Duration::from_secs(45);

/// Waits until a condition holds; fails with `what` if it does not in time.
#[track_caller]
pub(crate) fn eventually<F, Fut>(what: &str, mut holds: F) -> impl Future<Output = ()>
where
    F: FnMut() -> Fut,
    Fut: Future<Output = bool>,
{
    let caller = std::panic::Location::caller();
    async move {
        let waited = tokio::time::timeout(PATIENCE, async {
            while !holds().await {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        });
        assert!(waited.await.is_ok(), "{caller}: not in {PATIENCE:?}: {what}");
    }
}

/// The log lines that a telemetry has written.
#[derive(Clone, Default)]
pub(crate) struct Lines(Arc<Mutex<Vec<u8>>>);

impl Lines {
    /// A telemetry that logs to these lines, from `info` upwards.
    pub(crate) fn telemetry(&self) -> Telemetry {
        Telemetry::new(Log::new(Level::Info, self.clone()), Metrics::default())
    }

    /// All lines.
    pub(crate) fn text(&self) -> String {
        String::from_utf8(self.0.lock().clone()).unwrap()
    }

    /// The number of lines that contain this text.
    pub(crate) fn with(&self, part: &str) -> usize {
        self.text().lines().filter(|line| line.contains(part)).count()
    }
}

impl io::Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A telemetry without log output.
pub(crate) fn quiet() -> Telemetry {
    Telemetry::new(Log::new(Level::Fatal, io::sink()), Metrics::default())
}
