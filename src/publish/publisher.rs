//! Publishing one event.

use std::sync::Arc;

use bytes::Bytes;
use tokio::time::Instant;
use uuid::Uuid;

use crate::envelope::{self, Clock, EventId, Publication, PublishOptions, Trace, WrapError, Wrapped};
use crate::message::{EventRef, Metadata};
use crate::publish::error::PublishError;
use crate::pubsub::{Catalog, Pubsub};
use crate::telemetry::Telemetry;
use crate::telemetry::events::publish::Published;
use crate::telemetry::trace::{TraceContext, Tracing};

/// Publishes for one sidecar. Clones share the same parts.
#[derive(Clone)]
pub struct Publisher {
    pub(super) app_id: Arc<str>,
    pub(super) tracing: Tracing,
    pub(super) clock: Clock,
    pub(super) telemetry: Telemetry,
    catalog: Catalog,
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
    /// The publish metadata. It is stored with the event; `rawPayload`, `ttl` and `cloudevent.*` have a meaning here,
    /// too.
    pub metadata: Metadata,
    /// The trace of the API request.
    pub trace: TraceContext,
}

impl Publisher {
    /// A publisher for this app.
    pub fn new(app_id: &str, catalog: Catalog, tracing: Tracing, telemetry: Telemetry) -> Self {
        Self { app_id: app_id.into(), tracing, clock: Clock::default(), telemetry, catalog }
    }

    /// The component to publish to, if there is one of this name.
    pub fn pubsub(&self, name: &str) -> Option<Arc<Pubsub>> {
        self.catalog.get(name)
    }

    /// Publish one event. `Ok` once the broker has confirmed it.
    ///
    /// # Errors
    /// The first check that fails, in the order of [`PublishError`]'s variants. Nothing has been sent then, except in
    /// the last.
    pub async fn publish(&self, pubsub: &Pubsub, request: Request) -> Result<(), PublishError> {
        let Request { topic, content_type, body, metadata, trace } = request;
        let options = match PublishOptions::read(&metadata) {
            Ok(options) => options,
            Err(error) => return Err(PublishError::RawPayload { pubsub: pubsub.name.clone(), metadata, error }),
        };
        let Wrapped { bytes, id } = if options.is_raw {
            Wrapped { bytes: body, id: None }
        } else {
            let publication = Publication {
                app_id: &self.app_id,
                pubsub: &pubsub.name,
                topic: &topic,
                content_type: &content_type,
                metadata: &metadata,
                lifetime: options.lifetime,
                trace: self.event_trace(&trace),
                id: Uuid::new_v4(),
                now: self.clock.now(),
            };
            envelope::wrap(&body, &publication).map_err(|error| self.unfit_payload(pubsub, error))?
        };
        // Last of the checks. A forbidden topic does not count as a publish.
        let permitted = pubsub.publishing(&topic)?;
        let start = Instant::now();
        let sent = permitted.send(bytes, Some(metadata)).await;
        self.telemetry.emit(Published {
            event: EventRef {
                pubsub: &pubsub.name,
                topic: &topic,
                id: id.as_ref().map(EventId::as_str),
                position: sent.as_ref().ok().copied().flatten(),
                trace: Some(trace.parent()).filter(|trace| !trace.is_empty()),
                ..EventRef::default()
            },
            duration: start.elapsed(),
            error: sent.as_ref().err().map(|error| error as _),
        });
        sent.map(drop).map_err(|error| PublishError::Send { pubsub: pubsub.name.clone(), topic, error })
    }

    /// The error of a payload that does not fit its content type.
    pub(super) fn unfit_payload(&self, pubsub: &Pubsub, error: WrapError) -> PublishError {
        PublishError::Payload { pubsub: pubsub.name.clone(), app_id: self.app_id.to_string(), error }
    }

    /// The trace attributes of an event; empty if tracing is off, even if the caller sent some (tests/spec/delivery.md,
    /// "A7. Metadata overrides and trace values").
    pub(super) fn event_trace<'a>(&self, context: &'a TraceContext) -> Trace<'a> {
        match self.tracing {
            Tracing::Off => Trace::default(),
            Tracing::PassOn | Tracing::Spans { .. } => Trace { parent: context.parent(), state: context.state() },
        }
    }
}
