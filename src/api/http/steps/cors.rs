//! Requests from pages of other origins, if `--allowed-origins` allows some (tests/spec/http-api.md, "11.2 CORS
//! (`--allowed-origins`)").

use axum::response::{IntoResponse, Response};
use http::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
    ACCESS_CONTROL_REQUEST_HEADERS, ACCESS_CONTROL_REQUEST_METHOD, ORIGIN, VARY,
};
use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};

const METHODS: &[&str] = &["HEAD", "GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"];
const ANY_ORIGIN: HeaderValue = HeaderValue::from_static("*");

/// The origins whose pages may read answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::api::http) enum Origins {
    All,
    /// In lower case, each with one `*` at most.
    Some(Vec<String>),
}

impl Origins {
    /// Parses the text of the flag; `None` if it is empty: no CORS.
    pub(in crate::api::http) fn parse(text: &str) -> Option<Self> {
        if text.is_empty() {
            return None;
        }
        // Items are not trimmed, as in daprd.
        let mut items = text.split(',');
        Some(if items.clone().any(|item| item == "*") {
            Self::All
        } else {
            Self::Some(items.by_ref().map(str::to_lowercase).collect())
        })
    }

    /// The answer to a preflight request; `None` if it is none.
    pub(in crate::api::http) fn preflight(&self, head: &Parts) -> Option<Response> {
        let method = non_empty(&head.headers, ACCESS_CONTROL_REQUEST_METHOD)?;
        if head.method != Method::OPTIONS {
            return None;
        }
        let mut response = StatusCode::OK.into_response();
        let headers = response.headers_mut();
        for name in ["Origin", "Access-Control-Request-Method", "Access-Control-Request-Headers"] {
            headers.append(VARY, HeaderValue::from_static(name));
        }
        let method = method.to_str().unwrap_or_default().to_uppercase();
        if let Some(origin) = self.allowed(&head.headers)
            && let Some(method) = METHODS.iter().find(|known| **known == method)
        {
            headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin);
            headers.insert(ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static(method));
            if let Some(wanted) = requested_headers(&head.headers) {
                headers.insert(ACCESS_CONTROL_ALLOW_HEADERS, wanted);
            }
        }
        Some(response)
    }

    /// Adds the CORS headers of a response that is no preflight.
    pub(in crate::api::http) fn add_headers(&self, head: &Parts, answer: &mut HeaderMap) {
        answer.append(VARY, HeaderValue::from_static("Origin"));
        if METHODS.contains(&head.method.as_str())
            && let Some(origin) = self.allowed(&head.headers)
        {
            answer.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin);
        }
    }

    /// The origin of a request as the answer names it, if it is allowed.
    fn allowed(&self, headers: &HeaderMap) -> Option<HeaderValue> {
        let origin = non_empty(headers, ORIGIN)?;
        match self {
            Self::All => Some(ANY_ORIGIN),
            Self::Some(items) => {
                let text = origin.to_str().ok()?.to_lowercase();
                items.iter().any(|item| matches(item, &text)).then(|| origin.clone())
            }
        }
    }
}

fn matches(item: &str, origin: &str) -> bool {
    match item.split_once('*') {
        None => item == origin,
        Some((start, end)) => {
            let rest = origin.strip_prefix(start);
            rest.is_some_and(|rest| rest.ends_with(end))
        }
    }
}

/// The headers that a page asks to send, with the names in the form that Go gives them.
fn requested_headers(headers: &HeaderMap) -> Option<HeaderValue> {
    let wanted = non_empty(headers, ACCESS_CONTROL_REQUEST_HEADERS)?;
    let names = wanted.to_str().ok()?.split([',', ' ']);
    let names: Vec<_> = names.filter(|name| !name.is_empty()).map(canonical).collect();
    if names.is_empty() {
        return None;
    }
    HeaderValue::try_from(names.join(", ")).ok()
}

/// `x-my_thing` becomes `X-My_thing`.
fn canonical(name: &str) -> String {
    let parts = name.split('-').map(|part| {
        let mut part = part.to_ascii_lowercase();
        if let Some(first) = part.get_mut(..1) {
            first.make_ascii_uppercase();
        }
        part
    });
    parts.collect::<Vec<_>>().join("-")
}

fn non_empty(headers: &HeaderMap, name: HeaderName) -> Option<&HeaderValue> {
    headers.get(name).filter(|value| !value.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(method: &str, headers: &[(&str, &str)]) -> Parts {
        let mut request = http::Request::builder().method(method).uri("/x");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        request.body(()).unwrap().into_parts().0
    }

    #[test]
    fn origins_are_compared_in_small_letters_with_one_star() {
        let check = |allowed: &str, origin: &str, expected: Option<&str>| {
            let origins = Origins::parse(allowed).unwrap();
            let mut answer = HeaderMap::new();
            origins.add_headers(&head("GET", &[("origin", origin)]), &mut answer);
            let named = answer.get(ACCESS_CONTROL_ALLOW_ORIGIN);
            let named = named.map(|value| value.to_str().unwrap());
            assert_eq!(named, expected, "{allowed} {origin}");
            assert_eq!(answer[VARY], "Origin");
        };
        check("*", "https://a.com", Some("*"));
        check("https://a.com,*", "https://c.com", Some("*"));
        check("*", "", None);
        check("https://A.com", "HTTPS://a.COM", Some("HTTPS://a.COM"));
        check("https://a.com, https://b.com", "https://b.com", None);
        check("https://*.b.com", "https://x.y.b.com", Some("https://x.y.b.com"));
        check("https://*.b.com", "https://b.com", None);
        check("https://*.b.com", "https://x.b.com.evil.com", None);
        check("https://ab*bc", "https://abc", None);
        check("https://*.*.com", "https://x.y.com", None);
        assert_eq!(Origins::parse(""), None);
    }

    #[test]
    fn preflights_are_answered_and_nothing_else() {
        let origins = Origins::parse("https://a.com").unwrap();
        let asked = |method: &str, wanted: &str, origin: &str, headers: &str| {
            let head = head(
                method,
                &[
                    ("access-control-request-method", wanted),
                    ("origin", origin),
                    ("access-control-request-headers", headers),
                ],
            );
            let answer = origins.preflight(&head)?;
            assert_eq!(answer.status(), 200);
            assert_eq!(answer.headers().get_all(VARY).iter().count(), 3);
            let text = |name: HeaderName| {
                let value = answer.headers().get(name);
                value.map_or("-", |value| value.to_str().unwrap()).to_owned()
            };
            Some([
                text(ACCESS_CONTROL_ALLOW_ORIGIN),
                text(ACCESS_CONTROL_ALLOW_METHODS),
                text(ACCESS_CONTROL_ALLOW_HEADERS),
            ])
        };
        let all = ["https://a.com", "GET", "Content-Type, X-My_thing"].map(str::to_owned);
        let none = ["-"; 3].map(str::to_owned);
        assert_eq!(asked("OPTIONS", "get", "https://a.com", "content-type, X-MY_thing"), Some(all));
        assert_eq!(asked("OPTIONS", "BREW", "https://a.com", ""), Some(none.clone()));
        assert_eq!(asked("OPTIONS", "GET", "https://b.com", "x"), Some(none.clone()));
        assert_eq!(asked("OPTIONS", "GET", "", ""), Some(none));
        assert_eq!(asked("OPTIONS", "", "https://a.com", ""), None);
        assert_eq!(asked("GET", "GET", "https://a.com", ""), None);
    }
}
