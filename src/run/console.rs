//! The messages of `run` itself: one line each, with a sign before it, or a JSON object with `--log-as-json`.

use std::io::Write;
use std::time::SystemTime;

use chrono::{DateTime, Local, SecondsFormat};

/// Standard output, for the messages of `run`.
pub(super) struct Console {
    json: bool,
}

#[derive(Clone, Copy)]
enum Kind {
    Success,
    Failure,
    Warning,
    Info,
}

impl Kind {
    fn sign(self) -> &'static str {
        match self {
            Self::Success => "✅  ",
            Self::Failure => "❌  ",
            Self::Warning => "⚠  ",
            Self::Info => "ℹ️  ",
        }
    }

    fn status(self) -> &'static str {
        match self {
            Self::Success => "success",
            Self::Failure => "failure",
            Self::Warning => "warning",
            Self::Info => "info",
        }
    }
}

impl Console {
    /// A console; `json`: each message is a JSON object.
    pub(super) fn new(json: bool) -> Self {
        Self { json }
    }

    /// Print a success.
    pub(super) fn success(&self, message: &str) {
        self.print(Kind::Success, message);
    }

    /// An error.
    pub(super) fn failure(&self, message: &str) {
        self.print(Kind::Failure, message);
    }

    /// A warning.
    pub(super) fn warning(&self, message: &str) {
        self.print(Kind::Warning, message);
    }

    /// Print information.
    pub(super) fn info(&self, message: &str) {
        self.print(Kind::Info, message);
    }

    /// Print the error that ends the command. Returns the exit code.
    pub(super) fn give_up(&self, message: &str) -> u8 {
        self.failure(message);
        1
    }

    fn print(&self, kind: Kind, message: &str) {
        let line = if self.json {
            json_line(kind, message, SystemTime::now().into())
        } else {
            format!("{}{message}\n", kind.sign())
        };
        // A failed write to the console cannot be reported.
        let _ = std::io::stdout().write_all(line.as_bytes());
    }
}

fn json_line(kind: Kind, message: &str, now: DateTime<Local>) -> String {
    let time = now.to_rfc3339_opts(SecondsFormat::Secs, true);
    let line = serde_json::json!({"time": time, "status": kind.status(), "msg": message.trim_end()});
    format!("{line}\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_lines_have_time_status_and_message() {
        let line = json_line(Kind::Warning, "a \"b\"\n", SystemTime::UNIX_EPOCH.into());
        let line: serde_json::Value = serde_json::from_str(&line).unwrap();
        assert_eq!(line["status"], "warning");
        assert_eq!(line["msg"], "a \"b\"");
        assert!(DateTime::parse_from_rfc3339(line["time"].as_str().unwrap()).is_ok());
    }
}
