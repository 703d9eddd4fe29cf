//! Kind `Component`: a pub/sub or a secret store, with every property resolved to text.

use std::fmt;
use std::time::Duration;

use crate::diagnostic::{Diagnostic, Location, PROCESSOR};
use crate::metadata::{Properties, nearest};
use crate::resources::yaml::key_lines::KeyLines;
use crate::telemetry::log::Level;

/// A component that this sidecar is to load: filtered by namespace and scope, secrets and templates put in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Component {
    /// `metadata.name`.
    pub name: String,
    /// `spec.type` as written, for example `pubsub.redis`.
    pub kind: String,
    /// `spec.version` as written; may be empty.
    pub version: String,
    /// `spec.ignoreErrors`.
    pub ignore_errors: bool,
    /// `spec.initTimeout`.
    pub init_timeout: Duration,
    /// `spec.metadata`, resolved; `consumerID` is always there for a pub/sub (tests/spec/redis.md, "2.3 consumerID").
    pub properties: Properties,
    /// The same before templates were filled in: what hot reload compares, because `{uuid}` is another each time.
    pub written: Vec<(String, String)>,
    /// A raw property value contains `{namespace}`: topics get a prefix on the broker.
    pub namespace_scoped: bool,
    /// Where it stands.
    pub location: Location,
    /// The lines of its keys; an entry of `spec.metadata` is `spec.metadata.<name>` as well.
    pub lines: KeyLines,
}

impl Component {
    /// Where a key of it stands, for example `spec.type`.
    pub fn location_of(&self, key: &str) -> Location {
        self.lines.location(key, &self.location)
    }

    /// `name (type/version)`, or `name (type)` without a version: how logs and errors call it.
    pub fn log_name(&self) -> impl fmt::Display + '_ {
        LogName(self)
    }

    /// Is it a pub/sub? The others in a loaded set are secret stores, which are already in use.
    pub fn is_pubsub(&self) -> bool {
        Category::of(&self.kind) == Some(Category::Pubsub)
    }

    /// The line that says it is in use.
    pub fn loaded(&self) -> Diagnostic {
        let text = format!("Component loaded: {}", self.log_name());
        Diagnostic::log(Level::Info, text).from(PROCESSOR)
    }

    /// What the log says when it cannot be used, and the error that ends the process unless `ignoreErrors` is set
    /// (tests/spec/resources-cli.md, "5.5 Init order and errors").
    pub fn failed(&self, cause: ComponentError) -> (Vec<Diagnostic>, Option<ProcessError>) {
        let error = ProcessError {
            name: self.name.clone(),
            log_name: self.log_name().to_string(),
            location: match &cause {
                ComponentError::Category(_) => self.location_of("spec.type"),
                ComponentError::Unknown { kind, .. } if is_known(kind) => self.location_of("spec.version"),
                ComponentError::Unknown { .. } => self.location_of("spec.type"),
                ComponentError::Init { .. } => self.location_of("spec.metadata"),
            },
            cause,
        };
        if !self.ignore_errors {
            // It is told once, as what ended the process.
            return (Vec::new(), Some(error));
        }
        let text = format!("Ignoring error processing component: {error}");
        let note = Diagnostic::mistake(Level::Error, error.location.clone(), text).from(PROCESSOR);
        let note = note.plainly(format!("{} (ignored by ignoreErrors)", error.plain()));
        (vec![note.with_remedy(error.cause.remedy())], None)
    }
}

struct LogName<'a>(&'a Component);

impl fmt::Display for LogName<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Component { name, kind, version, .. } = self.0;
        f.write_str(&log_name(name, kind, version))
    }
}

/// `name (type/version)`, or `name (type)` without a version.
pub fn log_name(name: &str, kind: &str, version: &str) -> String {
    match version {
        "" => format!("{name} ({kind})"),
        version => format!("{name} ({kind}/{version})"),
    }
}

/// What a component type is for, by its prefix.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Category {
    /// `pubsub.*`.
    Pubsub,
    /// `secretstores.local.env` and `secretstores.local.file`.
    SecretStore,
    /// A building block that daprd has and this sidecar does not: skipped with a warning (tests/spec/resources-cli.md,
    /// "5.6 Categories we do not implement").
    Foreign,
}

