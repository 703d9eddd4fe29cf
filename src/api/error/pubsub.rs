//! Errors of publishing (tests/spec/http-api.md, "4.1 All pub/sub publish errors").

use std::borrow::Cow;

use http::StatusCode;

use super::response::{ErrorResponse, GrpcCode, Kind, all, pairs, parser_text, rich};
use crate::envelope::WrapError;
use crate::message::Metadata;
use crate::publish::PublishError;
use crate::pubsub::Forbidden;

/// An event, or many, could not be published.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PubsubError {
    /// There is no component of this name.
    PubsubNotFound { pubsub: String, metadata: Metadata },
    /// `rawPayload` is not a boolean.
    RequestMetadata { pubsub: String, metadata: Metadata, error: String },
    /// The content type is that of a CloudEvent, and the body is not one.
    CloudEvent { pubsub: String, app_id: String, error: String },
    /// The content type is JSON, and the body is not UTF-8.
    NotUtf8 { pubsub: String, app_id: String, error: String },
    /// The scopes forbid the topic.
    Forbidden { pubsub: String, topic: String, app_id: String },
    /// The broker did not take the event, or the body could not be read.
    Publish { pubsub: String, topic: String, error: String },
    /// The body of a bulk publish is not a list of entries, or could not be read.
    BulkBody { pubsub: String, topic: String, app_id: String, error: String },
    /// An event of a bulk publish does not fit its content type.
    BulkContent { pubsub: String, topic: String, app_id: String, error: String },
    /// Two entries of a bulk publish have the same id, or one has none.
    BulkEntryIds { pubsub: String, topic: String, app_id: String, error: String },
}

/// The entries of a bulk publish are not as they must be.
const BAD_ENTRIES: Kind = (StatusCode::BAD_REQUEST, GrpcCode::InvalidArgument, "ERR_PUBSUB_EVENTS_SER");

impl PubsubError {
    /// The answer over HTTP and gRPC.
    pub(super) fn response(&self) -> ErrorResponse<'_> {
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
                BAD_ENTRIES,
                format!("error when unmarshaling the request for topic {topic} pubsub {pubsub}: {error}"),
                (Some(pubsub), "DAPR_PUBSUB_UNMARSHAL_EVENTS", pairs([("appID", app_id)])),
            ),
            Self::BulkContent { pubsub, topic, app_id, error } => rich(
                BAD_ENTRIES,
                format!("error when marshalling cloud event envelope for topic {topic} pubsub {pubsub}: {error}"),
                (Some(pubsub), "DAPR_PUBSUB_MARSHAL_ENVELOPE", pairs([("appID", app_id), ("error", error)])),
            ),
            Self::BulkEntryIds { pubsub, topic, app_id, error } => rich(
                BAD_ENTRIES,
                format!("error marshaling events to bytes for topic {topic} pubsub {pubsub}. error: {error}"),
                (Some(pubsub), "DAPR_PUBSUB_MARSHAL_EVENTS", pairs([("appID", app_id), ("error", error)])),
            ),
        }
    }
}

impl From<PublishError> for PubsubError {
    fn from(error: PublishError) -> Self {
        match error {
            PublishError::RawPayload { pubsub, metadata, error } => {
                Self::RequestMetadata { pubsub, metadata, error: error.to_string() }
            }
            PublishError::Payload { pubsub, app_id, error: WrapError::NotUtf8(error) } => {
                Self::NotUtf8 { pubsub, app_id, error: error.to_string() }
            }
            PublishError::Payload { pubsub, app_id, error: error @ WrapError::NotAnObject(_) } => {
                Self::CloudEvent { pubsub, app_id, error: parser_text(&error) }
            }
            PublishError::Forbidden(Forbidden { pubsub, topic, app_id }) => Self::Forbidden { pubsub, topic, app_id },
            PublishError::Send { pubsub, topic, error } => Self::Publish { pubsub, topic, error: error.to_string() },
        }
    }
}
