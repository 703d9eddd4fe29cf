//! `GET /v1.0/healthz` and `/v1.0/healthz/outbound` (tests/spec/http-api.md, "8. Health").

use std::sync::Arc;

use axum::extract::State;
use http::{StatusCode, Uri};

use crate::api::context::Context;
use crate::api::error::ApiError;
use crate::api::http::extract::path;

/// 204 if everything is ready, and the app is the one that was asked for.
pub(in crate::api::http) async fn all(State(api): State<Arc<Context>>, uri: Uri) -> Result<StatusCode, ApiError> {
    api.health.check().map_err(|missing| ApiError::NotReady { missing })?;
    let asked = path::parameters(uri.query().unwrap_or_default()).find(|(name, _)| name == "appid");
    match asked {
        Some((_, app_id)) if app_id != api.settings.app_id => Err(ApiError::OtherApp),
        _ => Ok(StatusCode::NO_CONTENT),
    }
}

/// 204 if events can be published.
pub(in crate::api::http) async fn outbound(State(api): State<Arc<Context>>) -> Result<StatusCode, ApiError> {
    if api.health.is_outbound_ready() { Ok(StatusCode::NO_CONTENT) } else { Err(ApiError::OutboundNotReady) }
}
