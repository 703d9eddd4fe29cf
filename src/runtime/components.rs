//! Component files turned into working pub/subs: brokers are made and reached, errors worded as in daprd
//! (tests/spec/resources-cli.md, "5.5 Init order and errors").

use std::sync::Arc;

use super::handles::Handles;
use super::start_error::StartError;
use crate::api::LoadedComponent;
use crate::broker::kinds::{self, BrokerContext, BrokerKind, BuildError};
use crate::broker::memory::shared::SharedBrokers;
use crate::environment::Environment;
use crate::metadata::templates::Templates;
use crate::pubsub::{Identity, Pubsub};
use crate::resiliency::Targets;
use crate::resources::kinds::component::Component;
use crate::resources::kinds::component_error::ComponentError;
use crate::resources::kinds::policies::Direction;
use crate::resources::{LoadError, Resources};
use crate::shutdown::Stop;
use crate::telemetry::events::lifecycle::{BrokerUnreachable, ComponentWarned};

/// Builds components.
pub(super) struct ComponentBuilder<'a> {
    pub(super) handles: &'a Handles,
    pub(super) environment: &'a Environment,
    pub(super) targets: &'a Targets,
    pub(super) shared_brokers: &'a SharedBrokers,
}

/// The components that were built.
#[derive(Default)]
pub(super) struct BuiltComponents {
    /// For the metadata API, in load order.
    pub(super) listed: Vec<LoadedComponent>,
    /// Pub/subs whose broker could not be reached.
    pub(super) unreachable: Vec<Arc<Pubsub>>,
}

impl ComponentBuilder<'_> {
    /// Build all components, one after the other, and add the pub/subs to the catalog.
    pub(super) async fn build_all(&self, resources: &Resources) -> Result<BuiltComponents, StartError> {
        let mut built = BuiltComponents::default();
        let mut fatal = Vec::new();
        for component in &resources.components {
            if !component.is_pubsub() {
                built.listed.push(listed(component, &[]));
                component.loaded().report(&self.handles.telemetry);
                continue;
            }
            match self.pubsub(component).await {
                Ok((pubsub, is_reached)) => {
                    let pubsub = Arc::new(pubsub);
                    built.listed.push(listed(component, pubsub.capabilities()));
                    self.handles.catalog.insert(pubsub.clone());
                    if is_reached {
                        component.loaded().report(&self.handles.telemetry);
                    } else {
                        built.unreachable.push(pubsub);
                    }
                }
                Err(cause) => {
                    let (diagnostic, error) = component.failed(cause);
                    diagnostic.iter().for_each(|diagnostic| diagnostic.report(&self.handles.telemetry));
                    fatal.extend(error.map(LoadError::from));
                }
            }
        }
        if fatal.is_empty() { Ok(built) } else { Err(StartError::all_fatal(fatal)) }
    }

    /// One pub/sub, and whether its broker has been reached. An in-memory component keeps the events of the component
    /// of this name that it replaces.
    pub(super) async fn pubsub(&self, component: &Component) -> Result<(Pubsub, bool), ComponentError> {
        let pubsub = self.new_pubsub(component)?;
        let policy = self.targets.policy(&component.name, Direction::Outbound, Stop::new());
        let pubsub = pubsub.with_policy(policy);
        match pubsub.connect().await {
            Ok(()) => Ok((pubsub, true)),
            Err(error) if error.is_transient() => {
                self.handles.telemetry.emit(BrokerUnreachable { component: &component.log_name(), error: &error });
                self.handles.health.waits_for(&component.name, &error.message);
                Ok((pubsub, false))
            }
            Err(error) => Err(ComponentError::init(component, error)),
        }
    }

    fn topic_prefix(&self, component: &Component) -> &str {
        if component.namespace_scoped { self.environment.get("NAMESPACE").unwrap_or("default") } else { "" }
    }

    /// A pub/sub with a broker that is not connected yet.
    fn new_pubsub(&self, component: &Component) -> Result<Pubsub, ComponentError> {
        let context = BrokerContext {
            name: &component.name,
            kind: &component.kind,
            version: &component.version,
            properties: &component.properties,
            file: &component.location.file,
            app_id: &self.handles.settings.app_id,
            templates: Templates::of(self.environment, &self.handles.settings.app_id),
            shared_brokers: Some(self.shared_brokers),
            tasks: self.handles.tasks.clone(),
            telemetry: self.handles.telemetry.clone(),
        };
        let (broker, warnings) = kinds::build(context);
        let log_name = component.log_name().to_string();
        for warning in &warnings {
            self.handles.telemetry.emit(ComponentWarned { component: &log_name, warning: &warning.message });
        }
        let broker = broker.map_err(|error| match error {
            BuildError::Unknown { .. } => ComponentError::unknown_pubsub(component),
            BuildError::Settings(error) => ComponentError::init(component, error),
        })?;
        Ok(Pubsub::new(
            identity(component),
            broker,
            &component.properties,
            &self.handles.settings.app_id,
            self.topic_prefix(component),
        ))
    }
}

fn identity(component: &Component) -> Identity {
    Identity { name: component.name.clone(), kind: component.kind.clone(), version: component.version.clone() }
}

/// Whether the broker of this type of component lives in this process.
pub(super) fn is_embedded(kind: &str) -> bool {
    BrokerKind::find(kind).is_some_and(|kind| kind.is_embedded)
}

/// The entry of a component in the metadata API.
pub(super) fn listed(component: &Component, capabilities: &[&'static str]) -> LoadedComponent {
    LoadedComponent {
        name: component.name.clone(),
        kind: component.kind.clone(),
        version: component.version.clone(),
        capabilities: capabilities.to_vec(),
    }
}
