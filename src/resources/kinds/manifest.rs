//! A `Component` document as written: before secrets, environment and templates are resolved
//! (tests/spec/resources-cli.md, "5.1 Schema", "5.2 Value typing").

use std::time::Duration;

use crate::diagnostic::{Diagnostic, Location};
use crate::duration;
use crate::metadata::ComponentMetadata;
use crate::resources::kinds::common_keys::{SCOPES_IN_SPEC, known_at_root, known_in_metadata};
use crate::resources::kinds::component::Component;
use crate::resources::yaml::fields::Fields;
use crate::resources::yaml::key_lines::KeyLines;
use crate::resources::yaml::value::{Node, Scalar};

/// `initTimeout` if it is absent or not a duration.
const DEFAULT_INIT_TIMEOUT: Duration = Duration::from_secs(5);

/// One component as written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Manifest {
    /// `metadata.name`.
    pub name: String,
    /// `metadata.namespace`.
    pub namespace: String,
    /// `spec.type`.
    pub kind: String,
    /// `spec.version`.
    pub version: String,
    /// `spec.ignoreErrors`.
    pub ignore_errors: bool,
    /// `spec.initTimeout`.
    pub init_timeout: Duration,
    /// `spec.metadata`.
    pub items: Vec<Item>,
    /// `auth.secretStore`.
    pub secret_store: String,
    /// `scopes`.
    pub scopes: Vec<String>,
    /// File and line of the document.
    pub location: Location,
    /// Lines of its keys; an entry of `spec.metadata` is also found as `spec.metadata.<name>`.
    pub lines: KeyLines,
}

/// One entry of `spec.metadata`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Item {
    /// The name of the property.
    pub name: String,
    /// `value` as text; `None` if it is absent or null.
    pub value: Option<String>,
    /// `secretKeyRef`: secret and key.
    pub secret: Option<(String, String)>,
    /// `envRef`; empty if it is absent.
    pub env: String,
}

impl Manifest {
    /// Read a document. Findings go to the diagnostics of `root`.
    pub fn read(root: &Fields<'_>, location: Location) -> Self {
        let mut manifest = Self {
            name: String::new(),
            namespace: String::new(),
            kind: String::new(),
            version: String::new(),
            ignore_errors: false,
            init_timeout: DEFAULT_INIT_TIMEOUT,
            items: Vec::new(),
            secret_store: String::new(),
            scopes: root.texts("scopes", true),
            location,
            lines: root.key_lines(),
        };
        if let Some(metadata) = root.fields("metadata") {
            manifest.name = metadata.text("name");
            manifest.namespace = metadata.text("namespace");
            known_in_metadata(&metadata);
            metadata.done();
        }
        if let Some(spec) = root.fields("spec") {
            manifest.read_spec(&spec);
        }
        if let Some(auth) = root.fields("auth") {
            manifest.secret_store = auth.text("secretStore");
            auth.done();
        }
        known_at_root(root);
        root.done();
        manifest
    }

    /// The location of an entry of `spec.metadata`.
    pub fn location_of(&self, item: &Item) -> Location {
        let key = format!("spec.metadata.{}", item.name);
        self.lines.location(&key, &self.location)
    }

    /// The component without its properties, for messages about one that cannot be used.
    pub fn component(&self) -> Component {
        Component {
            name: self.name.clone(),
            kind: self.kind.clone(),
            version: self.version.clone(),
            ignore_errors: self.ignore_errors,
            init_timeout: self.init_timeout,
            properties: ComponentMetadata::default(),
            written: Vec::new(),
            namespace_scoped: false,
            location: self.location.clone(),
            lines: self.lines.clone(),
        }
    }

