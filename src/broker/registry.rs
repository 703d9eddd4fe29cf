//! The list of brokers: component type -> constructor. A new broker is one arm here.

use std::path::Path;
use std::sync::Arc;

use crate::broker::ack::{self, Ack};
use crate::broker::memory::MemoryBroker;
use crate::broker::memory::hub::Hub;
use crate::broker::redis::{RedisBroker, Settings, wrong_terms};
use crate::broker::{Broker, BrokerError, BrokerErrorKind};
use crate::message::Metadata;
use crate::metadata::templates::Templates;
use crate::metadata::{Properties, nearest};
use crate::shutdown::Tasks;
use crate::telemetry::Telemetry;

/// The types there are.
pub const KINDS: &[&str] = &["pubsub.redis", "pubsub.in-memory"];

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
pub fn build(parts: Parts<'_>) -> (Result<Arc<dyn Broker>, BuildError>, Vec<String>) {
    let is_first_version = matches!(
        parts.version.to_ascii_lowercase().as_str(),
        "" | "v0" | "v1"
    );
    match parts.kind.to_ascii_lowercase().as_str() {
        "pubsub.redis" if is_first_version => {
            let mut odd = misspelt_group(parts.properties);
            odd.extend(times_without_unit(parts.properties));
            let (broker, warnings) = redis(parts);
            odd.extend(warnings);
            (broker, odd)
        }
        "pubsub.in-memory" if is_first_version => {
            let mut odd = misspelt_group(parts.properties);
            odd.extend(unknown_to_memory(parts.properties));
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

/// `consumerID` is the only setting whose case counts (spec redis.md 2.3).
fn misspelt_group(properties: &Properties) -> Vec<String> {
    let names = properties.iter().map(|(name, _)| name);
    names
        .filter(|name| name.eq_ignore_ascii_case("consumerID") && *name != "consumerID")
        .map(|name| {
            let group = properties.get_exact("consumerID").unwrap_or_default();
            format!("setting {name:?} has no effect, it must be spelt exactly consumerID; the consumer group is now the app id ({group})")
        })
        .collect()
}

/// Settings of a Redis component that are lengths of time. `readTimeout` has a warning of its own.
const TIMES: [&str; 10] = [
    "dialTimeout",
    "writeTimeout",
    "processingTimeout",
    "redeliverInterval",
    "streamTTL",
    "poolTimeout",
    "idleTimeout",
    "maxConnAge",
    "fanOutExpiry",
    "idleCheckFrequency",
];

/// Numbers without unit are milliseconds; one that is as small as this was most likely meant in seconds.
fn times_without_unit(properties: &Properties) -> Vec<String> {
    let is_small = |text: &str| matches!(text.parse::<i64>(), Ok(1..100));
    TIMES
        .iter()
        .filter_map(|name| Some((name, properties.get(name)?)))
        .filter(|(_, text)| is_small(text))
        .map(|(name, text)| {
            format!("{name} {text} has no unit and is taken for {text} milliseconds: write {text}s for seconds, or {text}ms if milliseconds are meant")
        })
        .collect()
}

/// What means something to an in-memory component.
const KNOWN_TO_MEMORY: &[&str] = &[
    ack::ACK,
    "allowedTopics",
    "consumerID",
    "protectedTopics",
    "publishingScopes",
    "subscriptionScopes",
];

fn unknown_to_memory(properties: &Properties) -> Vec<String> {
    let names = properties.iter().map(|(name, _)| name);
    let is_known = |name: &str| {
        let mut known = KNOWN_TO_MEMORY.iter();
        known.any(|known| known.eq_ignore_ascii_case(name))
    };
    names
        .filter(|name| !is_known(name))
        .map(|name| match nearest(name, KNOWN_TO_MEMORY) {
            Some(known) => {
                format!("setting {name:?} is not known and has no effect; did you mean {known:?}?")
            }
            None => format!("setting {name:?} is not known and has no effect"),
        })
        .collect()
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

fn redis(parts: Parts<'_>) -> (Result<Arc<dyn Broker>, BuildError>, Vec<String>) {
    let (settings, warnings) = Settings::of(parts.properties, parts.app_id);
    let broker = settings
        .map_err(|error| BrokerError::new(BrokerErrorKind::Misconfigured, error))
        .and_then(|settings| RedisBroker::new(parts.name, settings, parts.tasks, parts.telemetry));
    let broker = broker.map(|broker| broker.with_templates(parts.templates));
    let broker = broker.map(|broker| Arc::new(broker) as Arc<dyn Broker>);
    (broker.map_err(BuildError::from), warnings)
}
