//! The list of brokers: component type -> constructor. A new broker is one arm here.

use std::path::Path;
use std::sync::Arc;

use crate::broker::ack::{self, Ack};
use crate::broker::memory::hub::Hub;
use crate::broker::memory::{self, MemoryBroker};
use crate::broker::redis::{RedisBroker, Settings, times_without_unit, wrong_terms};
use crate::broker::warning::{Warning, misspelt_group, unknown};
use crate::broker::{Broker, BrokerError, BrokerErrorKind};
use crate::message::Metadata;
use crate::metadata::Properties;
use crate::metadata::templates::Templates;
use crate::shutdown::Tasks;
use crate::telemetry::Telemetry;

/// What a constructor gets.
pub struct Parts<'a> {
    /// The component's name.
    pub name: &'a str,
    /// `spec.type` as written; compared without case.
    pub kind: &'a str,
    /// `spec.version` as written: empty, `v0` or `v1` in any case.
    pub version: &'a str,
    /// The component's properties, resolved.
    pub properties: &'a Properties,
    /// The file of the component; empty if there is none.
    pub file: &'a Path,
    /// This sidecar's app id.
    pub app_id: &'a str,
    /// What stands for templates in what subscriptions say.
    pub templates: Templates,
    /// Where in-memory brokers are shared with other sidecars of this process; `None`: they are not.
    pub hub: Option<&'a Hub>,
    /// Where loops run.
    pub tasks: Tasks,
    /// Log and metrics.
    pub telemetry: Telemetry,
}

/// Why there is no broker for a component.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// No broker of this type and version.
    #[error("couldn't find message bus {kind}/{version}")]
    Unknown {
        /// `spec.type` as written.
        kind: String,
        /// `spec.version` as written.
        version: String,
    },
    /// Its settings make no sense.
    #[error(transparent)]
    Settings(#[from] BrokerError),
}

/// Make the broker of a component, if its settings allow it, and say what is odd about them in any case. Connects to nothing.
pub fn build(parts: Parts<'_>) -> (Result<Arc<dyn Broker>, BuildError>, Vec<Warning>) {
    let is_first_version = matches!(parts.version.to_ascii_lowercase().as_str(), "" | "v0" | "v1");
    match parts.kind.to_ascii_lowercase().as_str() {
        "pubsub.redis" if is_first_version => {
            let mut odd = misspelt_group(parts.properties);
            odd.extend(times_without_unit(parts.properties).map(Warning::from));
            let (broker, warnings) = redis(parts);
            odd.extend(warnings);
            (broker, odd)
        }
        "pubsub.in-memory" if is_first_version => {
            let mut odd = misspelt_group(parts.properties);
            odd.extend(unknown(parts.properties, memory::SETTINGS, |_| None));
            (memory(parts), odd)
        }
        _ => {
            let (kind, version) = (parts.kind.to_owned(), parts.version.to_owned());
            (Err(BuildError::Unknown { kind, version }), Vec::new())
        }
    }
}

/// What is wrong with the metadata of a subscription to a component of this type, or looks like it.
pub fn mistakes_of_subscription(kind: &str, metadata: &Metadata) -> Vec<String> {
    match kind.to_ascii_lowercase().as_str() {
        "pubsub.redis" => wrong_terms(metadata),
        "pubsub.in-memory" => Ack::of_subscription(metadata).err().into_iter().collect(),
        _ => Vec::new(),
    }
}

fn memory(parts: Parts<'_>) -> Result<Arc<dyn Broker>, BuildError> {
    let ack = parts.properties.get(ack::ACK).map(Ack::read).transpose();
    let ack = ack.map_err(|error| BrokerError::new(BrokerErrorKind::Misconfigured, error))?;
    let broker = match parts.hub {
        Some(hub) => hub.join(parts.name, parts.file, parts.app_id, parts.telemetry),
        // `check` only wants to know whether it can be made.
        None => MemoryBroker::new(parts.telemetry),
    };
    Ok(Arc::new(broker.acknowledging(ack.unwrap_or_default())))
}

fn redis(parts: Parts<'_>) -> (Result<Arc<dyn Broker>, BuildError>, Vec<Warning>) {
    let (settings, warnings) = Settings::of(parts.properties, parts.app_id);
    let broker = settings
        .map_err(|error| BrokerError::new(BrokerErrorKind::Misconfigured, error))
        .and_then(|settings| RedisBroker::new(parts.name, settings, parts.tasks, parts.telemetry));
    let broker = broker.map(|broker| broker.with_templates(parts.templates));
    let broker = broker.map(|broker| Arc::new(broker) as Arc<dyn Broker>);
    (broker.map_err(BuildError::from), warnings)
}
