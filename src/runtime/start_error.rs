//! Why a sidecar does not start.

use std::fmt::Display;

use crate::config::LogError;

/// The prefix of most reasons in the log.
const FATAL: &str = "Fatal error from runtime: ";

/// A failed start. Every line is one log message of level fatal.
#[derive(Debug, thiserror::Error)]
#[error("{}", .0.join("\n"))]
pub struct StartError(pub Vec<String>);

impl StartError {
    /// One reason, with the prefix of the log.
    pub(super) fn fatal(error: impl Display) -> Self {
        Self::all_fatal([error])
    }

    /// Several reasons, each with the prefix of the log.
    pub(super) fn all_fatal(errors: impl IntoIterator<Item: Display>) -> Self {
        Self(errors.into_iter().map(|error| format!("{FATAL}{error}")).collect())
    }

    /// The reasons without the prefix of the log.
    pub fn reasons(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|line| line.strip_prefix(FATAL).unwrap_or(line))
    }
}

impl From<LogError> for StartError {
    fn from(error: LogError) -> Self {
        Self(vec![error.to_string()])
    }
}
