//! Every error of the API: code, text, HTTP status, gRPC code and details (tests/spec/http-api.md, "4. Error
//! envelopes").

mod not_configured;
mod pubsub;
mod response;

use http::StatusCode;

pub use self::not_configured::{JobCall, NotConfigured};
pub use self::pubsub::PubsubError;
pub(super) use self::response::parser_text;
use self::response::plain;
pub use self::response::{Details, ErrorResponse, GrpcCode};
use crate::publish::PublishError;
use crate::server::Limit;

/// An error of an API call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ApiError {
    /// An event could not be published.
    Pubsub(PubsubError),
    /// A building block that is not ours.
    NotConfigured(NotConfigured),
    /// Not ready, with what is missing.
    NotReady { missing: Vec<String> },
    /// Publishing cannot work yet.
    OutboundNotReady,
    /// The health check asked for another app.
    OtherApp,
    /// A body that is not the JSON it should be.
    Malformed { error: String },
    /// A body that could not be read.
    BodyRead { error: String },
    /// Neither a route nor an invocation.
    NoTarget,
    /// Service invocation, which is not there.
    InvokeNotReady,
    /// A limit of the sidecar was reached.
    Overloaded { limit: Limit },
    /// A handler panicked: a mistake of this program.
    Panic,
}

impl ApiError {
    /// The answer over HTTP and gRPC.
    pub fn response(&self) -> ErrorResponse<'_> {
        use GrpcCode as Grpc;
        use StatusCode as Http;
        match self {
            Self::Pubsub(error) => error.response(),
            Self::NotConfigured(error) => error.response(),
            Self::NotReady { missing } => plain(
                (Http::INTERNAL_SERVER_ERROR, Grpc::Internal, "ERR_HEALTH_NOT_READY"),
                format!("dapr is not ready: [{}]", missing.join(" ")),
            ),
            Self::OutboundNotReady => plain(
                (Http::INTERNAL_SERVER_ERROR, Grpc::Internal, "ERR_OUTBOUND_HEALTH_NOT_READY"),
                "dapr outbound is not ready",
            ),
            Self::OtherApp => plain(
                (Http::INTERNAL_SERVER_ERROR, Grpc::Internal, "ERR_HEALTH_APPID_NOT_MATCH"),
                "dapr app-id does not match",
            ),
            Self::Malformed { error } => plain(
                (Http::BAD_REQUEST, Grpc::InvalidArgument, "ERR_MALFORMED_REQUEST"),
                format!("failed deserializing HTTP body: {error}"),
            ),
            Self::BodyRead { error } => plain(
                (Http::BAD_REQUEST, Grpc::InvalidArgument, "ERR_BODY_READ"),
                format!("failed to read request body: {error}"),
            ),
            Self::NoTarget => plain(
                (Http::NOT_FOUND, Grpc::NotFound, "ERR_DIRECT_INVOKE"),
                "failed getting app id either from the URL path or the header dapr-app-id",
            ),
            Self::InvokeNotReady => {
                plain((Http::INTERNAL_SERVER_ERROR, Grpc::Internal, "ERR_DIRECT_INVOKE"), "invoke API is not ready")
            }
            Self::Overloaded { limit } => plain(
                (Http::SERVICE_UNAVAILABLE, Grpc::Unavailable, "ERR_OVERLOADED"),
                format!("the sidecar is overloaded: {limit}; try again later"),
            ),
            Self::Panic => plain(
                (Http::INTERNAL_SERVER_ERROR, Grpc::Internal, "ERR_INTERNAL"),
                "the sidecar failed to answer: see its log",
            ),
        }
    }
}

impl From<PubsubError> for ApiError {
    fn from(error: PubsubError) -> Self {
        Self::Pubsub(error)
    }
}

impl From<NotConfigured> for ApiError {
    fn from(error: NotConfigured) -> Self {
        Self::NotConfigured(error)
    }
}

impl From<PublishError> for ApiError {
    fn from(error: PublishError) -> Self {
        Self::Pubsub(error.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::Metadata;

    fn check(error: &ApiError, status: u16, body: &str) {
        let response = error.response();
        assert_eq!(String::from_utf8(response.body()).unwrap(), body);
        assert_eq!(response.status.as_u16(), status);
    }

    #[test]
    fn errors_are_written_as_the_specification_shows_them() {
        check(
            &PubsubError::Forbidden { pubsub: "ps".to_owned(), topic: "t2".to_owned(), app_id: "app1".to_owned() }
                .into(),
            403,
            r#"{"errorCode":"ERR_PUBSUB_FORBIDDEN","message":"topic t2 is not allowed for app id app1","details":[{"@type":"type.googleapis.com/google.rpc.ResourceInfo","description":"topic t2 is not allowed for app id app1","owner":"","resource_name":"ps","resource_type":"pubsub"},{"@type":"type.googleapis.com/google.rpc.ErrorInfo","domain":"dapr.io","metadata":{"error":"topic t2 is not allowed for app id app1","topic":"t2"},"reason":"DAPR_PUBSUB_FORBIDDEN"}]}"#,
        );
        check(
            &PubsubError::PubsubNotFound { pubsub: "nope".to_owned(), metadata: Metadata::new() }.into(),
            404,
            r#"{"errorCode":"ERR_PUBSUB_NOT_FOUND","message":"pubsub nope is not found","details":[{"@type":"type.googleapis.com/google.rpc.ErrorInfo","domain":"dapr.io","metadata":{},"reason":"DAPR_PUBSUB_NOT_FOUND"}]}"#,
        );
        check(
            &NotConfigured::State { store: "s".to_owned(), app_id: None }.into(),
            500,
            r#"{"errorCode":"ERR_STATE_STORE_NOT_CONFIGURED","message":"state store s is not configured","details":[{"@type":"type.googleapis.com/google.rpc.ErrorInfo","domain":"dapr.io","metadata":null,"reason":"DAPR_STATE_NOT_CONFIGURED"}]}"#,
        );
        check(
            &ApiError::NotReady { missing: vec!["runtime".to_owned(), "a: <b>".to_owned()] },
            500,
            r#"{"errorCode":"ERR_HEALTH_NOT_READY","message":"dapr is not ready: [runtime a: \u003cb\u003e]"}"#,
        );
        check(
            &ApiError::NoTarget,
            404,
            r#"{"errorCode":"ERR_DIRECT_INVOKE","message":"failed getting app id either from the URL path or the header dapr-app-id"}"#,
        );
    }
}
