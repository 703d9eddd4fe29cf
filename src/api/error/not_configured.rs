//! Errors of building blocks that are not ours, as daprd answers when nothing is configured (tests/spec/http-api.md,
//! "10. Other building blocks when not configured (exact answers for SDKs)").

use http::StatusCode as Http;

use super::response::GrpcCode as Grpc;
use super::response::{Details, ErrorResponse, Kind, pairs, plain, rich};

/// A call of a building block that is not ours.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NotConfigured {
    /// State stores. Only their queries leave the app id out.
    State { store: String, app_id: Option<String> },
    /// Secret stores, of which there are none.
    Secrets,
    /// A secret store that is not there, while others are.
    SecretStore { store: String },
    /// An output binding, called without an operation.
    BindingOperation { name: String },
    /// An output binding.
    Binding { name: String },
    /// Configuration stores.
    Configuration,
    /// A lock without expiry.
    LockExpiry { store: String },
    /// Lock stores.
    Lock,
    /// Cryptography.
    Crypto,
    /// Cryptography that daprd does not have either.
    SubtleCrypto,
    /// Conversations.
    Conversation { name: String },
    /// Actors and workflows.
    Placement,
    /// A job without a time.
    JobWithoutSchedule { app_id: String, namespace: String },
    /// The scheduler.
    Job { call: JobCall, app_id: String, namespace: String },
}

/// The calls of the scheduler.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum JobCall {
    /// Creates a job.
    Schedule,
    /// Reads one.
    Get,
    /// Deletes one.
    Delete,
}

/// An answer: status over HTTP, status over gRPC, `errorCode`, and a text in which `{}` is the name of the component.
type Row = (Kind, &'static str);

const STATE: Row = (
    (Http::INTERNAL_SERVER_ERROR, Grpc::FailedPrecondition, "ERR_STATE_STORE_NOT_CONFIGURED"),
    "state store {} is not configured",
);
const SECRETS: Row = (
    (Http::INTERNAL_SERVER_ERROR, Grpc::FailedPrecondition, "ERR_SECRET_STORES_NOT_CONFIGURED"),
    "secret store is not configured",
);
const SECRET_STORE: Row = (
    (Http::UNAUTHORIZED, Grpc::InvalidArgument, "ERR_SECRET_STORE_NOT_FOUND"),
    "failed finding secret store with key {}",
);
const BINDING_OPERATION: Row = (
    (Http::INTERNAL_SERVER_ERROR, Grpc::Internal, "ERR_INVOKE_OUTPUT_BINDING"),
    "error invoking output binding {}: operation field is missing from request",
);
const BINDING: Row = (
    (Http::INTERNAL_SERVER_ERROR, Grpc::Internal, "ERR_INVOKE_OUTPUT_BINDING"),
    "error invoking output binding {}: couldn't find output binding {}",
);
const CONFIGURATION: Row = (
    (Http::INTERNAL_SERVER_ERROR, Grpc::FailedPrecondition, "ERR_CONFIGURATION_STORE_NOT_CONFIGURED"),
    "configuration stores not configured",
);
const LOCK_EXPIRY: Row = (
    (Http::BAD_REQUEST, Grpc::InvalidArgument, "ERR_MALFORMED_REQUEST"),
    "ExpiryInSeconds is not positive in lock store {}",
);
const LOCK: Row = (
    (Http::INTERNAL_SERVER_ERROR, Grpc::FailedPrecondition, "ERR_LOCK_STORE_NOT_CONFIGURED"),
    "lock store is not configured",
);
const CRYPTO: Row = (
    (Http::INTERNAL_SERVER_ERROR, Grpc::FailedPrecondition, "ERR_CRYPTO_PROVIDERS_NOT_CONFIGURED"),
    "crypto providers not configured",
);
const SUBTLE_CRYPTO: Row =
    ((Http::NOT_IMPLEMENTED, Grpc::Unimplemented, "ERR_API_UNIMPLEMENTED"), "this API is currently not implemented");
const CONVERSATION: Row = (
    (Http::BAD_REQUEST, Grpc::InvalidArgument, "ERR_CONVERSATION_NOT_FOUND"),
    "failed finding conversation component {}",
);
const PLACEMENT: Row =
    ((Http::BAD_REQUEST, Grpc::Internal, "ERR_ACTOR_NO_PLACEMENT"), "placement service is not configured");

/// Jobs have `errorCode` and `reason` in one.
const SCHEDULE_EMPTY: &str = "DAPR_SCHEDULER_SCHEDULE_EMPTY";

impl NotConfigured {
    /// The answer over HTTP and gRPC.
    pub(super) fn response(&self) -> ErrorResponse<'_> {
        match self {
            Self::State { store, app_id } => {
                let metadata = app_id.as_ref().map(|app_id| pairs([("appID", app_id)]));
                let details = Details { resource: None, reason: "DAPR_STATE_NOT_CONFIGURED", metadata };
                ErrorResponse { details: Some(details), ..row(STATE, store) }
            }
            Self::Secrets => row(SECRETS, ""),
            Self::SecretStore { store } => row(SECRET_STORE, store),
            Self::BindingOperation { name } => row(BINDING_OPERATION, name),
            Self::Binding { name } => row(BINDING, name),
            Self::Configuration => row(CONFIGURATION, ""),
            Self::LockExpiry { store } => row(LOCK_EXPIRY, store),
            Self::Lock => row(LOCK, ""),
            Self::Crypto => row(CRYPTO, ""),
            Self::SubtleCrypto => row(SUBTLE_CRYPTO, ""),
            Self::Conversation { name } => row(CONVERSATION, name),
            Self::Placement => row(PLACEMENT, ""),
            Self::JobWithoutSchedule { app_id, namespace } => rich(
                (Http::BAD_REQUEST, Grpc::InvalidArgument, SCHEDULE_EMPTY),
                "Schedule is empty".to_owned(),
                (None, SCHEDULE_EMPTY, pairs([("appID", app_id), ("namespace", namespace)])),
            ),
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
        }
    }
}

/// A row with the name of a component.
fn row((kind, text): Row, name: &str) -> ErrorResponse<'static> {
    plain(kind, text.replace("{}", name))
}
