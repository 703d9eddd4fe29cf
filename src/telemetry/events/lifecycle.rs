//! Start and stop of a sidecar: the lines that people grep for (tests/spec/resources-cli.md, "12. Log format").

use std::fmt::Display;
use std::path::PathBuf;
use std::time::Duration;

use crate::telemetry::Telemetry;
use crate::telemetry::log::Level;

const RUNTIME: &str = "dapr.runtime";

impl Telemetry {
    /// The process ends because of this.
    pub fn fatal(&self, message: &dyn Display) {
        self.0.log.write(Level::Fatal, RUNTIME, format_args!("{message}"), &[]);
    }

    /// The command line has been read.
    pub fn starting(&self, version: &str, level: Level) {
        self.runtime(format_args!(
            "Starting Dapr Runtime -- version {version} -- sidestream {}",
            env!("CARGO_PKG_VERSION")
        ));
        self.runtime(format_args!("Log level set to: {}", level.word()));
    }

    /// Who this is and what it may do.
    pub fn identity(&self, app_id: &str, features: &[String]) {
        self.runtime(format_args!("standalone mode configured"));
        self.runtime(format_args!("app id: {app_id}"));
        self.runtime(format_args!("Enabled features: {}", features.join(" ")));
    }

    /// Which traces are sampled.
    pub fn sampler_initialized(&self, root: &str) {
        self.runtime(format_args!("Dapr trace sampler initialized: ParentBased{{root:{root},remoteParentSampled:AlwaysOnSampler,remoteParentNotSampled:AlwaysOffSampler,localParentSampled:AlwaysOnSampler,localParentNotSampled:AlwaysOffSampler}}"));
    }

    /// The shutdown has no limit.
    pub fn shutdown_without_limit(&self) {
        self.0.log.write(
            Level::Warn,
            RUNTIME,
            format_args!("Graceful shutdown timeout is infinite, will wait indefinitely to shutdown"),
            &[],
        );
    }

    /// The metrics page can be read.
    pub fn metrics_listening(&self, address: &str) {
        self.0.log.write(Level::Info, "dapr.metrics", format_args!("metrics server started on {address}/"), &[]);
    }

    /// There is no `--app-port`.
    pub fn no_app(&self) {
        self.0.log.write(
            Level::Warn,
            RUNTIME,
            format_args!("App channel is not initialized. Did you configure an app-port?"),
            &[],
        );
    }

    /// Events are subscribed to, and nobody is there to get them.
    pub fn subscriptions_without_app(&self, count: usize) {
        self.0.log.write(
            Level::Warn,
            RUNTIME,
            format_args!(
                "{count} subscriptions are declared in files, and nothing is delivered: without --app-port there is no app to deliver to"
            ),
            &[],
        );
    }

    /// There is nothing that one could publish to.
    pub fn no_pubsub(&self, folders: &[PathBuf]) {
        let folders: Vec<_> = folders.iter().map(|path| path.display().to_string()).collect();
        let reason = if folders.is_empty() {
            "there is no --resources-path; give the folder that holds the component files".to_owned()
        } else {
            format!("there is none for this app in {}; `sidestream check` says what is in there", folders.join(", "))
        };
        self.0.log.write(
            Level::Warn,
            RUNTIME,
            format_args!("no pub/sub component is loaded, so nothing can be published or subscribed to: {reason}"),
            &[],
        );
    }

    /// A port cannot be had now.
    pub fn port_taken(&self, advice: &str) {
        self.0.log.write(Level::Warn, RUNTIME, format_args!("{advice}. It is tried again for 10 seconds"), &[]);
    }

    /// The gRPC port answers, though not yet with the API.
    pub fn grpc_running(&self, port: Option<u16>) {
        match port {
            Some(port) => self.runtime(format_args!("API gRPC server is running on port {port}")),
            None => self.runtime(format_args!("API gRPC server is running on a Unix Domain Socket")),
        }
        self.runtime(format_args!(
            "the gRPC API is not there yet: its calls are answered with UNIMPLEMENTED, use the HTTP API"
        ));
    }

