//! The command line. `main` calls [`parse`] and executes the [`Command`].
//!
//! Without a subcommand the arguments are daprd's, by the rules of pflag (`pflag`, `flags`). `demo`, `run`, `check`, `help`
//! and `version` as the first argument are commands of Sidestream (`subcommands`, `help`). Nothing is printed or read from
//! disk here.

pub mod flags;
pub mod help;
pub mod pflag;
pub mod subcommands;
mod values;

pub use self::flags::{FlagError, Flags};
pub use self::subcommands::{CheckArgs, DemoArgs, RunArgs};

/// What the program is to do.
#[derive(Clone, Debug, PartialEq)]
pub enum Command {
    /// Run a sidecar.
    Sidecar(Box<Flags>),
    /// `--version`: print the version of the API on stdout, where the Dapr CLI reads it, and that of Sidestream on stderr.
    Version,
    /// `sidestream version`: print both versions on stdout.
    Versions,
    /// Print version, commit and Git version on stdout.
    BuildInfo,
    /// Wait for the sidecar on this port (as written) to be ready to publish (tests/spec/resources-cli.md, "1.2 Flags
    /// that matter for a pub/sub sidecar", `--wait`).
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
    /// Print a text and exit: the help, or an error in the arguments.
    Say(Say),
    /// Flags have invalid values: log a fatal line `Failed to parse flags: <error>` for each, with exit code 1.
    Refused(Vec<FlagError>),
}

/// A text to print before the program exits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Say {
    /// The text, with its final line end.
    pub text: String,
    /// Whether it goes to stderr instead of stdout.
    pub to_stderr: bool,
    /// The exit code of the process.
    pub exit_code: u8,
}

/// Parsed arguments.
#[derive(Clone, Debug, PartialEq)]
pub struct Parsed {
    /// Lines to print on stderr first, about deprecated flags and ignored words.
    pub notices: Vec<String>,
    /// The command.
    pub command: Command,
}

/// Parse the arguments, without the name of the program.
pub fn parse(arguments: &[String]) -> Parsed {
    let Some((first, rest)) = arguments.split_first() else {
        return daprd(arguments);
    };
    let command = match first.as_str() {
        "demo" => of_clap(subcommands::demo(rest).map(Command::Demo)),
        "check" => of_clap(subcommands::check(rest).map(Command::Check)),
        "run" => of_clap(subcommands::run(rest).map(|run| Command::Run(Box::new(run)))),
        "help" => return help(rest),
        "version" => Command::Versions,
        flag if flag.starts_with('-') => return daprd(arguments),
        // Compose files written for the image of daprd name its program: `command: ["./daprd", "--app-id", ...]`.
        program if program.ends_with("daprd") => return daprd(rest),
        word => refuse(help::unknown_command(word)),
    };
    let notices = match &command {
        Command::Run(run) => run.notices.clone(),
        _ => Vec::new(),
    };
    Parsed { notices, command }
}

/// The command, or the text that clap prints instead: the help or an error.
fn of_clap(parsed: Result<Command, clap::Error>) -> Command {
    parsed.unwrap_or_else(|error| {
        Command::Say(Say {
            text: error.to_string(),
            to_stderr: error.use_stderr(),
            exit_code: u8::try_from(error.exit_code()).unwrap_or(2),
        })
    })
}

/// `sidestream help`, with or without a command.
fn help(arguments: &[String]) -> Parsed {
    let topic = arguments.first().map(String::as_str);
    match topic {
        Some(topic @ ("demo" | "run" | "check")) => parse(&[topic.to_owned(), "--help".to_owned()]),
        None | Some("help" | "version") => parsed(say_help()),
        Some(flag) if flag.starts_with('-') => parsed(say_help()),
        Some(word) => parsed(refuse(help::unknown_command(word))),
    }
}

fn parsed(command: Command) -> Parsed {
    Parsed { notices: Vec::new(), command }
}

fn say_help() -> Command {
    Command::Say(Say { text: help::text(), to_stderr: false, exit_code: 0 })
}

fn refuse(text: String) -> Command {
    Command::Say(Say { text, to_stderr: true, exit_code: 2 })
}

