//! A request on its way through a handler: what every handler is given.

use http::request::Parts;

use crate::api::Context;
use crate::api::http::body::RequestBody;
use crate::telemetry::trace::TraceContext;

/// A request on its way through a handler.
pub(super) struct Call<'a> {
    pub(super) context: &'a Context,
    pub(super) head: &'a Parts,
    pub(super) body: &'a mut RequestBody,
    pub(super) trace: &'a TraceContext,
}

/// The path as it was sent, beside a request whose path has been cleaned.
#[derive(Clone, Debug)]
pub(super) struct SentPath(pub(super) String);

/// The path before it was cleaned, which is what health, trace and log go by.
pub(super) fn sent_path(head: &Parts) -> &str {
    let sent = head.extensions.get::<SentPath>();
    sent.map_or(head.uri.path(), |sent| &sent.0)
}
