//! Errors of a YAML text.

use std::path::Path;

use crate::diagnostic::{Diagnostic, Location};

/// Something wrong at a line of a YAML text, before anything is known about the kind of document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct YamlError {
    /// The line in the file, counted from 1.
    pub line: usize,
    /// What is wrong.
    pub message: String,
}

impl YamlError {
    /// As a finding about a file.
    pub fn in_file(self, file: &Path) -> Diagnostic {
        Diagnostic::error(Location::new(file, self.line), self.message)
    }
}
