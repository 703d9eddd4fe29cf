//! Serving: every part becomes a task, until the end is requested.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::Instant;

use super::handles::Handles;
use super::metrics_server;
use super::reload::Reload;
use crate::api::error::GrpcCode;
use crate::api::grpc::{self, RefuseCalls};
use crate::api::http::service;
use crate::api::{self, Extended, ShutdownRequest};
use crate::app::Channel;
use crate::delivery::supervisor::Supervisor;
use crate::health::Health;
use crate::resources::files::watch::Watch;
use crate::server::{Limit, Limits, Listener, Response, Server, Service, Transport, Versions};
use crate::shutdown::Stop;
use crate::telemetry::Telemetry;
use crate::telemetry::events::app::DiscoverySkipped;
use crate::telemetry::events::lifecycle::{ConfigurationSkipped, GrpcRunning, HttpRunning, Initialized};

/// A sidecar that has been built: its ports are bound, its brokers made.
pub struct Runtime {
    pub(super) handles: Handles,
    pub(super) supervisor: Supervisor,
    pub(super) channel: Option<Arc<dyn Channel>>,
    pub(super) context: api::Context,
    pub(super) grpc: Vec<Listener>,
    pub(super) http: Vec<Listener>,
    pub(super) public: Option<Listener>,
    pub(super) metrics: Option<tokio::net::TcpListener>,
    pub(super) requests: mpsc::UnboundedReceiver<ShutdownRequest>,
    /// Follows the resource folders; `None` without hot reload.
    pub(super) reload: Option<(Reload, Watch, Duration)>,
    /// Ends hot reload.
    pub(super) reloading: Stop,
    /// Triggered when the resource folders have become unusable.
    pub(super) failed: Stop,
    pub(super) begun: Instant,
}

/// How a sidecar ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// In order.
    Graceful,
    /// Something did not end within the grace period.
    TimedOut,
    /// The API requested the end at once.
    Forced,
    /// Hot reload found files with which the sidecar cannot go on. It ended in order.
    Failed,
}

impl Outcome {
    /// The exit code of the process.
    pub fn exit_code(self) -> u8 {
        match self {
            Self::Graceful => 0,
            Self::TimedOut | Self::Forced | Self::Failed => 1,
        }
    }
}

impl Runtime {
    /// The port of the HTTP API; `None` if it listens on a socket in a folder.
    pub fn http_port(&self) -> Option<u16> {
        self.http.first().and_then(Listener::port)
    }

    /// Its readiness.
    pub fn health(&self) -> Health {
        self.handles.health.clone()
    }

    /// The place of the HTTP API, in words.
    fn http_place(&self) -> String {
        match self.http_port() {
            Some(port) => format!("port {port}"),
            None => format!("the socket dapr-{}-http.socket", self.handles.settings.app_id),
        }
    }

    /// The values that clients add to the metadata: `run` puts the app's command there.
    pub fn extended(&self) -> Extended {
        self.context.extended.clone()
    }

    /// Serve until `stop` is triggered or the API requests the end, then stop in order.
    pub async fn run(mut self, stop: Stop) -> Outcome {
        self.start();
        let request = tokio::select! {
            () = stop.triggered() => None,
            () = self.failed.triggered() => {
                // The reason has been logged as fatal.
                self.stop(false).await;
                return Outcome::Failed;
            }
            request = self.requests.recv() => request,
        };
        match request {
            Some(ShutdownRequest::Forced) => {
                // Time to send the answer to the client. Nothing else is waited for.
                tokio::time::sleep(Duration::from_millis(100)).await;
                Outcome::Forced
            }
            Some(ShutdownRequest::Graceful) => self.stop(false).await,
            None => self.stop(true).await,
        }
    }

