//! From component files to pub/subs at work: brokers made and reached, mistakes told as daprd tells them
//! (tests/spec/resources-cli.md, "5.5 Init order and errors").

use std::sync::Arc;
use std::time::Duration;

use super::StartError;
use crate::api::LoadedComponent;
use crate::broker::kinds::{self, BrokerContext, BrokerKind, BuildError};
use crate::broker::memory::shared::SharedBrokers;
use crate::config::Settings;
use crate::diagnostic::Location;
use crate::environment::Environment;
use crate::health::Health;
use crate::metadata::Properties;
use crate::metadata::templates::Templates;
use crate::pubsub::{Catalog, Identity, Pubsub};
use crate::resiliency::Targets;
use crate::resources::kinds::component::Component;
use crate::resources::kinds::component_error::ComponentError;
use crate::resources::kinds::policies::Direction;
use crate::resources::yaml::key_lines::KeyLines;
use crate::resources::{LoadError, Resources};
use crate::shutdown::{Stop, Tasks};
use crate::telemetry::Telemetry;
use crate::telemetry::events::lifecycle::{BrokerUnreachable, ComponentWarned};

/// The name of the pub/sub that `demo` and `run` have without any file.
pub(super) const EMBEDDED: &str = "pubsub";

/// What is needed to assemble.
pub(super) struct Assembly<'a> {
    pub(super) settings: &'a Settings,
    pub(super) environment: &'a Environment,
    pub(super) telemetry: &'a Telemetry,
    pub(super) tasks: &'a Tasks,
    pub(super) health: &'a Health,
    pub(super) targets: &'a Targets,
    pub(super) hub: &'a SharedBrokers,
}

/// What came of it.
#[derive(Default)]
pub(super) struct Assembled {
    /// For the metadata API, in load order.
    pub(super) loaded: Vec<LoadedComponent>,
    /// Pub/subs whose broker is away.
    pub(super) away: Vec<Arc<Pubsub>>,
}

impl Assembly<'_> {
    /// Bring all components to work, one after the other.
    pub(super) async fn components(&self, resources: &Resources, catalog: &Catalog) -> Result<Assembled, StartError> {
        let mut assembled = Assembled::default();
        let mut fatal = Vec::new();
        for component in &resources.components {
            if !component.is_pubsub() {
                assembled.loaded.push(listed(component, &[]));
                component.loaded().report(self.telemetry);
                continue;
            }
            match self.pubsub(component).await {
                Ok((pubsub, is_reached)) => {
                    let pubsub = Arc::new(pubsub);
                    assembled.loaded.push(listed(component, pubsub.capabilities()));
                    catalog.insert(pubsub.clone());
                    if is_reached {
                        component.loaded().report(self.telemetry);
                    } else {
                        assembled.away.push(pubsub);
                    }
                }
                Err(cause) => {
                    let (diagnostic, error) = component.failed(cause);
                    diagnostic.iter().for_each(|diagnostic| diagnostic.report(self.telemetry));
                    fatal.extend(error.map(|error| format!("Fatal error from runtime: {}", LoadError::from(error))));
                }
            }
        }
        if fatal.is_empty() { Ok(assembled) } else { Err(StartError(fatal)) }
    }

    /// One pub/sub, and whether its broker has been reached. What an in-memory component of this name held before is there again.
    pub(super) async fn pubsub(&self, component: &Component) -> Result<(Pubsub, bool), ComponentError> {
        let pubsub = self.new_pubsub(component)?;
        let policy = self.targets.policy(&component.name, Direction::Outbound, Stop::new());
        let pubsub = pubsub.with_policy(policy);
        match pubsub.connect().await {
            Ok(()) => Ok((pubsub, true)),
            Err(error) if error.is_transient() => {
                self.telemetry.emit(BrokerUnreachable { component: &component.log_name(), error: &error });
                self.health.waits_for(&component.name, &error.message);
                Ok((pubsub, false))
            }
            Err(error) => Err(ComponentError::init(component, error)),
        }
    }

    fn topic_prefix(&self, component: &Component) -> &str {
        if component.namespace_scoped { self.environment.get("NAMESPACE").unwrap_or("default") } else { "" }
    }

    /// With a broker of its own, which is not dialled yet.
    fn new_pubsub(&self, component: &Component) -> Result<Pubsub, ComponentError> {
        let context = BrokerContext {
            name: &component.name,
            kind: &component.kind,
            version: &component.version,
            properties: &component.properties,
            file: &component.location.file,
            app_id: &self.settings.app_id,
            templates: Templates::of(self.environment, &self.settings.app_id),
            hub: Some(self.hub),
            tasks: self.tasks.clone(),
            telemetry: self.telemetry.clone(),
        };
        let (broker, warnings) = kinds::build(context);
        let log_name = component.log_name().to_string();
        for warning in &warnings {
            self.telemetry.emit(ComponentWarned { component: &log_name, warning: &warning.text });
        }
        let broker = broker.map_err(|error| match error {
            BuildError::Unknown { .. } => ComponentError::unknown_pubsub(component),
            BuildError::Settings(error) => ComponentError::init(component, error),
        })?;
        Ok(Pubsub::new(
            identity(component),
            broker,
            &component.properties,
            &self.settings.app_id,
            self.topic_prefix(component),
        ))
    }
}

fn identity(component: &Component) -> Identity {
    Identity { name: component.name.clone(), kind: component.kind.clone(), version: component.version.clone() }
}

/// Does its broker live in this process?
pub(super) fn is_embedded(kind: &str) -> bool {
    BrokerKind::find(kind).is_some_and(|kind| kind.is_embedded)
}

/// What a component looks like in the metadata API.
pub(super) fn listed(component: &Component, capabilities: &[&'static str]) -> LoadedComponent {
    LoadedComponent {
        name: component.name.clone(),
        kind: component.kind.clone(),
        version: component.version.clone(),
        capabilities: capabilities.to_vec(),
    }
}

/// The pub/sub on the in-memory broker that exists without a file.
pub(super) fn embedded(app_id: &str) -> Component {
    Component {
        name: EMBEDDED.to_owned(),
        kind: "pubsub.in-memory".to_owned(),
        version: "v1".to_owned(),
        ignore_errors: false,
        init_timeout: Duration::from_secs(5),
        properties: [("consumerID", app_id)].into_iter().collect::<Properties>(),
        written: Vec::new(),
        namespace_scoped: false,
        location: Location::default(),
        lines: KeyLines::default(),
    }
}
