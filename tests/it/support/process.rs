//! A child process: its output, its end and its exit code.

use std::fs::File;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::port::free_port;
use super::{PATIENCE, eventually};

/// A running program. The end of the test ends it, and the processes that it has started.
pub(crate) struct Process {
    child: Child,
    folder: tempfile::TempDir,
}

/// The binary under test, with these arguments. Its home folder is empty, whoever runs the tests.
pub(crate) fn sidestream<S: AsRef<std::ffi::OsStr>>(arguments: impl IntoIterator<Item = S>) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_sidestream"));
    command.args(arguments).env("HOME", "/nonexistent").env_remove("DAPR_RUNTIME_PATH");
    command
}

/// A sidecar of the app `app` on free ports of loopback, without metrics, with these further flags.
pub(crate) fn sidecar(flags: &[&str]) -> Command {
    let ports = [free_port().to_string(), free_port().to_string()];
    let common = [
        "--app-id=app",
        "--dapr-listen-addresses=127.0.0.1",
        "--enable-metrics=false",
        "--dapr-http-port",
        &ports[0],
        "--dapr-grpc-port",
        &ports[1],
    ];
    sidestream(common.iter().chain(flags))
}

/// An example program.
pub(crate) fn example(name: &str) -> Command {
    let mut command = Command::new("python3");
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples");
    command.arg("-B").arg(folder.join(name));
    command
}

impl Process {
    /// Start a program, and record its output.
    pub(crate) fn start(mut command: Command) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let said = File::create(folder.path().join("said")).unwrap();
        let child = command.stdin(Stdio::null()).stdout(said.try_clone().unwrap()).stderr(said).spawn().unwrap();
        Self { child, folder }
    }

    /// The output so far, of stdout and stderr.
    pub(crate) fn said(&self) -> String {
        let bytes = std::fs::read(self.folder.path().join("said")).unwrap();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// The text between `before` and the end of its line, once it has been printed.
    pub(crate) async fn says(&self, before: &str) -> String {
        eventually(&format!("it says {before:?}"), || async { line_after(&self.said(), before).is_some() }).await;
        line_after(&self.said(), before).unwrap()
    }

    pub(crate) fn signal(&self, signal: Signal) {
        let _ = kill(self.id(), signal);
    }

    /// The exit code, once it has ended; -1 after a signal.
    pub(crate) async fn ended(&mut self) -> i32 {
        let waiting = async {
            loop {
                if let Some(status) = self.child.try_wait().unwrap() {
                    return status.code().unwrap_or(-1);
                }
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        let code = tokio::time::timeout(PATIENCE, waiting).await;
        code.unwrap_or_else(|_| panic!("it does not end. It said:\n{}", self.said()))
    }

    fn id(&self) -> Pid {
        Pid::from_raw(i32::try_from(self.child.id()).unwrap())
    }
}

impl Drop for Process {
    #[expect(clippy::print_stderr, reason = "the test's own output, shown with its failure")]
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("{}", self.said());
        }
        if let Ok(None) = self.child.try_wait() {
            // Two different signals: the second makes `run` stop waiting for its app.
            self.signal(Signal::SIGTERM);
            self.signal(Signal::SIGINT);
            let _ = self.child.wait();
        }
    }
}

/// The rest of the line after the first `before`, if the line is complete.
fn line_after(text: &str, before: &str) -> Option<String> {
    let (_, rest) = text.split_once(before)?;
    Some(rest.split_once('\n')?.0.to_owned())
}

/// Whether there is no process of this id, or only a zombie.
pub(crate) fn is_gone(id: &str) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", id.trim())).unwrap_or_default();
    stat.is_empty() || stat.contains(") Z ")
}