    /// Start the tasks.
    fn start(&mut self) {
        self.handles.telemetry.emit(GrpcRunning { port: self.grpc.first().and_then(Listener::port) });
        self.handles
            .telemetry
            .emit(HttpRunning { port: self.http_port(), max_body: self.handles.settings.http.max_body });
        // Before the ports are served: a sidecar that waits for nothing is never seen unready.
        self.handles.health.outbound_ready();
        match self.channel.take() {
            None => {
                let disabled = self.handles.settings.disabled_init_endpoints;
                if disabled.config {
                    self.handles.telemetry.emit(ConfigurationSkipped);
                }
                if disabled.subscribe {
                    self.handles.telemetry.emit(DiscoverySkipped);
                }
                ready(&self.handles.health, &self.handles.telemetry, self.begun);
            }
            Some(channel) => drop(self.handles.tasks.spawn("app start", self.begin_with(channel))),
        }
        self.serve();
        if let Some((reload, watch, period)) = self.reload.take() {
            let (reloading, failed) = (self.reloading.clone(), self.failed.clone());
            let following = reload.follow(watch, period, reloading, failed);
            self.handles.tasks.spawn("hot reload", following);
        }
    }

    /// Wait for the app, and start its subscriptions. Then the sidecar is ready.
    fn begin_with(&self, channel: Arc<dyn Channel>) -> impl Future<Output = ()> + Send + 'static {
        let (settings, supervisor, stop) =
            (self.handles.settings.clone(), self.supervisor.clone(), self.handles.stop.child());
        let (health, telemetry, begun) = (self.handles.health.clone(), self.handles.telemetry.clone(), self.begun);
        async move {
            if !channel.listening(&stop).await {
                return;
            }
            let checks = settings.app().and_then(|app| app.health.clone());
            if stop.run_until_triggered(supervisor.start(channel, checks)).await.is_some() {
                ready(&health, &telemetry, begun);
            }
        }
    }

    /// Serve all ports.
    fn serve(&mut self) {
        let http = &self.handles.settings.http;
        let limits = Limits { connections: http.max_connections, requests: http.max_requests };
        let api = self.server(
            "http connection",
            service::api(self.context.clone()),
            service::transport(http),
            limits,
            service::overloaded,
        );
        let public = self.server(
            "http connection",
            service::public(self.context.clone()),
            Transport::http(Versions::Http1, http.read_buffer),
            limits,
            service::overloaded,
        );
        let refusal = RefuseCalls::new(GrpcCode::Unimplemented, &grpc::refusal(&self.http_place()));
        let grpc = self.server("grpc connection", refusal, Transport::grpc(), limits, grpc::overloaded);
        let has_series = self.handles.settings.metrics.as_ref().is_some_and(|metrics| metrics.has_series);
        let page = metrics_server::page(has_series.then(|| self.handles.telemetry.clone()));
        let metrics = self.server(
            "metrics connection",
            page,
            Transport::http(Versions::Http1, metrics_server::READ_BUFFER),
            metrics_server::LIMITS,
            metrics_server::overloaded,
        );
        for listener in self.grpc.drain(..) {
            self.handles.tasks.spawn("grpc api", grpc.clone().serve(listener));
        }
        for listener in self.http.drain(..) {
            self.handles.tasks.spawn("http api", api.clone().serve(listener));
        }
        if let Some(listener) = self.public.take() {
            self.handles.tasks.spawn("public http api", public.serve(listener));
        }
        if let Some(listener) = self.metrics.take() {
            self.handles.tasks.spawn("metrics", metrics.serve(listener));
        }
    }

    fn server<S: Service>(
        &self,
        name: &'static str,
        service: S,
        transport: Transport,
        limits: Limits,
        overloaded: fn(Limit) -> Response,
    ) -> Server<S> {
        let (stop, tasks, telemetry) =
            (self.handles.stop.clone(), self.handles.tasks.clone(), self.handles.telemetry.clone());
        Server { name, service, transport, limits, overloaded, stop, tasks, telemetry }
    }
}

/// Report that everything is ready that the start waits for.
fn ready(health: &Health, telemetry: &Telemetry, begun: Instant) {
    health.ready();
    telemetry.emit(Initialized { elapsed: begun.elapsed() });
}
