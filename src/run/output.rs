//! The destinations of the output of a run file's apps: the console, a file in the app's folder, or both
//! (tests/spec/resources-cli.md, "3.5 Run file (`dapr.yaml`)", item 6).

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};

use chrono::Local;

use crate::resources::files::folder::reason;
use crate::resources::kinds::run_file::LogDestination;

/// The console side of a [`Tee`].
type Console = Box<dyn Write + Send>;

/// A log file, and whether the console shows the lines, too.
pub(super) struct Output {
    path: Option<PathBuf>,
    has_console: bool,
}

impl Output {
    /// The output of `what` (`app` or `daprd`) of an app. The name of the file holds the time of this start.
    pub(super) fn new(destination: LogDestination, folder: &Path, app_id: &str, what: &str) -> Self {
        let time = Local::now().format("%Y%m%d%H%M%S");
        let path = logs(folder).join(format!("{app_id}_{what}_{time}.log"));
        Self {
            has_console: destination != LogDestination::File,
            path: (destination != LogDestination::Console).then_some(path),
        }
    }

    /// The file, if there is one.
    pub(super) fn path(&self) -> Option<&Path> {
        self.path.as_deref()
    }

    /// Create the file and its folder.
    ///
    /// # Errors
    /// A text for the console.
    pub(super) fn open(&self) -> Result<Opened, String> {
        let open = |path: &PathBuf| {
            path.parent().map_or(Ok(()), std::fs::create_dir_all)?;
            OpenOptions::new().append(true).create(true).open(path)
        };
        let file = self.path.as_ref().map(|path| {
            open(path).map_err(|error| format!("cannot write logs to {}: {}", path.display(), reason(&error)))
        });
        Ok(Opened { file: file.transpose()?, has_console: self.has_console })
    }
}

/// The folder of an app's logs.
pub(super) fn logs(folder: &Path) -> PathBuf {
    folder.join(".dapr/logs")
}

/// An output with an open file.
#[derive(Debug)]
pub(super) struct Opened {
    file: Option<File>,
    has_console: bool,
}

impl Opened {
    /// Whether the console is the only destination.
    pub(super) fn is_console_only(&self) -> bool {
        self.file.is_none()
    }

    /// Whether the console is a destination.
    pub(super) fn has_console(&self) -> bool {
        self.has_console
    }

    /// A writer to this output. `console` is used if the console is a destination; lines there begin with `prefix`.
    ///
    /// # Errors
    /// A text, if the file cannot be shared.
    pub(super) fn writer(&self, console: Console, prefix: &str) -> Result<Tee, String> {
        let file = self.file.as_ref().map(File::try_clone).transpose();
        Ok(Tee {
            console: self.has_console.then_some(console),
            prefix: prefix.to_owned(),
            file: file.map_err(|error| error.to_string())?,
        })
    }
}

/// Writes every line, given as one buffer, to all destinations.
pub(super) struct Tee {
    console: Option<Console>,
    prefix: String,
    file: Option<File>,
}

impl Write for Tee {
    fn write(&mut self, line: &[u8]) -> std::io::Result<usize> {
        // A failed write cannot be reported, and must not prevent the other one.
        if let Some(console) = &mut self.console {
            let line = [self.prefix.as_bytes(), line].concat();
            let _ = console.write_all(&line).and_then(|()| console.flush());
        }
        if let Some(file) = &mut self.file {
            let _ = file.write_all(&without_colours(line));
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// Text without the colour sequences of terminals: ESC, `[`, parameters, one final letter.
fn without_colours(line: &[u8]) -> Vec<u8> {
    let mut plain = Vec::with_capacity(line.len());
    let mut rest = line;
    while let Some(at) = rest.windows(2).position(|pair| pair == b"\x1b[") {
        plain.extend_from_slice(&rest[..at]);
        let sequence = &rest[at + 2..];
        let is_final = |byte: &u8| (0x40..=0x7e).contains(byte);
        let end = sequence.iter().position(is_final);
        rest = end.map_or(&[], |end| &sequence[end + 1..]);
    }
    plain.extend_from_slice(rest);
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_without_colours() {
        #[track_caller]
        fn check(line: &str, expected: &str) {
            let plain = without_colours(line.as_bytes());
            assert_eq!(String::from_utf8_lossy(&plain), expected);
        }
        check("plain\n", "plain\n");
        check("\x1b[36mINFO\x1b[0m[0003] a [b]\n", "INFO[0003] a [b]\n");
        check("\x1b[1;31mred\x1b[m", "red");
        check("cut \x1b[3", "cut ");
        check("\x1b only", "\x1b only");
    }

    #[test]
    fn lines_go_where_they_are_wanted() {
        let check = |destination, has_console: bool, has_file: bool| {
            let folder = tempfile::tempdir().unwrap();
            let output = Output::new(destination, folder.path(), "orders", "app");
            let console = tempfile::NamedTempFile::new().unwrap();
            let to_console = Box::new(console.reopen().unwrap());
            let opened = output.open().unwrap();
            assert_eq!(opened.is_console_only(), !has_file);
            let mut tee = opened.writer(to_console, "== ").unwrap();
            tee.write_all(b"\x1b[36mline\x1b[0m\n").unwrap();
            let said = std::fs::read_to_string(console.path()).unwrap();
            assert_eq!(said, if has_console { "== \x1b[36mline\x1b[0m\n" } else { "" });
            let written = output.path().map(|path| std::fs::read_to_string(path).unwrap());
            assert_eq!(written.as_deref(), has_file.then_some("line\n"));
            if let Some(path) = output.path() {
                let name = path.file_name().unwrap().to_str().unwrap();
                assert!(name.starts_with("orders_app_2") && name.len() == "orders_app_20260102030405.log".len());
                assert_eq!(path.parent().unwrap(), folder.path().join(".dapr/logs"));
            }
        };
        check(LogDestination::Console, true, false);
        check(LogDestination::File, false, true);
        check(LogDestination::FileAndConsole, true, true);
    }
}
