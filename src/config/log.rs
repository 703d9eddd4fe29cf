//! Settings of the log. They are resolved first, so that later errors can be logged.

use std::fs::OpenOptions;
use std::io::{self, Write};
use std::path::PathBuf;

use crate::cli::Flags;
use crate::credentials::masked;
use crate::resources::files::folder;
use crate::telemetry::log::Level;

/// `--log-level`, `--log-as-json`, `--log-file`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogSettings {
    /// The lowest level that is logged.
    pub level: Level,
    /// Whether lines are JSON instead of text.
    pub json: bool,
    /// The file that replaces stdout.
    pub file: Option<PathBuf>,
}

/// An error in these settings: a fatal line with this text, exit code 1.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// Unknown level.
    #[error("invalid value for --log-level: {}", masked(.0))]
    Level(String),
    /// The file cannot be opened.
    #[error("failed to open log file \"{file}\": open {file}: {reason}")]
    File {
        /// As given on the command line.
        file: String,
        /// In the words of the operating system.
        reason: String,
    },
}

impl LogSettings {
    /// Read the settings from the command line.
    ///
    /// # Errors
    /// The level is unknown.
    pub fn resolve(flags: &Flags) -> Result<Self, LogError> {
        let level = match flags.log_level.to_ascii_lowercase().as_str() {
            "debug" => Level::Debug,
            "info" => Level::Info,
            "warn" => Level::Warn,
            "error" => Level::Error,
            "fatal" => Level::Fatal,
            _ => return Err(LogError::Level(flags.log_level.clone())),
        };
        let file = Some(&flags.log_file).filter(|file| !file.is_empty());
        Ok(Self { level, json: flags.log_as_json, file: file.map(PathBuf::from) })
    }

    /// Open the destination: the file, for appending, or stdout.
    ///
    /// # Errors
    /// The file cannot be opened.
    pub fn open(&self) -> Result<Box<dyn Write + Send>, LogError> {
        let Some(path) = &self.file else {
            return Ok(Box::new(io::stdout()));
        };
        let file = OpenOptions::new().append(true).create(true).open(path);
        let file =
            file.map_err(|error| LogError::File { file: path.display().to_string(), reason: folder::reason(&error) })?;
        Ok(Box::new(file))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_in_any_case() {
        for (text, level) in
            [("WARN", Some(Level::Warn)), ("debug", Some(Level::Debug)), ("panic", None), ("trace", None), ("", None)]
        {
            let flags = Flags { log_level: text.to_owned(), ..Flags::default() };
            assert_eq!(LogSettings::resolve(&flags).ok().map(|settings| settings.level), level, "{text}");
        }
    }

    #[test]
    fn a_file_that_cannot_be_opened_is_named() {
        let flags = Flags { log_file: "/nope/out.log".to_owned(), ..Flags::default() };
        let error = LogSettings::resolve(&flags).unwrap().open().err().unwrap();
        assert_eq!(
            error.to_string(),
            "failed to open log file \"/nope/out.log\": open /nope/out.log: no such file or directory"
        );
    }
}
