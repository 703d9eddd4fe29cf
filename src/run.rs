//! `sidestream run`: a sidecar and an app, started together, stopped in order (spec resources-cli.md 3.1 to 3.4).
//!
//! The sidecar runs in this process, with the flags that the stock command line would give it ([`launch`]); the app is a child in its own
//! process group ([`app`]). The exit code is the app's.

mod app;
mod console;
mod launch;
mod names;

use anyhow::Context as _;
use tokio::sync::oneshot;

use self::app::App;
use self::console::Console;
use self::launch::Launch;
use crate::api::Extended;
use crate::cli::RunArgs;
use crate::environment::Environment;
use crate::runtime::{Outcome, Plan, Runtime};
use crate::shutdown::signals::Signals;
use crate::shutdown::{Stop, Tasks};

/// What stands before every line of the sidecar's log, unless the lines are JSON.
const PREFIX: &str = "== DAPR == ";

/// Run sidecar and app until one of them ends or a signal comes. The answer is the exit code.
///
/// # Errors
/// If this process cannot listen for signals. All other mistakes are told on the console, with exit code 1.
pub async fn run(args: &RunArgs, environment: &Environment) -> anyhow::Result<u8> {
    let mut signals = Signals::listen_with_hang_up().context("cannot listen for signals")?;
    let console = Console::new(args.flags.log_as_json);
    let launch = match supported(args).and_then(|()| Launch::of(args, environment)) {
        Ok(launch) => launch,
        Err(error) => return Ok(console.give_up(&error)),
    };
    announce(&console, &launch, args);
    let sidecar = tokio::select! {
        sidecar = Sidecar::start(&launch, environment.clone()) => sidecar,
        _ = signals.next() => return Ok(console.give_up("stopped before it was started")),
    };
    let Some(mut sidecar) = sidecar else {
        return Ok(console.give_up("The sidecar did not start. Its log says why."));
    };
    if launch::app_port(&launch.flags).is_none() {
        console.info("Dapr sidecar is up and running.");
    }
    let mut app = match App::start(&args.command, &launch.app_environment(environment)) {
        Ok(app) => app,
        Err(error) => {
            // How it ends does not matter beside the reason why.
            let _ = sidecar.stop().await;
            return Ok(console.give_up(&error));
        }
    };
    welcome(&console, &sidecar.extended, app.as_ref());

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

/// What the stock command line has and this one has not.
fn supported(args: &RunArgs) -> Result<(), String> {
    if args.extra.kubernetes {
        return Err(
            "-k, --kubernetes is not supported: run starts processes of this machine".to_owned(),
        );
    }
    match &args.extra.run_file {
        Some(file) => Err(format!(
            "run files are not supported yet: start each app of {} with a `sidestream run` of its own",
            file.display()
        )),
        None => Ok(()),
    }
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
        console.info(
            "No resources: the pub/sub `pubsub` is the embedded in-memory broker. Events do not survive this process.",
        );
    }
    if launch::app_port(flags).is_none() && !args.command.is_empty() {
        console.info("No --app-port: the app can publish, and is given no events.");
    }
}

/// Tell the sidecar whose it is, where others look for it (spec 3.4.4), and the user that all runs.
fn welcome(console: &Console, extended: &Extended, app: Option<&App>) {
    let put = |key: &str, value: String| extended.put(key.to_owned(), value);
    put("cliPID", std::process::id().to_string());
    if let Some(app) = app {
        put("appPID", app.process_id().to_string());
        put("appCommand", app.command().to_owned());
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

/// The sidecar in this process.
struct Sidecar {
    stop: Stop,
    tasks: Tasks,
    end: oneshot::Receiver<Result<(), String>>,
    extended: Extended,
}

impl Sidecar {
    /// From flags to a running sidecar that logs to standard output; `None` if it cannot start, which its log has told.
    async fn start(launch: &Launch, environment: Environment) -> Option<Self> {
        let mut plan = Plan::from_flags_with_prefix(&launch.flags, environment, PREFIX).ok()?;
        plan.settings.embedded_pubsub = launch.embedded_pubsub;
        let runtime = Runtime::build(plan).await.ok()?;
        let extended = runtime.extended();
        let (stop, tasks) = (Stop::new(), Tasks::new());
        let (sender, end) = oneshot::channel();
        let order = stop.clone();
        tasks.spawn("sidecar", async move {
            let end = match runtime.run(order).await {
                Outcome::Graceful => Ok(()),
                Outcome::TimedOut => Err("it did not end within its time".to_owned()),
                Outcome::Failed => Err("its resource files cannot be used any more".to_owned()),
                Outcome::Forced => Err("it was told to end at once".to_owned()),
            };
            // Nobody listens any more only when this process is about to end.
            let _ = sender.send(end);
        });
        Some(Self {
            stop,
            tasks,
            end,
            extended,
        })
    }

    /// Resolves when the sidecar ends by itself.
    async fn ended(&mut self) -> Result<(), String> {
        (&mut self.end)
            .await
            .unwrap_or_else(|_| Err("the sidecar ended without a word".to_owned()))
    }

    /// An orderly stop, bounded by the sidecar's own grace period.
    async fn stop(&mut self) -> Result<(), String> {
        self.stop.order();
        let end = self.ended().await;
        self.tasks.ended().await;
        end
    }
}
