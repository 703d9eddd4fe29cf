//! The log of API calls (tests/spec/http-api.md, "11.5 API logging").

use axum::body::HttpBody;
use axum::response::Response;
use http::header::USER_AGENT;
use http::request::Parts;
use tokio::time::Instant;

use crate::api::http::extract::path::{decoded_path, sent_path};
use crate::api::http::operation::Operation;
use crate::config::HttpSettings;
use crate::telemetry::Telemetry;
use crate::telemetry::events::api::ApiCalled;

/// Logs a call that was answered, unless it is a health check that is left out.
pub(in crate::api::http) fn write(
    telemetry: &Telemetry,
    http: &HttpSettings,
    operation: Operation,
    head: &Parts,
    response: &Response,
    start: Instant,
) {
    if http.call_log.omit_health_checks && matches!(operation, Operation::Health | Operation::OutboundHealth) {
        return;
    }
    let name = if http.call_log.obfuscate_urls {
        operation.name().to_owned()
    } else {
        format!("{} {}", head.method, decoded_path(sent_path(head)))
    };
    telemetry.emit(ApiCalled {
        method: &name,
        duration: start.elapsed(),
        code: response.status().as_u16(),
        size: HttpBody::size_hint(response.body()).lower(),
        user_agent: head.headers.get(USER_AGENT).and_then(|agent| agent.to_str().ok()),
    });
}
