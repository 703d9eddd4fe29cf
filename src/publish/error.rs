//! Why a publish failed, with what the answer to the client needs.

use crate::envelope::{NotABoolean, WrapError};
use crate::message::Metadata;
use crate::pubsub::{Forbidden, SendError};

/// A failed publish.
#[derive(Debug, thiserror::Error)]
pub enum PublishError {
    /// The metadata `rawPayload` is not a boolean.
    #[error("{error}")]
    RawPayload {
        /// The component.
        pubsub: String,
        /// The metadata of the request.
        metadata: Metadata,
        /// The parse error.
        error: NotABoolean,
    },
    /// The payload does not fit its content type.
    #[error("{error}")]
    Payload {
        /// The component.
        pubsub: String,
        /// This sidecar's app id.
        app_id: String,
        /// The first fault.
        error: WrapError,
    },
    /// The scopes of the component forbid the topic.
    #[error(transparent)]
    Forbidden(#[from] Forbidden),
    /// The broker did not store the event, or the component's policy did not let it get that far.
    #[error("{error}")]
    Send {
        /// The component.
        pubsub: String,
        /// The topic without prefix.
        topic: String,
        /// The failure.
        error: SendError,
    },
}
