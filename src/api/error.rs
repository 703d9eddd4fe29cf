//! Every error of the API: code, text, HTTP status, gRPC code and details, in one match (tests/spec/http-api.md, "4.
//! Error envelopes", "10. Other building blocks when not configured").

use std::borrow::Cow;
use std::fmt;

use http::StatusCode;

use crate::envelope::WrapError;
use crate::json::push_text;
use crate::message::Metadata;
use crate::publish::PublishError;
use crate::pubsub::Forbidden;
use crate::server::Limit;

/// What can go wrong with an API call, as the client is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ApiError {
    /// No such component.
    PubsubNotFound { pubsub: String, metadata: Metadata },
    /// `rawPayload` is no boolean.
    RequestMetadata { pubsub: String, metadata: Metadata, error: String },
    /// The payload should be an event and is none.
    CloudEvent { pubsub: String, app_id: String, error: String },
    /// The payload is JSON by its content type and not UTF-8.
    NotUtf8 { pubsub: String, app_id: String, error: String },
    /// The scopes forbid the topic.
    Forbidden { pubsub: String, topic: String, app_id: String },
    /// The broker did not take the event, or the body could not be read.
    Publish { pubsub: String, topic: String, error: String },
    /// The body of a bulk publish is no list of entries, or could not be read.
    BulkBody { pubsub: String, topic: String, app_id: String, error: String },
    /// An event of a bulk publish does not fit its content type.
    BulkContent { pubsub: String, topic: String, app_id: String, error: String },
    /// The ids of a bulk publish do not tell the entries apart.
    BulkEntryIds { pubsub: String, topic: String, app_id: String, error: String },
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
    /// State stores; queries do not say the app id.
    State { store: String, app_id: Option<String> },
    /// No secret stores.
    Secrets,
    /// Another secret store.
    SecretStore { store: String },
    /// Output bindings.
    Binding { error: String, name: String },
    /// Configuration stores.
    Configuration,
    /// A lock that never ends.
    LockExpiry { store: String },
    /// Lock stores.
    Lock,
    /// Cryptography.
    Crypto,
    /// Cryptography that nobody has.
    SubtleCrypto,
    /// Conversations.
    Conversation { name: String },
    /// Actors and workflows.
    Placement,
    /// A job without a time.
    JobWithoutSchedule { app_id: String, namespace: String },
    /// The scheduler.
    Job { call: JobCall, app_id: String, namespace: String },
    /// A limit of the sidecar was reached.
    Overloaded { limit: Limit },
    /// A handler panicked: a mistake of this program.
    Panic,
}

/// What a parser says of a body, in single quotes: double ones would be hard to read in JSON.
pub(super) fn parser_words(error: &impl fmt::Display) -> String {
    error.to_string().replace('"', "'")
}

/// What was asked of the scheduler.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum JobCall {
    /// Make a job.
    Schedule,
    /// Look at one.
    Get,
    /// Remove one.
    Delete,
}

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

/// An error as it goes out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shape<'a> {
    /// The status over HTTP.
    pub status: StatusCode,
    /// The status over gRPC.
    pub grpc: GrpcCode,
    /// `errorCode`.
    pub code: &'static str,
    /// `message`.
    pub message: Cow<'a, str>,
    /// `details`, if it is a rich error.
    pub details: Option<Details<'a>>,
}

/// The details of a rich error.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Details<'a> {
    /// The pub/sub, if there is a `ResourceInfo`.
    pub resource: Option<&'a str>,
    /// `reason` of the `ErrorInfo`.
    pub reason: &'static str,
    /// `metadata` of the `ErrorInfo`, sorted by name; `None` is null.
    pub metadata: Option<Vec<(&'a str, Cow<'a, str>)>>,
}

