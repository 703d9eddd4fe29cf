//! The app as a child process in its own process group: prefixed output, exit code.

use std::io::Write;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, BufReader};
use tokio::process::{Child, Command};

use crate::environment::Environment;
use crate::shutdown::Tasks;

/// Longer lines are split: an app without line ends must not fill the memory.
const LONGEST_LINE: u64 = 64 * 1024;

/// Time for the app to end after SIGTERM (tests/spec/resources-cli.md, "3.4 Single-app sequence", item 6).
const GRACE: Duration = Duration::from_secs(5);

/// Time to read the last lines after its end. A process that it left behind may keep the pipe open for ever.
const LAST_LINES: Duration = Duration::from_millis(500);

/// The command of an app, and its surroundings.
pub(super) struct Start<'a> {
    /// The program and its arguments; empty starts nothing.
    pub(super) command: &'a [String],
    /// The complete environment.
    pub(super) environment: &'a Environment,
    /// The working directory of one of several apps. `None`: a single app, in this process's directory and with its
    /// standard input.
    pub(super) folder: Option<&'a Path>,
    /// The prefix of its lines.
    pub(super) prefix: &'a str,
    /// The destinations of its standard output and standard error. Each line is one write.
    pub(super) destinations: (Box<dyn Write + Send>, Box<dyn Write + Send>),
}

impl Start<'_> {
    fn child(&self, program: &str, arguments: &[String]) -> Command {
        let Some(folder) = self.folder else {
            let mut child = Command::new(program);
            child.args(arguments);
            return child;
        };
        // Through a shell, as the Dapr command line does (tests/spec/resources-cli.md, "3.5 Run file (`dapr.yaml`)",
        // item 7): a script needs no `#!` line. One terminal cannot be the standard input of several apps.
        let mut child = Command::new("/bin/sh");
        child.args(["-c", "exec \"$@\"", "sh", program]).args(arguments).current_dir(folder).stdin(Stdio::null());
        child
    }
}

/// A running app.
pub(super) struct App {
    child: Child,
    group: Pid,
    command: String,
    output: Tasks,
}

impl App {
    /// Start the app; `None` if there is no command.
    ///
    /// # Errors
    /// A text for the console, if the command cannot be started.
    pub(super) fn start(start: Start<'_>) -> Result<Option<Self>, String> {
        let Some((program, arguments)) = start.command.split_first() else {
            return Ok(None);
        };
        let mut child = start
            .child(program, arguments)
            .env_clear()
            .envs(start.environment.iter())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0)
            .kill_on_drop(true)
            .spawn()
            .map_err(|error| format!("Failed to find command {program}: {error}"))?;
        let process = child.id().and_then(|id| i32::try_from(id).ok());
        let output = Tasks::new();
        let (out, err) = start.destinations;
        let prefix = || start.prefix.as_bytes().to_vec();
        if let Some(stdout) = child.stdout.take() {
            output.spawn("output of the app", pass_on(stdout, out, prefix()));
        }
        if let Some(stderr) = child.stderr.take() {
            output.spawn("errors of the app", pass_on(stderr, err, prefix()));
        }
        Ok(Some(Self {
            group: Pid::from_raw(process.ok_or("the app has no process id")?),
            command: start.command.join(" "),
            child,
            output,
        }))
    }

    /// The process id, which is also the id of its group.
    pub(super) fn process_id(&self) -> i32 {
        self.group.as_raw()
    }

    /// The command and its arguments, separated by blanks.
    pub(super) fn command(&self) -> &str {
        &self.command
    }

    /// Resolves with the exit code when the app ends by itself. Never resolves without an app.
    pub(super) async fn ended(app: &mut Option<Self>) -> u8 {
        match app {
            Some(app) => {
                let code = exit_code(app.child.wait().await.ok(), false);
                app.sweep().await;
                code
            }
            None => std::future::pending().await,
        }
    }

    /// Send SIGTERM to the whole group, and SIGKILL after the grace period. Returns the exit code.
    pub(super) async fn stop(&mut self) -> u8 {
        self.signal(Signal::SIGTERM);
        let ended = tokio::time::timeout(GRACE, self.child.wait()).await;
        let status = match ended {
            Ok(status) => status.ok(),
            Err(_) => {
                self.kill();
                self.child.wait().await.ok()
            }
        };
        self.sweep().await;
        exit_code(status, true)
    }

    /// Send SIGKILL to the whole group.
    pub(super) fn kill(&self) {
        self.signal(Signal::SIGKILL);
    }

    /// Kill the processes that the app left behind, and wait for the last lines.
    async fn sweep(&self) {
        self.signal(Signal::SIGTERM);
        let _ = tokio::time::timeout(LAST_LINES, self.output.ended()).await;
    }

    fn signal(&self, signal: Signal) {
        // An error means that the group has ended already.
        let _ = killpg(self.group, signal);
    }
}

