//! `run` with one app: a sidecar and the app, started together, stopped in order.

use std::path::Path;

use super::app::{App, Start};
use super::console::Console;
use super::launch::{self, Launch};
use super::messages::{EMBEDDED, UP, warn_of_another_app};
use super::ports::Ports;
use super::program;
use super::ready::Readiness;
use super::sidecar::Sidecar;
use crate::cli::{Flags, RunArgs};
use crate::environment::Environment;
use crate::runtime::{LogTarget, Plan, StartError};
use crate::shutdown::signals::Signals;

/// The prefix of the sidecar's log lines, unless they are JSON.
const PREFIX: &str = "== DAPR == ";

/// The prefix of the app's lines.
const APP_PREFIX: &str = "== APP == ";

/// Run sidecar and app until one of them ends or a signal comes. Returns the exit code.
pub(super) async fn run(args: &RunArgs, environment: &Environment, console: &Console, signals: &mut Signals) -> u8 {
    if let Some(problem) =
        args.command.first().and_then(|program| program::problem(program, Path::new(""), environment))
    {
        let text = format!("{}; {}", problem.text, problem.remedy);
        return console.give_up(&text);
    }
    let launch = match Launch::of(args, environment, &mut Ports::default()) {
        Ok(launch) => launch,
        Err(error) => return console.give_up(&error),
    };
    announce(console, &launch, args);
    if !args.command.is_empty() {
        warn_of_another_app(console, &launch.flags).await;
    }
    let sidecar = tokio::select! {
        sidecar = start(&launch, environment.clone()) => sidecar,
        _ = signals.next() => return console.give_up("stopped before it was started"),
    };
    let mut sidecar = match sidecar {
        Ok(sidecar) => sidecar,
        Err(error) => {
            let text = did_not_start("The sidecar did not start", &error);
            return console.give_up(&text);
        }
    };
    let started = App::start(Start {
        command: &args.command,
        environment: &launch.app_environment(environment),
        folder: None,
        prefix: APP_PREFIX,
        destinations: (Box::new(std::io::stdout()), Box::new(std::io::stderr())),
    });
    let mut app = match started {
        Ok(app) => app,
        Err(error) => {
            // The outcome of this stop does not matter: an error has been printed already.
            let _ = sidecar.stop().await;
            return console.give_up(&error);
        }
    };
    describe(&sidecar, app.as_ref());
    let readiness = Readiness::new(sidecar.health(), &launch.flags, app.is_some());
    let ready = report_ready(console, readiness, &launch.flags, app.is_some());
    tokio::pin!(ready);
    let mut is_ready = false;
    let first = loop {
        tokio::select! {
            () = &mut ready, if !is_ready => is_ready = true,
            _ = signals.next() => break FirstEnd::Signal,
            end = sidecar.ended() => break FirstEnd::Sidecar(end),
            status = App::ended(&mut app) => break FirstEnd::App(status),
        }
    };
    let stopping = stop_rest(first, console, &mut sidecar, &mut app);
    let code = tokio::select! {
        code = stopping => Some(code),
        _ = signals.next() => None,
    };
    code.unwrap_or_else(|| {
        if let Some(app) = &app {
            app.kill();
        }
        console.give_up("a second signal: not waiting any longer")
    })
}

/// Start a sidecar that logs to standard output.
async fn start(launch: &Launch, environment: Environment) -> Result<Sidecar, StartError> {
    let target = LogTarget { prefix: PREFIX, out: None, leaves_failure_to_caller: launch.flags.log_file.is_empty() };
    let mut plan = Plan::from_flags_with_log(&launch.flags, environment, target)?;
    plan.settings.embedded_pubsub = launch.embedded_pubsub;
    Sidecar::start(plan).await
}

/// The text of a failed start: one reason on the same line, several on lines of their own.
fn did_not_start(what: &str, error: &StartError) -> String {
    let reasons: Vec<&str> = error.reasons().collect();
    match reasons[..] {
        [reason] => format!("{what}: {reason}"),
        _ => format!("{what}:\n  {}", reasons.join("\n  ")),
    }
}

fn announce(console: &Console, launch: &Launch, args: &RunArgs) {
    if args.command.is_empty() {
        console.warning(
            "WARNING: no application command found. The sidecar runs alone; to start an app beside it: sidestream run [FLAGS] -- COMMAND",
        );
    }
    let flags = &launch.flags;
    let (id, dir) = (&flags.app_id, &flags.unix_domain_socket);
    console.info(&if dir.is_empty() {
        format!(
            "Starting Dapr with id {id}. HTTP Port: {}. gRPC Port: {}",
            flags.dapr_http_port, flags.dapr_grpc_port
        )
    } else {
        format!(
            "Starting Dapr with id {id}. HTTP Socket: {dir}/dapr-{id}-http.socket. gRPC Socket: {dir}/dapr-{id}-grpc.socket."
        )
    });
    if launch.embedded_pubsub {
        console.info(&format!("{}. The pub/sub `pubsub` is the {EMBEDDED}", launch.no_resources()));
    }
    if launch::app_port(flags).is_none() && !args.command.is_empty() {
        console.info("No --app-port: the app can publish, and is given no events.");
    }
}

/// Put the app's command and process ids into the sidecar's metadata (tests/spec/resources-cli.md, "3.4 Single-app
/// sequence", item 4).
fn describe(sidecar: &Sidecar, app: Option<&App>) {
    sidecar.put("cliPID", std::process::id().to_string());
    if let Some(app) = app {
        sidecar.put("appPID", app.process_id().to_string());
        sidecar.put("appCommand", app.command());
    }
}

/// Print that everything runs, once it does, and until then what is missing.
async fn report_ready(console: &Console, readiness: Readiness, flags: &Flags, has_app: bool) {
    readiness.reached(|line| console.warning(line)).await;
    if launch::app_port(flags).is_none() {
        console.info("Dapr sidecar is up and running.");
    }
    console.success(if has_app { UP } else { "You're up and running! Dapr logs will appear here.\n" });
}

/// The part that ended first.
enum FirstEnd {
    Signal,
    Sidecar(Result<(), String>),
    App(u8),
}

/// Stop the sidecar, so that the app can finish its deliveries; then stop the app.
async fn stop_rest(first: FirstEnd, console: &Console, sidecar: &mut Sidecar, app: &mut Option<App>) -> u8 {
    let of_sidecar = match &first {
        FirstEnd::Sidecar(end) => end.clone(),
        FirstEnd::Signal => {
            console.info("terminated signal received: shutting down");
            sidecar.stop().await
        }
        FirstEnd::App(_) => {
            console.info("the app has ended: shutting down");
            sidecar.stop().await
        }
    };
    let of_sidecar = match of_sidecar {
        Ok(()) => {
            console.success("Exited Dapr successfully");
            0
        }
        Err(error) => {
            console.failure(&format!("Error exiting Dapr: {error}"));
            1
        }
    };
    let of_app = match (first, app) {
        (FirstEnd::App(code), _) => Some(code),
        (_, Some(app)) => Some(app.stop().await),
        (_, None) => None,
    };
    match of_app {
        Some(0) => console.success("Exited App successfully"),
        Some(code) => console.failure(&format!("The App process exited with error code: {code}")),
        None => {}
    }
    // The app's code counts. A failure of the sidecar counts only if the app succeeded.
    of_app.filter(|code| *code != 0).unwrap_or(of_sidecar)
}
