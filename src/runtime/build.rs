//! Building a sidecar: resources, brokers, listeners, in this order.

use tokio::sync::mpsc;
use tokio::time::Instant;

use super::broker_connect::Connecting;
use super::components::ComponentBuilder;
use super::handles::Handles;
use super::load::load;
use super::metrics_server;
use super::plan::Plan;
use super::reload::{self, CurrentResources, MetadataView, Reload};
use super::run::Runtime;
use super::start_error::StartError;
use crate::api::listen;
use crate::api::{self, Extended, Snapshot};
use crate::app;
use crate::broker::memory::shared::SharedBrokers;
use crate::delivery::supervisor::{Supervisor, SupervisorConfig};
use crate::diagnostic::Diagnostic;
use crate::publish::Publisher;
use crate::resiliency::Targets;
use crate::server::{BodyMemory, Listener};
use crate::shutdown::Stop;
use crate::telemetry::events::lifecycle::{
    AppNotConfigured, FatalError, NoPubsubLoaded, PortTaken, SamplerInitialized, SettingsResolved, ShutdownUnlimited,
    SubscriptionsWithoutApp,
};
use crate::telemetry::trace::Tracing;

impl Runtime {
    /// Read the resources, make the brokers, bind the ports.
    ///
    /// # Errors
    /// All errors that were found. They have been logged unless the plan leaves that to the caller, and nothing is left
    /// running.
    pub async fn build(plan: Plan) -> Result<Self, StartError> {
        let telemetry = plan.telemetry.clone();
        let leaves_failure_to_caller = plan.leaves_failure_to_caller;
        build(plan).await.inspect_err(|error| {
            if !leaves_failure_to_caller {
                error.0.iter().for_each(|line| telemetry.emit(FatalError { message: line }));
            }
        })
    }
}

async fn build(plan: Plan) -> Result<Runtime, StartError> {
    let begun = Instant::now();
    let Plan { settings, environment, telemetry, diagnostics, shared_brokers, leaves_failure_to_caller: _ } = plan;
    let handles = Handles::new(settings, telemetry);
    let Handles { settings, telemetry, catalog, .. } = &handles;
    let shared_brokers = shared_brokers.unwrap_or_else(SharedBrokers::of_one_sidecar);
    announce(&handles, &diagnostics).await;
    let metrics = metrics_server::bind(settings, telemetry).await.map_err(StartError::fatal)?;
    // Before the folders are read for the first time, so that no change is missed.
    let watch = reload::watch(settings, telemetry);
    let resources = load(settings, &environment, telemetry)?;
    let (targets, wrong) = Targets::new(&resources.resiliencies, telemetry.clone());
    wrong.iter().for_each(|diagnostic| diagnostic.report(telemetry));
    let builder = ComponentBuilder {
        handles: &handles,
        environment: &environment,
        targets: &targets,
        shared_brokers: &shared_brokers,
    };
    let built = builder.build_all(&resources).await?;
    let tracing = Tracing::from_rate(settings.sampling_rate.as_deref());
    telemetry.emit(SamplerInitialized { root: &tracing.sampler() });
    let supervisor = Supervisor::new(SupervisorConfig {
        catalog: catalog.clone(),
        declared: resources.subscriptions.clone(),
        targets: targets.clone(),
        tracing: tracing.clone(),
        disabled: settings.disabled_init_endpoints,
        tasks: handles.tasks.clone(),
        stop: handles.stop.child(),
        health: handles.health.clone(),
        telemetry: telemetry.clone(),
    })
    .map_err(|error| StartError::fatal(format_args!("failed to load declarative subscriptions: {error}")))?;
    let channel = match settings.app() {
        Some(app) => Some(app::channel(app, &settings.app_id, telemetry.clone()).map_err(StartError::fatal)?),
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
    let Listeners { grpc, http, public } = Listeners::bind(&handles).await?;
    let (shutdown, requests) = mpsc::unbounded_channel();
    let context = api::Context {
        settings: settings.clone(),
        publisher: Publisher::new(&settings.app_id, catalog.clone(), tracing.clone(), telemetry.clone()),
        catalog: catalog.clone(),
        components: Snapshot::new(built.listed),
        resiliencies: Snapshot::new(resources.resiliencies.iter().map(|resource| resource.name.clone()).collect()),
        supervisor: supervisor.clone(),
        health: handles.health.clone(),
        tracing,
        shutdown,
        extended: Extended::default(),
        bodies: BodyMemory::new(settings.http.max_body_memory, telemetry.clone()),
        telemetry: telemetry.clone(),
    };
    let mut connecting = Connecting::new(handles.clone());
    for pubsub in built.unreachable {
        connecting.begin(pubsub);
    }
    let reload = watch.map(|(watch, period)| {
        let reload = Reload {
            handles: handles.clone(),
            environment,
            targets,
            supervisor: supervisor.clone(),
            connecting,
            current: CurrentResources::new(resources, &context.components.get()),
            view: MetadataView { components: context.components.clone(), resiliencies: context.resiliencies.clone() },
            shared_brokers,
        };
        (reload, watch, period)
    });
    Ok(Runtime {
        handles,
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

/// Log the settings and the diagnostics of the input, and which ports are taken: said at once, because the rest of the
/// start takes its time and tries the ports again.
async fn announce(handles: &Handles, diagnostics: &[Diagnostic]) {
    let Handles { settings, telemetry, .. } = handles;
    telemetry.emit(SettingsResolved { app_id: &settings.app_id, features: &settings.features });
    if settings.graceful_shutdown.is_none() {
        telemetry.emit(ShutdownUnlimited);
    }
    diagnostics.iter().for_each(|diagnostic| diagnostic.report(telemetry));
    for advice in listen::taken(settings).await {
        telemetry.emit(PortTaken { advice: &advice });
    }
}

/// The listeners of the APIs.
struct Listeners {
    grpc: Vec<Listener>,
    http: Vec<Listener>,
    public: Option<Listener>,
}

impl Listeners {
    /// Bind all addresses at the same time, so that all that are taken are reported together.
    async fn bind(handles: &Handles) -> Result<Self, StartError> {
        let Handles { settings, telemetry, .. } = handles;
        let (grpc, http, public) = tokio::join!(
            listen::bind(listen::Protocol::Grpc, settings, telemetry),
            listen::bind(listen::Protocol::Http, settings, telemetry),
            listen::bind_public(settings, telemetry),
        );
        match (grpc, http, public) {
            (Ok(grpc), Ok(http), Ok(public)) => Ok(Self { grpc, http, public }),
            (grpc, http, public) => {
                Err(StartError::all_fatal([grpc.err(), http.err(), public.err()].into_iter().flatten()))
            }
        }
    }
}