    fn read_spec(&mut self, spec: &Fields<'_>) {
        self.kind = spec.text("type");
        self.version = spec.text("version");
        self.ignore_errors = spec.bool("ignoreErrors").unwrap_or(false);
        self.init_timeout = init_timeout(spec);
        let items = spec.list("metadata");
        for (index, fields) in items.iter().enumerate() {
            let item = item(fields);
            self.named_twice(&item.name, fields);
            let path = format!("spec.metadata.{}", item.name);
            self.lines.alias(&path, &format!("spec.metadata[{index}]"));
            self.items.push(item);
        }
        spec.explain("scopes", SCOPES_IN_SPEC);
        spec.explain("secretStore", "it belongs under auth, at the root");
        spec.explain("auth", "it belongs at the root, beside spec");
        spec.done();
    }

    /// Warn about a second entry of a name. The last one counts, as in daprd; of several spellings the exact one, which is
    /// known to the broker only.
    fn named_twice(&self, name: &str, fields: &Fields<'_>) {
        let same = |item: &&Item| !name.is_empty() && item.name.eq_ignore_ascii_case(name);
        let Some(first) = self.items.iter().find(same) else {
            return;
        };
        let line = self.lines.line(&format!("spec.metadata.{}", first.name));
        let line = line.unwrap_or(fields.line());
        let what = if first.name == name {
            format!("{name} is set twice in spec.metadata, first in line {line}: the last one counts")
        } else {
            format!(
                "{} (line {line}) and {name} are the same setting of spec.metadata: only one of them counts",
                first.name
            )
        };
        fields.report(Diagnostic::warning(fields.location_of("name"), what).with_help("remove one of them"));
    }
}

fn init_timeout(spec: &Fields<'_>) -> Duration {
    let text = spec.text("initTimeout");
    let length = duration::parse(&text).ok().and_then(duration::GoDuration::positive);
    if length.is_none() && !text.is_empty() {
        spec.warn("initTimeout", &format!("{text:?} is no duration above zero, 5s is used"));
    }
    length.unwrap_or(DEFAULT_INIT_TIMEOUT)
}

fn item(fields: &Fields<'_>) -> Item {
    let secret = fields
        .fields("secretKeyRef")
        .map(|secret| secret.done_with(|secret| (secret.text("name"), secret.text("key"))));
    let secret_help =
        "write secretKeyRef with name and key, and auth.secretStore at the root: as it is the value is empty";
    for name in ["valueFrom", "secretRef", "secret"] {
        fields.explain(name, secret_help);
    }
    for name in ["env", "envVar", "fromEnv"] {
        fields.explain(name, "did you mean envRef?");
    }
    let item = Item {
        name: fields.text("name"),
        value: fields.node("value").and_then(value),
        secret: secret.filter(|(name, _)| !name.is_empty()),
        env: fields.text("envRef"),
    };
    if item.name.is_empty() {
        let text = "an entry of spec.metadata has no name: it is ignored";
        fields.report(
            Diagnostic::warning(fields.location(fields.line()), text).with_help("add name, for example redisHost"),
        );
    }
    fields.done();
    item
}

