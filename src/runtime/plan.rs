//! The plan of a sidecar: settings and diagnostics from the command line, and its log.

use std::io::Write;

use super::start_error::StartError;
use crate::api;
use crate::broker::memory::shared::SharedBrokers;
use crate::cli::Flags;
use crate::config::{ConfigError, LogSettings, Settings};
use crate::diagnostic::Diagnostic;
use crate::environment::Environment;
use crate::telemetry::Telemetry;
use crate::telemetry::events::lifecycle::{FatalError, Starting};
use crate::telemetry::log::{Level, LogBuilder};
use crate::telemetry::metrics::Metrics;

/// Everything that a sidecar is built from.
pub struct Plan {
    /// The settings.
    pub settings: Settings,
    /// The environment, with the variables that the sidecar sets for itself.
    pub environment: Environment,
    /// Its log and counters.
    pub telemetry: Telemetry,
    /// The diagnostics of the input, to be logged.
    pub diagnostics: Vec<Diagnostic>,
    /// The in-memory brokers, if they are shared with other sidecars of this process, or kept from the time before a
    /// restart. `None`: they are its own and begin empty.
    pub shared_brokers: Option<SharedBrokers>,
    /// The caller reports why the sidecar does not start, so that the log does not.
    pub leaves_failure_to_caller: bool,
}

/// The decisions of a caller about the log of a sidecar.
#[derive(Default)]
pub struct LogTarget<'a> {
    /// The prefix of every line on standard output, which others write to as well.
    pub prefix: &'a str,
    /// Replaces standard output, or the file that the flags name.
    pub out: Option<Box<dyn Write + Send>>,
    /// The caller reports why the sidecar does not start, so that the log does not.
    pub leaves_failure_to_caller: bool,
}

impl Plan {
    /// The plan of a command line. Errors are logged.
    ///
    /// # Errors
    /// All errors in flags and Configuration files.
    pub fn from_flags(flags: &Flags, environment: Environment) -> Result<Self, StartError> {
        Self::from_flags_with_log(flags, environment, LogTarget::default())
    }

    /// As [`Plan::from_flags`], with a log that the caller configures.
    ///
    /// # Errors
    /// As [`Plan::from_flags`].
    pub fn from_flags_with_log(
        flags: &Flags,
        environment: Environment,
        target: LogTarget<'_>,
    ) -> Result<Self, StartError> {
        let LogTarget { prefix, out, leaves_failure_to_caller } = target;
        let log = LogSettings::resolve(flags).and_then(|settings| Ok((settings.open()?, settings)));
        let (own, log) = match log {
            Ok(log) => log,
            Err(error) if leaves_failure_to_caller => return Err(error.into()),
            Err(error) => {
                // The settings of the log are wrong, so that a plain one reports it.
                let log = LogBuilder::new(Level::Info)
                    .json(flags.log_as_json)
                    .app_id(&flags.app_id)
                    .prefix(prefix)
                    .build(Box::new(std::io::stdout()));
                Telemetry::new(log, Metrics::default()).emit(FatalError { message: &error });
                return Err(error.into());
            }
        };
        let is_stdout = log.file.is_none() && out.is_none();
        let is_terminal = is_stdout && std::io::IsTerminal::is_terminal(&std::io::stdout());
        let builder = LogBuilder::new(log.level)
            .json(log.json)
            .colour(is_terminal)
            .version(api::API_VERSION)
            .prefix(if is_stdout { prefix } else { "" });
        let builder = if flags.app_id.is_empty() { builder } else { builder.app_id(&flags.app_id) };
        let metrics = Metrics::new(&flags.app_id, environment.get("NAMESPACE").unwrap_or_default());
        let telemetry = Telemetry::new(builder.build(out.unwrap_or(own)), metrics);
        telemetry.emit(Starting { api_version: api::API_VERSION, level: log.level });
        Self::resolve(flags, environment, telemetry, leaves_failure_to_caller)
    }

    /// The plan of the same command line after a SIGHUP: the files are read again, log and counters go on.
    ///
    /// # Errors
    /// As [`Plan::from_flags`].
    pub fn reload(flags: &Flags, environment: Environment, telemetry: Telemetry) -> Result<Self, StartError> {
        Self::resolve(flags, environment, telemetry, false)
    }

    fn resolve(
        flags: &Flags,
        mut environment: Environment,
        telemetry: Telemetry,
        leaves_failure_to_caller: bool,
    ) -> Result<Self, StartError> {
        match Settings::resolve(flags, &mut environment) {
            Ok(resolved) => Ok(Self {
                settings: resolved.settings,
                environment,
                telemetry,
                diagnostics: resolved.diagnostics,
                shared_brokers: None,
                leaves_failure_to_caller,
            }),
            Err(errors) => {
                let lines: Vec<_> = errors.iter().map(ConfigError::fatal_line).collect();
                if !leaves_failure_to_caller {
                    lines.iter().for_each(|line| telemetry.emit(FatalError { message: line }));
                }
                Err(StartError(lines))
            }
        }
    }
}
