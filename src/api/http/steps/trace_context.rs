//! The trace of a request: begun from its headers, returned in the headers of the answer (tests/spec/http-api.md, "12.
//! Trace headers").

use http::header::{HeaderMap, HeaderName, HeaderValue};
use http::request::Parts;

use crate::api::http::extract::path::{self, sent_path};
use crate::telemetry::trace::{TraceContext, Tracing, baggage};

const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
const TRACESTATE: HeaderName = HeaderName::from_static("tracestate");
const BAGGAGE: HeaderName = HeaderName::from_static("baggage");

/// The trace of a request, and the baggage that the answer repeats.
#[derive(Default)]
pub(in crate::api::http) struct RequestTrace {
    pub(in crate::api::http) context: TraceContext,
    baggage: Option<HeaderValue>,
}

impl RequestTrace {
    /// Begins the trace of a request. Health checks are never traced.
    ///
    /// # Errors
    /// The text of the answer, if the baggage is invalid.
    pub(in crate::api::http) fn begin(tracing: &Tracing, head: &Parts) -> Result<Self, String> {
        if *tracing == Tracing::Off || is_health_path(sent_path(head)) {
            return Ok(Self::default());
        }
        let first = |name| head.headers.get(name).map(HeaderValue::as_bytes);
        let baggage = joined(&head.headers);
        if let Some(baggage) = &baggage {
            baggage::check(&String::from_utf8_lossy(baggage.as_bytes()))
                .map_err(|reason| format!("invalid baggage header: {reason}\n"))?;
        }
        let context = tracing.begin(first(TRACEPARENT), first(TRACESTATE));
        Ok(Self { context, baggage })
    }

    /// Adds the trace to the headers of the answer.
    pub(in crate::api::http) fn put_into(self, headers: &mut HeaderMap) {
        for (name, value) in
            [(TRACEPARENT, self.context.answered_parent()), (TRACESTATE, self.context.answered_state())]
        {
            // Both are printable ASCII, so that they always are header values.
            if let Some(Ok(value)) = value.map(HeaderValue::from_str) {
                headers.insert(name, value);
            }
        }
        if let Some(baggage) = self.baggage {
            headers.insert(BAGGAGE, baggage);
        }
    }
}

/// All values of `baggage` as one; `None` if it is empty.
fn joined(headers: &HeaderMap) -> Option<HeaderValue> {
    let mut values = headers.get_all(BAGGAGE).iter();
    let first = values.next()?.clone();
    let all = values.fold(first, |all, value| {
        let joined = [all.as_bytes(), b",", value.as_bytes()].concat();
        HeaderValue::from_bytes(&joined).unwrap_or(all)
    });
    (!all.is_empty()).then_some(all)
}

/// Is `/healthz` anywhere in the decoded path?
fn is_health_path(path: &str) -> bool {
    path.contains("/healthz") || (path.contains('%') && path::decoded_path(path).contains("/healthz"))
}
