//! Start and stop of a sidecar: the lines that people search logs for (tests/spec/resources-cli.md, "12. Log format").

use std::fmt::{self, Display};
use std::path::PathBuf;
use std::time::Duration;

use crate::telemetry::event::Event;
use crate::telemetry::log::{Level, Log};

const RUNTIME: &str = "dapr.runtime";

/// The process ends because of an error.
pub struct FatalError<'a> {
    /// The whole message.
    pub message: &'a dyn Display,
}

impl Event for FatalError<'_> {
    fn log(&self, log: &Log) {
        fatal(log, format_args!("{}", self.message));
    }
}

/// The command line has been read.
pub struct Starting<'a> {
    /// The version of the Dapr API.
    pub api_version: &'a str,
    /// The level of the log.
    pub level: Level,
}

impl Event for Starting<'_> {
    fn log(&self, log: &Log) {
        let (version, own) = (self.api_version, env!("CARGO_PKG_VERSION"));
        info(log, format_args!("Starting Dapr Runtime -- version {version} -- sidestream {own}"));
        info(log, format_args!("Log level set to: {}", self.level.word()));
    }
}

/// The settings are known.
pub struct SettingsResolved<'a> {
    /// The app id.
    pub app_id: &'a str,
    /// The enabled features of the Configuration.
    pub features: &'a [String],
}

impl Event for SettingsResolved<'_> {
    fn log(&self, log: &Log) {
        info(log, format_args!("standalone mode configured"));
        info(log, format_args!("app id: {}", self.app_id));
        info(log, format_args!("Enabled features: {}", self.features.join(" ")));
    }
}

/// The trace sampler is known.
pub struct SamplerInitialized<'a> {
    /// The sampler of traces that begin here, in the words of the SDK that daprd uses.
    pub root: &'a str,
}

impl Event for SamplerInitialized<'_> {
    fn log(&self, log: &Log) {
        let root = self.root;
        info(
            log,
            format_args!(
                "Dapr trace sampler initialized: ParentBased{{root:{root},remoteParentSampled:AlwaysOnSampler,remoteParentNotSampled:AlwaysOffSampler,localParentSampled:AlwaysOnSampler,localParentNotSampled:AlwaysOffSampler}}"
            ),
        );
    }
}

/// The settings give the shutdown no time limit.
pub struct ShutdownUnlimited;

impl Event for ShutdownUnlimited {
    fn log(&self, log: &Log) {
        warn(log, format_args!("Graceful shutdown timeout is infinite, will wait indefinitely to shutdown"));
    }
}

/// The metrics page is served.
pub struct MetricsListening<'a> {
    /// Host and port.
    pub address: &'a str,
}

impl Event for MetricsListening<'_> {
    fn log(&self, log: &Log) {
        log.write(Level::Info, "dapr.metrics", format_args!("metrics server started on {}/", self.address), &[]);
    }
}

/// There is no `--app-port`.
pub struct AppNotConfigured;

impl Event for AppNotConfigured {
    fn log(&self, log: &Log) {
        warn(log, format_args!("App channel is not initialized. Did you configure an app-port?"));
    }
}

/// Files declare subscriptions, and there is no app to deliver to.
pub struct SubscriptionsWithoutApp {
    /// The number of subscriptions.
    pub count: usize,
}

impl Event for SubscriptionsWithoutApp {
    fn log(&self, log: &Log) {
        let count = self.count;
        warn(
            log,
            format_args!(
                "{count} subscriptions are declared in files, and nothing is delivered: without --app-port there is no app to deliver to"
            ),
        );
    }
}

/// No pub/sub component is loaded.
pub struct NoPubsubLoaded<'a> {
    /// The resource folders.
    pub folders: &'a [PathBuf],
}

impl Event for NoPubsubLoaded<'_> {
    fn log(&self, log: &Log) {
        let folders: Vec<_> = self.folders.iter().map(|path| path.display().to_string()).collect();
        let reason = if folders.is_empty() {
            "there is no --resources-path; give the folder that holds the component files".to_owned()
        } else {
            format!("there is none for this app in {}; `sidestream check` says what is in there", folders.join(", "))
        };
        warn(
            log,
            format_args!("no pub/sub component is loaded, so nothing can be published or subscribed to: {reason}"),
        );
    }
}

/// A port is in use by another process.
pub struct PortTaken<'a> {
    /// Which port, and what to do about it.
    pub advice: &'a str,
}

impl Event for PortTaken<'_> {
    fn log(&self, log: &Log) {
        warn(log, format_args!("{}. It is tried again for 10 seconds", self.advice));
    }
}

/// The gRPC port answers, though not yet with the API.
pub struct GrpcRunning {
    /// `None`: it listens on a Unix socket.
    pub port: Option<u16>,
}

impl Event for GrpcRunning {
    fn log(&self, log: &Log) {
        match self.port {
            Some(port) => info(log, format_args!("API gRPC server is running on port {port}")),
            None => info(log, format_args!("API gRPC server is running on a Unix Domain Socket")),
        }
        info(
            log,
            format_args!("the gRPC API is not there yet: its calls are answered with UNIMPLEMENTED, use the HTTP API"),
        );
    }
}

/// The HTTP API is served.
pub struct HttpRunning {
    /// `None`: it listens on a Unix socket.
    pub port: Option<u16>,
    /// The limit of a request body in bytes; `None`: no limit.
    pub max_body: Option<usize>,
}

impl Event for HttpRunning {
    fn log(&self, log: &Log) {
        match self.port {
            Some(port) => info(log, format_args!("HTTP server is running on port {port}")),
            None => info(log, format_args!("HTTP server is running on a Unix Domain Socket")),
        }
        info(log, format_args!("The request body size parameter is: {} bytes", self.max_body.unwrap_or(0)));
    }
}

