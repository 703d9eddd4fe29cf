//! `GET /openapi.yaml`: the description of the API.

use axum::response::Response;
use http::StatusCode;

use crate::api::http::response::with_body;

const DOCUMENT: &str = include_str!("../../../../openapi/sidestream.yaml");

/// The description of the API.
pub(in crate::api::http) async fn show() -> Response {
    with_body(StatusCode::OK, "application/yaml", DOCUMENT)
}
