//! The resource files: what stands in the folders of `--resources-path`, read, checked and filtered.
//!
//! Text becomes typed values here, with file and line for every mistake; nobody above sees YAML. Mirrors spec resources-cli.md 4 to 9.

pub mod component;
pub mod subscription;

use std::fmt;
use std::path::PathBuf;

/// Where something stands: for messages.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Place {
    /// The file.
    pub file: PathBuf,
    /// The line, counted from 1; 0 when it is not known.
    pub line: usize,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            0 => write!(f, "{}", self.file.display()),
            line => write!(f, "{}:{line}", self.file.display()),
        }
    }
}
