//! One sidecar, from its plan to its end: builds everything in order, serves until it is told to stop, stops in reverse order.
//!
//! Nothing in a [`Runtime`] is global: many can run in one process. `main`, `run` and `demo` own the signals; a runtime is given a
//! [`Stop`]. Mirrors tests/spec/resources-cli.md, "11. Lifecycle".

mod assemble;
mod contact;
mod metrics_server;
mod reload;
mod stop;

use std::collections::BTreeSet;
use std::io::Write;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::Instant;

use self::contact::Contacts;
use self::reload::{Loaded, Reload, Shown};
pub use self::stop::Outcome;
use crate::api::error::GrpcCode;
use crate::api::grpc::{self, RefuseCalls};
use crate::api::http::{public_router, router};
use crate::api::{self, Extended, ShutdownRequest, Snapshot, listen};
use crate::app::{self, Channel};
use crate::broker::memory::shared::SharedBrokers;
use crate::cli::Flags;
use crate::config::{ConfigError, LogError, LogSettings, Settings};
use crate::delivery::supervisor::{Supervisor, SupervisorConfig};
use crate::diagnostic::Diagnostic;
use crate::environment::Environment;
use crate::health::Health;
use crate::publish::Publisher;
use crate::pubsub::Catalog;
use crate::resiliency::Targets;
use crate::resources::files::watch::Watch;
use crate::resources::last_good::LastGood;
use crate::resources::{LoadRequest, Resources};
use crate::server::{BodyMemory, Limit, Limits, Listener, Response, Server, Service, Transport, Versions};
use crate::shutdown::{Stop, Tasks};
use crate::telemetry::Telemetry;
use crate::telemetry::events::lifecycle::{
    AppNotConfigured, ConfigurationSkipped, FatalError, GrpcRunning, HttpRunning, Initialized, NoPubsubLoaded,
    PortTaken, SamplerInitialized, SettingsResolved, ShutdownUnlimited, Starting, SubscriptionsWithoutApp,
};
use crate::telemetry::log::LogBuilder;
use crate::telemetry::metrics::Metrics;
use crate::telemetry::trace::Tracing;

/// What a sidecar is to be.
pub struct Plan {
    /// Settled.
    pub settings: Settings,
    /// With what the sidecar sets for itself.
    pub environment: Environment,
    /// Where it logs and counts.
    pub telemetry: Telemetry,
    /// What there is to say about the input.
    pub diagnostics: Vec<Diagnostic>,
    /// Where its in-memory brokers are: shared with other sidecars of this process, or what its life before a restart has left.
    /// `None`: they are its own and begin empty.
    pub hub: Option<SharedBrokers>,
    /// The caller says why the sidecar does not start: the log is not to say it, too.
    pub leaves_failure_to_caller: bool,
}

/// What a caller decides about the log of a sidecar.
#[derive(Default)]
pub struct LogTarget<'a> {
    /// Stands before every line on standard output, which others write to as well.
    pub prefix: &'a str,
    /// Takes the place of standard output, or of the file that the flags name.
    pub out: Option<Box<dyn Write + Send>>,
    /// The caller says why the sidecar does not start: the log is not to say it, too.
    pub leaves_failure_to_caller: bool,
}

/// Why a sidecar does not start. Every line is one message of level fatal.
#[derive(Debug, thiserror::Error)]
#[error("{}", .0.join("\n"))]
pub struct StartError(pub Vec<String>);

impl StartError {
    fn fatal(error: impl std::fmt::Display) -> Self {
        Self(vec![format!("{FATAL}{error}")])
    }

    /// The reasons without the words that stand before them in the log.
    pub fn reasons(&self) -> impl Iterator<Item = &str> {
        let reason = |line| str::strip_prefix(line, FATAL).unwrap_or(line);
        self.0.iter().map(String::as_str).map(reason)
    }
}

/// What stands before a reason in the log.
const FATAL: &str = "Fatal error from runtime: ";

impl From<LogError> for StartError {
    fn from(error: LogError) -> Self {
        Self(vec![error.to_string()])
    }
}

impl Plan {
    /// From the command line. Mistakes are logged where the log goes.
    ///
    /// # Errors
    /// All mistakes in flags and Configuration files.
    pub fn from_flags(flags: &Flags, environment: Environment) -> Result<Self, StartError> {
        Self::from_flags_with_log(flags, environment, LogTarget::default())
    }

