//! The publish path: check, wrap, send.
//!
//! Two steps, because the component is looked up before the body is read: [`Publisher::pubsub`], then [`Publisher::publish`]. The order
//! of checks is that of tests/spec/http-api.md, "5.1 Order of checks".

pub mod bulk;

use std::sync::Arc;

use bytes::Bytes;
use tokio::time::Instant;
use uuid::Uuid;

use crate::envelope::{self, Clock, NotABoolean, Publication, Trace, WrapError};
use crate::message::Metadata;
use crate::pubsub::{Catalog, Pubsub, SendError};
use crate::telemetry::Telemetry;
use crate::telemetry::trace::{TraceContext, Tracing};

/// Publishes for one sidecar. Clones are handles to the same.
#[derive(Clone)]
pub struct Publisher {
    app_id: Arc<str>,
    catalog: Catalog,
    tracing: Tracing,
    clock: Clock,
    telemetry: Telemetry,
}

/// One event to publish.
#[derive(Clone, Debug, Default)]
pub struct Request {
    /// The topic, without namespace prefix.
    pub topic: String,
    /// The content type as it was sent; empty if none was.
    pub content_type: String,
    /// The payload.
    pub body: Bytes,
    /// Goes to the broker as it is; `rawPayload`, `ttl` and `cloudevent.*` count here, too.
    pub metadata: Metadata,
    /// Of the API request.
    pub trace: TraceContext,
}

/// Why an event was not published.
#[derive(Debug, thiserror::Error)]
pub enum PublishError {
    /// No component of this name.
    #[error("pubsub {0} is not found")]
    UnknownPubsub(String),
    /// Bad metadata.
    #[error(transparent)]
    RawPayload(#[from] NotABoolean),
    /// The payload should be an event and is none.
    #[error(transparent)]
    Event(#[from] WrapError),
    /// Scopes, or the broker.
    #[error(transparent)]
    Send(#[from] SendError),
}

/// A payload and what the event around it says.
struct Parcel<'a> {
    topic: &'a str,
    content_type: &'a str,
    body: &'a [u8],
    metadata: &'a Metadata,
    trace: &'a TraceContext,
}

impl Publisher {
    /// A publisher for this app.
    pub fn new(app_id: &str, catalog: Catalog, tracing: Tracing, telemetry: Telemetry) -> Self {
        Self { app_id: app_id.into(), catalog, tracing, clock: Clock::default(), telemetry }
    }

    /// The component to publish to.
    ///
    /// # Errors
    /// [`PublishError::UnknownPubsub`].
    pub fn pubsub(&self, name: &str) -> Result<Arc<Pubsub>, PublishError> {
        self.catalog.get(name).ok_or_else(|| PublishError::UnknownPubsub(name.to_owned()))
    }

    /// Publish one event. `Ok` only after the broker has confirmed it.
    ///
    /// # Errors
    /// The first check that fails; nothing has been sent then, unless the broker says so.
    pub async fn publish(&self, pubsub: &Pubsub, request: &Request) -> Result<(), PublishError> {
        let data = self.payload(pubsub, request)?;
        // What the scopes forbid never gets to the broker, and does not count as a publish.
        pubsub.check_publish(&request.topic)?;
        let start = Instant::now();
        let sent = pubsub.send(&request.topic, data, Some(request.metadata.clone())).await;
        self.telemetry.publish_ended(&pubsub.name, &request.topic, start.elapsed(), sent.as_ref().err());
        Ok(sent?)
    }

    /// What the broker is to store: the body if it is raw, else an event around it.
    fn payload(&self, pubsub: &Pubsub, request: &Request) -> Result<Bytes, PublishError> {
        if envelope::is_raw(&request.metadata)? {
            return Ok(request.body.clone());
        }
        let parcel = Parcel {
            topic: &request.topic,
            content_type: &request.content_type,
            body: &request.body,
            metadata: &request.metadata,
            trace: &request.trace,
        };
        Ok(self.event(pubsub, &parcel)?)
    }

    /// An event of its own around a payload.
    fn event(&self, pubsub: &Pubsub, parcel: &Parcel<'_>) -> Result<Bytes, WrapError> {
        let publication = Publication {
            app_id: &self.app_id,
            pubsub: &pubsub.name,
            topic: parcel.topic,
            content_type: parcel.content_type,
            metadata: parcel.metadata,
            trace: self.trace_of(parcel.trace),
            id: Uuid::new_v4(),
            now: self.clock.now(),
        };
        envelope::wrap(parcel.body, &publication)
    }

    /// What the event says of its trace; nothing if tracing is off, whoever asks (tests/spec/delivery.md, "A7. Metadata
    /// overrides and trace values").
    fn trace_of<'a>(&self, context: &'a TraceContext) -> Trace<'a> {
        match self.tracing {
            Tracing::Off => Trace::default(),
            Tracing::PassOn | Tracing::Spans { .. } => Trace { parent: context.parent(), state: context.state() },
        }
    }
}
