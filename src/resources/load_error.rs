//! Errors of the resource folders that end the process.

use std::path::PathBuf;

use crate::diagnostic::{Diagnostic, Location};
use crate::resources::kinds::component_error::ProcessError;

/// Why the process cannot start with these folders. `Display` gives the text after `Fatal error from runtime: `.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LoadError {
    /// A folder does not exist, with hot reload on.
    #[error("failed to create watcher: failed to add target {}: {reason}", folder.display())]
    NotWatched {
        /// As given on the command line.
        folder: PathBuf,
        /// In the words of the operating system.
        reason: String,
    },
    /// A folder cannot be listed.
    #[error("failed to load components: open {}: {reason}", folder.display())]
    NotListed {
        /// As given on the command line.
        folder: PathBuf,
        /// In the words of the operating system.
        reason: String,
    },
    /// Two components of one name.
    #[error(
        "failed to load components: duplicate definition of Component name {name} ({second}) with existing {name} ({first})"
    )]
    Duplicate {
        /// Their name.
        name: String,
        /// `type/version` of the first.
        first: String,
        /// Location of the first.
        first_location: Location,
        /// `type/version` of the second.
        second: String,
        /// Location of the second.
        location: Location,
    },
    /// A middleware component that a pipeline of the Configuration uses.
    #[error(
        "middleware {log_name} of spec.{pipeline} is not supported by this sidecar: calls would pass without it, take it out of the pipeline"
    )]
    Middleware {
        /// `name (type/version)`.
        log_name: String,
        /// `httpPipeline` or `appHttpPipeline`.
        pipeline: &'static str,
        /// Location of the component.
        location: Location,
    },
    /// A component that cannot be used.
    #[error("failed to load components: {0}")]
    Component(#[from] ProcessError),
}

impl LoadError {
    /// As a finding, for `check` and `run`: without the wrapping that daprd puts around the text.
    pub fn diagnostic(&self) -> Diagnostic {
        Diagnostic::error(self.location(), self.plain()).with_help(self.help())
    }

    /// File and line of the error; a folder without line if it is about a folder.
    pub fn location(&self) -> Location {
        match self {
            Self::NotWatched { folder, .. } | Self::NotListed { folder, .. } => Location::new(folder, 0),
            Self::Duplicate { location, .. } | Self::Middleware { location, .. } => location.clone(),
            Self::Component(error) => error.location.clone(),
        }
    }

    /// The text to show beside the location.
    pub(super) fn plain(&self) -> String {
        match self {
            Self::NotListed { reason, .. } | Self::NotWatched { reason, .. } => {
                format!("cannot be read: {reason}")
            }
            Self::Component(error) => error.plain(),
            Self::Duplicate { .. } | Self::Middleware { .. } => {
                let text = self.to_string();
                text.trim_start_matches("failed to load components: ").to_owned()
            }
        }
    }

    fn help(&self) -> String {
        match self {
            Self::NotWatched { .. } | Self::NotListed { .. } => {
                "create the folder or correct --resources-path".to_owned()
            }
            Self::Duplicate { first_location, .. } => {
                format!("rename one of the two, the other stands at {first_location}")
            }
            Self::Middleware { .. } => {
                "let a proxy before the sidecar, or the app, do what the middleware does".to_owned()
            }
            Self::Component(error) => error.cause.remedy().to_owned(),
        }
    }
}
