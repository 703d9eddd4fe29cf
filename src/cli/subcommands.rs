//! The subcommands that daprd does not have: `demo`, `run`, `check`. clap parses their flags; `run` also takes daprd's, from
//! the table in `flags`.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Arg, ArgAction, ArgMatches, Args, Command, FromArgMatches, Parser, value_parser};

use crate::cli::flags::{FLAGS, Flag, Flags};
use crate::credentials::masked;

/// Watch events flow: one process with a sidecar, an in-memory broker and a small app behind it.
#[derive(Clone, Debug, PartialEq, Parser)]
#[command(
    name = "sidestream demo",
    after_help = "Nothing else is needed: no Redis, no app, no configuration. Ctrl-C ends it."
)]
pub struct DemoArgs {
    /// End after this many orders; the exit code is 0 only if every one was accounted for.
    #[arg(long, value_name = "N")]
    pub count: Option<u64>,
    /// Orders per second, 0.01 to 1000.
    #[arg(long, value_name = "PER SECOND", default_value = "1", value_parser = rate)]
    pub rate: f64,
    /// Port of the HTTP API; 0 takes a free one. Without it: 3500 if that is free, else a free one.
    #[arg(long, value_name = "PORT")]
    pub port: Option<u16>,
}

impl DemoArgs {
    /// Between two orders.
    pub fn pause(&self) -> Duration {
        Duration::try_from_secs_f64(1.0 / self.rate).unwrap_or(Duration::from_secs(1))
    }
}

/// The rates that a reader can follow, or wants at most, in orders per second.
const RATES: (f64, f64) = (0.01, 1000.0);

fn rate(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(rate) if (RATES.0..=RATES.1).contains(&rate) => Ok(rate),
        _ => Err(format!("use a number from {} to {}", RATES.0, RATES.1)),
    }
}

/// Read resource files, connect to nothing, tell what was found and what is wrong with it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Parser)]
#[command(
    name = "sidestream check",
    group(clap::ArgGroup::new("input").args(["paths", "resources_path", "run_file"]).required(true).multiple(true)),
    after_help = "Examples: sidestream check ./components\n          sidestream check --app-id orders components/pubsub.yaml\n          sidestream check -f dapr.yaml --strict\n          helm template . | sidestream check --json -\n\nThe exit code is 1 if there is a mistake, with --strict also if anything is worth knowing."
)]
pub struct CheckArgs {
    /// Folders of resource files, single files (resources, Configuration or a run file), or `-` for standard input.
    #[arg(value_name = "PATH")]
    pub paths: Vec<PathBuf>,
    /// Folder of resource files; may be given several times.
    #[arg(long, value_name = "DIR", value_delimiter = ',')]
    pub resources_path: Vec<PathBuf>,
    /// Check what each app of this run file loads; `-` reads standard input, a folder stands for the dapr.yaml in it.
    #[arg(short = 'f', long, value_name = "FILE")]
    pub run_file: Option<PathBuf>,
    /// Configuration file; may be given several times, each over the ones before.
    #[arg(long, value_name = "FILE", value_delimiter = ',')]
    pub config: Vec<PathBuf>,
    /// Look with the eyes of this app: scopes are applied. Without it every app's resources are read.
    #[arg(long, value_name = "ID")]
    pub app_id: Option<String>,
    /// Write the report as JSON.
    #[arg(long)]
    pub json: bool,
    /// End with 1 also for what is only worth knowing.
    #[arg(long)]
    pub strict: bool,
}

/// The arguments of `run`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RunArgs {
    /// The flags of the sidecar, with defaults.
    pub flags: Flags,
    /// Names of the flags that were given, without dashes.
    pub given: Vec<&'static str>,
    /// The flags of `run` itself.
    pub extra: RunExtra,
    /// The app and its arguments; empty runs the sidecar alone.
    pub command: Vec<String>,
    /// Lines for stderr about deprecated flags.
    pub notices: Vec<String>,
}

impl RunArgs {
    /// Whether this flag was given.
    pub fn is_given(&self, name: &str) -> bool {
        self.given.contains(&name)
    }
}

