//! An error as it goes out, over HTTP or gRPC (tests/spec/http-api.md, "4. Error envelopes").

use std::borrow::Cow;
use std::fmt;

use http::StatusCode;

use crate::json::push_text;
use crate::message::Metadata;

/// Status codes of gRPC, as far as the API uses them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(i32)]
pub enum GrpcCode {
    /// 3
    InvalidArgument = 3,
    /// 5
    NotFound = 5,
    /// 7
    PermissionDenied = 7,
    /// 9
    FailedPrecondition = 9,
    /// 12
    Unimplemented = 12,
    /// 13
    Internal = 13,
    /// 14
    Unavailable = 14,
}

/// The answer to a call that failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ErrorResponse<'a> {
    /// The status over HTTP.
    pub status: StatusCode,
    /// The status over gRPC.
    pub grpc: GrpcCode,
    /// `errorCode`.
    pub code: &'static str,
    /// `message`.
    pub message: Cow<'a, str>,
    /// `details`, if the error has some.
    pub details: Option<Details<'a>>,
}

/// The details of an error.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Details<'a> {
    /// The pub/sub of the `ResourceInfo`, if there is one.
    pub resource: Option<&'a str>,
    /// `reason` of the `ErrorInfo`.
    pub reason: &'static str,
    /// `metadata` of the `ErrorInfo`, sorted by name; `None` is null.
    pub metadata: Option<Vec<(&'a str, Cow<'a, str>)>>,
}

impl ErrorResponse<'_> {
    /// The JSON body over HTTP.
    pub fn body(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(512);
        out.extend_from_slice(br#"{"errorCode":"#);
        push_text(&mut out, self.code.as_bytes());
        out.extend_from_slice(br#","message":"#);
        push_text(&mut out, self.message.as_bytes());
        if let Some(details) = &self.details {
            out.extend_from_slice(br#","details":["#);
            if let Some(resource) = details.resource {
                self.push_resource(&mut out, resource);
            }
            details.push_info(&mut out);
            out.push(b']');
        }
        out.push(b'}');
        out
    }

    fn push_resource(&self, out: &mut Vec<u8>, resource: &str) {
        out.extend_from_slice(br#"{"@type":"type.googleapis.com/google.rpc.ResourceInfo","description":"#);
        push_text(out, self.message.as_bytes());
        out.extend_from_slice(br#","owner":"","resource_name":"#);
        push_text(out, resource.as_bytes());
        out.extend_from_slice(br#","resource_type":"pubsub"},"#);
    }
}

impl Details<'_> {
    fn push_info(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(br#"{"@type":"type.googleapis.com/google.rpc.ErrorInfo","domain":"dapr.io","metadata":"#);
        match &self.metadata {
            None => out.extend_from_slice(b"null"),
            Some(metadata) => {
                out.push(b'{');
                for (at, (name, value)) in metadata.iter().enumerate() {
                    if at > 0 {
                        out.push(b',');
                    }
                    push_text(out, name.as_bytes());
                    out.push(b':');
                    push_text(out, value.as_bytes());
                }
                out.push(b'}');
            }
        }
        out.extend_from_slice(br#","reason":"#);
        push_text(out, self.reason.as_bytes());
        out.push(b'}');
    }
}

/// The text of a parser with single quotes: double ones would be hard to read in JSON.
pub(in crate::api) fn parser_text(error: &impl fmt::Display) -> String {
    error.to_string().replace('"', "'")
}

/// Status over HTTP, status over gRPC, `errorCode`.
pub(super) type Kind = (StatusCode, GrpcCode, &'static str);

/// `metadata` of an `ErrorInfo`.
pub(super) type Pairs<'a> = Vec<(&'a str, Cow<'a, str>)>;

/// An error without details.
pub(super) fn plain<'a>((status, grpc, code): Kind, message: impl Into<Cow<'a, str>>) -> ErrorResponse<'a> {
    ErrorResponse { status, grpc, code, message: message.into(), details: None }
}

/// An error with details: the pub/sub of its resource, its reason and its metadata.
pub(super) fn rich<'a>(
    kind: Kind,
    message: String,
    (resource, reason, metadata): (Option<&'a String>, &'static str, Pairs<'a>),
) -> ErrorResponse<'a> {
    let details = Details { resource: resource.map(String::as_str), reason, metadata: Some(metadata) };
    ErrorResponse { details: Some(details), ..plain(kind, message) }
}

/// All metadata of a request.
pub(super) fn all(metadata: &Metadata) -> Pairs<'_> {
    metadata.iter().map(|(name, value)| (name.as_str(), value.into())).collect()
}

/// Some pairs of metadata.
pub(super) fn pairs<'a, const N: usize>(pairs: [(&'a str, &'a String); N]) -> Pairs<'a> {
    pairs.into_iter().map(|(name, value)| (name, value.into())).collect()
}
