//! What tests share: a Redis server of their own, sinks that record, waiting for a condition.

pub(crate) mod app;
pub(crate) mod conformance;
pub(crate) mod http;
pub(crate) mod process;
pub(crate) mod redis;
pub(crate) mod redis_cluster;
pub(crate) mod redis_sentinel;
pub(crate) mod sidecar;
pub(crate) mod sink;
pub(crate) mod subscribed;
pub(crate) mod tls;

use std::future::Future;
use std::io;
use std::time::Duration;

use sidestream::telemetry::Telemetry;
use sidestream::telemetry::log::{Level, Log};
use sidestream::telemetry::metrics::Metrics;

/// Wait until a condition holds; fail with `what` if it does not in time.
#[track_caller]
pub(crate) fn eventually<F, Fut>(what: &str, mut holds: F) -> impl Future<Output = ()>
where
    F: FnMut() -> Fut,
    Fut: Future<Output = bool>,
{
    let caller = std::panic::Location::caller();
    async move {
        let limit = Duration::from_secs(20);
        let waited = tokio::time::timeout(limit, async {
            while !holds().await {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        });
        assert!(waited.await.is_ok(), "{caller}: not in {limit:?}: {what}");
    }
}

/// A telemetry that says nothing.
pub(crate) fn quiet() -> Telemetry {
    Telemetry::new(Log::new(Level::Fatal, io::sink()), Metrics::default())
}