    /// The same with a log that the caller has a say in.
    ///
    /// # Errors
    /// As [`Plan::from_flags`].
    pub fn from_flags_with_log(
        flags: &Flags,
        environment: Environment,
        target: LogTarget<'_>,
    ) -> Result<Self, StartError> {
        let LogTarget { prefix, out, leaves_failure_to_caller } = target;
        let log = LogSettings::resolve(flags).and_then(|settings| Ok((settings.open()?, settings)));
        let (own, log) = match log {
            Ok(log) => log,
            Err(error) if leaves_failure_to_caller => return Err(error.into()),
            Err(error) => {
                // The log itself is what is wrong: the plain one says so.
                let level = crate::telemetry::log::Level::Info;
                let log = LogBuilder::new(level)
                    .json(flags.log_as_json)
                    .app_id(&flags.app_id)
                    .prefix(prefix)
                    .build(Box::new(std::io::stdout()));
                Telemetry::new(log, Metrics::default()).emit(FatalError { message: &error });
                return Err(error.into());
            }
        };
        let is_stdout = log.file.is_none() && out.is_none();
        let is_terminal = is_stdout && std::io::IsTerminal::is_terminal(&std::io::stdout());
        let builder = LogBuilder::new(log.level)
            .json(log.json)
            .colour(is_terminal)
            .version(api::API_VERSION)
            .prefix(if is_stdout { prefix } else { "" });
        let builder = if flags.app_id.is_empty() { builder } else { builder.app_id(&flags.app_id) };
        let metrics = Metrics::new(&flags.app_id, environment.get("NAMESPACE").unwrap_or_default());
        let telemetry = Telemetry::new(builder.build(out.unwrap_or(own)), metrics);
        telemetry.emit(Starting { api_version: api::API_VERSION, level: log.level });
        Self::settle(flags, environment, telemetry, leaves_failure_to_caller)
    }

    /// The same command line once more after a SIGHUP: its files are read again, log and counters go on.
    ///
    /// # Errors
    /// As [`Plan::from_flags`].
    pub fn again(flags: &Flags, environment: Environment, telemetry: Telemetry) -> Result<Self, StartError> {
        Self::settle(flags, environment, telemetry, false)
    }

    fn settle(
        flags: &Flags,
        mut environment: Environment,
        telemetry: Telemetry,
        leaves_failure_to_caller: bool,
    ) -> Result<Self, StartError> {
        match Settings::resolve(flags, &mut environment) {
            Ok(resolved) => Ok(Self {
                settings: resolved.settings,
                environment,
                telemetry,
                diagnostics: resolved.diagnostics,
                hub: None,
                leaves_failure_to_caller,
            }),
            Err(errors) => {
                let lines: Vec<_> = errors.iter().map(ConfigError::fatal_line).collect();
                if !leaves_failure_to_caller {
                    lines.iter().for_each(|line| telemetry.emit(FatalError { message: line }));
                }
                Err(StartError(lines))
            }
        }
    }
}

/// One sidecar, built: its ports are bound, its brokers made.
pub struct Runtime {
    settings: Arc<Settings>,
    telemetry: Telemetry,
    tasks: Tasks,
    /// Ends the API, and everything that is not a subscription.
    stop: Stop,
    health: Health,
    catalog: Catalog,
    supervisor: Supervisor,
    channel: Option<Arc<dyn Channel>>,
    context: api::Context,
    grpc: Vec<Listener>,
    http: Vec<Listener>,
    public: Option<Listener>,
    metrics: Option<tokio::net::TcpListener>,
    requests: mpsc::UnboundedReceiver<ShutdownRequest>,
    /// Follows the resource folders; `None` without hot reload.
    reload: Option<(Reload, Watch, Duration)>,
    /// Ends hot reload.
    reloading: Stop,
    /// Ordered when the resource folders have become unusable.
    failed: Stop,
    begun: Instant,
}

