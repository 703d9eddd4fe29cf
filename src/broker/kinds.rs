//! The table of brokers. To add one: a module under `broker/`, and a row here.

use std::path::Path;
use std::sync::Arc;

use crate::broker::ack::{self, Ack};
use crate::broker::contract::Broker;
use crate::broker::error::{BrokerError, BrokerErrorKind};
use crate::broker::memory::shared::SharedBrokers;
use crate::broker::memory::{self, MemoryBroker};
use crate::broker::options::OptionNames;
use crate::broker::redis::{OPTIONS as REDIS_OPTIONS, RedisBroker, Settings, times_without_unit};
use crate::broker::warning::{misspelt_group, unknown};
use crate::diagnostic::Diagnostic;
use crate::metadata::ComponentMetadata;
use crate::metadata::templates::Templates;
use crate::shutdown::Tasks;
use crate::telemetry::Telemetry;

/// One type of component.
pub struct BrokerKind {
    /// `spec.type`, in lower case.
    pub name: &'static str,
    /// Do messages live in this process, and end with it?
    pub is_embedded: bool,
    /// What it reads in the metadata of a subscription.
    pub options: &'static OptionNames,
    /// Warnings about the settings that the constructor does not give.
    warnings: fn(&ComponentMetadata) -> Vec<Diagnostic>,
    build: fn(BrokerContext<'_>) -> Built,
}

/// Every broker of this build.
const KINDS: &[BrokerKind] = &[
    BrokerKind {
        name: "pubsub.redis",
        is_embedded: false,
        options: &REDIS_OPTIONS,
        warnings: |settings| times_without_unit(settings).map(Diagnostic::of_setting).collect(),
        build: redis,
    },
    BrokerKind {
        name: "pubsub.in-memory",
        is_embedded: true,
        options: &memory::OPTIONS,
        warnings: |settings| unknown(settings, memory::SETTINGS, |_| None),
        build: memory,
    },
];

/// A broker if the settings allow it, and warnings in any case.
type Built = (Result<Arc<dyn Broker>, BrokerError>, Vec<Diagnostic>);

/// What a constructor gets.
pub struct BrokerContext<'a> {
    /// The component's name.
    pub name: &'a str,
    /// `spec.type` as written; compared without case.
    pub kind: &'a str,
    /// `spec.version` as written: empty, `v0` or `v1` in any case.
    pub version: &'a str,
    /// The component's settings, with templates and secrets filled in.
    pub properties: &'a ComponentMetadata,
    /// The file of the component; empty if there is none.
    pub file: &'a Path,
    /// This sidecar's app id.
    pub app_id: &'a str,
    /// The values of templates in the metadata of subscriptions.
    pub templates: Templates,
    /// Where in-memory brokers are shared with other sidecars of this process; `None`: they are not.
    pub shared_brokers: Option<&'a SharedBrokers>,
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

impl BrokerKind {
    /// The broker of this type, in any case.
    pub fn find(kind: &str) -> Option<&'static Self> {
        KINDS.iter().find(|known| known.name.eq_ignore_ascii_case(kind))
    }
}

/// Make the broker of a component if its settings allow it, with warnings in any case. Nothing is dialled yet.
pub fn build(context: BrokerContext<'_>) -> (Result<Arc<dyn Broker>, BuildError>, Vec<Diagnostic>) {
    let is_first_version = matches!(context.version.to_ascii_lowercase().as_str(), "" | "v0" | "v1");
    let Some(kind) = BrokerKind::find(context.kind).filter(|_| is_first_version) else {
        let (kind, version) = (context.kind.to_owned(), context.version.to_owned());
        return (Err(BuildError::Unknown { kind, version }), Vec::new());
    };
    let mut warnings = misspelt_group(context.properties);
    warnings.extend((kind.warnings)(context.properties));
    let (broker, more) = (kind.build)(context);
    warnings.extend(more);
    (broker.map_err(BuildError::from), warnings)
}

fn memory(context: BrokerContext<'_>) -> Built {
    let ack = context.properties.get(ack::ACK).map(Ack::read).transpose();
    let broker = ack.map_err(|error| BrokerError::new(BrokerErrorKind::Misconfigured, error)).map(|ack| {
        let broker = match context.shared_brokers {
            Some(shared_brokers) => shared_brokers.join(context.name, context.file, context.app_id, context.telemetry),
            // `check` only asks whether it can be made.
            None => MemoryBroker::new(context.name, context.telemetry),
        };
        Arc::new(broker.acknowledging(ack.unwrap_or_default())) as Arc<dyn Broker>
    });
    (broker, Vec::new())
}

fn redis(context: BrokerContext<'_>) -> Built {
    let (settings, warnings) = Settings::of(context.properties, context.app_id);
    let broker = settings
        .map_err(|error| BrokerError::new(BrokerErrorKind::Misconfigured, error))
        .and_then(|settings| RedisBroker::new(context.name, settings, context.tasks, context.telemetry))
        .map(|broker| Arc::new(broker.with_templates(context.templates)) as Arc<dyn Broker>);
    (broker, warnings)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::resources::kinds::component_type::PUBSUBS;

    #[test]
    fn the_types_that_resources_may_name_are_those_of_this_table() {
        assert!(KINDS.iter().map(|kind| kind.name).eq(PUBSUBS));
    }
}
