//! Log lines in the shape of daprd's (spec resources-cli.md 12): text or JSON, one line an entry.

use std::fmt;
use std::io::Write;
use std::sync::{Arc, Mutex, PoisonError};

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// For those who debug.
    Debug,
    /// The normal course of things.
    Info,
    /// Something to look at.
    Warn,
    /// Something failed.
    Error,
    /// The process ends because of it.
    Fatal,
}

/// Fields of an entry beside the message, for example `("topic", &topic)`.
pub type Fields<'a> = &'a [(&'a str, &'a dyn fmt::Display)];

/// Where the log of one sidecar goes. Clones are handles to the same.
#[derive(Clone)]
pub struct Log {
    level: Level,
    out: Arc<Mutex<dyn Write + Send>>,
}

impl Log {
    /// A log that writes text lines to `out`.
    pub fn new(level: Level, out: impl Write + Send + 'static) -> Self {
        Self {
            level,
            out: Arc::new(Mutex::new(out)),
        }
    }

    /// Is it worth making a message of this level?
    pub fn is_enabled(&self, level: Level) -> bool {
        level >= self.level
    }

    /// Write one entry. `scope` is the name of the logger, for example `dapr.runtime`.
    pub fn write(
        &self,
        level: Level,
        scope: &str,
        message: fmt::Arguments<'_>,
        fields: Fields<'_>,
    ) {
        if self.is_enabled(level) {
            let mut out = self.out.lock().unwrap_or_else(PoisonError::into_inner);
            let mut line = format!("level={level:?} msg={message} scope={scope}");
            for (name, value) in fields {
                line.push_str(&format!(" {name}={value}"));
            }
            // A log that cannot be written has nowhere to say so.
            let _ = writeln!(out, "{line}");
        }
    }
}