/// The exit code as a shell reports it. An end by the SIGTERM that we sent is a success.
fn exit_code(status: Option<ExitStatus>, asked: bool) -> u8 {
    let Some(status) = status else {
        return 1;
    };
    match (status.code(), status.signal()) {
        (Some(code), _) => u8::try_from(code).unwrap_or(1),
        (None, Some(signal)) if asked && signal == Signal::SIGTERM as i32 => 0,
        (None, Some(signal)) => u8::try_from(128 + signal).unwrap_or(1),
        (None, None) => 1,
    }
}

/// Copy line by line, each with the prefix and in one write.
async fn pass_on(from: impl AsyncRead + Unpin, mut to: impl Write, mut line: Vec<u8>) {
    let prefix = line.len();
    let mut from = BufReader::new(from);
    while let Ok(1..) = (&mut from).take(LONGEST_LINE).read_until(b'\n', &mut line).await {
        if !line.ends_with(b"\n") {
            line.push(b'\n');
        }
        // A destination that cannot be written must not stop the app.
        let _ = to.write_all(&line).and_then(|()| to.flush());
        line.truncate(prefix);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use parking_lot::Mutex;

    use super::*;

    /// The destination of an app's lines in tests.
    #[derive(Clone, Default)]
    struct Paper(Arc<Mutex<Vec<u8>>>);

    impl Paper {
        fn text(&self) -> String {
            String::from_utf8_lossy(&self.0.lock()).into_owned()
        }
    }

    impl Write for Paper {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().write(bytes)
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    const PREFIX: &str = "== APP == ";

    fn start(script: &str) -> (Option<App>, Paper, Paper) {
        let (out, err) = (Paper::default(), Paper::default());
        let mut environment = Environment::of_process();
        environment.set("APP_ID", "orders");
        let command = ["sh", "-c", script].map(str::to_owned);
        let app = App::start(Start {
            command: &command,
            environment: &environment,
            folder: None,
            prefix: PREFIX,
            destinations: (Box::new(out.clone()), Box::new(err.clone())),
        });
        (app.unwrap(), out, err)
    }

    #[tokio::test]
    async fn lines_get_the_prefix_and_the_exit_code_is_the_app_s() {
        let (mut app, out, err) = start("echo $APP_ID; printf 'no end'; echo oh >&2; exit 7");
        assert_eq!(app.as_ref().unwrap().command(), "sh -c echo $APP_ID; printf 'no end'; echo oh >&2; exit 7");
        assert_eq!(App::ended(&mut app).await, 7);
        assert_eq!(out.text(), "== APP == orders\n== APP == no end\n");
        assert_eq!(err.text(), "== APP == oh\n");
    }

    #[tokio::test]
    async fn an_app_that_is_asked_to_end_may_say_how() {
        let check = async |script: &str, expected: u8| {
            let (app, out, _) = start(script);
            let mut app = app.unwrap();
            while !out.text().contains("ready") {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            assert_eq!(app.stop().await, expected, "{script}");
        };
        check("echo ready; while :; do sleep 0.05; done", 0).await;
        check("trap 'exit 3' TERM; echo ready; while :; do sleep 0.05; done", 3).await;
    }

    #[tokio::test]
    async fn processes_left_behind_end_with_the_app() {
        let (mut app, out, _) = start("sleep 600 & echo $!; exit 0");
        assert_eq!(App::ended(&mut app).await, 0);
        let left: i32 = out.text()[PREFIX.len()..].trim().parse().unwrap();
        let gone = || {
            let stat = std::fs::read_to_string(format!("/proc/{left}/stat")).unwrap_or_default();
            stat.is_empty() || stat.contains(") Z ")
        };
        while !gone() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    #[tokio::test]
    async fn a_command_that_is_not_there_is_named() {
        let start = |command: &[&str]| {
            let command: Vec<String> = command.iter().map(|word| (*word).to_owned()).collect();
            App::start(Start {
                command: &command,
                environment: &Environment::default(),
                folder: None,
                prefix: PREFIX,
                destinations: (Box::new(Paper::default()), Box::new(Paper::default())),
            })
        };
        let error = start(&["no-such-command-here"]).err().unwrap();
        assert!(error.starts_with("Failed to find command no-such-command-here: "), "{error}");
        assert!(start(&[]).unwrap().is_none());
    }

    #[test]
    fn signals_become_exit_codes_as_in_a_shell() {
        let check = |raw: i32, asked, expected| {
            assert_eq!(exit_code(Some(ExitStatus::from_raw(raw)), asked), expected);
        };
        check(0, false, 0);
        check(2 << 8, true, 2);
        check(15, false, 143);
        check(15, true, 0);
        check(9, true, 137);
        assert_eq!(exit_code(None, true), 1);
    }
}
