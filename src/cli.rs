//! What the binary was asked to do. `main` calls [`parse`] and acts on the [`Command`].
//!
//! Without a subcommand the command line is daprd's, by pflag's rules (`pflag`, `flags`); `demo`, `run` and `check` as the very first
//! argument are ours (`subcommands`). Nothing is printed and nothing is read from disk here.

pub mod flags;
pub mod pflag;
pub mod subcommands;

pub use self::flags::{FlagError, Flags};
pub use self::subcommands::{CheckArgs, DemoArgs, RunArgs};

/// One thing to do.
#[derive(Clone, Debug, PartialEq)]
pub enum Command {
    /// Be a sidecar.
    Sidecar(Box<Flags>),
    /// Print the version on stdout.
    Version,
    /// Print version, commit and Git version on stdout.
    BuildInfo,
    /// Wait for the sidecar on this port (as written) to be ready to publish (spec resources-cli.md 1.2, `--wait`).
    Wait {
        /// `--dapr-http-port`.
        port: String,
    },
    /// `sidestream demo`.
    Demo(DemoArgs),
    /// `sidestream run`.
    Run(Box<RunArgs>),
    /// `sidestream check`.
    Check(CheckArgs),
    /// Print a text and leave: help, or why the arguments cannot be understood.
    Say(Say),
    /// The arguments are well formed, but cannot be meant: one text log line `Failed to parse flags: <it>` of level fatal for each,
    /// exit code 1.
    Refused(Vec<FlagError>),
}

/// A text to print before leaving.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Say {
    /// The text, with its final line end.
    pub text: String,
    /// stderr, else stdout.
    pub to_stderr: bool,
    /// Of the process.
    pub exit_code: u8,
}

/// What the arguments ask for.
#[derive(Clone, Debug, PartialEq)]
pub struct Parsed {
    /// Lines for stderr before anything else: deprecated flags.
    pub notices: Vec<String>,
    /// What to do then.
    pub command: Command,
}

/// Read the arguments, the program's name not among them.
pub fn parse(arguments: &[String]) -> Parsed {
    let subcommand = arguments
        .split_first()
        .map(|(first, rest)| (first.as_str(), rest));
    let parsed = match subcommand {
        Some(("demo", rest)) => subcommands::demo(rest).map(Command::Demo),
        Some(("check", rest)) => subcommands::check(rest).map(Command::Check),
        Some(("run", rest)) => subcommands::run(rest).map(|run| Command::Run(Box::new(run))),
        _ => return daprd(arguments),
    };
    let command = parsed.unwrap_or_else(|error| {
        Command::Say(Say {
            text: error.to_string(),
            to_stderr: error.use_stderr(),
            exit_code: u8::try_from(error.exit_code()).unwrap_or(2),
        })
    });
    let notices = match &command {
        Command::Run(run) => run.notices.clone(),
        _ => Vec::new(),
    };
    Parsed { notices, command }
}

/// The command line of daprd (spec 1.1): help, then mistakes, then the one-shot modes in their order, then a sidecar.
fn daprd(arguments: &[String]) -> Parsed {
    let (parsed, result) = pflag::parse(arguments);
    let flags = parsed.flags;
    let command = if let Err(error) = result {
        usage(&format!("{error}\n"), 2)
    } else if parsed.help {
        usage(SUBCOMMANDS, 0)
    } else if !flags.mistakes().is_empty() {
        Command::Refused(flags.mistakes())
    } else if flags.version {
        Command::Version
    } else if flags.build_info {
        Command::BuildInfo
    } else if flags.wait {
        let port = flags.dapr_http_port;
        Command::Wait { port }
    } else {
        Command::Sidecar(Box::new(flags))
    };
    Parsed {
        notices: parsed.notices,
        command,
    }
}

/// What daprd's own help does not know.
const SUBCOMMANDS: &str = "
Beside this there is, as the first argument:
  demo    watch events flow, without Redis, app or configuration
  run     start a sidecar, and an app beside it; or all apps of a run file
  check   read resource files, and tell what is wrong with them
Each has its own --help.
";

fn usage(after: &str, exit_code: u8) -> Command {
    Command::Say(Say {
        text: pflag::usage() + after,
        to_stderr: true,
        exit_code,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn command(line: &str) -> Command {
        let arguments: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
        parse(&arguments).command
    }

    fn said(line: &str) -> (bool, u8, String) {
        match command(line) {
            Command::Say(say) => (
                say.to_stderr,
                say.exit_code,
                say.text.lines().last().unwrap_or_default().to_owned(),
            ),
            other => panic!("{line}: {other:?}"),
        }
    }

    #[test]
    fn the_first_argument_decides_between_daprds_command_line_and_ours() {
        assert!(matches!(command("demo --count 1"), Command::Demo(_)));
        assert!(matches!(
            command("check --resources-path a"),
            Command::Check(_)
        ));
        assert!(matches!(command("run -- true"), Command::Run(_)));
        assert!(matches!(command("--app-id a demo"), Command::Sidecar(_)));
        assert!(matches!(command("foo bar"), Command::Sidecar(_)));
        assert!(matches!(command(""), Command::Sidecar(_)));
    }

    #[test]
    fn one_shot_modes_in_their_order() {
        assert_eq!(command("--build-info --wait --version"), Command::Version);
        assert_eq!(command("--wait --build-info"), Command::BuildInfo);
        assert_eq!(
            command("--wait --dapr-http-port 5"),
            Command::Wait {
                port: "5".to_owned()
            }
        );
        assert!(
            matches!(command("--version --max-body-size=bad"), Command::Refused(errors) if errors.len() == 1)
        );
        assert!(
            matches!(command("--read-buffer-size=4KB --max-body-size=bad"), Command::Refused(errors) if errors.len() == 2)
        );
    }

    #[test]
    fn help_and_mistakes() {
        assert_eq!(said("--foo"), (true, 2, "unknown flag: --foo".to_owned()));
        assert_eq!(said("--version --foo").1, 2);
        assert_eq!(said("-h"), (true, 0, "Each has its own --help.".to_owned()));
        assert_eq!((said("run --help").0, said("run --help").1), (false, 0));
        assert_eq!((said("check").0, said("check").1), (true, 2));
    }
}
