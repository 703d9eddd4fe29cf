//! Kind `Component`: a pub/sub or a secret store, with every property resolved to text.

use std::fmt;
use std::time::Duration;

use crate::metadata::Properties;
use crate::resources::Place;

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
    /// `spec.metadata`, resolved; `consumerID` is always there for a pub/sub (spec redis.md 2.3).
    pub properties: Properties,
    /// A raw property value contains `{namespace}`: topics get a prefix on the broker.
    pub namespace_scoped: bool,
    /// Where it stands.
    pub place: Place,
}

impl Component {
    /// `name (type/version)`, or `name (type)` without a version: how logs and errors call it.
    pub fn log_name(&self) -> impl fmt::Display + '_ {
        fmt::from_fn(|f| match self.version.as_str() {
            "" => write!(f, "{} ({})", self.name, self.kind),
            version => write!(f, "{} ({}/{version})", self.name, self.kind),
        })
    }
}