/// Flags of `run` that a sidecar does not have (tests/spec/resources-cli.md, "3.1 Flags").
#[derive(Clone, Debug, Default, PartialEq, Eq, Args)]
pub struct RunExtra {
    /// Run the apps of this file; `-` reads stdin, a folder stands for the dapr.yaml in it.
    #[arg(short = 'f', long, value_name = "FILE")]
    pub run_file: Option<PathBuf>,
    /// Not supported.
    #[arg(short = 'k', long, hide = true)]
    pub kubernetes: bool,
    /// Folder that holds .dapr with components and config.yaml.
    #[arg(long, value_name = "DIR")]
    pub runtime_path: Option<PathBuf>,
}

/// Parse the arguments of `demo`.
///
/// # Errors
/// The help text, or the error in the arguments.
pub fn demo(arguments: &[String]) -> Result<DemoArgs, clap::Error> {
    DemoArgs::try_parse_from(with_name("sidestream demo", arguments))
}

/// Parse the arguments of `check`.
///
/// # Errors
/// The help text, or the error in the arguments.
pub fn check(arguments: &[String]) -> Result<CheckArgs, clap::Error> {
    CheckArgs::try_parse_from(with_name("sidestream check", arguments))
}

/// Parse the arguments of `run`.
///
/// # Errors
/// The help text, or the error in the arguments.
pub fn run(arguments: &[String]) -> Result<RunArgs, clap::Error> {
    let mut command = run_command();
    let matches = command.try_get_matches_from_mut(with_name("sidestream run", arguments))?;
    let mut parsed = RunArgs {
        extra: RunExtra::from_arg_matches(&matches)?,
        command: words(&matches, "command"),
        ..RunArgs::default()
    };
    for flag in FLAGS.iter().filter(|flag| is_for_run(flag)) {
        for value in words(&matches, flag.name) {
            flag.set(&mut parsed.flags, &value).map_err(|cause| {
                let text = format!("invalid argument {:?} for \"--{}\" flag: {cause}", masked(&value), flag.name);
                command.error(clap::error::ErrorKind::ValueValidation, text)
            })?;
            if !parsed.given.contains(&flag.name) {
                parsed.given.push(flag.name);
                let notice = |hint| format!("Flag --{} has been deprecated, {hint}", flag.name);
                parsed.notices.extend(flag.deprecated.map(notice));
            }
        }
    }
    Ok(parsed)
}

fn with_name<'a>(name: &'a str, arguments: &'a [String]) -> impl Iterator<Item = &'a str> + Clone {
    std::iter::once(name).chain(arguments.iter().map(String::as_str))
}

fn words(matches: &ArgMatches, name: &str) -> Vec<String> {
    let values = matches.get_many::<String>(name);
    values.map(|values| values.cloned().collect()).unwrap_or_default()
}

/// Whether `run` takes a flag of the sidecar: not those of its one-shot modes.
fn is_for_run(flag: &Flag) -> bool {
    !matches!(flag.name, "version" | "build-info" | "wait")
}

fn run_command() -> Command {
    let command = Command::new("sidestream run")
        .about("Run a sidecar, and an app beside it; stop both when one ends. Or all apps of a run file.")
        .override_usage(
            "sidestream run [FLAGS] [-- COMMAND [ARGUMENTS]...]\n       sidestream run -f dapr.yaml [FLAGS]",
        )
        .after_help(
            "Examples: sidestream run --app-id orders --app-port 8001 -- python3 app.py\n          sidestream run -f examples\n\n\
             It listens on 127.0.0.1 only, unless --dapr-listen-addresses, --dapr-public-listen-address or --metrics-listen-address say otherwise.",
        );
    // The comment on `RunExtra` is not part of the help.
    let about = command.get_about().cloned().unwrap_or_default();
    let command = RunExtra::augment_args(command).about(about);
    let flags = FLAGS.iter().filter(|flag| is_for_run(flag)).map(argument);
    let app = Arg::new("command")
        .num_args(0..)
        .trailing_var_arg(true)
        .value_name("COMMAND")
        .help("The app and its arguments");
    command.args(flags).arg(app)
}

