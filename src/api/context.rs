//! The parts of a sidecar that the handlers of all APIs use.

use std::collections::BTreeMap;
use std::sync::Arc;

use parking_lot::{Mutex, RwLock};

use crate::config::Settings;
use crate::delivery::supervisor::Supervisor;
use crate::health::Health;
use crate::publish::Publisher;
use crate::pubsub::Catalog;
use crate::server::BodyMemory;
use crate::telemetry::Telemetry;
use crate::telemetry::events::api::ErrorAnswered;
use crate::telemetry::trace::Tracing;

/// Everything that handlers need. Made once by the runtime, shared by all ports.
#[derive(Clone)]
pub struct Context {
    /// The settled configuration.
    pub settings: Arc<Settings>,
    /// The publish path.
    pub publisher: Publisher,
    /// The pub/subs, for the metadata API.
    pub catalog: Catalog,
    /// Every loaded component in load order, for the metadata API.
    pub components: Snapshot<LoadedComponent>,
    /// Names of the loaded Resiliency documents.
    pub resiliencies: Snapshot<String>,
    /// The subscriptions, for the metadata API.
    pub supervisor: Supervisor,
    /// Readiness.
    pub health: Health,
    /// Trace contexts.
    pub tracing: Tracing,
    /// Takes the requests of `POST /v1.0/shutdown`.
    pub shutdown: tokio::sync::mpsc::UnboundedSender<ShutdownRequest>,
    /// Values that clients keep with `PUT /v1.0/metadata/{key}`.
    pub extended: Extended,
    /// The memory for the bodies of requests.
    pub bodies: BodyMemory,
    /// Log and metrics.
    pub telemetry: Telemetry,
}

impl Context {
    /// Counts an answer with an error of this code, if error codes are counted.
    pub(super) fn error_answered(&self, code: &'static str) {
        if self.settings.count_error_codes {
            self.telemetry.emit(ErrorAnswered { app_id: &self.settings.app_id, code });
        }
    }
}

/// The version of Dapr whose API this is. Clients compare it with the version that they need.
pub const API_VERSION: &str = "1.18.3";

/// Values that clients keep in the sidecar with `PUT /v1.0/metadata/{key}`. Clones share them.
#[derive(Clone, Debug, Default)]
pub struct Extended(Arc<Mutex<BTreeMap<String, String>>>);

impl Extended {
    /// Keeps a value until the process ends, in place of an older one.
    pub fn put(&self, key: String, value: String) {
        self.0.lock().insert(key, value);
    }

    /// All values, with the version of the runtime, which clients cannot replace.
    pub fn all(&self) -> BTreeMap<String, String> {
        let mut all = self.0.lock().clone();
        all.insert("daprRuntimeVersion".to_owned(), API_VERSION.to_owned());
        all
    }
}

/// A list that hot reload replaces as a whole. Clones share it.
#[derive(Clone, Debug, Default)]
pub struct Snapshot<T>(Arc<RwLock<Arc<Vec<T>>>>);

impl<T> Snapshot<T> {
    /// A snapshot of this list.
    pub fn new(list: Vec<T>) -> Self {
        Self(Arc::new(RwLock::new(Arc::new(list))))
    }

    /// The current list.
    pub fn get(&self) -> Arc<Vec<T>> {
        self.0.read().clone()
    }

    /// Replaces the list.
    pub fn set(&self, list: Vec<T>) {
        *self.0.write() = Arc::new(list);
    }
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

/// The kind of shutdown that `POST /v1.0/shutdown` requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ShutdownRequest {
    /// Like SIGTERM, without the block-shutdown time.
    Graceful,
    /// Exit at once with code 1.
    Forced,
}
