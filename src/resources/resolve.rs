//! From a component as written to one whose properties are texts: values, secrets, environment, templates
//! (tests/spec/resources-cli.md, "5.3 Value sources, per item", "5.4 Templates"; tests/spec/redis.md, "2.1 From YAML
//! value to property string" to "2.3 consumerID").

use std::collections::BTreeMap;

use crate::environment::Environment;
use crate::metadata::Properties;
use crate::metadata::templates::Templates;
use crate::resources::component::{Category, Component, ComponentError};
use crate::resources::manifest::{Item, Manifest};
use crate::resources::note::{Note, PROCESSOR};
use crate::resources::secrets::{self, SecretError, SecretStore};
use crate::telemetry::log::Level;

/// Secret stores that have been opened, by name, each with the component that it is.
pub type Stores = BTreeMap<String, (Component, SecretStore)>;

/// What properties are resolved with.
pub struct Resolver<'a> {
    /// `--app-id`.
    pub app_id: &'a str,
    /// Of the sidecar.
    pub environment: &'a Environment,
    /// Where secrets are.
    pub stores: &'a Stores,
}

/// What became of a component.
pub enum Resolved {
    /// Ready.
    Ready(Component),
    /// It refers to a secret store that is not loaded: left out, without an error (tests/spec/resources-cli.md, "5.3
    /// Value sources, per item").
    Parked,
    /// It cannot be used.
    Failed(Component, ComponentError),
}

