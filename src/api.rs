//! The API surface: what the HTTP server (and later the gRPC server) shares.

pub mod http;

use std::sync::Arc;

use crate::config::Settings;
use crate::delivery::supervisor::Supervisor;
use crate::health::Health;
use crate::publish::Publisher;
use crate::pubsub::Catalog;
use crate::telemetry::Telemetry;
use crate::telemetry::trace::Tracing;

/// All that API handlers need. Made once by the runtime, shared by both servers.
#[derive(Clone)]
pub struct Context {
    /// The settled configuration.
    pub settings: Arc<Settings>,
    /// The publish path.
    pub publisher: Publisher,
    /// The pub/subs, for the metadata API.
    pub catalog: Catalog,
    /// Every loaded component in load order, for the metadata API.
    pub components: Arc<Vec<LoadedComponent>>,
    /// Names of the loaded Resiliency documents.
    pub resiliencies: Arc<Vec<String>>,
    /// The subscriptions, for the metadata API.
    pub supervisor: Supervisor,
    /// Readiness.
    pub health: Health,
    /// Trace contexts.
    pub tracing: Tracing,
    /// Where `POST /v1.0/shutdown` goes.
    pub shutdown: tokio::sync::mpsc::UnboundedSender<ShutdownRequest>,
    /// Log and metrics.
    pub telemetry: Telemetry,
}

/// A component as the metadata API lists it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LoadedComponent {
    /// `metadata.name`.
    pub name: String,
    /// `spec.type` as written.
    pub kind: String,
    /// `spec.version` as written; may be empty.
    pub version: String,
    /// Capabilities; may be empty.
    pub capabilities: Vec<&'static str>,
}

/// What `POST /v1.0/shutdown` asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ShutdownRequest {
    /// Like SIGTERM, without the block-shutdown time.
    Graceful,
    /// Exit at once with code 1.
    Forced,
}