/// The text of a property (tests/spec/resources-cli.md, "5.2 Value typing"): scalars by Go's rules, lists and mappings
/// as JSON.
fn value(node: &Node) -> Option<String> {
    match node.scalar() {
        Some(Scalar::Null) => None,
        Some(Scalar::Text(text)) => Some(text.to_owned()),
        _ => Some(node.to_json()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::resources::yaml::diagnostics::Diagnostics;
    use crate::resources::yaml::fields::Dialect;
    use crate::resources::yaml::parse;

    fn read(yaml: &str) -> (Manifest, usize) {
        let (manifest, (mistakes, _)) = findings(yaml);
        (manifest, mistakes.len())
    }

    fn findings(yaml: &str) -> (Manifest, (Vec<Diagnostic>, Vec<Diagnostic>)) {
        let document = parse::document(yaml, 1).unwrap().unwrap();
        let findings = Diagnostics::default();
        let manifest = Manifest::read(&Fields::root(&document.root, Dialect::Resource, &findings), Location::default());
        (manifest, findings.into_parts())
    }

    #[test]
    fn values_become_text() {
        for (written, text) in [
            ("'10'", Some("10")),
            ("10", Some("10")),
            ("1.10", Some("1.1")),
            ("0777", Some("511")),
            ("1_000", Some("1000")),
            ("yes", Some("true")),
            ("~", None),
            ("''", Some("")),
            ("2020-01-01", Some("2020-01-01")),
            ("[1, a]", Some("[1,\"a\"]")),
            ("{b: 1, a: x}", Some("{\"a\":\"x\",\"b\":1}")),
            ("'<a&b>'", Some("<a&b>")),
            ("1e400", Some("1e400")),
        ] {
            let (manifest, mistakes) = read(&format!("spec: {{metadata: [{{name: x, value: {written}}}]}}"));
            assert_eq!(mistakes, 0);
            assert_eq!(manifest.items[0].value.as_deref(), text, "{written}");
        }
    }

    #[test]
    fn keys_that_nothing_reads_and_names_that_stand_twice_are_named() {
        let secret =
            "write secretKeyRef with name and key, and auth.secretStore at the root: as it is the value is empty";
        for (yaml, line, expected) in [
            (
                "spec:\n  metadata:\n  - name: a\n    valueFrom:\n      x: y\n",
                4,
                format!("unknown field spec.metadata[0].valueFrom is ignored, {secret}"),
            ),
            (
                "spec:\n  metadata:\n  - {name: a, value: 1}\n  - {name: a, value: 2}\n",
                4,
                "a is set twice in spec.metadata, first in line 3: the last one counts, remove one of them".to_owned(),
            ),
            (
                "spec:\n  metadata:\n  - {name: ab, value: 1}\n  - {name: aB, value: 2}\n",
                4,
                "ab (line 3) and aB are the same setting of spec.metadata: only one of them counts, remove one of them"
                    .to_owned(),
            ),
            (
                "spec:\n  metadata:\n  - value: 1\n",
                3,
                "an entry of spec.metadata has no name: it is ignored, add name, for example redisHost".to_owned(),
            ),
            ("kind: x\ncolour: blue\n", 2, "unknown field colour is ignored".to_owned()),
            ("spec:\n  foo: bar\n", 2, "unknown field spec.foo is ignored".to_owned()),
            ("spec:\n  scopes: [a]\n", 2, format!("unknown field spec.scopes is ignored, {SCOPES_IN_SPEC}")),
            (
                "metadata:\n  name: x\n  nmespace: y\n",
                3,
                "unknown field metadata.nmespace is ignored, did you mean namespace?".to_owned(),
            ),
            (
                "auth: {secretStores: y}\n",
                1,
                "unknown field auth.secretStores is ignored, did you mean secretStore?".to_owned(),
            ),
        ] {
            let (_, found) = findings(yaml);
            assert_eq!(found.1.len(), 1, "{yaml}");
            assert_eq!((found.1[0].line(), found.1[0].sentence().into_owned()), (line, expected));
        }
        let labelled = "apiVersion: a\nkind: b\nmetadata: {name: x, labels: {a: b}, annotations: {}}\nspec: {}\n";
        assert_eq!(findings(labelled).1.1, []);
    }

    #[test]
    fn field_names_in_any_case_and_defaults() {
        let (manifest, mistakes) = read(
            "Metadata: {NAME: 12}\nspec: {TYPE: pubsub.redis, version: 1, initTimeout: soon}\nauth: {secretstore: s}\n",
        );
        assert_eq!(mistakes, 0);
        assert_eq!((manifest.name.as_str(), manifest.version.as_str()), ("12", "1"));
        assert_eq!(manifest.secret_store, "s");
        assert_eq!(manifest.init_timeout, DEFAULT_INIT_TIMEOUT);
    }

    #[test]
    fn a_wrong_type_is_a_mistake() {
        for yaml in
            ["spec: {ignoreErrors: 'true'}", "scopes: app1", "scopes: [1]", "spec: {metadata: {a: b}}", "spec: [a]"]
        {
            assert_eq!(read(yaml).1, 1, "{yaml}");
        }
    }
}
