//! Requests without route: service invocations, which this sidecar does not have (tests/spec/http-api.md, "3.4
//! Fallback").

use axum::extract::Request;
use axum::response::{IntoResponse, Response};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::header::AUTHORIZATION;
use http::request::Parts;
use http::{Method, StatusCode};

use crate::api::error::ApiError;
use crate::api::http::extract::path;
use crate::api::http::response::text;

/// The answer to a request without route. It depends on whether it names an app.
pub(in crate::api::http) async fn unavailable(request: Request) -> ApiError {
    if names_an_app(&request.into_parts().0) { ApiError::InvokeNotReady } else { ApiError::NoTarget }
}

/// The answer to a path without route where there is no invocation, as on the public port (tests/spec/http-api.md,
/// "11.4 When `invoke` itself is not allowed").
pub(in crate::api::http) async fn no_such_route(method: Method) -> Response {
    if is_standard(&method) {
        text(StatusCode::NOT_FOUND, "404 page not found\n".into())
    } else {
        StatusCode::METHOD_NOT_ALLOWED.into_response()
    }
}

/// The answer to a wrong method of a route where there is no invocation.
pub(in crate::api::http) async fn wrong_method() -> StatusCode {
    StatusCode::METHOD_NOT_ALLOWED
}

/// Is it a method that daprd's router knows?
pub(in crate::api::http) fn is_standard(method: &Method) -> bool {
    let method = method.as_str();
    matches!(method, "GET" | "HEAD" | "POST" | "PUT" | "PATCH" | "DELETE" | "CONNECT" | "OPTIONS" | "TRACE")
}

fn names_an_app(head: &Parts) -> bool {
    let by_header = head.headers.get("dapr-app-id").is_some_and(|id| !id.is_empty());
    by_header || is_in_credentials(head) || is_in_path(&path::decoded_path(head.uri.path()))
}

/// `Authorization: Basic base64("dapr-app-id:<id>")`
fn is_in_credentials(head: &Parts) -> bool {
    let credentials = head
        .headers
        .get(AUTHORIZATION)
        .and_then(|value| value.as_bytes().strip_prefix(b"Basic "))
        .and_then(|encoded| STANDARD.decode(encoded).ok())
        .and_then(|decoded| String::from_utf8(decoded).ok());
    credentials
        .as_deref()
        .and_then(|pair| pair.split_once(':'))
        .is_some_and(|(name, id)| name.eq_ignore_ascii_case("dapr-app-id") && !id.is_empty() && !id.contains(':'))
}

/// `/v1.0/invoke/<id>/method/<method>`
fn is_in_path(path: &str) -> bool {
    let target = path.strip_prefix("/v1.0/invoke/").unwrap_or_default();
    target.split_once("/method/").is_some_and(|(id, method)| !id.is_empty() && !method.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn apps_are_named_by_header_credentials_or_path() {
        let check = |path: &str, header: (&str, &str), expected: bool| {
            let request = http::Request::get(path).header(header.0, header.1).body(()).unwrap();
            assert_eq!(names_an_app(&request.into_parts().0), expected, "{path} {header:?}");
        };
        let none = ("x", "y");
        check("/nothing", none, false);
        check("/nothing", ("dapr-app-id", "other"), true);
        check("/nothing", ("dapr-app-id", ""), false);
        check("/nothing", ("authorization", "Basic RGFwci1BcHAtSWQ6b3RoZXI="), true); // Dapr-App-Id:other
        check("/nothing", ("authorization", "Basic dXNlcjpvdGhlcg=="), false); // user:other
        check("/v1.0/invoke/other/method/go", none, true);
        check("/v1.0/invoke/other%2Fmethod%2Fgo", none, true);
        for path in ["/v1.0/invoke", "/v1.0/invoke/x", "/v1.0/invoke/x/y", "/v1.0/invoke/x/method"] {
            check(path, none, false);
        }
    }
}
