//! What has no route is a service invocation, which this sidecar does not have (tests/spec/http-api.md, "3.4
//! Fallback").

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::header::AUTHORIZATION;
use http::request::Parts;

use crate::api::error::ApiError;
use crate::api::http::path;

/// The error for a request without route: it depends on whether it names an app.
pub(super) fn error(head: &Parts) -> ApiError {
    if names_an_app(head) { ApiError::InvokeNotReady } else { ApiError::NoTarget }
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
