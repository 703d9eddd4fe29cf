//! Events of the API: calls, errors, addresses.

use std::fmt::Display;
use std::io;
use std::time::Duration;

use crate::telemetry::event::Event;
use crate::telemetry::log::{Level, Log};
use crate::telemetry::metrics::Metrics;

const RUNTIME: &str = "dapr.runtime";
const HTTP: &str = "dapr.runtime.http";
const GRPC: &str = "dapr.runtime.grpc.api";

/// A call was answered. It is logged at every level (tests/spec/http-api.md, "11.5 API logging").
pub struct ApiCalled<'a> {
    /// Verb and decoded path as they were sent, or the name of the operation.
    pub method: &'a str,
    /// From head to answer.
    pub duration: Duration,
    /// The status.
    pub code: u16,
    /// Bytes of the answer's body.
    pub size: u64,
    /// `User-Agent`, if the client sent one.
    pub user_agent: Option<&'a str>,
}

impl Event for ApiCalled<'_> {
    fn log(&self, log: &Log) {
        let duration = self.duration.as_millis();
        let agent = self.user_agent.unwrap_or_default();
        let fields: [(&str, &dyn Display); 5] = [
            ("method", &self.method),
            ("duration", &duration),
            ("code", &self.code),
            ("size", &self.size),
            ("useragent", &agent),
        ];
        let shown = if self.user_agent.is_some() { 5 } else { 4 };
        log.write_always(Level::Info, "dapr.runtime.http-info", format_args!("HTTP API Called"), &fields[..shown]);
    }
}

/// A call was answered with an error, and error codes are counted.
pub struct ErrorAnswered<'a> {
    /// The app of the sidecar.
    pub app_id: &'a str,
    /// `errorCode`.
    pub code: &'static str,
}

impl Event for ErrorAnswered<'_> {
    fn count(&self, metrics: &Metrics) {
        metrics.error_answered(self.app_id, self.code);
    }
}

/// A handler panicked; its client was answered with 500.
pub struct HandlerPanicked<'a> {
    /// Verb and path.
    pub call: &'a str,
    /// The text of the panic.
    pub panic: &'a str,
}

impl Event for HandlerPanicked<'_> {
    fn log(&self, log: &Log) {
        let Self { call, panic } = self;
        log.write(Level::Error, HTTP, format_args!("panic while answering {call}: {panic}"), &[]);
    }
}

/// The gRPC API listens on an address.
pub struct GrpcListening<'a> {
    /// The address, with its kind.
    pub endpoint: &'a str,
}

impl Event for GrpcListening<'_> {
    fn log(&self, log: &Log) {
        log.write(Level::Info, GRPC, format_args!("gRPC server listening on {}", self.endpoint), &[]);
    }
}

/// The HTTP API listens on an address.
pub struct HttpListening<'a> {
    /// The address, with its kind.
    pub endpoint: &'a str,
}

impl Event for HttpListening<'_> {
    fn log(&self, log: &Log) {
        log.write(Level::Info, HTTP, format_args!("HTTP server listening on {}", self.endpoint), &[]);
    }
}

/// An API does not listen on one of its addresses, but on others.
pub struct AddressNotBound<'a> {
    /// The address, with its kind.
    pub endpoint: &'a str,
    /// The reason.
    pub error: &'a io::Error,
}

impl Event for AddressNotBound<'_> {
    fn log(&self, log: &Log) {
        let Self { endpoint, error } = self;
        log.write(Level::Warn, RUNTIME, format_args!("cannot listen on {endpoint}: {error}"), &[]);
    }
}

/// `POST /v1.0/shutdown` was called.
pub struct ShutdownRequested {
    /// Without an orderly stop.
    pub is_forced: bool,
}

impl Event for ShutdownRequested {
    fn log(&self, log: &Log) {
        let text = if self.is_forced {
            "Force shutdown requested, exiting immediately without graceful shutdown"
        } else {
            "Shutdown requested via API"
        };
        log.write(Level::Info, RUNTIME, format_args!("{text}"), &[]);
    }
}