impl Runtime {
    /// Read the resources, make the brokers, bind the ports.
    ///
    /// # Errors
    /// All mistakes that were found; they have been logged unless the plan leaves that to the caller, and nothing is left running.
    pub async fn build(plan: Plan) -> Result<Self, StartError> {
        let telemetry = plan.telemetry.clone();
        let leaves_failure_to_caller = plan.leaves_failure_to_caller;
        Self::assemble(plan).await.inspect_err(|error| {
            if !leaves_failure_to_caller {
                error.0.iter().for_each(|line| telemetry.emit(FatalError { message: line }));
            }
        })
    }

    async fn assemble(plan: Plan) -> Result<Self, StartError> {
        let begun = Instant::now();
        let Plan { settings, environment, telemetry, diagnostics, hub, leaves_failure_to_caller: _ } = plan;
        let settings = Arc::new(settings);
        let hub = hub.unwrap_or_else(SharedBrokers::of_one_sidecar);
        telemetry.emit(SettingsResolved { app_id: &settings.app_id, features: &settings.features });
        if settings.graceful_shutdown.is_none() {
            telemetry.emit(ShutdownUnlimited);
        }
        diagnostics.iter().for_each(|diagnostic| diagnostic.report(&telemetry));
        // Said at once: what follows may take its time, and tries the ports again.
        for advice in listen::taken(&settings).await {
            telemetry.emit(PortTaken { advice: &advice });
        }
        let metrics = metrics_server::bind(&settings, &telemetry).await.map_err(StartError::fatal)?;
        let watch = reload::watch(&settings, &telemetry);
        let resources = usable(load(&settings, &environment, None), &telemetry)?;
        let (tasks, stop, health, catalog) = (Tasks::new(), Stop::new(), Health::default(), Catalog::default());
        let (targets, wrong) = Targets::new(&resources.resiliencies, telemetry.clone());
        wrong.iter().for_each(|diagnostic| diagnostic.report(&telemetry));
        let assembly = assemble::Assembly {
            targets: &targets,
            settings: &settings,
            environment: &environment,
            telemetry: &telemetry,
            tasks: &tasks,
            health: &health,
            hub: &hub,
        };
        let assembled = assembly.components(&resources, &catalog).await?;
        let tracing = Tracing::from_rate(settings.sampling_rate.as_deref());
        telemetry.emit(SamplerInitialized { root: &tracing.sampler() });
        let supervisor = Supervisor::new(SupervisorConfig {
            catalog: catalog.clone(),
            declared: resources.subscriptions.clone(),
            targets: targets.clone(),
            tracing: tracing.clone(),
            disabled: settings.disabled_init_endpoints,
            tasks: tasks.clone(),
            stop: stop.child(),
            health: health.clone(),
            telemetry: telemetry.clone(),
        })
        .map_err(|error| StartError::fatal(format_args!("failed to load declarative subscriptions: {error}")))?;
        let channel = match &settings.app {
            Some(settings_of_app) => {
                Some(app::channel(settings_of_app, &settings.app_id, telemetry.clone()).map_err(StartError::fatal)?)
            }
            None => {
                telemetry.emit(AppNotConfigured);
                if !resources.subscriptions.is_empty() {
                    telemetry.emit(SubscriptionsWithoutApp { count: resources.subscriptions.len() });
                }
                None
            }
        };
        if catalog.is_empty() {
            telemetry.emit(NoPubsubLoaded { folders: &settings.resources });
        }
        let Listeners { grpc, http, public } = bind(&settings, &telemetry).await?;
        let (shutdown, requests) = mpsc::unbounded_channel();
        let context = api::Context {
            settings: settings.clone(),
            publisher: Publisher::new(&settings.app_id, catalog.clone(), tracing.clone(), telemetry.clone()),
            catalog: catalog.clone(),
            components: Snapshot::new(assembled.loaded),
            resiliencies: Snapshot::new(resources.resiliencies.iter().map(|resource| resource.name.clone()).collect()),
            supervisor: supervisor.clone(),
            health: health.clone(),
            tracing,
            shutdown,
            extended: Extended::default(),
            bodies: BodyMemory::new(settings.http.max_body_memory, telemetry.clone()),
            telemetry: telemetry.clone(),
        };
        let mut contacts = Contacts::new(health.clone(), telemetry.clone(), tasks.clone(), stop.child());
        for pubsub in assembled.away {
            contacts.begin(pubsub);
        }
        let reload = watch.map(|(watch, period)| {
            let reload = Reload {
                settings: settings.clone(),
                environment,
                telemetry: telemetry.clone(),
                tasks: tasks.clone(),
                health: health.clone(),
                catalog: catalog.clone(),
                targets,
                supervisor: supervisor.clone(),
                contacts,
                loaded: Loaded::new(resources, &context.components.get()),
                shown: Shown { components: context.components.clone(), resiliencies: context.resiliencies.clone() },
                hub,
            };
            (reload, watch, period)
        });
        Ok(Self {
            settings,
            telemetry,
            tasks,
            stop,
            health,
            catalog,
            supervisor,
            channel,
            context,
            grpc,
            http,
            public,
            metrics,
            requests,
            reload,
            reloading: Stop::new(),
            failed: Stop::new(),
            begun,
        })
    }

