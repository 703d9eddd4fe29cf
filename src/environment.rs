//! The environment of a process as a value, so that nothing below `main` reads the real one.
//!
//! `main` takes the snapshot; the runtime adds the variables that the sidecar sets for itself (`APP_ID`,
//! `DAPR_HTTP_PORT`, ...; tests/spec/resources-cli.md, "2.2 Set by the sidecar in its own process"); tests make their own.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// The variables of the process at its start, and its working folder.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Environment {
    variables: BTreeMap<String, String>,
    /// The working folder; empty for that of the process.
    folder: PathBuf,
}

impl Environment {
    /// The environment of this process. Values that are not Unicode are converted lossily.
    pub fn of_process() -> Self {
        std::env::vars_os()
            .map(|(name, value)| (name.to_string_lossy().into_owned(), value.to_string_lossy().into_owned()))
            .collect()
    }

    /// The value of a variable; `None` if it is not set.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.variables.get(name).map(String::as_str)
    }

    /// The value of a variable; `None` if it is not set or empty.
    pub fn non_empty(&self, name: &str) -> Option<&str> {
        self.get(name).filter(|value| !value.is_empty())
    }

    /// Set a variable for this sidecar only; that of the process does not change.
    pub fn set(&mut self, name: &str, value: impl Into<String>) {
        self.variables.insert(name.to_owned(), value.into());
    }

    /// With another working folder: relative paths in the files of the sidecar begin there.
    #[must_use]
    pub fn in_folder(self, folder: impl Into<PathBuf>) -> Self {
        Self { folder: folder.into(), ..self }
    }

    /// A path relative to the working folder.
    pub fn path(&self, path: impl AsRef<Path>) -> PathBuf {
        self.folder.join(path)
    }

    /// All variables, by name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.variables.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }
}

impl FromIterator<(String, String)> for Environment {
    fn from_iter<I: IntoIterator<Item = (String, String)>>(variables: I) -> Self {
        Self { variables: variables.into_iter().collect(), folder: PathBuf::new() }
    }
}
