//! The `sidestream` binary: parses its arguments, runs the command, returns an exit code.

use std::io::Write;
use std::process::ExitCode;

use sidestream::api::API_VERSION;
use sidestream::broker::memory::shared::SharedBrokers;
use sidestream::cli::{self, Command, Flags};
use sidestream::environment::Environment;
use sidestream::runtime::{Outcome, Plan, Runtime};
use sidestream::shutdown::Stop;
use sidestream::shutdown::signals::{HANG_UP, Signals};
use sidestream::telemetry::Telemetry;
use sidestream::telemetry::events::lifecycle::{
    FatalError, RestartRequested, SecondSignalReceived, ShutDown, SignalReceived,
};
use sidestream::telemetry::log::{Level, LogBuilder};
use sidestream::telemetry::metrics::Metrics;
use sidestream::{check, demo, run, wait};

/// Events are many short-lived buffers of about a kilobyte, for which the system's allocator is slow.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let arguments: Vec<String> =
        std::env::args_os().skip(1).map(|argument| argument.to_string_lossy().into_owned()).collect();
    let parsed = cli::parse(&arguments);
    for notice in &parsed.notices {
        to_stderr(notice);
    }
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            to_stderr(&format!("sidestream: cannot start: {error}"));
            return ExitCode::FAILURE;
        }
    };
    let code = runtime.block_on(execute(parsed.command));
    // Tasks have had their time to end. A blocked thread must not keep the process alive.
    runtime.shutdown_background();
    ExitCode::from(code)
}

async fn execute(command: Command) -> u8 {
    let environment = Environment::of_process();
    match command {
        Command::Sidecar(flags) => sidecar(&flags, environment).await,
        Command::Version => {
            // The Dapr command line reads all of stdout as the version.
            to_stderr(&format!(
                "sidestream {}, which speaks the Dapr API of version {API_VERSION}",
                env!("CARGO_PKG_VERSION")
            ));
            to_stdout(&format!("{API_VERSION}\n"))
        }
        Command::Versions => to_stdout(&format!("Sidestream {}\nDapr API {API_VERSION}\n", env!("CARGO_PKG_VERSION"))),
        Command::BuildInfo => to_stdout(&format!(
            "Version: {API_VERSION}\nGit Commit: unknown\nGit Version: sidestream {}\n",
            env!("CARGO_PKG_VERSION")
        )),
        Command::Wait { port } => wait::run(&port).await,
        Command::Demo(args) => exit_code(demo::run(&args, &environment).await),
        Command::Run(args) => exit_code(Box::pin(run::run(&args, &environment)).await),
        Command::Check(args) => exit_code(
            check::run(&args, &environment, &mut std::io::stdin(), &mut std::io::stdout()).map_err(Into::into),
        ),
        Command::Say(say) => {
            if say.to_stderr {
                to_stderr(say.text.trim_end_matches('\n'))
            } else {
                let _ = to_stdout(&say.text);
            };
            say.exit_code
        }
        Command::Refused(errors) => {
            let log = LogBuilder::new(Level::Info).build(Box::new(std::io::stdout()));
            let telemetry = Telemetry::new(log, Metrics::default());
            for error in errors {
                telemetry.emit(FatalError { message: &format_args!("Failed to parse flags: {error}") });
            }
            1
        }
    }
}

/// Run a sidecar until a signal or the API ends it. SIGHUP restarts it.
async fn sidecar(flags: &Flags, environment: Environment) -> u8 {
    let Ok(mut plan) = Plan::from_flags(flags, environment.clone()) else {
        return 1;
    };
    let telemetry = plan.telemetry.clone();
    // Events in memory survive a restart by SIGHUP.
    let shared_brokers = SharedBrokers::of_one_sidecar();
    plan.shared_brokers = Some(shared_brokers.clone());
    let mut signals = match Signals::listen_with_hang_up() {
        Ok(signals) => signals,
        Err(error) => {
            telemetry.emit(FatalError { message: &format_args!("cannot listen for signals: {error}") });
            return 1;
        }
    };
    loop {
        match Box::pin(run_once(plan, &mut signals, &telemetry)).await {
            End::Exit(exit_code) => return exit_code,
            End::Restart => {}
        }
        match Plan::reload(flags, environment.clone(), telemetry.clone()) {
            Ok(reloaded) => plan = Plan { shared_brokers: Some(shared_brokers.clone()), ..reloaded },
            Err(_) => return 1,
        }
    }
}

/// The end of one run of the sidecar.
enum End {
    /// The process ends with this exit code.
    Exit(u8),
    /// The sidecar restarts.
    Restart,
}

/// One run of the sidecar, from its plan to its end.
async fn run_once(plan: Plan, signals: &mut Signals, telemetry: &Telemetry) -> End {
    let runtime = tokio::select! {
        built = Runtime::build(plan) => match built {
            Ok(runtime) => runtime,
            Err(_) => return End::Exit(1),
        },
        signal = signals.next() => {
            if signal == HANG_UP {
                telemetry.emit(RestartRequested { signal });
                return End::Restart;
            }
            telemetry.emit(SignalReceived { signal });
            telemetry.emit(ShutDown);
            return End::Exit(0);
        }
    };
    let stop = Stop::new();
    let running = runtime.run(stop.clone());
    tokio::pin!(running);
    let signal = tokio::select! {
        outcome = &mut running => return End::Exit(outcome.exit_code()),
        signal = signals.next() => signal,
    };
    let mut restarts = signal == HANG_UP;
    if restarts {
        telemetry.emit(RestartRequested { signal });
    } else {
        telemetry.emit(SignalReceived { signal });
    }
    stop.trigger();
    loop {
        tokio::select! {
            outcome = &mut running => return match outcome {
                Outcome::Graceful if restarts => End::Restart,
                outcome => End::Exit(outcome.exit_code()),
            },
            // The files are read after the end in any case, so a further SIGHUP changes nothing.
            signal = signals.next() => match signal {
                HANG_UP => {}
                signal if restarts => {
                    telemetry.emit(SignalReceived { signal });
                    restarts = false;
                }
                signal => {
                    telemetry.emit(SecondSignalReceived { signal });
                    return End::Exit(Outcome::Forced.exit_code());
                }
            },
        }
    }
}

/// The exit code of a subcommand. An error is printed.
fn exit_code(result: anyhow::Result<u8>) -> u8 {
    result.unwrap_or_else(|error| {
        // Not if the reader of the output has gone, as with `head`.
        let is_unread =
            error.downcast_ref::<std::io::Error>().is_some_and(|error| error.kind() == std::io::ErrorKind::BrokenPipe);
        if !is_unread {
            to_stderr(&format!("sidestream: {error:#}"));
        }
        1
    })
}

fn to_stdout(text: &str) -> u8 {
    // A closed stdout is no error.
    let _ = std::io::stdout().write_all(text.as_bytes());
    0
}

fn to_stderr(line: &str) {
    let _ = writeln!(std::io::stderr(), "{line}");
}
