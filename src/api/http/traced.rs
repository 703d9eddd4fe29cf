//! The trace of a request: begun from its headers, put into the headers of the answer (tests/spec/http-api.md, "12.
//! Trace headers").

use http::header::{HeaderMap, HeaderName, HeaderValue};
use http::request::Parts;

use crate::api::http::call::sent_path;
use crate::api::http::path;
use crate::telemetry::trace::{TraceContext, Tracing, baggage};

const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
const TRACESTATE: HeaderName = HeaderName::from_static("tracestate");
const BAGGAGE: HeaderName = HeaderName::from_static("baggage");

/// The trace of a request and what is echoed of it.
#[derive(Default)]
pub(super) struct Traced {
    pub(super) context: TraceContext,
    baggage: Option<HeaderValue>,
}

impl Traced {
    /// The trace of a request; the text of the refusal if its baggage is invalid. Health checks are never traced.
    pub(super) fn begin(tracing: &Tracing, head: &Parts) -> Result<Self, String> {
        if *tracing == Tracing::Off || is_about_health(sent_path(head)) {
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

    /// Tell the client.
    pub(super) fn put_into(self, headers: &mut HeaderMap) {
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

/// All values of `baggage`; `None` if there is nothing in them.
fn joined(headers: &HeaderMap) -> Option<HeaderValue> {
    let mut values = headers.get_all(BAGGAGE).iter();
    let first = values.next()?.clone();
    let all = values.fold(first, |all, value| {
        let joined = [all.as_bytes(), b",", value.as_bytes()].concat();
        HeaderValue::from_bytes(&joined).unwrap_or(all)
    });
    (!all.is_empty()).then_some(all)
}

/// Does `/healthz` stand anywhere in the decoded path?
fn is_about_health(path: &str) -> bool {
    path.contains("/healthz") || (path.contains('%') && path::decoded_path(path).contains("/healthz"))
}
