//! Findings about one document, collected while its fields are read.

use std::cell::RefCell;
use std::path::{Path, PathBuf};

use crate::diagnostic::{Diagnostic, Location, Severity};

/// The findings about one document of a file. Errors make the document unusable.
#[derive(Debug, Default)]
pub struct Diagnostics {
    file: PathBuf,
    list: RefCell<Vec<Diagnostic>>,
}

impl Diagnostics {
    /// No findings yet, about a document of this file.
    pub fn new(file: &Path) -> Self {
        Self { file: file.to_owned(), list: RefCell::default() }
    }

    /// A line of the file.
    pub fn location(&self, line: usize) -> Location {
        Location::new(&self.file, line)
    }

    /// Add something that makes the document unusable.
    pub fn error(&self, line: usize, message: String) {
        self.push(Diagnostic::error(self.location(line), message));
    }

    /// Add a finding. The log has it as one sentence with its location.
    pub fn push(&self, diagnostic: Diagnostic) {
        self.list.borrow_mut().push(diagnostic.logged_as_sentence());
    }

    /// Errors and all other findings, each in the order in which they were found.
    pub fn into_parts(self) -> (Vec<Diagnostic>, Vec<Diagnostic>) {
        let list = self.list.into_inner().into_iter();
        list.partition(|diagnostic| diagnostic.severity == Severity::Error)
    }
}
