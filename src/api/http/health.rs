//! `GET /v1.0/healthz` and `/v1.0/healthz/outbound` (tests/spec/http-api.md, "8. Health").

use axum::response::Response;
use http::StatusCode;

use crate::api::error::ApiError;
use crate::api::http::answer::empty;
use crate::api::http::call::Call;
use crate::api::http::path;

/// Is everything ready, and is this the app that was asked for?
pub(super) fn all(call: &Call<'_>) -> Result<Response, ApiError> {
    let health = &call.context.health;
    health.check().map_err(|missing| ApiError::NotReady { missing })?;
    let query = call.head.uri.query().unwrap_or_default();
    let asked = path::parameters(query).find(|(name, _)| name == "appid");
    match asked {
        Some((_, app_id)) if app_id != call.context.settings.app_id => Err(ApiError::OtherApp),
        _ => Ok(empty(StatusCode::NO_CONTENT)),
    }
}

/// Can one publish?
pub(super) fn outbound(call: &Call<'_>) -> Result<Response, ApiError> {
    if call.context.health.is_outbound_ready() {
        Ok(empty(StatusCode::NO_CONTENT))
    } else {
        Err(ApiError::OutboundNotReady)
    }
}
