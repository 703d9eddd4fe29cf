//! Findings about the input: lines of the log, which `check` prints with location and remedy.

use std::fmt;
use std::path::{Path, PathBuf};

use crate::telemetry::Telemetry;
use crate::telemetry::log::Level;

/// Scope of most lines about the input.
pub const RUNTIME: &str = "dapr.runtime";
/// Scope of lines about one component.
pub const PROCESSOR: &str = "dapr.runtime.processor.loops.root";

/// A line of a file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Location {
    /// The file.
    pub file: PathBuf,
    /// The line, counted from 1; 0 if it is not known.
    pub line: usize,
}

impl Location {
    /// A line of a file.
    pub fn new(file: &Path, line: usize) -> Self {
        Self { file: file.to_owned(), line }
    }
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            0 => write!(f, "{}", self.file.display()),
            line => write!(f, "{}:{line}", self.file.display()),
        }
    }
}

/// How much a diagnostic matters to somebody who checks the files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Weight {
    /// Only for the log.
    Log,
    /// Worth knowing; nothing has to be changed.
    Hint,
    /// Something does not do what its author wants.
    Mistake,
}

/// One thing said about the input.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diagnostic {
    /// Level of the log line.
    pub level: Level,
    /// Logger of the log line.
    pub scope: &'static str,
    /// The text of the log line.
    pub text: String,
    /// How much it matters to `check`.
    pub weight: Weight,
    /// Where it stands.
    pub location: Option<Location>,
    /// What to do about it.
    pub remedy: Option<String>,
    /// The text for somebody who is told the place, if the log line says more than is needed then.
    pub plain: Option<String>,
}

impl Diagnostic {
    /// A line for the log.
    pub fn log(level: Level, text: impl Into<String>) -> Self {
        Self {
            level,
            scope: RUNTIME,
            text: text.into(),
            weight: Weight::Log,
            location: None,
            remedy: None,
            plain: None,
        }
    }

    /// A mistake at a place.
    pub fn mistake(level: Level, location: Location, text: impl Into<String>) -> Self {
        Self { weight: Weight::Mistake, location: Some(location), ..Self::log(level, text) }
    }

    /// Something worth knowing at a place.
    pub fn hint(level: Level, location: Location, text: impl Into<String>) -> Self {
        Self { weight: Weight::Hint, location: Some(location), ..Self::log(level, text) }
    }

    /// The same with what to do about it.
    pub fn with_remedy(self, remedy: impl Into<String>) -> Self {
        Self { remedy: Some(remedy.into()), ..self }
    }

    /// The same with a text for somebody who is told the place.
    pub fn plainly(self, text: impl Into<String>) -> Self {
        Self { plain: Some(text.into()), ..self }
    }

    /// The same from another logger.
    pub fn from(self, scope: &'static str) -> Self {
        Self { scope, ..self }
    }

    /// Write it to the log.
    pub fn write(&self, telemetry: &Telemetry) {
        telemetry.input_noted(self.level, self.scope, &self.text);
    }
}