/// The command line of daprd: help, then errors, then the one-shot modes in their order, then a sidecar
/// (tests/spec/resources-cli.md, "1.1 Parsing rules").
fn daprd(arguments: &[String]) -> Parsed {
    let (parsed, result) = pflag::parse(arguments);
    let flags = parsed.flags;
    let command = if let Err(error) = result {
        refuse(format!("{}{error}\n", pflag::usage()))
    } else if parsed.help {
        say_help()
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
    let mut notices = parsed.notices;
    if matches!(command, Command::Sidecar(_)) {
        notices.extend(about_ignored(&parsed.ignored));
    }
    Parsed { notices, command }
}

/// The notice about words that are no flags. daprd ignores them silently.
fn about_ignored(words: &[String]) -> Option<String> {
    let first = words.first()?;
    let remedy = if values::bool(first).is_ok() {
        format!("the value of a flag that is on or off stands behind =, for example --enable-metrics={first}")
    } else {
        "to start an app beside the sidecar, write: sidestream run [FLAGS] -- COMMAND".to_owned()
    };
    Some(format!("ignored, as it is no flag: {}; {remedy}", words.join(" ")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn command(line: &str) -> Command {
        let arguments: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
        parse(&arguments).command
    }

    fn message(line: &str) -> (bool, u8, String) {
        match command(line) {
            Command::Say(say) => (say.to_stderr, say.exit_code, say.text.lines().last().unwrap_or_default().to_owned()),
            other => panic!("{line}: {other:?}"),
        }
    }

    #[test]
    fn the_first_argument_decides_between_daprds_command_line_and_ours() {
        assert!(matches!(command("demo --count 1"), Command::Demo(_)));
        assert!(matches!(command("check --resources-path a"), Command::Check(_)));
        assert!(matches!(command("run -- true"), Command::Run(_)));
        assert!(matches!(command("--app-id a demo"), Command::Sidecar(_)));
        for program in ["daprd", "./daprd", "/daprd", "/usr/bin/daprd"] {
            let line = format!("{program} --app-id a");
            assert!(matches!(command(&line), Command::Sidecar(flags) if flags.app_id == "a"), "{line}");
        }
        assert!(matches!(command(""), Command::Sidecar(_)));
    }

    #[test]
    fn one_shot_modes_in_their_order() {
        assert_eq!(command("--build-info --wait --version"), Command::Version);
        assert_eq!(command("--wait --build-info"), Command::BuildInfo);
        assert_eq!(command("--wait --dapr-http-port 5"), Command::Wait { port: "5".to_owned() });
        assert!(matches!(command("--version --max-body-size=bad"), Command::Refused(errors) if errors.len() == 1));
        assert!(
            matches!(command("--read-buffer-size=4KB --max-body-size=bad"), Command::Refused(errors) if errors.len() == 2)
        );
    }

    #[test]
    fn help_and_mistakes() {
        assert_eq!(message("--foo"), (true, 2, "unknown flag: --foo".to_owned()));
        assert_eq!(message("--version --foo").1, 2);
        assert_eq!((message("-h").0, message("-h").1), (false, 0));
        for line in ["help", "help help", "--help", "daprd --help", "help --all"] {
            assert_eq!(command(line), say_help(), "{line}");
        }
        for name in ["run", "demo", "check"] {
            let (help, flag) = (format!("help {name}"), format!("{name} --help"));
            assert_eq!(command(&help), command(&flag));
            assert_eq!((message(&help).0, message(&help).1), (false, 0));
        }
        assert_eq!(command("version"), Command::Versions);
        let unknown = "sidestream: unknown command chekc, did you mean check?".to_owned();
        assert_eq!(message("chekc --app-id a"), (true, 2, unknown.clone()));
        assert_eq!(message("help chekc"), (true, 2, unknown));
        assert_eq!(message("foo bar").1, 2);
        assert_eq!((message("run --help").0, message("run --help").1), (false, 0));
        assert_eq!((message("check").0, message("check").1), (true, 2));
    }

    #[test]
    fn words_that_are_ignored_are_named_with_what_was_most_likely_meant() {
        let notices = |line: &str| {
            let arguments: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
            parse(&arguments).notices
        };
        assert_eq!(
            notices("--enable-metrics false --app-id a"),
            [
                "ignored, as it is no flag: false; the value of a flag that is on or off stands behind =, for example --enable-metrics=false"
            ]
        );
        assert_eq!(
            notices("--app-id a -- python3 app.py"),
            [
                "ignored, as it is no flag: python3 app.py; to start an app beside the sidecar, write: sidestream run [FLAGS] -- COMMAND"
            ]
        );
        assert_eq!(notices("./daprd --app-id a"), [""; 0]);
        assert_eq!(notices("--version foo"), [""; 0]);
    }
}
