//! `run -f`: all apps of a run file in this one process, each with a sidecar of its own (tests/spec/resources-cli.md,
//! "3.5 Run file (`dapr.yaml`)").
//!
//! The apps start one after the other. An app or sidecar that ends later ends alone. A signal ends all: the sidecars
//! first, so that the apps can finish their deliveries. In-memory brokers are shared, so that the apps of a file can
//! exchange events without any installation.

use futures_util::future::{join_all, select_all};

use super::app::{App, Start};
use super::console::Console;
use super::file::{IN_THE_FILE, Member, Stack};
use super::launch;
use super::messages::{EMBEDDED, UP, warn_of_another_app};
use super::output;
use super::ready::Readiness;
use super::sidecar::Sidecar;
use crate::broker::memory::shared::SharedBrokers;
use crate::cli::RunArgs;
use crate::environment::Environment;
use crate::runtime::{LogTarget, Plan, StartError};
use crate::shutdown::signals::Signals;

/// Run all until a signal comes or every app has ended. Returns the exit code: 1 if anything failed.
pub(super) async fn run(args: &RunArgs, environment: &Environment, console: &Console, signals: &mut Signals) -> u8 {
    let stack = match Stack::of(args, environment) {
        Ok(stack) => stack,
        Err(error) => return console.give_up(&error),
    };
    announce(args, &stack, console);
    let apps = stack.members.iter().filter(|it| !it.command.is_empty());
    join_all(apps.map(|member| warn_of_another_app(console, &member.launch.flags))).await;
    let mut running = Vec::new();
    let failure = tokio::select! {
        failure = start_all(&stack, console, &mut running) => failure.err(),
        _ = signals.next() => Some("stopped before all was started".to_owned()),
    };
    let has_failed = match &failure {
        Some(_) => {
            if !running.is_empty() {
                console.info("not all could be started: shutting down what was");
            }
            true
        }
        None => until_the_end(&stack, &mut running, console, signals).await,
    };
    let stopping = stop_all(&mut running, console);
    let stopped = tokio::select! {
        stopped = stopping => Some(stopped),
        _ = signals.next() => None,
    };
    match (stopped, failure) {
        // The error is printed last, where people look first.
        (Some(_), Some(error)) => console.give_up(&error),
        (Some(all_well), None) => u8::from(has_failed || !all_well),
        (None, _) => {
            running.iter().for_each(Running::kill);
            console.give_up("a second signal: not waiting any longer")
        }
    }
}

fn announce(args: &RunArgs, stack: &Stack, console: &Console) {
    for name in &args.given {
        if let Some((_, key)) = IN_THE_FILE.iter().find(|(flag, _)| flag == name) {
            console.warning(&format!("--{name} is ignored with a run file: write `{key}` there"));
        }
    }
    if !args.command.is_empty() {
        console.warning("the command is ignored with a run file: write `command` there");
    }
    for remark in &stack.remarks {
        console.warning(remark);
    }
    let mut launches = stack.members.iter().map(|member| &member.launch);
    if let Some(launch) = launches.find(|launch| launch.embedded_pubsub) {
        console.info(&format!(
            "{}. Apps without resources share the pub/sub `pubsub` on the {}",
            launch.no_resources(),
            EMBEDDED
        ));
    }
}

async fn start_all(stack: &Stack, console: &Console, running: &mut Vec<Running>) -> Result<(), String> {
    let shared_brokers = SharedBrokers::default();
    for member in &stack.members {
        let id = &member.launch.flags.app_id;
        console.info(&format!("Validating config and starting app {id:?}"));
        let started = start(stack, member, &shared_brokers).await;
        running.push(started.map_err(|error| format!("Error starting app {id:?}: {error}"))?);
        tell(member, console);
    }
    Ok(())
}