/// The app is not asked for its configuration, because of `--disable-init-endpoints config`.
pub struct ConfigurationSkipped;

impl Event for ConfigurationSkipped {
    fn log(&self, log: &Log) {
        warn(
            log,
            format_args!(
                "Skipping programmatic dapr configuration loading (see 'disable-init-endpoints' flag/annotation)"
            ),
        );
    }
}

/// The sidecar is ready.
pub struct Initialized {
    /// Since the start.
    pub elapsed: Duration,
}

impl Event for Initialized {
    fn log(&self, log: &Log) {
        info(log, format_args!("dapr initialized. Status: Running. Init Elapsed {}ms", self.elapsed.as_millis()));
    }
}

/// The settings of a component have an unusual value (D15).
pub struct ComponentWarned<'a> {
    /// The component as the log names it.
    pub component: &'a str,
    /// The warning.
    pub warning: &'a str,
}

impl Event for ComponentWarned<'_> {
    fn log(&self, log: &Log) {
        let Self { component, warning } = self;
        log.write(Level::Warn, "dapr.contrib", format_args!("{warning}"), &[("component", component)]);
    }
}

/// The broker of a component cannot be reached at the start. The sidecar keeps trying (D12).
pub struct BrokerUnreachable<'a> {
    /// The component as the log names it.
    pub component: &'a dyn Display,
    /// The failure of the first attempt.
    pub error: &'a dyn Display,
}

impl Event for BrokerUnreachable<'_> {
    fn log(&self, log: &Log) {
        let Self { component, error } = self;
        warn(log, format_args!("component {component} cannot be reached yet, trying again until it can: {error}"));
    }
}

/// A broker that was unreachable at the start has been reached.
pub struct BrokerReached<'a> {
    /// The name of the component.
    pub component: &'a str,
}

impl Event for BrokerReached<'_> {
    fn log(&self, log: &Log) {
        info(log, format_args!("Component loaded: {}", self.component));
    }
}

/// A signal asked for the end.
pub struct SignalReceived<'a> {
    /// The name of the signal.
    pub signal: &'a str,
}

impl Event for SignalReceived<'_> {
    fn log(&self, log: &Log) {
        info(log, format_args!("Received signal '{}'; beginning shutdown", self.signal));
    }
}

/// A signal asked for a restart.
pub struct RestartRequested<'a> {
    /// The name of the signal.
    pub signal: &'a str,
}

impl Event for RestartRequested<'_> {
    fn log(&self, log: &Log) {
        info(log, format_args!("Received signal '{}'; restarting", self.signal));
    }
}

/// A second signal arrived during the shutdown.
pub struct SecondSignalReceived<'a> {
    /// The name of the signal.
    pub signal: &'a str,
}

impl Event for SecondSignalReceived<'_> {
    fn log(&self, log: &Log) {
        fatal(log, format_args!("Received signal '{}' during shutdown; exiting immediately", self.signal));
    }
}

/// The time of `--dapr-block-shutdown-duration` has begun.
pub struct ShutdownBlocked<'a> {
    /// That time.
    pub duration: &'a dyn Display,
}

impl Event for ShutdownBlocked<'_> {
    fn log(&self, log: &Log) {
        let duration = self.duration;
        info(log, format_args!("Blocking graceful shutdown for {duration} or until app reports unhealthy..."));
    }
}

/// The time of `--dapr-block-shutdown-duration` is over.
pub struct BlockExpired;

impl Event for BlockExpired {
    fn log(&self, log: &Log) {
        info(log, format_args!("Block shutdown period expired, entering shutdown..."));
    }
}

/// The time of `--dapr-block-shutdown-duration` was cut short, because the app became unhealthy.
pub struct BlockEndedByApp;

impl Event for BlockEndedByApp {
    fn log(&self, log: &Log) {
        info(log, format_args!("App reported unhealthy, entering shutdown..."));
    }
}

/// The shutdown has begun.
pub struct ShuttingDown;

impl Event for ShuttingDown {
    fn log(&self, log: &Log) {
        info(log, format_args!("Dapr is shutting down"));
    }
}

/// The connections of a component are closed.
pub struct ComponentClosing<'a> {
    /// The component as the log names it.
    pub component: &'a dyn Display,
}

impl Event for ComponentClosing<'_> {
    fn log(&self, log: &Log) {
        info(log, format_args!("Shutting down component {}", self.component));
    }
}

/// The shutdown has exceeded its time limit.
pub struct ShutdownTimedOut<'a> {
    /// The names of the tasks that have not ended.
    pub running: &'a [&'a str],
}

impl Event for ShutdownTimedOut<'_> {
    fn log(&self, log: &Log) {
        warn(log, format_args!("still running: {}", self.running.join(", ")));
        fatal(log, format_args!("Graceful shutdown timeout exceeded, forcing shutdown"));
    }
}

/// The shutdown is complete.
pub struct ShutDown;

impl Event for ShutDown {
    fn log(&self, log: &Log) {
        info(log, format_args!("Dapr runtime stopped"));
        info(log, format_args!("Daprd shutdown gracefully"));
    }
}

fn info(log: &Log, message: fmt::Arguments<'_>) {
    log.write(Level::Info, RUNTIME, message, &[]);
}

fn warn(log: &Log, message: fmt::Arguments<'_>) {
    log.write(Level::Warn, RUNTIME, message, &[]);
}

fn fatal(log: &Log, message: fmt::Arguments<'_>) {
    log.write(Level::Fatal, RUNTIME, message, &[]);
}
