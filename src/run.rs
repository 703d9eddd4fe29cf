//! `sidestream run`: a sidecar and an app, started together, stopped in order (tests/spec/resources-cli.md, "3. `run`
//! subcommand").
//!
//! The sidecar runs in this process, with the flags that the stock command line would give it ([`launch`]); the app is a child in its own
//! process group ([`app`]). The exit code is the app's. With a run file there are several of both ([`file`](mod@file), [`stack`]).

mod app;
mod console;
mod file;
mod launch;
mod names;
mod output;
mod ports;
mod program;
mod ready;
mod sidecar;
mod stack;

use std::path::Path;

use anyhow::Context as _;

use self::app::{App, Start};
use self::console::Console;
use self::launch::Launch;
use self::ports::Ports;
use self::ready::Readiness;
use self::sidecar::Sidecar;
use crate::cli::{Flags, RunArgs};
use crate::environment::Environment;
use crate::runtime::{LogTarget, Plan, StartError};
use crate::shutdown::signals::Signals;

/// What stands before every line of the sidecar's log, unless the lines are JSON.
const PREFIX: &str = "== DAPR == ";

/// What stands before every line of the app.
const APP_PREFIX: &str = "== APP == ";

/// What there is without resources.
const EMBEDDED: &str = "embedded in-memory broker. Events do not survive this process.";

/// Run sidecar and app until one of them ends or a signal comes. The answer is the exit code.
///
/// # Errors
/// If this process cannot listen for signals. All other mistakes are told on the console, with exit code 1.
pub async fn run(args: &RunArgs, environment: &Environment) -> anyhow::Result<u8> {
    let mut signals = Signals::listen_with_hang_up().context("cannot listen for signals")?;
    let console = Console::new(args.flags.log_as_json);
    if args.extra.kubernetes {
        return Ok(console.give_up("-k, --kubernetes is not supported: run starts processes of this machine"));
    }
    if args.extra.run_file.is_some() {
        return Ok(Box::pin(stack::run(args, environment, &console, &mut signals)).await);
    }
    if let Some(problem) =
        args.command.first().and_then(|program| program::problem(program, Path::new(""), environment))
    {
        let text = format!("{}; {}", problem.text, problem.remedy);
        return Ok(console.give_up(&text));
    }
    let launch = match Launch::of(args, environment, &mut Ports::default()) {
        Ok(launch) => launch,
        Err(error) => return Ok(console.give_up(&error)),
    };
    announce(&console, &launch, args);
    if !args.command.is_empty() {
        warn_of_another_app(&console, &launch.flags).await;
    }
    let sidecar = tokio::select! {
        sidecar = start(&launch, environment.clone()) => sidecar,
        _ = signals.next() => return Ok(console.give_up("stopped before it was started")),
    };
    let mut sidecar = match sidecar {
        Ok(sidecar) => sidecar,
        Err(error) => {
            let text = did_not_start("The sidecar did not start", &error);
            return Ok(console.give_up(&text));
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
            // How it ends does not matter beside the reason why.
            let _ = sidecar.stop().await;
            return Ok(console.give_up(&error));
        }
    };
    describe(&sidecar, app.as_ref());
    let readiness = Readiness::new(sidecar.health(), &launch.flags, app.is_some());
    let welcome = welcome(&console, readiness, &launch.flags, app.is_some());
    tokio::pin!(welcome);
    let mut is_welcome = false;
    let first = loop {
        tokio::select! {
            () = &mut welcome, if !is_welcome => is_welcome = true,
            _ = signals.next() => break First::Signal,
            end = sidecar.ended() => break First::Sidecar(end),
            status = App::ended(&mut app) => break First::App(status),
        }
    };
    let stopping = wind_up(first, &console, &mut sidecar, &mut app);
    let code = tokio::select! {
        code = stopping => Some(code),
        _ = signals.next() => None,
    };
    Ok(code.unwrap_or_else(|| {
        if let Some(app) = &app {
            app.kill();
        }
        console.give_up("a second signal: not waiting any longer")
    }))
}

/// From flags to a running sidecar that logs to standard output.
async fn start(launch: &Launch, environment: Environment) -> Result<Sidecar, StartError> {
    let target = LogTarget { prefix: PREFIX, out: None, leaves_failure_to_caller: launch.flags.log_file.is_empty() };
    let mut plan = Plan::from_flags_with_log(&launch.flags, environment, target)?;
    plan.settings.embedded_pubsub = launch.embedded_pubsub;
    Sidecar::start(plan).await
}

/// Why not: one reason on the line, several on lines of their own.
fn did_not_start(what: &str, error: &StartError) -> String {
    let reasons: Vec<&str> = error.reasons().collect();
    match reasons[..] {
        [reason] => format!("{what}: {reason}"),
        _ => format!("{what}:\n  {}", reasons.join("\n  ")),
    }
}

/// Warns if another program listens on the app's port already: it would get the app's events.
async fn warn_of_another_app(console: &Console, flags: &Flags) {
    let Some(port) = launch::app_port(flags) else {
        return;
    };
    let host = &flags.app_channel_address;
    if ready::accepts(host, port).await {
        console.warning(&format!(
            "another program listens on {host}:{port} already. Events go there unless it is stopped: is it an app that was left running?"
        ));
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

/// Tell the sidecar whose it is, where others look for it (tests/spec/resources-cli.md, "3.4 Single-app sequence", item
/// 4).
fn describe(sidecar: &Sidecar, app: Option<&App>) {
    sidecar.put("cliPID", std::process::id().to_string());
    if let Some(app) = app {
        sidecar.put("appPID", app.process_id().to_string());
        sidecar.put("appCommand", app.command());
    }
}

/// Tell the user that all runs, once it does, and what is missing until then.
async fn welcome(console: &Console, readiness: Readiness, flags: &Flags, has_app: bool) {
    readiness.reached(|line| console.warning(line)).await;
    if launch::app_port(flags).is_none() {
        console.info("Dapr sidecar is up and running.");
    }
    console.success(if has_app { UP } else { "You're up and running! Dapr logs will appear here.\n" });
}

/// What is said once all runs, with at least one app.
const UP: &str = "You're up and running! Both Dapr and your app logs will appear here.\n";

/// What ended first.
enum First {
    Signal,
    Sidecar(Result<(), String>),
    App(u8),
}

/// Stop what still runs: the sidecar first, so that the app can finish the events it has in hand; then the app.
async fn wind_up(first: First, console: &Console, sidecar: &mut Sidecar, app: &mut Option<App>) -> u8 {
    let of_sidecar = match &first {
        First::Sidecar(end) => end.clone(),
        First::Signal => {
            console.info("terminated signal received: shutting down");
            sidecar.stop().await
        }
        First::App(_) => {
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
        (First::App(code), _) => Some(code),
        (_, Some(app)) => Some(app.stop().await),
        (_, None) => None,
    };
    match of_app {
        Some(0) => console.success("Exited App successfully"),
        Some(code) => console.failure(&format!("The App process exited with error code: {code}")),
        None => {}
    }
    // The app's code is the answer; a sidecar that failed shows only where the app has nothing to complain about.
    of_app.filter(|code| *code != 0).unwrap_or(of_sidecar)
}
