//! Resolves the properties of a component to texts: values, secrets, environment, templates (tests/spec/resources-cli.md, "5.3 Value sources, per item", "5.4 Templates"; tests/spec/redis.md, "2.1 From YAML
//! value to property string" to "2.3 consumerID").

use std::collections::BTreeMap;

use crate::diagnostic::{Diagnostic, PROCESSOR};
use crate::environment::Environment;
use crate::metadata::ComponentMetadata;
use crate::metadata::templates::Templates;
use crate::resources::kinds::component::Component;
use crate::resources::kinds::component_error::ComponentError;
use crate::resources::kinds::component_type::Category;
use crate::resources::kinds::manifest::{Item, Manifest};
use crate::resources::secrets::{self, SecretError, SecretStore};
use crate::telemetry::log::Level;

/// Opened secret stores by name, each with its component.
pub type Stores = BTreeMap<String, (Component, SecretStore)>;

/// Sources of the values of properties.
pub struct Resolver<'a> {
    /// `--app-id`.
    pub app_id: &'a str,
    /// The environment of the sidecar.
    pub environment: &'a Environment,
    /// The opened secret stores.
    pub stores: &'a Stores,
}

/// The result for a component.
pub enum Resolved {
    /// Every property is resolved.
    Ready(Component),
    /// It refers to a secret store that is not loaded: left out, without an error (tests/spec/resources-cli.md, "5.3
    /// Value sources, per item").
    Parked,
    /// It cannot be used.
    Failed(Component, ComponentError),
}

impl Resolver<'_> {
    /// Resolve everything that a component refers to.
    pub fn resolve(&self, manifest: &Manifest, diagnostics: &mut Vec<Diagnostic>) -> Resolved {
        let mut component = manifest.component();
        let mut values = Vec::new();
        let mut store_known = true;
        for item in &manifest.items {
            // Without the name of a store daprd stops at the first secret and leaves all later items as written.
            let value = match &item.secret {
                _ if !store_known => None,
                Some(_) if self.is_from_environment(item) => Some(self.value_of_variable(manifest, item, diagnostics)),
                Some((secret, key)) => match self.stores.get(&manifest.secret_store) {
                    Some((_, store)) => self.value_of_secret(store, (secret, key), item, manifest, diagnostics),
                    None => {
                        diagnostics.push(store_not_loaded(manifest));
                        if !manifest.secret_store.is_empty() {
                            return Resolved::Parked;
                        }
                        store_known = false;
                        None
                    }
                },
                None if self.is_from_environment(item) => Some(self.value_of_variable(manifest, item, diagnostics)),
                None => None,
            };
            let value = value.or_else(|| item.value.clone()).unwrap_or_default();
            values.push((item.name.clone(), value));
        }
        component.namespace_scoped = values.iter().any(|(_, value)| value.contains("{namespace}"));
        component.written.clone_from(&values);
        match self.fill(values) {
            Ok(properties) => component.properties = properties,
            Err(cause) => {
                let cause = ComponentError::init(&component, cause);
                return Resolved::Failed(component, cause);
            }
        }
        if Category::of(&component.kind) == Some(Category::Pubsub) {
            self.set_consumer_id(&mut component.properties);
        }
        Resolved::Ready(component)
    }

    fn is_from_environment(&self, item: &Item) -> bool {
        item.value.is_none() && !item.env.is_empty()
    }

    fn value_of_variable(&self, manifest: &Manifest, item: &Item, diagnostics: &mut Vec<Diagnostic>) -> String {
        if !self.may_read(&item.env) {
            let text =
                format!("Component {} references an env variable that isn't allowed: {}", manifest.name, item.env);
            diagnostics.push(Diagnostic::warning(manifest.location_of(item), text).with_help(
                "use a variable that does not begin with DAPR_, and name it in DAPR_ENV_KEYS if that is set",
            ));
            return String::new();
        }
        let value = self.environment.get(&item.env);
        if value.is_none_or(str::is_empty) {
            let state = if value.is_none() { "not set" } else { "empty" };
            let text = format!(
                "Component {}: the environment variable {} of setting {} is {state}, so the setting is empty",
                manifest.name, item.env, item.name
            );
            let remedy = format!("set {} where the sidecar starts", item.env);
            let diagnostic = Diagnostic::hint(manifest.location_of(item), text);
            diagnostics.push(diagnostic.with_help(remedy));
        }
        unquoted(value.unwrap_or_default())
    }

    fn may_read(&self, name: &str) -> bool {
        let name = name.to_uppercase();
        let allowed = self.environment.non_empty("DAPR_ENV_KEYS");
        let is_listed = allowed.is_none_or(|keys| keys.split(' ').any(|key| key == name));
        is_listed && !name.contains(' ') && !secrets::is_forbidden(&name)
    }

    /// The value of a secret; `None` if it is missing or empty, so that `value` counts.
    fn value_of_secret(
        &self,
        store: &SecretStore,
        (secret, key): (&str, &str),
        item: &Item,
        manifest: &Manifest,
        diagnostics: &mut Vec<Diagnostic>,
    ) -> Option<String> {
        let key = if key.is_empty() { secret } else { key };
        let problem = match store.get(secret, self.environment) {
            Ok(keys) => match keys.get(key) {
                Some(value) if !value.is_empty() => return Some(unquoted(value)),
                Some(_) if store.is_environment() => {
                    format!("the variable of secret {secret} is not set or empty")
                }
                Some(_) => format!("secret {secret}, key {key} is empty"),
                None => format!("secret {secret} has no key {key}"),
            },
            Err(error) => {
                diagnostics.push(secret_note(&error, item, manifest));
                return None;
            }
        };
        let instead = match &item.value {
            Some(value) if !value.is_empty() => "its value counts instead",
            _ => "so the setting is empty",
        };
        let text = format!(
            "Component {}: {problem} in the secret store {}, setting {}: {instead}",
            manifest.name, manifest.secret_store, item.name
        );
        let location = manifest.location_of(item);
        // `check` seldom runs in the environment of the sidecar.
        let diagnostic =
            if store.is_environment() { Diagnostic::hint(location, text) } else { Diagnostic::warning(location, text) };
        let remedy = format!("add it to the store {}", manifest.secret_store);
        diagnostics.push(diagnostic.with_help(remedy));
        None
    }

    /// Fill in the templates, in daprd's order.
    fn fill(&self, values: Vec<(String, String)>) -> Result<ComponentMetadata, String> {
        let mut properties = ComponentMetadata::default();
        let templates = Templates::of(self.environment, self.app_id);
        for (name, value) in values {
            let filled = templates.fill(&value);
            let filled = filled.map_err(|error| format!("failed to parse metadata: property {name} {error}"))?;
            properties.set(name, filled);
        }
        Ok(properties)
    }

    /// Set `consumerID`, which is read in exactly this spelling (tests/spec/redis.md, "2.3 consumerID").
    fn set_consumer_id(&self, properties: &mut ComponentMetadata) {
        let given = properties.get_exact("consumerID").map_or("", str::trim);
        let id = if given.is_empty() { self.app_id } else { given };
        let id = id.to_owned();
        properties.set("consumerID", id);
    }
}

