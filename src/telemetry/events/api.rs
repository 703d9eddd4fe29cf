//! Events of the HTTP API and of the publish path.

use std::fmt::Display;
use std::time::Duration;

use crate::telemetry::Telemetry;
use crate::telemetry::log::Level;

const RUNTIME: &str = "dapr.runtime";
const HTTP: &str = "dapr.runtime.http";
const GRPC: &str = "dapr.runtime.grpc.api";

/// One API call, for the log of calls (tests/spec/http-api.md, "11.5 API logging").
#[derive(Clone, Copy, Debug)]
pub struct ApiCall<'a> {
    /// Verb and decoded path as they were sent, or the name of the operation.
    pub method: &'a str,
    /// From head to answer.
    pub duration: Duration,
    /// The status.
    pub code: u16,
    /// Bytes of the answer's body.
    pub size: u64,
    /// If the client says who it is.
    pub user_agent: Option<&'a str>,
}

impl Telemetry {
    /// A client was answered with an error, and the codes of errors are counted.
    pub fn error_answered(&self, app_id: &str, code: &'static str) {
        self.0.metrics.error_answered(app_id, code);
    }

    /// An API call was answered, whatever level is logged otherwise.
    pub fn api_called(&self, call: &ApiCall<'_>) {
        let duration = call.duration.as_millis();
        let agent = call.user_agent.unwrap_or_default();
        let fields: [(&str, &dyn Display); 5] = [
            ("method", &call.method),
            ("duration", &duration),
            ("code", &call.code),
            ("size", &call.size),
            ("useragent", &agent),
        ];
        let shown = if call.user_agent.is_some() { 5 } else { 4 };
        self.0.log.write_always(
            Level::Info,
            "dapr.runtime.http-info",
            format_args!("HTTP API Called"),
            &fields[..shown],
        );
    }

    /// A handler of the API panicked; its client was answered with 500.
    pub fn api_handler_panicked(&self, call: &str, panic: &str) {
        self.0.log.write(Level::Error, HTTP, format_args!("panic while answering {call}: {panic}"), &[]);
    }

    /// An address of the gRPC API is taken.
    pub fn grpc_listening(&self, place: &str) {
        self.0.log.write(Level::Info, GRPC, format_args!("gRPC server listening on {place}"), &[]);
    }

    /// An address of the HTTP API is taken.
    pub fn http_listening(&self, place: &str) {
        self.0.log.write(Level::Info, HTTP, format_args!("HTTP server listening on {place}"), &[]);
    }

    /// An address of the API cannot be taken, for good.
    pub fn api_not_listening(&self, place: &str, error: &std::io::Error) {
        self.0.log.write(Level::Warn, RUNTIME, format_args!("cannot listen on {place}: {error}"), &[]);
    }

    /// `POST /v1.0/shutdown` was called.
    pub fn shutdown_requested(&self, is_forced: bool) {
        let text = if is_forced {
            "Force shutdown requested, exiting immediately without graceful shutdown"
        } else {
            "Shutdown requested via API"
        };
        self.0.log.write(Level::Info, RUNTIME, format_args!("{text}"), &[]);
    }
}