impl ApiError {
    /// Everything about it.
    pub fn shape(&self) -> Shape<'_> {
        use GrpcCode as Grpc;
        use StatusCode as Http;
        match self {
            Self::PubsubNotFound { pubsub, metadata } => rich(
                (Http::NOT_FOUND, Grpc::InvalidArgument, "ERR_PUBSUB_NOT_FOUND"),
                format!("pubsub {pubsub} is not found"),
                (None, "DAPR_PUBSUB_NOT_FOUND", all(metadata)),
            ),
            Self::RequestMetadata { pubsub, metadata, error } => rich(
                (Http::BAD_REQUEST, Grpc::InvalidArgument, "ERR_PUBSUB_REQUEST_METADATA"),
                format!("failed deserializing metadata. Error: {error}"),
                (Some(pubsub), "DAPR_PUBSUB_METADATA_DESERIALIZATION", all(metadata)),
            ),
            Self::CloudEvent { pubsub, app_id, error } => rich(
                (Http::INTERNAL_SERVER_ERROR, Grpc::InvalidArgument, "ERR_PUBSUB_CLOUD_EVENTS_SER"),
                "cannot create cloudevent".to_owned(),
                (Some(pubsub), "DAPR_PUBSUB_CLOUD_EVENT_CREATION", pairs([("appID", app_id), ("error", error)])),
            ),
            Self::NotUtf8 { pubsub, app_id, error } => rich(
                (Http::BAD_REQUEST, Grpc::InvalidArgument, "ERR_PUBSUB_CLOUD_EVENTS_SER"),
                format!("cannot create cloudevent: {error}"),
                (Some(pubsub), "DAPR_PUBSUB_CLOUD_EVENT_CREATION", pairs([("appID", app_id), ("error", error)])),
            ),
            Self::Forbidden { pubsub, topic, app_id } => {
                let message = format!("topic {topic} is not allowed for app id {app_id}");
                let metadata = vec![("error", Cow::Owned(message.clone())), ("topic", topic.into())];
                rich(
                    (Http::FORBIDDEN, Grpc::PermissionDenied, "ERR_PUBSUB_FORBIDDEN"),
                    message,
                    (Some(pubsub), "DAPR_PUBSUB_FORBIDDEN", metadata),
                )
            }
            Self::Publish { pubsub, topic, error } => rich(
                (Http::INTERNAL_SERVER_ERROR, Grpc::Internal, "ERR_PUBSUB_PUBLISH_MESSAGE"),
                format!("error when publishing to topic {topic} in pubsub {pubsub}: {error}"),
                (Some(pubsub), "DAPR_PUBSUB_PUBLISH_MESSAGE", pairs([("error", error), ("topic", topic)])),
            ),
            Self::BulkBody { pubsub, topic, app_id, error } => rich(
                UNFIT_EVENTS,
                format!("error when unmarshaling the request for topic {topic} pubsub {pubsub}: {error}"),
                (Some(pubsub), "DAPR_PUBSUB_UNMARSHAL_EVENTS", pairs([("appID", app_id)])),
            ),
            Self::BulkContent { pubsub, topic, app_id, error } => rich(
                UNFIT_EVENTS,
                format!("error when marshalling cloud event envelope for topic {topic} pubsub {pubsub}: {error}"),
                (Some(pubsub), "DAPR_PUBSUB_MARSHAL_ENVELOPE", pairs([("appID", app_id), ("error", error)])),
            ),
            Self::BulkEntryIds { pubsub, topic, app_id, error } => rich(
                UNFIT_EVENTS,
                format!("error marshaling events to bytes for topic {topic} pubsub {pubsub}. error: {error}"),
                (Some(pubsub), "DAPR_PUBSUB_MARSHAL_EVENTS", pairs([("appID", app_id), ("error", error)])),
            ),
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
            Self::State { store, app_id } => Shape {
                status: Http::INTERNAL_SERVER_ERROR,
                grpc: Grpc::FailedPrecondition,
                code: "ERR_STATE_STORE_NOT_CONFIGURED",
                message: format!("state store {store} is not configured").into(),
                details: Some(Details {
                    resource: None,
                    reason: "DAPR_STATE_NOT_CONFIGURED",
                    metadata: app_id.as_ref().map(|app_id| pairs([("appID", app_id)])),
                }),
            },
            Self::Secrets => plain(
                (Http::INTERNAL_SERVER_ERROR, Grpc::FailedPrecondition, "ERR_SECRET_STORES_NOT_CONFIGURED"),
                "secret store is not configured",
            ),
            Self::SecretStore { store } => plain(
                (Http::UNAUTHORIZED, Grpc::InvalidArgument, "ERR_SECRET_STORE_NOT_FOUND"),
                format!("failed finding secret store with key {store}"),
            ),
            Self::Binding { name, error } => plain(
                (Http::INTERNAL_SERVER_ERROR, Grpc::Internal, "ERR_INVOKE_OUTPUT_BINDING"),
                format!("error invoking output binding {name}: {error}"),
            ),
            Self::Configuration => plain(
                (Http::INTERNAL_SERVER_ERROR, Grpc::FailedPrecondition, "ERR_CONFIGURATION_STORE_NOT_CONFIGURED"),
                "configuration stores not configured",
            ),
            Self::LockExpiry { store } => plain(
                (Http::BAD_REQUEST, Grpc::InvalidArgument, "ERR_MALFORMED_REQUEST"),
                format!("ExpiryInSeconds is not positive in lock store {store}"),
            ),
            Self::Lock => plain(
                (Http::INTERNAL_SERVER_ERROR, Grpc::FailedPrecondition, "ERR_LOCK_STORE_NOT_CONFIGURED"),
                "lock store is not configured",
            ),
            Self::Crypto => plain(
                (Http::INTERNAL_SERVER_ERROR, Grpc::FailedPrecondition, "ERR_CRYPTO_PROVIDERS_NOT_CONFIGURED"),
                "crypto providers not configured",
            ),
            Self::SubtleCrypto => plain(
                (Http::NOT_IMPLEMENTED, Grpc::Unimplemented, "ERR_API_UNIMPLEMENTED"),
                "this API is currently not implemented",
            ),
            Self::Conversation { name } => plain(
                (Http::BAD_REQUEST, Grpc::InvalidArgument, "ERR_CONVERSATION_NOT_FOUND"),
                format!("failed finding conversation component {name}"),
            ),
            Self::Placement => plain(
                (Http::BAD_REQUEST, Grpc::Internal, "ERR_ACTOR_NO_PLACEMENT"),
                "placement service is not configured",
            ),
            Self::JobWithoutSchedule { app_id, namespace } => {
                let code = "DAPR_SCHEDULER_SCHEDULE_EMPTY";
                rich(
                    (Http::BAD_REQUEST, Grpc::InvalidArgument, code),
                    "Schedule is empty".to_owned(),
                    (None, code, pairs([("appID", app_id), ("namespace", namespace)])),
                )
            }
            Self::Job { call, app_id, namespace } => {
                let (code, verb) = match call {
                    JobCall::Schedule => ("DAPR_SCHEDULER_SCHEDULE_JOB", "schedule"),
                    JobCall::Get => ("DAPR_SCHEDULER_GET_JOB", "get"),
                    JobCall::Delete => ("DAPR_SCHEDULER_DELETE_JOB", "delete"),
                };
                rich(
                    (Http::INTERNAL_SERVER_ERROR, Grpc::Internal, code),
                    format!("failed to {verb} job due to: scheduler clients are disabled"),
                    (None, code, pairs([("appID", app_id), ("namespace", namespace)])),
                )
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

impl From<PublishError> for ApiError {
    fn from(error: PublishError) -> Self {
        match error {
            PublishError::RawPayload { pubsub, metadata, error } => {
                Self::RequestMetadata { pubsub, metadata, error: error.to_string() }
            }
            PublishError::Payload { pubsub, app_id, error: WrapError::NotUtf8(error) } => {
                Self::NotUtf8 { pubsub, app_id, error: error.to_string() }
            }
            PublishError::Payload { pubsub, app_id, error: error @ WrapError::NotAnObject(_) } => {
                Self::CloudEvent { pubsub, app_id, error: parser_words(&error) }
            }
            PublishError::Forbidden(Forbidden { pubsub, topic, app_id }) => Self::Forbidden { pubsub, topic, app_id },
            PublishError::Send { pubsub, topic, error } => Self::Publish { pubsub, topic, error: error.to_string() },
        }
    }
}

impl Shape<'_> {
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

type Kind = (StatusCode, GrpcCode, &'static str);

/// Whatever is wrong with the entries of a bulk publish.
const UNFIT_EVENTS: Kind = (StatusCode::BAD_REQUEST, GrpcCode::InvalidArgument, "ERR_PUBSUB_EVENTS_SER");

type Pairs<'a> = Vec<(&'a str, Cow<'a, str>)>;

fn plain<'a>((status, grpc, code): Kind, message: impl Into<Cow<'a, str>>) -> Shape<'a> {
    Shape { status, grpc, code, message: message.into(), details: None }
}

fn rich<'a>(
    kind: Kind,
    message: String,
    (resource, reason, metadata): (Option<&'a String>, &'static str, Pairs<'a>),
) -> Shape<'a> {
    let details = Details { resource: resource.map(String::as_str), reason, metadata: Some(metadata) };
    Shape { details: Some(details), ..plain(kind, message) }
}

fn all(metadata: &Metadata) -> Pairs<'_> {
    metadata.iter().map(|(name, value)| (name.as_str(), value.into())).collect()
}