fn argument(flag: &'static Flag) -> Arg {
    let argument = Arg::new(flag.name)
        .long(flag.name)
        .help(flag.help)
        .value_parser(value_parser!(String))
        .action(ArgAction::Append)
        .allow_hyphen_values(true)
        .hide(flag.deprecated.is_some() || !flag.has_effect());
    let argument = match short(flag.name) {
        Some(letter) => argument.short(letter),
        None => argument,
    };
    if flag.is_bool() {
        return argument.num_args(0..=1).require_equals(true).default_missing_value("true");
    }
    argument.num_args(1).value_name(value_name(flag))
}

fn value_name(flag: &Flag) -> &'static str {
    match flag.type_name() {
        "int" | "uint" => "N",
        "duration" => "DURATION",
        _ => "TEXT",
    }
}

fn short(name: &str) -> Option<char> {
    Some(match name {
        "app-id" => 'a',
        "app-port" => 'p',
        "app-protocol" => 'P',
        "dapr-http-port" => 'H',
        "dapr-grpc-port" => 'G',
        "metrics-port" => 'M',
        "dapr-internal-grpc-port" => 'I',
        "config" => 'c',
        "components-path" => 'd',
        "unix-domain-socket" => 'u',
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    fn words_of(line: &str) -> Vec<String> {
        line.split_whitespace().map(str::to_owned).collect()
    }

    #[test]
    fn the_definitions_are_sound() {
        for command in [DemoArgs::command(), CheckArgs::command(), run_command()] {
            command.debug_assert();
        }
    }

    #[test]
    fn run_takes_daprds_flags_and_an_app() {
        let parsed = run(&words_of("-a orders -p 8001 --app-max-concurrency -1 --resources-path a,b --enable-metrics=false --app-ssl -- python3 app.py --app-id x")).unwrap();
        assert_eq!(parsed.flags.app_id, "orders");
        assert_eq!(parsed.flags.app_port, "8001");
        assert_eq!(parsed.flags.app_max_concurrency, -1);
        assert_eq!(parsed.flags.resources_path, ["a", "b"]);
        assert!(!parsed.flags.enable_metrics);
        assert_eq!(parsed.command, ["python3", "app.py", "--app-id", "x"]);
        assert!(parsed.is_given("app-id") && !parsed.is_given("dapr-http-port"));
        assert_eq!(parsed.notices.len(), 1);
    }

    #[test]
    fn run_takes_an_app_without_dashes_before_it() {
        let parsed = run(&words_of("--app-id orders python3 -u app.py --foo")).unwrap();
        assert_eq!(parsed.command, ["python3", "-u", "app.py", "--foo"]);
        assert!(run(&words_of("--foo")).is_err());
        assert!(run(&words_of("--app-max-concurrency x")).is_err());
    }

    #[test]
    fn check_needs_something_to_read() {
        for line in ["a", "-", "a b/c.yaml --strict --json", "-f dapr.yaml", "--resources-path a"] {
            assert!(check(&words_of(line)).is_ok(), "{line}");
        }
        let parsed = check(&words_of("--resources-path a,b --resources-path c --app-id x")).unwrap();
        assert_eq!(parsed.resources_path.len(), 3);
        assert!(check(&[]).is_err());
    }

    #[test]
    fn demo_has_defaults() {
        assert_eq!(demo(&words_of("--count 3")).unwrap(), DemoArgs { count: Some(3), rate: 1.0, port: None });
    }

    #[test]
    fn the_pace_of_the_demo_is_one_that_can_be_kept() {
        let pause = |rate: &str| demo(&words_of(&format!("--rate={rate}"))).map(|it| it.pause());
        assert_eq!(pause("4").unwrap(), Duration::from_millis(250));
        assert_eq!(pause("0.01").unwrap(), Duration::from_secs(100));
        for wrong in ["0", "-1", "NaN", "inf", "1e-300", "1001", "fast"] {
            assert!(pause(wrong).is_err(), "{wrong}");
        }
    }
}