impl Resolver<'_> {
    /// Put in everything that a component refers to.
    pub fn resolve(&self, manifest: &Manifest, notes: &mut Vec<Note>) -> Resolved {
        let mut component = manifest.component();
        let mut values = Vec::new();
        let mut store_known = true;
        for item in &manifest.items {
            // Without a store's name daprd gives up on the first secret and leaves all later items as they are written.
            let value = match &item.secret {
                _ if !store_known => None,
                Some(_) if self.is_from_environment(item) => Some(self.value_of_variable(manifest, item, notes)),
                Some((secret, key)) => match self.stores.get(&manifest.secret_store) {
                    Some((_, store)) => self.value_of_secret(store, (secret, key), item, manifest, notes),
                    None => {
                        notes.push(store_not_loaded(manifest));
                        if !manifest.secret_store.is_empty() {
                            return Resolved::Parked;
                        }
                        store_known = false;
                        None
                    }
                },
                None if self.is_from_environment(item) => Some(self.value_of_variable(manifest, item, notes)),
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

    fn value_of_variable(&self, manifest: &Manifest, item: &Item, notes: &mut Vec<Note>) -> String {
        if !self.may_read(&item.env) {
            let text =
                format!("Component {} references an env variable that isn't allowed: {}", manifest.name, item.env);
            notes.push(Note::mistake(Level::Warn, manifest.place_of(item), text).with_remedy(
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
            let note = Note::hint(Level::Warn, manifest.place_of(item), text);
            notes.push(note.with_remedy(remedy));
        }
        unquoted(value.unwrap_or_default())
    }

    fn may_read(&self, name: &str) -> bool {
        let name = name.to_uppercase();
        let allowed = self.environment.non_empty("DAPR_ENV_KEYS");
        let is_listed = allowed.is_none_or(|keys| keys.split(' ').any(|key| key == name));
        is_listed && !name.contains(' ') && !secrets::is_forbidden(&name)
    }

    /// The value of a secret; `None` if it is not there or empty, so that the plain value stays.
    fn value_of_secret(
        &self,
        store: &SecretStore,
        (secret, key): (&str, &str),
        item: &Item,
        manifest: &Manifest,
        notes: &mut Vec<Note>,
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
                notes.push(secret_note(&error, item, manifest));
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
        let place = manifest.place_of(item);
        // The environment of whoever checks is seldom that of the sidecar.
        let note = if store.is_environment() {
            Note::hint(Level::Warn, place, text)
        } else {
            Note::mistake(Level::Warn, place, text)
        };
        let remedy = format!("add it to the store {}", manifest.secret_store);
        notes.push(note.with_remedy(remedy));
        None
    }

    /// Replace the templates, in daprd's order.
    fn fill(&self, values: Vec<(String, String)>) -> Result<Properties, String> {
        let mut properties = Properties::default();
        let templates = Templates::of(self.environment, self.app_id);
        for (name, value) in values {
            let filled = templates.fill(&value);
            let filled = filled.map_err(|error| format!("failed to parse metadata: property {name} {error}"))?;
            properties.set(name, filled);
        }
        Ok(properties)
    }

    /// Only the exact spelling is read; the result is written back under it (tests/spec/redis.md, "2.3 consumerID").
    fn set_consumer_id(&self, properties: &mut Properties) {
        let given = properties.get_exact("consumerID").map_or("", str::trim);
        let id = if given.is_empty() { self.app_id } else { given };
        let id = id.to_owned();
        properties.set("consumerID", id);
    }
}

fn store_not_loaded(manifest: &Manifest) -> Note {
    let text =
        format!("Component {} references a secret store that isn't loaded: {}", manifest.name, manifest.secret_store);
    let remedy = if manifest.secret_store.is_empty() {
        "name the store in auth.secretStore of the component".to_owned()
    } else {
        format!("add a component {} of type secretstores.local.file or secretstores.local.env", manifest.secret_store)
    };
    let note = Note::mistake(Level::Warn, manifest.place.clone(), text);
    note.with_remedy(remedy).from(PROCESSOR)
}

fn secret_note(error: &SecretError, item: &Item, manifest: &Manifest) -> Note {
    let place = manifest.place_of(item);
    match error {
        SecretError::Forbidden(_) => Note::mistake(Level::Warn, place, error.to_string())
            .with_remedy("use a variable that does not begin with DAPR_"),
        error => Note::mistake(
            Level::Error,
            place,
            format!("Error getting secret: {error} (component {}, setting {})", manifest.name, item.name),
        )
        .with_remedy(format!("add the secret to the store {}", manifest.secret_store)),
    }
}

/// Without its quotes, if the whole text is a Go string literal (tests/spec/resources-cli.md, "5.3 Value sources, per
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
mod tests {
    use super::*;
    use crate::resources::Place;
    use std::time::Duration;

    struct Case {
        environment: Environment,
        stores: Stores,
        manifest: Manifest,
    }

    impl Case {
        fn new(items: &[Item]) -> Self {
            let manifest = Manifest {
                name: "c".to_owned(),
                namespace: String::new(),
                kind: "pubsub.redis".to_owned(),
                version: "v1".to_owned(),
                ignore_errors: false,
                init_timeout: Duration::from_secs(5),
                items: items.to_vec(),
                secret_store: "s".to_owned(),
                scopes: Vec::new(),
                place: Place::default(),
                lines: Default::default(),
            };
            let environment = Environment::default();
            Self { environment, stores: BTreeMap::new(), manifest }
        }

        fn set(mut self, name: &str, value: &str) -> Self {
            self.environment.set(name, value);
            self
        }

        fn run(&self) -> (Resolved, Vec<String>) {
            let mut notes = Vec::new();
            let resolver = Resolver { app_id: "app", environment: &self.environment, stores: &self.stores };
            let resolved = resolver.resolve(&self.manifest, &mut notes);
            (resolved, notes.into_iter().map(|note| note.text).collect())
        }

        fn ready(&self) -> (Component, Vec<String>) {
            match self.run() {
                (Resolved::Ready(component), notes) => (component, notes),
                (Resolved::Failed(_, cause), _) => panic!("{cause}"),
                (Resolved::Parked, notes) => panic!("parked: {notes:?}"),
            }
        }
    }

    fn plain(name: &str, value: &str) -> Item {
        Item { name: name.to_owned(), value: Some(value.to_owned()), ..Item::default() }
    }

    fn from_env(name: &str, env: &str) -> Item {
        Item { name: name.to_owned(), env: env.to_owned(), ..Item::default() }
    }

    fn from_secret(name: &str, secret: &str) -> Item {
        let secret = Some((secret.to_owned(), String::new()));
        Item { name: name.to_owned(), secret, ..Item::default() }
    }

    #[test]
    fn templates_are_filled_in() {
        for (namespace, written, filled) in [
            (None, "{appID}-x-{appID}", "app-x-app"),
            (None, "{appId}{UUID}", "{appId}{UUID}"),
            (None, "{namespace}", "default.app"),
            (Some("ns"), "{namespace}", "ns.app"),
            (Some(""), "{namespace}", ".app"),
            (None, "{podName}-1", "pod-1"),
        ] {
            let mut case = Case::new(&[plain("p", written)]).set("POD_NAME", "pod");
            if let Some(namespace) = namespace {
                case = case.set("NAMESPACE", namespace);
            }
            let (component, _) = case.ready();
            assert_eq!(component.properties.get("p"), Some(filled));
            assert_eq!(component.namespace_scoped, written.contains("{namespace}"));
        }
    }

    #[test]
    fn each_uuid_is_another() {
        let (component, _) = Case::new(&[plain("p", "{uuid}/{uuid}")]).ready();
        let value = component.properties.get("p").unwrap();
        let (first, second) = value.split_once('/').unwrap();
        assert_eq!(first.len(), 36);
        assert_ne!(first, second);
    }

    #[test]
    fn a_pod_name_that_is_not_set_is_an_error() {
        let (resolved, _) = Case::new(&[plain("p", "{podName}")]).run();
        let Resolved::Failed(_, cause) = resolved else {
            panic!("not failed");
        };
        assert_eq!(
            cause.to_string(),
            "[INIT_COMPONENT_FAILURE]: initialization error occurred for c (pubsub.redis/v1): failed to parse metadata: property p refers to {podName} but podName is not set"
        );
    }

    #[test]
    fn the_consumer_id_is_the_app_id_unless_exactly_named() {
        for (name, value, id) in [
            ("other", "x", "app"),
            ("consumerID", "  g1  ", "g1"),
            ("consumerID", "   ", "app"),
            ("consumerId", "two", "app"),
        ] {
            let (component, _) = Case::new(&[plain(name, value)]).ready();
            assert_eq!(component.properties.get_exact("consumerID"), Some(id), "{name}: {value}");
        }
    }

    #[test]
    fn environment_variables_that_may_be_read() {
        for (keys, name, value, warned) in [
            (None, "GROUP_X", "x", false),
            (None, "UNSET", "", true),
            (None, "DAPR_API_TOKEN", "", true),
            (None, "app_api_token", "", true),
            (Some("A B"), "GROUP_X", "", true),
            (Some("A GROUP_X"), "GROUP_X", "x", false),
        ] {
            let mut case = Case::new(&[from_env("p", name)]).set("GROUP_X", "x").set("DAPR_API_TOKEN", "t");
            if let Some(keys) = keys {
                case = case.set("DAPR_ENV_KEYS", keys);
            }
            let (component, notes) = case.ready();
            assert_eq!(component.properties.get("p"), Some(value), "{name}");
            assert_eq!(!notes.is_empty(), warned, "{notes:?}");
        }
        let item = Item { value: Some(String::new()), ..from_env("p", "GROUP_X") };
        let (component, _) = Case::new(&[item]).set("GROUP_X", "x").ready();
        assert_eq!(component.properties.get("p"), Some(""));
    }

    #[test]
    fn secrets_win_over_values_and_missing_ones_leave_them() {
        let store = SecretStore::File(BTreeMap::from([(
            "g".to_owned(),
            BTreeMap::from([("g".to_owned(), "\"quoted\"".to_owned())]),
        )]));
        let with_value = |secret: &str| Item { value: Some("plain".to_owned()), ..from_secret("p", secret) };
        for (item, value, note) in [
            (from_secret("p", "g"), "quoted", None),
            (with_value("g"), "quoted", None),
            (with_value("nope"), "plain", Some("Error getting secret: secret nope not found (component c, setting p)")),
            (
                from_secret("p", "nope"),
                "",
                Some("Error getting secret: secret nope not found (component c, setting p)"),
            ),
        ] {
            let mut case = Case::new(&[item]);
            let opened = (case.manifest.component(), store.clone());
            case.stores.insert("s".to_owned(), opened);
            let (component, notes) = case.ready();
            assert_eq!(component.properties.get("p"), Some(value));
            assert_eq!(notes.first().map(String::as_str), note);
        }
    }

    #[test]
    fn a_store_that_is_not_loaded_parks_the_component_one_without_name_does_not() {
        let mut case = Case::new(&[from_secret("p", "g"), from_env("q", "GROUP_X")]).set("GROUP_X", "x");
        assert!(
            matches!(case.run(), (Resolved::Parked, notes) if notes == ["Component c references a secret store that isn't loaded: s"])
        );
        case.manifest.secret_store = String::new();
        let (component, notes) = case.ready();
        assert_eq!(component.properties.get("q"), Some(""));
        assert_eq!(notes, ["Component c references a secret store that isn't loaded: "]);
    }

    #[test]
    fn go_literals_lose_their_quotes() {
        for (text, expected) in [
            ("\"abc\"", "abc"),
            ("`abc`", "abc"),
            ("'x'", "x"),
            ("'xy'", "'xy'"),
            ("\"a\\nb\"", "a\nb"),
            ("\"a", "\"a"),
            ("\"", "\""),
            ("", ""),
        ] {
            assert_eq!(unquoted(text), expected);
        }
    }
}