    /// The HTTP API can be used.
    pub fn http_running(&self, port: Option<u16>, max_body: Option<usize>) {
        match port {
            Some(port) => self.runtime(format_args!("HTTP server is running on port {port}")),
            None => self.runtime(format_args!("HTTP server is running on a Unix Domain Socket")),
        }
        self.runtime(format_args!("The request body size parameter is: {} bytes", max_body.unwrap_or(0)));
    }

    /// `--disable-init-endpoints config`.
    pub fn configuration_skipped(&self) {
        self.0.log.write(
            Level::Warn,
            RUNTIME,
            format_args!(
                "Skipping programmatic dapr configuration loading (see 'disable-init-endpoints' flag/annotation)"
            ),
            &[],
        );
    }

    /// Everything is ready.
    pub fn initialized(&self, elapsed: Duration) {
        self.runtime(format_args!("dapr initialized. Status: Running. Init Elapsed {}ms", elapsed.as_millis()));
    }

    /// Something about a component's settings is odd (D15).
    pub fn component_warning(&self, component: &str, warning: &str) {
        self.0.log.write(Level::Warn, "dapr.contrib", format_args!("{warning}"), &[("component", &component)]);
    }

    /// A broker is away at start; it is tried again until it is there (D12).
    pub fn broker_away(&self, component: &dyn Display, error: &dyn Display) {
        self.0.log.write(
            Level::Warn,
            RUNTIME,
            format_args!("component {component} cannot be reached yet, trying again until it can: {error}"),
            &[],
        );
    }

    /// That broker is there now.
    pub fn broker_reached(&self, component: &str) {
        self.runtime(format_args!("Component loaded: {component}"));
    }

    /// A signal asked for the end.
    pub fn signal_received(&self, signal: &str) {
        self.runtime(format_args!("Received signal '{signal}'; beginning shutdown"));
    }

    /// A signal asked for a new beginning.
    pub fn restart_requested(&self, signal: &str) {
        self.runtime(format_args!("Received signal '{signal}'; restarting"));
    }

    /// A second signal during the shutdown.
    pub fn second_signal_received(&self, signal: &str) {
        self.fatal(&format_args!("Received signal '{signal}' during shutdown; exiting immediately"));
    }

    /// `--dapr-block-shutdown-duration` has begun.
    pub fn blocking_shutdown(&self, duration: &dyn Display) {
        self.runtime(format_args!("Blocking graceful shutdown for {duration} or until app reports unhealthy..."));
    }

    /// It is over.
    pub fn block_expired(&self) {
        self.runtime(format_args!("Block shutdown period expired, entering shutdown..."));
    }

    /// It is over early.
    pub fn block_ended_by_app(&self) {
        self.runtime(format_args!("App reported unhealthy, entering shutdown..."));
    }

    /// The stop has begun.
    pub fn shutting_down(&self) {
        self.runtime(format_args!("Dapr is shutting down"));
    }

    /// A component is let go.
    pub fn component_closing(&self, component: &dyn Display) {
        self.runtime(format_args!("Shutting down component {component}"));
    }

    /// The stop took too long.
    pub fn shutdown_timed_out(&self, running: &[&str]) {
        self.0.log.write(Level::Warn, RUNTIME, format_args!("still running: {}", running.join(", ")), &[]);
        self.fatal(&"Graceful shutdown timeout exceeded, forcing shutdown");
    }

    /// The stop is over.
    pub fn shut_down(&self) {
        self.runtime(format_args!("Dapr runtime stopped"));
        self.runtime(format_args!("Daprd shutdown gracefully"));
    }

    fn runtime(&self, message: std::fmt::Arguments<'_>) {
        self.0.log.write(Level::Info, RUNTIME, message, &[]);
    }
}
