use super::*;
use crate::diagnostic::Location;
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
            location: Location::default(),
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
        let mut diagnostics = Vec::new();
        let resolver = Resolver { app_id: "app", environment: &self.environment, stores: &self.stores };
        let resolved = resolver.resolve(&self.manifest, &mut diagnostics);
        (resolved, diagnostics.into_iter().map(|diagnostic| diagnostic.message).collect())
    }

    fn ready(&self) -> (Component, Vec<String>) {
        match self.run() {
            (Resolved::Ready(component), diagnostics) => (component, diagnostics),
            (Resolved::Failed(_, cause), _) => panic!("{cause}"),
            (Resolved::Parked, diagnostics) => panic!("parked: {diagnostics:?}"),
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
        let (component, diagnostics) = case.ready();
        assert_eq!(component.properties.get("p"), Some(value), "{name}");
        assert_eq!(!diagnostics.is_empty(), warned, "{diagnostics:?}");
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
    for (item, value, diagnostic) in [
        (from_secret("p", "g"), "quoted", None),
        (with_value("g"), "quoted", None),
        (with_value("nope"), "plain", Some("Error getting secret: secret nope not found (component c, setting p)")),
        (from_secret("p", "nope"), "", Some("Error getting secret: secret nope not found (component c, setting p)")),
    ] {
        let mut case = Case::new(&[item]);
        let opened = (case.manifest.component(), store.clone());
        case.stores.insert("s".to_owned(), opened);
        let (component, diagnostics) = case.ready();
        assert_eq!(component.properties.get("p"), Some(value));
        assert_eq!(diagnostics.first().map(String::as_str), diagnostic);
    }
}

#[test]
fn a_store_that_is_not_loaded_parks_the_component_one_without_name_does_not() {
    let mut case = Case::new(&[from_secret("p", "g"), from_env("q", "GROUP_X")]).set("GROUP_X", "x");
    assert!(
        matches!(case.run(), (Resolved::Parked, diagnostics) if diagnostics == ["Component c references a secret store that isn't loaded: s"])
    );
    case.manifest.secret_store = String::new();
    let (component, diagnostics) = case.ready();
    assert_eq!(component.properties.get("q"), Some(""));
    assert_eq!(diagnostics, ["Component c references a secret store that isn't loaded: "]);
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