impl Category {
    /// The category of a type; `None` if nobody knows it. The prefix is case-sensitive, the rest is not.
    pub fn of(kind: &str) -> Option<Self> {
        let (prefix, rest) = kind.split_once('.')?;
        let rest = rest.to_ascii_lowercase();
        match (prefix, rest.as_str()) {
            ("pubsub", _) => Some(Self::Pubsub),
            ("secretstores", "local.env" | "local.file") => Some(Self::SecretStore),
            (
                "secretstores" | "state" | "bindings" | "middleware" | "configuration" | "crypto" | "lock"
                | "conversation",
                _,
            ) => Some(Self::Foreign),
            _ => None,
        }
    }
}

/// The types of pub/sub that this build has; `broker::kinds` has the same, with their brokers.
pub const PUBSUBS: [&str; 2] = ["pubsub.redis", "pubsub.in-memory"];
const SECRET_STORES: [&str; 2] = ["secretstores.local.file", "secretstores.local.env"];

fn is_known(kind: &str) -> bool {
    let mut known = PUBSUBS.iter().chain(&SECRET_STORES);
    Category::of(kind).is_some() && known.any(|known| kind.eq_ignore_ascii_case(known))
}

/// What there is in place of a type that is not known, and which of it was most likely meant.
fn hint(kind: &str) -> String {
    if is_known(kind) {
        return ": only version v1 is there".to_owned();
    }
    let known: Vec<&str> = PUBSUBS.iter().chain(&SECRET_STORES).copied().collect();
    let meant = nearest(kind, &known);
    let meant = meant.map_or(String::new(), |meant| format!(", did you mean {meant}?"));
    let pubsubs = PUBSUBS.join(" and ");
    let stores = if kind.starts_with("secret") {
        format!(", and the secret stores {}", SECRET_STORES.join(" and "))
    } else {
        String::new()
    };
    format!(": this build has {pubsubs}{stores}{meant}")
}

/// Is this the version that every type here has? Empty, `v0` and `v1` are the same (tests/spec/resources-cli.md, "5.1
/// Schema").
pub fn is_first_version(version: &str) -> bool {
    matches!(version.to_ascii_lowercase().as_str(), "" | "v0" | "v1")
}

/// Why a component cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ComponentError {
    /// Its type has no known category.
    #[error("incorrect type {0}{hint}", hint = hint(.0))]
    Category(String),
    /// Its type or version is not known.
    #[error(
        "[CREATE_COMPONENT_FAILURE]: initialization error occurred for {log_name}: couldn't find {what} {kind}/{version}{}",
        hint(kind)
    )]
    Unknown {
        /// `name (type/version)`.
        log_name: String,
        /// `message bus` or `secret store`.
        what: &'static str,
        /// The type as written.
        kind: String,
        /// The version as written.
        version: String,
    },
    /// Its settings are wrong, or it could not be started.
    #[error("[INIT_COMPONENT_FAILURE]: initialization error occurred for {log_name}: {cause}")]
    Init {
        /// `name (type/version)`.
        log_name: String,
        /// In the words of the component.
        cause: String,
    },
}

impl ComponentError {
    /// No broker has this type and version.
    pub fn unknown_pubsub(component: &Component) -> Self {
        Self::unknown(component, "message bus")
    }

    /// No secret store has this type and version.
    pub fn unknown_secret_store(component: &Component) -> Self {
        Self::unknown(component, "secret store")
    }

    /// It could not be started, in its own words.
    pub fn init(component: &Component, cause: impl fmt::Display) -> Self {
        Self::Init { log_name: component.log_name().to_string(), cause: cause.to_string() }
    }

    /// What to do about it.
    pub fn remedy(&self) -> &'static str {
        match self {
            Self::Category(_) => "correct spec.type",
            Self::Unknown { kind, .. } if is_known(kind) => "correct spec.version: only v1 is there",
            Self::Unknown { .. } => "correct spec.type",
            Self::Init { .. } => "correct spec.metadata of the component",
        }
    }

    fn unknown(component: &Component, what: &'static str) -> Self {
        Self::Unknown {
            log_name: component.log_name().to_string(),
            what,
            kind: component.kind.clone(),
            version: component.version.clone(),
        }
    }
}