fn tell(member: &Member, console: &Console) {
    let flags = &member.launch.flags;
    let id = &flags.app_id;
    if member.command.is_empty() {
        console.warning(&format!("no application command found for app {id:?}"));
    } else if launch::app_port(flags).is_none() {
        console.info(&format!("App {id:?} has no appPort: it can publish, and is given no events."));
    }
    if member.has_files() {
        let folder = output::logs(&member.folder);
        console.info(&format!("Writing log files to directory : {}", folder.display()));
    }
    console.success(&if flags.unix_domain_socket.is_empty() {
        format!(
            "Started Dapr with app id {id:?}. HTTP Port: {}. gRPC Port: {}",
            flags.dapr_http_port, flags.dapr_grpc_port
        )
    } else {
        let dir = &flags.unix_domain_socket;
        format!("Started Dapr with app id {id:?}. HTTP Socket: {dir}/dapr-{id}-http.socket.")
    });
}

async fn start(stack: &Stack, member: &Member, shared_brokers: &SharedBrokers) -> Result<Running, String> {
    let mut sidecar = start_sidecar(member, shared_brokers).await?;
    let app = match start_app(member) {
        Ok(app) => app,
        Err(error) => {
            // The outcome of this stop does not matter: an error has been printed already.
            let _ = sidecar.stop().await;
            return Err(error);
        }
    };
    describe(stack, member, &sidecar, app.as_ref());
    Ok(Running { id: member.launch.flags.app_id.clone(), sidecar: Some(sidecar), has_app: app.is_some(), app })
}

async fn start_sidecar(member: &Member, shared_brokers: &SharedBrokers) -> Result<Sidecar, String> {
    let flags = &member.launch.flags;
    let output = member.sidecar_output.open()?;
    let prefix = format!("== DAPR - {} == ", flags.app_id);
    let has_console = output.has_console();
    let out = if output.is_console_only() {
        None
    } else {
        // A line in JSON gets no prefix, so that it stays JSON.
        let prefix = if flags.log_as_json { "" } else { &prefix };
        Some(Box::new(output.writer(Box::new(std::io::stdout()), prefix)?) as Box<_>)
    };
    let environment = member.environment.clone();
    let target = LogTarget { prefix: &prefix, out, leaves_failure_to_caller: has_console };
    let reasons = |error: StartError| error.reasons().collect::<Vec<_>>().join("\n  ");
    let plan = Plan::from_flags_with_log(flags, environment, target);
    let mut plan = plan.map_err(reasons)?;
    plan.settings.embedded_pubsub = member.launch.embedded_pubsub;
    plan.shared_brokers = Some(shared_brokers.clone());
    let started = Box::pin(Sidecar::start(plan)).await;
    started.map_err(reasons)
}

fn start_app(member: &Member) -> Result<Option<App>, String> {
    let output = member.app_output.open()?;
    App::start(Start {
        command: &member.command,
        environment: &member.app_environment,
        folder: Some(&member.folder),
        prefix: &format!("== APP - {} == ", member.launch.flags.app_id),
        destinations: (
            Box::new(output.writer(Box::new(std::io::stdout()), "")?),
            Box::new(output.writer(Box::new(std::io::stderr()), "")?),
        ),
    })
}

/// Put the app's command, process ids and log files into the sidecar's metadata (tests/spec/resources-cli.md, "3.4
/// Single-app sequence", item 4, "3.5 Run file (`dapr.yaml`)", item 9).
fn describe(stack: &Stack, member: &Member, sidecar: &Sidecar, app: Option<&App>) {
    sidecar.put("cliPID", std::process::id().to_string());
    if let Some(app) = app {
        sidecar.put("appPID", app.process_id().to_string());
        sidecar.put("appCommand", app.command());
    }
    sidecar.put("runTemplatePath", launch::text(&stack.path));
    sidecar.put("runTemplateName", stack.name.as_str());
    for (key, output) in [("appLogPath", &member.app_output), ("daprdLogPath", &member.sidecar_output)] {
        if let Some(path) = output.path() {
            sidecar.put(key, launch::text(path));
        }
    }
}

