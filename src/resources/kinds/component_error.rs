//! Errors of components, in daprd's words, and what to do about them.

use std::fmt;

use crate::diagnostic::{Diagnostic, Location, PROCESSOR};
use crate::resources::kinds::component::Component;
use crate::resources::kinds::component_type::{hint, is_known};
use crate::telemetry::log::Level;

/// Why a component cannot be used. `Display` gives daprd's words.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ComponentError {
    /// Its type has no known prefix.
    #[error("incorrect type {0}{hint}", hint = hint(.0))]
    Category(String),
    /// This build does not have its type or version.
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
    /// Its settings are wrong, or it failed to start.
    #[error("[INIT_COMPONENT_FAILURE]: initialization error occurred for {log_name}: {cause}")]
    Init {
        /// `name (type/version)`.
        log_name: String,
        /// The error of the component.
        cause: String,
    },
}

impl ComponentError {
    /// This build has no broker of its type and version.
    pub fn unknown_pubsub(component: &Component) -> Self {
        Self::unknown(component, "message bus")
    }

    /// This build has no secret store of its type and version.
    pub fn unknown_secret_store(component: &Component) -> Self {
        Self::unknown(component, "secret store")
    }

    /// It failed to start, for this cause.
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

impl Component {
    /// The diagnostics to log if the component cannot be used, or the error that ends the process unless `ignoreErrors`
    /// is set (tests/spec/resources-cli.md, "5.5 Init order and errors").
    pub fn failed(&self, cause: ComponentError) -> (Option<Diagnostic>, Option<ProcessError>) {
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
            // Reported once, as the error that ends the process.
            return (None, Some(error));
        }
        let message = format!("{} (ignored by ignoreErrors)", error.plain());
        let diagnostic = Diagnostic::warning(error.location.clone(), message)
            .with_help(error.cause.remedy())
            .at_level(Level::Error)
            .from_scope(PROCESSOR)
            .logged_as(format!("Ignoring error processing component: {error}"));
        (Some(diagnostic), None)
    }
}

/// The error that ends the process: a component cannot be used, and `ignoreErrors` is not set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProcessError {
    /// `metadata.name`.
    pub name: String,
    /// `name (type/version)`.
    pub log_name: String,
    /// Location of the component or of the wrong key.
    pub location: Location,
    /// The cause.
    pub cause: ComponentError,
}

impl ProcessError {
    /// Component and cause, without the wrapping that daprd puts around them.
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
        // daprd repeats the cause two or three times; once is enough.
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
    use std::time::Duration;

    use super::*;
    use crate::metadata::ComponentMetadata;
    use crate::resources::yaml::key_lines::KeyLines;

    #[test]
    fn a_failure_is_told_once_and_can_be_ignored() {
        let mut component = Component {
            name: "a".to_owned(),
            kind: "pubsub.foo".to_owned(),
            version: "v1".to_owned(),
            ignore_errors: false,
            init_timeout: Duration::from_secs(5),
            properties: ComponentMetadata::default(),
            written: Vec::new(),
            namespace_scoped: false,
            location: Location::default(),
            lines: KeyLines::default(),
        };
        let cause = ComponentError::unknown_pubsub(&component);
        let (diagnostic, error) = component.failed(cause.clone());
        let create = "[CREATE_COMPONENT_FAILURE]: initialization error occurred for a (pubsub.foo/v1): couldn't find message bus pubsub.foo/v1: this build has pubsub.redis and pubsub.in-memory";
        let process = format!("process component a error: {create}");
        assert_eq!(diagnostic, None);
        assert_eq!(error.unwrap().to_string(), process);
        component.ignore_errors = true;
        let (diagnostic, error) = component.failed(cause);
        assert_eq!(error, None);
        let text = diagnostic.unwrap().log_text().into_owned();
        assert_eq!(text, format!("Ignoring error processing component: {process}"));
    }
}