/// A component that cannot be used and whose author did not ask to ignore that.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProcessError {
    /// `metadata.name`.
    pub name: String,
    /// `name (type/version)`.
    pub log_name: String,
    /// Where the component stands.
    pub location: Location,
    /// Why.
    pub cause: ComponentError,
}

impl ProcessError {
    /// Component and cause without the wrapping that daprd puts around them.
    pub fn plain(&self) -> String {
        let cause = match &self.cause {
            ComponentError::Init { cause, .. } => cause.clone(),
            ComponentError::Unknown { what, kind, version, .. } => {
                format!("couldn't find {what} {kind}/{version}{}", hint(kind))
            }
            cause @ ComponentError::Category(_) => cause.to_string(),
        };
        format!("component {}: {cause}", self.log_name)
    }
}

impl fmt::Display for ProcessError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // daprd says the cause in its wrapping two or three times; once is enough.
        write!(f, "process component {} error: {}", self.name, self.cause)
    }
}

impl std::error::Error for ProcessError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.cause)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn categories_by_prefix() {
        for (kind, category) in [
            ("pubsub.redis", Some(Category::Pubsub)),
            ("pubsub.Redis", Some(Category::Pubsub)),
            ("PubSub.redis", None),
            ("secretstores.Local.Env", Some(Category::SecretStore)),
            ("secretstores.hashicorp.vault", Some(Category::Foreign)),
            ("state.redis", Some(Category::Foreign)),
            ("nameresolution.mdns", None),
            ("workflow.dapr", None),
            ("pubsub", None),
            ("", None),
        ] {
            assert_eq!(Category::of(kind), category, "{kind}");
        }
    }

    #[test]
    fn a_failure_is_told_once_and_can_be_ignored() {
        let mut component = Component {
            name: "a".to_owned(),
            kind: "pubsub.foo".to_owned(),
            version: "v1".to_owned(),
            ignore_errors: false,
            init_timeout: Duration::from_secs(5),
            properties: Properties::default(),
            written: Vec::new(),
            namespace_scoped: false,
            location: Location::default(),
            lines: KeyLines::default(),
        };
        let cause = ComponentError::unknown_pubsub(&component);
        let (notes, error) = component.failed(cause.clone());
        let create = "[CREATE_COMPONENT_FAILURE]: initialization error occurred for a (pubsub.foo/v1): couldn't find message bus pubsub.foo/v1: this build has pubsub.redis and pubsub.in-memory";
        let process = format!("process component a error: {create}");
        assert_eq!(notes, []);
        assert_eq!(error.unwrap().to_string(), process);
        component.ignore_errors = true;
        let (notes, error) = component.failed(cause);
        assert_eq!(error, None);
        let texts: Vec<_> = notes.iter().map(|note| note.text.as_str()).collect();
        assert_eq!(texts, [format!("Ignoring error processing component: {process}")]);
    }

    #[test]
    fn a_type_that_is_not_known_is_answered_with_those_that_are() {
        for (kind, expected) in [
            ("pubsub.kafka", ": this build has pubsub.redis and pubsub.in-memory"),
            ("pubsub.reddis", ": this build has pubsub.redis and pubsub.in-memory, did you mean pubsub.redis?"),
            ("pubsub.inmemory", ": this build has pubsub.redis and pubsub.in-memory, did you mean pubsub.in-memory?"),
            ("pubsb.redis", ": this build has pubsub.redis and pubsub.in-memory, did you mean pubsub.redis?"),
            (
                "secretstore.local.file",
                ": this build has pubsub.redis and pubsub.in-memory, and the secret stores secretstores.local.file and secretstores.local.env, did you mean secretstores.local.file?",
            ),
            ("PubSub.redis", ": this build has pubsub.redis and pubsub.in-memory, did you mean pubsub.redis?"),
            ("pubsub.Redis", ": only version v1 is there"),
        ] {
            assert_eq!(hint(kind), expected, "{kind}");
        }
    }
}
