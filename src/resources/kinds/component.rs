//! Kind `Component`: a pub/sub or a secret store, with every property resolved to text.

use std::fmt;
use std::time::Duration;

use crate::diagnostic::{Diagnostic, Location, PROCESSOR};
use crate::metadata::ComponentMetadata;
use crate::resources::kinds::component_type::Category;
use crate::resources::yaml::key_lines::KeyLines;
use crate::telemetry::log::Level;

/// A component for this sidecar: filtered by namespace and scope, with secrets and templates resolved.
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
    /// `spec.metadata`, resolved; always has `consumerID` for a pub/sub (tests/spec/redis.md, "2.3 consumerID").
    pub properties: ComponentMetadata,
    /// The properties before templates were filled in. Hot reload compares these, because `{uuid}` changes each time.
    pub written: Vec<(String, String)>,
    /// Whether a raw property value contains `{namespace}`: topics get a prefix on the broker.
    pub namespace_scoped: bool,
    /// File and line of the document.
    pub location: Location,
    /// Lines of its keys; an entry of `spec.metadata` is also found as `spec.metadata.<name>`.
    pub lines: KeyLines,
}

impl Component {
    /// The location of a key, for example `spec.type`.
    pub fn location_of(&self, key: &str) -> Location {
        self.lines.location(key, &self.location)
    }

    /// `name (type/version)`, or `name (type)` without a version: its name in logs and errors.
    pub fn log_name(&self) -> impl fmt::Display + '_ {
        LogName(self)
    }

    /// Whether it is a pub/sub. The others in a loaded set are secret stores, which are already open.
    pub fn is_pubsub(&self) -> bool {
        Category::of(&self.kind) == Some(Category::Pubsub)
    }

    /// The log line for a component in use.
    pub fn loaded(&self) -> Diagnostic {
        let text = format!("Component loaded: {}", self.log_name());
        Diagnostic::info(Level::Info, text).from_scope(PROCESSOR)
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
