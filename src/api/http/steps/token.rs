//! The API token (tests/spec/http-api.md, "11.1 API token").

use http::request::Parts;
use http::{HeaderName, Method};

use crate::api::http::extract::path::{decoded_path, sent_path};

const API_TOKEN: HeaderName = HeaderName::from_static("dapr-api-token");

/// Does the request have the token, or need none?
pub(in crate::api::http) fn is_admitted(token: Option<&str>, head: &Parts) -> bool {
    let Some(token) = token else {
        return true;
    };
    let given = head.headers.get(API_TOKEN);
    given.is_some_and(|given| given.as_bytes() == token.as_bytes()) || is_health_check(head)
}

fn is_health_check(head: &Parts) -> bool {
    let decoded = decoded_path(sent_path(head));
    head.method == Method::GET && matches!(decoded.trim_matches('/'), "v1.0/healthz" | "v1.0/healthz/outbound")
}