fn store_not_loaded(manifest: &Manifest) -> Diagnostic {
    let text =
        format!("Component {} references a secret store that isn't loaded: {}", manifest.name, manifest.secret_store);
    let remedy = if manifest.secret_store.is_empty() {
        "name the store in auth.secretStore of the component".to_owned()
    } else {
        format!("add a component {} of type secretstores.local.file or secretstores.local.env", manifest.secret_store)
    };
    let diagnostic = Diagnostic::warning(manifest.location.clone(), text);
    diagnostic.with_help(remedy).from_scope(PROCESSOR)
}

fn secret_note(error: &SecretError, item: &Item, manifest: &Manifest) -> Diagnostic {
    let location = manifest.location_of(item);
    match error {
        SecretError::Forbidden(_) => {
            Diagnostic::warning(location, error.to_string()).with_help("use a variable that does not begin with DAPR_")
        }
        error => Diagnostic::warning(
            location,
            format!("Error getting secret: {error} (component {}, setting {})", manifest.name, item.name),
        )
        .at_level(Level::Error)
        .with_help(format!("add the secret to the store {}", manifest.secret_store)),
    }
}

/// The content of a Go string literal; any other text as it is (tests/spec/resources-cli.md, "5.3 Value sources, per
/// item", item 4).
fn unquoted(text: &str) -> String {
    let inner = text.get(1..text.len().saturating_sub(1)).unwrap_or_default();
    let literal = match (text.chars().next(), text.chars().last()) {
        _ if text.len() < 2 => None,
        (Some('"'), Some('"')) => serde_json::from_str(text).ok(),
        (Some('`'), Some('`')) if !inner.contains('`') => Some(inner.to_owned()),
        (Some('\''), Some('\'')) if inner.chars().count() == 1 && inner != "\\" && inner != "'" => {
            Some(inner.to_owned())
        }
        _ => None,
    };
    literal.unwrap_or_else(|| text.to_owned())
}

#[cfg(test)]
mod tests;