/// An app and its sidecar; `None` once ended.
struct Running {
    id: String,
    sidecar: Option<Sidecar>,
    app: Option<App>,
    /// Whether there was an app at the start.
    has_app: bool,
}

/// The part that has ended, and its outcome.
enum End {
    Sidecar(Result<(), String>),
    App(u8),
}

impl Running {
    /// Whether its app has ended, so that there is nothing left to wait for.
    fn is_over(&self) -> bool {
        self.app.is_none() && (self.has_app || self.sidecar.is_none())
    }

    /// Resolves when one of the two ends. Never resolves if both have ended.
    async fn ended(&mut self) -> End {
        let sidecar = async {
            match &mut self.sidecar {
                Some(sidecar) => sidecar.ended().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            end = sidecar => End::Sidecar(end),
            code = App::ended(&mut self.app) => End::App(code),
        }
    }

    /// Record an end. Returns whether it was a success.
    fn note(&mut self, end: End, console: &Console) -> bool {
        let id = &self.id;
        match end {
            End::Sidecar(end) => {
                self.sidecar = None;
                match end {
                    Ok(()) => console.success(&format!("{id}: Exited Dapr successfully")),
                    Err(error) => {
                        console.failure(&format!("{id}: Error exiting Dapr: {error}"));
                        return false;
                    }
                }
            }
            End::App(code) => {
                self.app = None;
                if code != 0 {
                    console.failure(&format!("{id}: The App process exited with error code: {code}"));
                    return false;
                }
                console.success(&format!("{id}: Exited App successfully"));
            }
        }
        true
    }

    /// Stop the rest, the sidecar first. Returns whether all ended well.
    async fn stop(&mut self, console: &Console) -> bool {
        let mut is_good = true;
        if let Some(sidecar) = &mut self.sidecar {
            let end = End::Sidecar(sidecar.stop().await);
            is_good &= self.note(end, console);
        }
        if let Some(app) = &mut self.app {
            let end = End::App(app.stop().await);
            is_good &= self.note(end, console);
        }
        is_good
    }

    fn kill(&self) {
        if let Some(app) = &self.app {
            app.kill();
        }
    }
}

/// Resolves when an app and its sidecar are ready. Until then the missing parts are printed.
async fn up(id: String, readiness: Readiness, console: &Console) {
    let tell = |line: &str| console.warning(&format!("{id}: {line}"));
    readiness.reached(tell).await;
}

/// Wait for a signal, or for the last app. Returns whether anything has failed.
async fn until_the_end(stack: &Stack, running: &mut [Running], console: &Console, signals: &mut Signals) -> bool {
    let waits = running.iter().zip(&stack.members);
    let waits = waits.filter_map(|(running, member)| {
        let health = running.sidecar.as_ref()?.health();
        let readiness = Readiness::new(health, &member.launch.flags, running.has_app);
        Some(up(running.id.clone(), readiness, console))
    });
    let all_up = join_all(waits.collect::<Vec<_>>());
    tokio::pin!(all_up);
    let (mut is_up, mut has_failed) = (false, false);
    while !running.iter().all(Running::is_over) {
        let ends = running.iter_mut().map(|running| Box::pin(running.ended()));
        let (end, index) = tokio::select! {
            (end, index, _) = select_all(ends) => (end, index),
            // Not printed after a failure.
            _ = &mut all_up, if !is_up && !has_failed => {
                console.success(UP);
                is_up = true;
                continue;
            }
            _ = signals.next() => {
                console.info("terminated signal received: shutting down");
                return has_failed;
            }
        };
        has_failed |= !running[index].note(end, console);
    }
    console.info("every app has ended: shutting down");
    has_failed
}

/// Stop all at the same time, each in its order. Returns whether all ended well.
async fn stop_all(running: &mut [Running], console: &Console) -> bool {
    let ends = join_all(running.iter_mut().map(|running| running.stop(console))).await;
    ends.into_iter().all(|is_good| is_good)
}