    /// The port of the HTTP API; `None` if it listens on a socket in a folder.
    pub fn http_port(&self) -> Option<u16> {
        self.http.first().and_then(Listener::port)
    }

    /// Is it ready, and what is missing?
    pub fn health(&self) -> Health {
        self.health.clone()
    }

    /// Where the HTTP API is, for people.
    fn http_place(&self) -> String {
        match self.http_port() {
            Some(port) => format!("port {port}"),
            None => format!("the socket dapr-{}-http.socket", self.settings.app_id),
        }
    }

    /// What clients keep beside the metadata: `run` puts the app's command there.
    pub fn extended(&self) -> Extended {
        self.context.extended.clone()
    }

    /// Serve until `stop` is ordered or the API asks for the end, then stop in order.
    pub async fn run(mut self, stop: Stop) -> Outcome {
        self.start();
        let request = tokio::select! {
            () = stop.triggered() => None,
            () = self.failed.triggered() => {
                // What ended it has been logged as fatal.
                self.stop(false).await;
                return Outcome::Failed;
            }
            request = self.requests.recv() => request,
        };
        match request {
            Some(ShutdownRequest::Forced) => {
                // The answer is on its way to the client; nothing else is waited for.
                tokio::time::sleep(Duration::from_millis(100)).await;
                Outcome::Forced
            }
            Some(ShutdownRequest::Graceful) => self.stop(false).await,
            None => self.stop(true).await,
        }
    }

    /// Everything runs as tasks from here on.
    fn start(&mut self) {
        self.telemetry.emit(GrpcRunning { port: self.grpc.first().and_then(Listener::port) });
        self.telemetry.emit(HttpRunning { port: self.http_port(), max_body: self.settings.http.max_body });
        // Said before anybody can ask: a sidecar that waits for nothing is never seen unready.
        self.health.outbound_ready();
        match self.channel.take() {
            None => {
                let disabled = self.settings.disabled_init_endpoints;
                if disabled.config {
                    self.telemetry.emit(ConfigurationSkipped);
                }
                if disabled.subscribe {
                    self.telemetry.discovery_skipped();
                }
                ready(&self.health, &self.telemetry, self.begun);
            }
            Some(channel) => drop(self.tasks.spawn("app start", self.begin_with(channel))),
        }
        self.serve();
        if let Some((reload, watch, period)) = self.reload.take() {
            let (reloading, failed) = (self.reloading.clone(), self.failed.clone());
            let following = reload.follow(watch, period, reloading, failed);
            self.tasks.spawn("hot reload", following);
        }
    }

