//! Requests that hyper accepts and daprd's server refuses before any handler, in its words (tests/spec/http-api.md, "1.
//! Listeners and transport").

use axum::body::Body;
use axum::response::Response;
use http::header::{CONNECTION, CONTENT_TYPE, HOST};
use http::{HeaderValue, Method, Request, StatusCode, Version};

/// The answer to a request that does not get to the service; `None` if it does.
pub(in crate::server) fn refusal<B>(request: &Request<B>, max_head: usize) -> Option<Response> {
    let path = request.uri().path();
    if path == "*" && request.method() == Method::OPTIONS {
        return Some(Response::new(Body::empty()));
    }
    if head_size(request) > max_head {
        let text = "431 Request Header Fields Too Large";
        return Some(closing(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE, text));
    }
    if request.version() == Version::HTTP_11 && !request.headers().contains_key(HOST) {
        let text = "400 Bad Request: missing required Host header";
        return Some(closing(StatusCode::BAD_REQUEST, text));
    }
    (!is_well_escaped(path)).then(|| closing(StatusCode::BAD_REQUEST, "400 Bad Request"))
}

/// Is each `%` followed by two hexadecimal digits?
pub fn is_well_escaped(text: &str) -> bool {
    let bytes = text.as_bytes();
    bytes.iter().enumerate().all(|(at, byte)| {
        *byte != b'%' || bytes.get(at + 1..at + 3).is_some_and(|digits| digits.iter().all(u8::is_ascii_hexdigit))
    })
}

/// The bytes of a request from its method to the empty line, as HTTP/1.1 writes them.
fn head_size<B>(request: &Request<B>) -> usize {
    let uri = request.uri();
    let target = uri.path_and_query().map_or(1, |target| target.as_str().len());
    let line = request.method().as_str().len() + target + "  HTTP/1.1\r\n\r\n".len();
    let headers = request.headers().iter();
    headers.fold(line, |size, (name, value)| size + name.as_str().len() + value.len() + ": \r\n".len())
}

/// A text after which the connection is closed.
fn closing(status: StatusCode, text: &'static str) -> Response {
    let mut response = Response::new(Body::from(text));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    headers.insert(CONNECTION, HeaderValue::from_static("close"));
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_that_daprd_refuses_are_refused() {
        let check = |request: http::request::Builder, expected: Option<u16>| {
            let request = request.body(()).unwrap();
            let status = refusal(&request, 8192).map(|response| response.status().as_u16());
            assert_eq!(status, expected, "{request:?}");
        };
        let get = |path: &str| Request::get(path).header("host", "x");
        check(get("/v1.0/healthz?%zz"), None);
        check(get("/a%2Fb"), None);
        check(get("/%zz"), Some(400));
        check(get("/a%"), Some(400));
        check(Request::get("/"), Some(400));
        check(Request::get("/").version(Version::HTTP_10), None);
        check(Request::get("http://h/").version(Version::HTTP_2), None);
        check(Request::options("*").header("host", "x"), Some(200));
        check(get("/").header("x-fill", "f".repeat(8100)), None);
        check(get("/").header("x-fill", "f".repeat(8190)), Some(431));
        check(get(&format!("/?{}", "q".repeat(9000))), Some(431));
    }

    #[test]
    fn escapes_must_be_whole() {
        for (path, expected) in [("/a%20b", true), ("/%zz", false), ("/a%", false), ("/a%2", false), ("/%g0", false)] {
            assert_eq!(is_well_escaped(path), expected, "{path}");
        }
    }
}
