//! `POST /v1.0/shutdown` (tests/spec/http-api.md, "9. POST /v1.0/shutdown").

use std::sync::Arc;

use axum::extract::State;
use http::{HeaderMap, StatusCode};

use crate::api::context::{Context, ShutdownRequest};
use crate::telemetry::events::api::ShutdownRequested;

/// Passes the request on; the answer does not wait for the shutdown.
pub(in crate::api::http) async fn begin(State(api): State<Arc<Context>>, headers: HeaderMap) -> StatusCode {
    let force = headers.get("dapr-force-shutdown");
    let is_forced = force.is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"true"));
    api.telemetry.emit(ShutdownRequested { is_forced });
    let request = if is_forced { ShutdownRequest::Forced } else { ShutdownRequest::Graceful };
    // Fails if the shutdown has begun already.
    let _ = api.shutdown.send(request);
    StatusCode::NO_CONTENT
}
