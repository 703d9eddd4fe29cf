//! `POST /v1.0/shutdown` (tests/spec/http-api.md, "9. POST /v1.0/shutdown").

use axum::response::Response;
use http::StatusCode;

use crate::api::ShutdownRequest;
use crate::api::http::answer::empty;
use crate::api::http::call::Call;

/// Pass the request on; the answer does not wait for it.
pub(super) fn request(call: &Call<'_>) -> Response {
    let force = call.head.headers.get("dapr-force-shutdown");
    let is_forced = force.is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"true"));
    call.context.telemetry.shutdown_requested(is_forced);
    let request = if is_forced { ShutdownRequest::Forced } else { ShutdownRequest::Graceful };
    // Nobody listens any more if the stop has begun.
    let _ = call.context.shutdown.send(request);
    empty(StatusCode::NO_CONTENT)
}
