//! Starts and stops the subscriptions of a sidecar, and lists them.
//!
//! The [`Reconciler`] merges what files declare and what the app asks for, and makes what runs equal to it (tests/spec/delivery.md,
//! "B5. Merging"). [`Discovery`] asks the app, until it answers and again when it comes back (D14). While health checks find
//! the app unhealthy, nothing runs.

mod discovery;
mod reconciler;

use std::sync::{Arc, OnceLock};

use self::discovery::Discovery;
pub use self::reconciler::SupervisorConfig;
use self::reconciler::{DeclareError, Reconciler};
use crate::app::Channel;
use crate::app::health::{AppHealth, Probes};
use crate::config::AppHealthSettings;
pub use crate::delivery::subscriptions::{Origin, RuleError};
use crate::resiliency::Targets;
use crate::resources::kinds::subscription::SubscriptionSpec;

/// All subscriptions of one sidecar. Clones are handles to the same.
#[derive(Clone)]
pub struct Supervisor {
    reconciler: Arc<Reconciler>,
    /// Set when the app is ready for events.
    discovery: Arc<OnceLock<Discovery>>,
}

/// One subscription as the metadata API shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SubscriptionInfo {
    /// What was declared.
    pub spec: SubscriptionSpec,
    /// Who declared it.
    pub origin: Origin,
}

impl Supervisor {
    /// Compile what is declared.
    ///
    /// # Errors
    /// If a rule of a declared subscription does not compile.
    pub fn new(config: SupervisorConfig) -> Result<Self, RuleError> {
        Ok(Self { reconciler: Arc::new(Reconciler::new(config)?), discovery: Arc::default() })
    }

    /// Ask the app for its subscriptions and starts all; what fails is tried again in the background (tests/spec/delivery.md,
    /// "B6. Starting a subscription"; D14).
    ///
    /// Without health checks this returns after the first round. With them it returns at once: the app is asked when a
    /// probe first succeeds, and its subscriptions run while it is healthy (tests/spec/resources-cli.md, "11.5 App
    /// health checks").
    pub async fn start(&self, channel: Arc<dyn Channel>, checks: Option<AppHealthSettings>) {
        let supervisor = self.clone();
        let Some(settings) = checks else {
            return supervisor.discover(channel).await;
        };
        let reconciler = &self.reconciler;
        let probes = Probes {
            channel: channel.clone(),
            settings,
            app_is_gone: reconciler.app_is_gone.clone(),
            telemetry: reconciler.config.telemetry.clone(),
        };
        let (tasks, stop) = (&reconciler.config.tasks, &reconciler.config.stop);
        let health = reconciler.health.get_or_init(|| AppHealth::watch(probes, tasks, stop.clone())).clone();
        tasks.spawn("app subscriptions", async move {
            let stop = supervisor.reconciler.stop.clone();
            stop.run_until_triggered(supervisor.follow_health(health, channel)).await;
        });
    }

    /// Run the subscriptions while the app is healthy.
    async fn follow_health(self, health: AppHealth, channel: Arc<dyn Channel>) {
        health.healthy().await;
        // A task of its own: an app that never answers the question may become unhealthy meanwhile.
        self.reconciler.config.tasks.spawn("discovery", self.clone().discover(channel.clone()));
        loop {
            health.unhealthy().await;
            self.reconciler.reconcile(&channel).await;
            health.healthy().await;
            self.reconciler.reconcile(&channel).await;
        }
    }

    async fn discover(self, channel: Arc<dyn Channel>) {
        let discovery = Discovery::new(self.reconciler.clone(), channel);
        discovery.load_configuration().await;
        // From here on a hot reload takes effect.
        self.discovery.get_or_init(|| discovery).start().await;
    }

    /// The health of the app, if health checks are on and have begun.
    pub fn app_health(&self) -> Option<AppHealth> {
        self.reconciler.health.get().cloned()
    }

    /// What is subscribed, in the order of the metadata API (tests/spec/http-api.md, "7.1 GET /v1.0/metadata").
    pub fn listed(&self) -> Vec<SubscriptionInfo> {
        let subscriptions = self.reconciler.listed();
        subscriptions.iter().map(|it| SubscriptionInfo { spec: it.spec.clone(), origin: it.origin }).collect()
    }

    /// End all subscriptions for good: no new events, those in flight are finished and settled.
    pub async fn stop(&self) {
        self.reconciler.end_all().await;
    }
}

/// Hot reload (tests/spec/resources-cli.md, "10. Hot reload and SIGHUP"; D16). Subscriptions that have not changed go on undisturbed.
impl Supervisor {
    /// Replace what the files declare, in their order. It takes effect with [`Supervisor::resume`].
    ///
    /// # Errors
    /// If a rule does not compile. Then nothing has changed.
    pub fn declare(&self, specs: Vec<SubscriptionSpec>) -> Result<(), DeclareError> {
        self.reconciler.declare(specs)
    }

    /// Replace the policies. Subscriptions that run keep theirs until they are stopped.
    pub fn set_targets(&self, targets: Targets) {
        self.reconciler.set_targets(targets);
    }

    /// End the subscriptions of a component that is about to change: no new events, those in flight are finished, for at most 30 s.
    pub async fn stop_component(&self, pubsub: &str) {
        self.reconciler.end_component(pubsub).await;
    }

    /// Make what runs equal to what is declared and asked for, with the components of now. While the app is not ready, or
    /// unhealthy, nothing happens: then it happens when the app is ready.
    pub async fn resume(&self) {
        if let Some(discovery) = self.discovery.get() {
            discovery.resume().await;
        }
    }
}

#[cfg(test)]
mod tests;
