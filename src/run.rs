//! `sidestream run`: a sidecar and an app, started together, stopped in order (spec resources-cli.md 3).
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
mod sidecar;
mod stack;

use anyhow::Context as _;

use self::app::{App, Start};
use self::console::Console;
use self::launch::Launch;
use self::ports::Ports;
use self::sidecar::Sidecar;
use crate::cli::RunArgs;
use crate::environment::Environment;
use crate::runtime::Plan;
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
        return Ok(console
            .give_up("-k, --kubernetes is not supported: run starts processes of this machine"));
    }
    if args.extra.run_file.is_some() {
        return Ok(Box::pin(stack::run(args, environment, &console, &mut signals)).await);
    }
    let launch = match Launch::of(args, environment, &mut Ports::default()) {
        Ok(launch) => launch,
        Err(error) => return Ok(console.give_up(&error)),
    };
    announce(&console, &launch, args);
    let sidecar = tokio::select! {
        sidecar = start(&launch, environment.clone()) => sidecar,
        _ = signals.next() => return Ok(console.give_up("stopped before it was started")),
    };
    let Some(mut sidecar) = sidecar else {
        return Ok(console.give_up("The sidecar did not start. Its log says why."));
    };
    if launch::app_port(&launch.flags).is_none() {
        console.info("Dapr sidecar is up and running.");
    }
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
    welcome(&console, &sidecar, app.as_ref());

    let first = tokio::select! {
        _ = signals.next() => First::Signal,
        end = sidecar.ended() => First::Sidecar(end),
        status = App::ended(&mut app) => First::App(status),
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

/// From flags to a running sidecar that logs to standard output; `None` if it cannot start, which its log has told.
async fn start(launch: &Launch, environment: Environment) -> Option<Sidecar> {
    let mut plan = Plan::from_flags_with_log(&launch.flags, environment, PREFIX, None).ok()?;
    plan.settings.embedded_pubsub = launch.embedded_pubsub;
    Sidecar::start(plan).await.ok()
}

fn announce(console: &Console, launch: &Launch, args: &RunArgs) {
    if args.command.is_empty() {
        console.warning("WARNING: no application command found.");
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
        console.info(&format!(
            "No resources: the pub/sub `pubsub` is the {EMBEDDED}"
        ));
    }
    if launch::app_port(flags).is_none() && !args.command.is_empty() {
        console.info("No --app-port: the app can publish, and is given no events.");
    }
}

/// Tell the sidecar whose it is, where others look for it (spec 3.4.4), and the user that all runs.
fn welcome(console: &Console, sidecar: &Sidecar, app: Option<&App>) {
    sidecar.put("cliPID", std::process::id().to_string());
    if let Some(app) = app {
        sidecar.put("appPID", app.process_id().to_string());
        sidecar.put("appCommand", app.command());
    }
    console.success(match app {
        Some(_) => "You're up and running! Both Dapr and your app logs will appear here.\n",
        None => "You're up and running! Dapr logs will appear here.\n",
    });
}

/// What ended first.
enum First {
    Signal,
    Sidecar(Result<(), String>),
    App(u8),
}

/// Stop what still runs: the sidecar first, so that the app can finish the events it has in hand; then the app.
async fn wind_up(
    first: First,
    console: &Console,
    sidecar: &mut Sidecar,
    app: &mut Option<App>,
) -> u8 {
    let of_sidecar = match &first {
        First::Sidecar(end) => end.clone(),
        First::Signal | First::App(_) => {
            console.info("terminated signal received: shutting down");
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