    /// Wait for the app, subscribe what it wants, be ready.
    fn begin_with(&self, channel: Arc<dyn Channel>) -> impl Future<Output = ()> + Send + 'static {
        let (settings, supervisor, stop) = (self.settings.clone(), self.supervisor.clone(), self.stop.child());
        let (health, telemetry, begun) = (self.health.clone(), self.telemetry.clone(), self.begun);
        async move {
            if !channel.listening(&stop).await {
                return;
            }
            let checks = settings.app.as_ref().and_then(|app| app.health.clone());
            if stop.run_until_triggered(supervisor.start(channel, checks)).await.is_some() {
                ready(&health, &telemetry, begun);
            }
        }
    }

    /// Serves all ports.
    fn serve(&mut self) {
        let http = &self.settings.http;
        let limits = Limits { connections: http.max_connections, requests: http.max_requests };
        let api = self.server(
            "http connection",
            router(self.context.clone()).into_service(),
            api::http::transport(http),
            limits,
            api::http::overloaded,
        );
        let public = self.server(
            "http connection",
            public_router(self.context.clone()).into_service(),
            Transport::http(Versions::Http1, http.read_buffer),
            limits,
            api::http::overloaded,
        );
        let refusal = RefuseCalls::new(GrpcCode::Unimplemented, &grpc::refusal(&self.http_place()));
        let grpc = self.server("grpc connection", refusal, Transport::grpc(), limits, grpc::overloaded);
        let has_series = self.settings.metrics.as_ref().is_some_and(|metrics| metrics.has_series);
        let page = metrics_server::page(has_series.then(|| self.telemetry.clone()));
        let metrics = self.server(
            "metrics connection",
            page,
            Transport::http(Versions::Http1, metrics_server::READ_BUFFER),
            metrics_server::LIMITS,
            metrics_server::overloaded,
        );
        for listener in self.grpc.drain(..) {
            self.tasks.spawn("grpc api", grpc.clone().serve(listener));
        }
        for listener in self.http.drain(..) {
            self.tasks.spawn("http api", api.clone().serve(listener));
        }
        if let Some(listener) = self.public.take() {
            self.tasks.spawn("public http api", public.serve(listener));
        }
        if let Some(listener) = self.metrics.take() {
            self.tasks.spawn("metrics", metrics.serve(listener));
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
        let (stop, tasks, telemetry) = (self.stop.clone(), self.tasks.clone(), self.telemetry.clone());
        Server { name, service, transport, limits, overloaded, stop, tasks, telemetry }
    }
}

/// What the APIs listen on.
struct Listeners {
    grpc: Vec<Listener>,
    http: Vec<Listener>,
    public: Option<Listener>,
}

/// Take all addresses at the same time, so that all that cannot be had are told together.
async fn bind(settings: &Settings, telemetry: &Telemetry) -> Result<Listeners, StartError> {
    let (grpc, http, public) = tokio::join!(
        listen::bind(listen::Protocol::Grpc, settings, telemetry),
        listen::bind(listen::Protocol::Http, settings, telemetry),
        listen::bind_public(settings, telemetry),
    );
    match (grpc, http, public) {
        (Ok(grpc), Ok(http), Ok(public)) => Ok(Listeners { grpc, http, public }),
        (grpc, http, public) => {
            let errors = [grpc.err(), http.err(), public.err()];
            let fatal = errors.into_iter().flatten().map(StartError::fatal);
            Err(StartError(fatal.flat_map(|error| error.0).collect()))
        }
    }
}

/// Everything is there that the start waited for.
fn ready(health: &Health, telemetry: &Telemetry, begun: Instant) {
    health.ready();
    telemetry.emit(Initialized { elapsed: begun.elapsed() });
}

/// Log what is said about the files.
///
/// # Errors
/// If one cannot start with them.
fn usable(resources: Resources, telemetry: &Telemetry) -> Result<Resources, StartError> {
    resources.diagnostics.iter().for_each(|diagnostic| diagnostic.report(telemetry));
    if resources.errors.is_empty() {
        return Ok(resources);
    }
    let texts = resources.error_texts(ToString::to_string).into_iter();
    Err(StartError(texts.map(|text| format!("{FATAL}{text}")).collect()))
}

/// Read the resource folders, with the pub/sub that needs no file. `again`: what the reading before has found, and the files that cannot be
/// used as they are.
fn load(settings: &Settings, environment: &Environment, again: Option<(&LastGood, &BTreeSet<PathBuf>)>) -> Resources {
    let request = LoadRequest {
        app_id: Some(&settings.app_id),
        folders: &settings.resources,
        files: &[],
        denied: &settings.denied_components,
        handlers: &settings.handlers,
        hot_reload: again.is_none() && settings.hot_reload.is_some(),
        environment,
    };
    let mut resources = match again {
        Some((last_good, refused)) => Resources::reload(&request, last_good, refused),
        None => Resources::load(&request),
    };
    if settings.embedded_pubsub && !resources.components.iter().any(|component| component.name == assemble::EMBEDDED) {
        resources.components.push(assemble::embedded(&settings.app_id));
    }
    resources.add_advice();
    resources
}
