//! `sidestream run`: a sidecar and an app, started together, stopped in order (spec resources-cli.md 3.1 to 3.4).
//!
//! The sidecar runs in this process, with the flags that the stock command line would give it ([`flags`]); the app is a child in its own
//! process group ([`app`]). The exit code is the app's.

mod app;
mod console;
mod flags;
mod metadata;
mod names;

use std::path::PathBuf;

use anyhow::Context as _;
use tokio::sync::oneshot;

use self::app::App;
use self::console::Console;
use self::flags::Launch;
use crate::environment::Environment;
use crate::runtime::{Plan, Runtime};
use crate::shutdown::signals::Signals;
use crate::shutdown::{Stop, Tasks};

/// What `sidestream run` was asked for, as typed: `None`, empty or `false` where a flag was not given (spec resources-cli.md 3.1).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RunArgs {
    /// `--app-id`, `-a`.
    pub app_id: Option<String>,
    /// `--app-port`, `-p`; 0 or less is none.
    pub app_port: Option<i32>,
    /// `--app-protocol`, `-P`.
    pub app_protocol: Option<String>,
    /// `--app-ssl`.
    pub app_ssl: bool,
    /// `--app-channel-address`.
    pub app_channel_address: Option<String>,
    /// `--dapr-http-port`, `-H`; 0 or less takes a free one.
    pub dapr_http_port: Option<i32>,
    /// `--dapr-grpc-port`, `-G`; 0 or less takes a free one.
    pub dapr_grpc_port: Option<i32>,
    /// `--metrics-port`, `-M`; 0 or less takes a free one.
    pub metrics_port: Option<i32>,
    /// `--config`, `-c`.
    pub config: Option<PathBuf>,
    /// `--resources-path`, every one of them.
    pub resources_path: Vec<PathBuf>,
    /// `--components-path`, `-d`: counts if there is no `--resources-path`.
    pub components_path: Option<PathBuf>,
    /// `--log-level`.
    pub log_level: Option<String>,
    /// `--log-as-json`.
    pub log_as_json: bool,
    /// `--app-max-concurrency`; less than 1 is unlimited.
    pub app_max_concurrency: Option<i64>,
    /// `--enable-api-logging`.
    pub enable_api_logging: bool,
    /// `--enable-app-health-check`.
    pub enable_app_health_check: bool,
    /// `--app-health-check-path`.
    pub app_health_check_path: Option<String>,
    /// `--app-health-probe-interval`, seconds; 0 is not given.
    pub app_health_probe_interval: i64,
    /// `--app-health-probe-timeout`, milliseconds; 0 is not given.
    pub app_health_probe_timeout: i64,
    /// `--app-health-threshold`; 0 is not given.
    pub app_health_threshold: i64,
    /// `--max-body-size`, a quantity.
    pub max_body_size: Option<String>,
    /// `--read-buffer-size`, a quantity.
    pub read_buffer_size: Option<String>,
    /// `--unix-domain-socket`, `-u`.
    pub unix_domain_socket: Option<String>,
    /// `--dapr-listen-addresses`.
    pub dapr_listen_addresses: Option<String>,
    /// `--runtime-path`.
    pub runtime_path: Option<PathBuf>,
    /// What stands after `--`: the app and its arguments. Empty: the sidecar runs alone.
    pub command: Vec<String>,
}

/// Run sidecar and app until one of them ends or a signal comes. The answer is the exit code.
///
/// # Errors
/// If this process cannot listen for signals. All other mistakes are told on the console, with exit code 1.
pub async fn run(args: RunArgs, environment: &Environment) -> anyhow::Result<u8> {
    let mut signals = Signals::listen().context("cannot listen for signals")?;
    let console = Console::new(args.log_as_json);
    let launch = match Launch::of(&args, environment) {
        Ok(launch) => launch,
        Err(error) => return Ok(console.give_up(&error)),
    };
    announce(&console, &launch, &args);
    let mut sidecar = match Sidecar::start(&launch, environment).await {
        Ok(sidecar) => sidecar,
        Err(error) => return Ok(console.give_up(&format!("{error:#}"))),
    };
    let mut app = match App::start(&args.command, &launch.app_environment(environment)) {
        Ok(app) => app,
        Err(error) => {
            // How it ends does not matter beside the reason why.
            let _ = sidecar.stop().await;
            return Ok(console.give_up(&error));
        }
    };
    welcome(&console, &launch, app.as_ref(), environment).await;

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

fn announce(console: &Console, launch: &Launch, args: &RunArgs) {
    if args.command.is_empty() {
        console.warning("WARNING: no application command found.");
    }
    let id = &launch.app_id;
    console.info(&match &launch.socket_dir {
        Some(dir) => format!(
            "Starting Dapr with id {id}. HTTP Socket: {dir}/dapr-{id}-http.socket. gRPC Socket: {dir}/dapr-{id}-grpc.socket."
        ),
        None => format!(
            "Starting Dapr with id {id}. HTTP Port: {}. gRPC Port: {}",
            launch.ports.http, launch.ports.grpc
        ),
    });
    if launch.embedded_pubsub {
        console.info(
            "No resources: the pub/sub `pubsub` is the embedded in-memory broker. Events do not survive this process.",
        );
    }
    if args.app_port.is_none_or(|port| port <= 0) && !args.command.is_empty() {
        console.info("No --app-port: the app can publish, and is given no events.");
    }
}

/// Tell the sidecar what it belongs to, and the user that all runs.
async fn welcome(console: &Console, launch: &Launch, app: Option<&App>, environment: &Environment) {
    for (key, value) in metadata::entries(app) {
        if let Err(error) = metadata::put(launch, environment, key, &value).await {
            console.warning(&format!(
                "Could not update sidecar metadata for {key}: {error}"
            ));
        }
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
}

impl Sidecar {
    /// The seam to the runtime: from daprd's flags to a running sidecar that logs to standard output.
    async fn start(launch: &Launch, environment: &Environment) -> anyhow::Result<Self> {
        let mut plan = Plan::from_flags(&launch.flags, environment)?;
        plan.settings.embedded_pubsub = launch.embedded_pubsub;
        let runtime = Runtime::build(plan).await?;
        let (stop, tasks) = (Stop::new(), Tasks::new());
        let (sender, end) = oneshot::channel();
        let order = stop.clone();
        tasks.spawn("sidecar", async move {
            let end = runtime.run(order).await;
            // Nobody listens any more only when this process is about to end.
            let _ = sender.send(end.map_err(|error| format!("{error:#}")));
        });
        Ok(Self { stop, tasks, end })
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
