//! Findings about input: one type for `check`, the start, hot reload and `run`.
//!
//! A [`Diagnostic`] says what is wrong (message), where (location), how much it matters (severity) and what to do
//! (help). It also knows its log line, because daprd's wording often differs from what is useful beside a location.

use std::borrow::Cow;
use std::fmt;
use std::path::{Path, PathBuf};

use crate::telemetry::Telemetry;
use crate::telemetry::events::input::InputNoted;
use crate::telemetry::log::Level;

/// Logger of most lines about input.
const RUNTIME: &str = "dapr.runtime";
/// Logger of lines about one component.
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

/// How much a diagnostic matters, least first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// A line for the log only.
    Info,
    /// Worth knowing; nothing has to be changed.
    Hint,
    /// Something does not do what its author wants.
    Warning,
    /// The document, component or file cannot be used.
    Error,
}

impl Severity {
    /// Whether the input has to be corrected: `check` counts it as a mistake.
    pub fn is_mistake(self) -> bool {
        self >= Self::Warning
    }
}

/// One finding about the input.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diagnostic {
    /// How much it matters.
    pub severity: Severity,
    /// File and line, if it is about a file.
    pub location: Option<Location>,
    /// The finding, worded to be read beside its location.
    pub message: String,
    /// What to do about it.
    pub help: Option<String>,
    /// Level of its log line.
    pub level: Level,
    /// Logger of its log line.
    pub scope: &'static str,
    /// Text of its log line.
    pub log_text: LogText,
}

/// The text of a diagnostic in the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LogText {
    /// The message.
    Message,
    /// Location, message and help in one line.
    Sentence,
    /// Other words, mostly daprd's.
    Other(String),
}

impl Diagnostic {
    /// A line for the log only.
    pub fn info(level: Level, message: impl Into<String>) -> Self {
        Self { severity: Severity::Info, location: None, level, ..Self::hint(Location::default(), message) }
    }

    /// Something worth knowing. The log line is a warning, here and below, unless [`Self::at_level`] changes that.
    pub fn hint(location: Location, message: impl Into<String>) -> Self {
        Self {
            severity: Severity::Hint,
            location: Some(location),
            message: message.into(),
            help: None,
            level: Level::Warn,
            scope: RUNTIME,
            log_text: LogText::Message,
        }
    }

    /// Something that does not do what its author wants.
    pub fn warning(location: Location, message: impl Into<String>) -> Self {
        Self { severity: Severity::Warning, ..Self::hint(location, message) }
    }

    /// A setting of a component that does not do what its author wants. Brokers do not know files: the caller adds the
    /// location.
    pub fn of_setting(message: impl Into<String>) -> Self {
        Self { location: None, ..Self::warning(Location::default(), message) }
    }

    /// Something that makes what it is about unusable.
    pub fn error(location: Location, message: impl Into<String>) -> Self {
        Self { severity: Severity::Error, ..Self::hint(location, message) }
    }

    /// With what to do about it; an empty text is no help.
    pub fn with_help(self, help: impl Into<String>) -> Self {
        Self { help: Some(help.into()).filter(|help| !help.is_empty()), ..self }
    }

    /// With the level of its log line.
    pub fn at_level(self, level: Level) -> Self {
        Self { level, ..self }
    }

    /// With the logger of its log line.
    pub fn from_scope(self, scope: &'static str) -> Self {
        Self { scope, ..self }
    }

    /// With other words in the log than the message.
    pub fn logged_as(self, text: impl Into<String>) -> Self {
        Self { log_text: LogText::Other(text.into()), ..self }
    }

    /// With location, message and help as its log line.
    pub fn logged_as_sentence(self) -> Self {
        Self { log_text: LogText::Sentence, ..self }
    }

    /// The line of the location, 0 if it is not known.
    pub fn line(&self) -> usize {
        self.location.as_ref().map_or(0, |location| location.line)
    }

    /// Message and help in one sentence.
    pub fn sentence(&self) -> Cow<'_, str> {
        match &self.help {
            Some(help) => format!("{}, {help}", self.message).into(),
            None => self.message.as_str().into(),
        }
    }

    /// The text of its log line.
    pub fn log_text(&self) -> Cow<'_, str> {
        match (&self.log_text, &self.location) {
            (LogText::Other(text), _) => text.as_str().into(),
            (LogText::Sentence, Some(location)) => format!("{location}: {}", self.sentence()).into(),
            (LogText::Sentence, None) => self.sentence(),
            (LogText::Message, _) => self.message.as_str().into(),
        }
    }

    /// Write its log line.
    pub fn report(&self, telemetry: &Telemetry) {
        telemetry.emit(InputNoted { level: self.level, scope: self.scope, text: &self.log_text() });
    }
}

/// Location and message in one line, each line of the help indented below it.
impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(location) = &self.location {
            write!(f, "{location}: ")?;
        }
        f.write_str(&self.message)?;
        let mut help = self.help.iter().flat_map(|help| help.lines());
        help.try_for_each(|line| write!(f, "\n      {line}"))
    }
}
