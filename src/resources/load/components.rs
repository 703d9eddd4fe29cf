//! Components as written to components for use: filters, secret stores first, then the rest
//! (tests/spec/resources-cli.md, "5.5 Init order and errors", "5.6 Categories we do not implement").

use super::request::LoadRequest;
use crate::diagnostic::{Diagnostic, PROCESSOR};
use crate::resources::kinds::component::{Component, log_name};
use crate::resources::kinds::component_error::ComponentError;
use crate::resources::kinds::component_type::{Category, is_first_version};
use crate::resources::kinds::manifest::Manifest;
use crate::resources::last_good::LastGood;
use crate::resources::load_error::LoadError;
use crate::resources::resolve::{Resolved, Resolver, Stores};
use crate::resources::secrets::{SecretError, SecretStore};
use crate::resources::set::Resources;
use crate::telemetry::log::Level;

/// Adds components to the resources of an app.
pub(super) struct ComponentLoader<'a> {
    request: &'a LoadRequest<'a>,
    last_good: &'a LastGood,
    resources: &'a mut Resources,
    stores: Stores,
}

impl<'a> ComponentLoader<'a> {
    pub(super) fn new(request: &'a LoadRequest<'a>, last_good: &'a LastGood, resources: &'a mut Resources) -> Self {
        Self { request, last_good, resources, stores: Stores::new() }
    }

    /// The secret stores that have been opened.
    pub(super) fn into_stores(self) -> Stores {
        self.stores
    }

    /// Filter the components, open the secret stores, then resolve the rest.
    pub(super) fn load(&mut self, manifests: Vec<Manifest>) {
        let manifests = self.filtered(manifests);
        let is_store = |manifest: &Manifest| Category::of(&manifest.kind) == Some(Category::SecretStore);
        let (stores, others): (Vec<_>, Vec<_>) = manifests.into_iter().partition(is_store);
        for manifest in stores {
            if let Some(component) = self.resolve(&manifest)
                && let Some(store) = self.open_store(component)
            {
                self.stores.insert(manifest.name, store);
            }
        }
        for manifest in others {
            self.component(&manifest);
        }
    }

    /// Apply the filters in daprd's order: namespace, duplicate, scope, denied types (tests/spec/resources-cli.md, "4.4
    /// Filters (Components)", "9.4 Deny list of component types").
    fn filtered(&mut self, manifests: Vec<Manifest>) -> Vec<Manifest> {
        let mut accepted: Vec<Manifest> = Vec::new();
        for manifest in manifests {
            if self.request.is_of_other_namespace(&manifest.namespace) {
                continue;
            }
            if let Some(first) = accepted.iter().find(|first| first.name == manifest.name) {
                self.resources.errors.push(duplicate(first, &manifest));
            } else if self.request.is_in_scope(&manifest.scopes) {
                accepted.push(manifest);
            }
        }
        accepted.retain(|manifest| self.is_allowed(manifest));
        accepted
    }

    fn is_allowed(&mut self, manifest: &Manifest) -> bool {
        let denied = self.request.denied;
        if denied.is_empty() {
            return true;
        }
        if manifest.kind.is_empty() || manifest.version.is_empty() {
            let message = format!(
                "component {:?} is not loaded: with a list of denied types, type and version must be given",
                manifest.name
            );
            self.report(Diagnostic::hint(manifest.location.clone(), message).at_level(Level::Debug));
            return false;
        }
        let versioned = format!("{}/{}", manifest.kind, manifest.version);
        let is_denied = denied.iter().any(|denied| *denied == manifest.kind || *denied == versioned);
        if is_denied {
            let name = log_name(&manifest.name, &manifest.kind, &manifest.version);
            let message = format!(
                "component '{}' cannot be loaded because components of type '{name}' are not allowed",
                manifest.name
            );
            self.report(Diagnostic::hint(manifest.location.clone(), message));
        }
        !is_denied
    }

    /// Resolve a component that is no secret store.
    fn component(&mut self, manifest: &Manifest) {
        match Category::of(&manifest.kind) {
            Some(Category::Pubsub) => {
                let component = self.resolve(manifest);
                self.resources.components.extend(component);
            }
            Some(Category::Foreign | Category::SecretStore) => self.unsupported(manifest),
            None => self.failed(&manifest.component(), ComponentError::Category(manifest.kind.clone())),
        }
    }

    /// Skip a component of a building block that this sidecar does not have. A middleware that a pipeline uses is an
    /// error.
    fn unsupported(&mut self, manifest: &Manifest) {
        let name = log_name(&manifest.name, &manifest.kind, &manifest.version);
        let mut handlers = self.request.handlers.iter();
        if let Some(handler) = handlers.find(|handler| handler.means(&manifest.name, &manifest.kind)) {
            return self.resources.errors.push(LoadError::Middleware {
                log_name: name,
                pipeline: handler.pipeline,
                location: manifest.location.clone(),
            });
        }
        let message = format!("component {name} is not supported by this sidecar, ignored");
        self.report(Diagnostic::hint(manifest.location.clone(), message).from_scope(PROCESSOR));
    }

    fn resolve(&mut self, manifest: &Manifest) -> Option<Component> {
        let resolver = Resolver {
            app_id: self.request.app_id.unwrap_or("<app-id>"),
            environment: self.request.environment,
            stores: &self.stores,
        };
        match resolver.resolve(manifest, &mut self.resources.diagnostics) {
            Resolved::Ready(component) => Some(component),
            Resolved::Parked => None,
            Resolved::Failed(component, error) => {
                self.failed(&component, error);
                None
            }
        }
    }

    fn open_store(&mut self, component: Component) -> Option<(Component, SecretStore)> {
        if !is_first_version(&component.version) {
            self.failed(&component, ComponentError::unknown_secret_store(&component));
            return None;
        }
        match SecretStore::open(&component.kind, &component.properties, self.request.environment) {
            Ok(store) => {
                self.report(component.loaded());
                self.resources.components.push(component.clone());
                Some((component, store))
            }
            Err(cause) => match self.last_good.store(&component.name) {
                Some(last) => Some(self.keep_store(last.clone(), &component, &cause)),
                None => {
                    self.failed(&component, ComponentError::init(&component, cause));
                    None
                }
            },
        }
    }

    /// Keep the contents of a store that cannot be read again.
    fn keep_store(
        &mut self,
        last: (Component, SecretStore),
        component: &Component,
        cause: &SecretError,
    ) -> (Component, SecretStore) {
        let message = format!(
            "secret store {} cannot be read again, the secrets that it held before stay in force: {cause}",
            component.log_name()
        );
        self.report(Diagnostic::warning(component.location.clone(), message));
        self.resources.components.push(last.0.clone());
        last
    }

    fn failed(&mut self, component: &Component, error: ComponentError) {
        let (ignored, fatal) = component.failed(error);
        self.resources.diagnostics.extend(ignored);
        self.resources.errors.extend(fatal.map(LoadError::from));
    }

    fn report(&mut self, diagnostic: Diagnostic) {
        self.resources.diagnostics.push(diagnostic);
    }
}

fn duplicate(first: &Manifest, second: &Manifest) -> LoadError {
    let type_of = |manifest: &Manifest| match manifest.version.as_str() {
        "" => manifest.kind.clone(),
        version => format!("{}/{version}", manifest.kind),
    };
    LoadError::Duplicate {
        name: first.name.clone(),
        first: type_of(first),
        first_location: first.location.clone(),
        second: type_of(second),
        location: second.location.clone(),
    }
}