fn pairs<'a, const N: usize>(pairs: [(&'a str, &'a String); N]) -> Pairs<'a> {
    pairs.into_iter().map(|(name, value)| (name, value.into())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(error: &ApiError, status: u16, body: &str) {
        let shape = error.shape();
        assert_eq!(String::from_utf8(shape.body()).unwrap(), body);
        assert_eq!(shape.status.as_u16(), status);
    }

    #[test]
    fn errors_are_written_as_the_specification_shows_them() {
        check(
            &ApiError::Forbidden { pubsub: "ps".to_owned(), topic: "t2".to_owned(), app_id: "app1".to_owned() },
            403,
            r#"{"errorCode":"ERR_PUBSUB_FORBIDDEN","message":"topic t2 is not allowed for app id app1","details":[{"@type":"type.googleapis.com/google.rpc.ResourceInfo","description":"topic t2 is not allowed for app id app1","owner":"","resource_name":"ps","resource_type":"pubsub"},{"@type":"type.googleapis.com/google.rpc.ErrorInfo","domain":"dapr.io","metadata":{"error":"topic t2 is not allowed for app id app1","topic":"t2"},"reason":"DAPR_PUBSUB_FORBIDDEN"}]}"#,
        );
        check(
            &ApiError::PubsubNotFound { pubsub: "nope".to_owned(), metadata: Metadata::new() },
            404,
            r#"{"errorCode":"ERR_PUBSUB_NOT_FOUND","message":"pubsub nope is not found","details":[{"@type":"type.googleapis.com/google.rpc.ErrorInfo","domain":"dapr.io","metadata":{},"reason":"DAPR_PUBSUB_NOT_FOUND"}]}"#,
        );
        check(
            &ApiError::State { store: "s".to_owned(), app_id: None },
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
