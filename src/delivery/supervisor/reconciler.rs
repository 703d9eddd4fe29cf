//! What is to run, what runs, and making the second equal to the first.

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use futures_util::future::join_all;
use parking_lot::RwLock;
use tokio::sync::{Mutex, Notify};
use tokio::time::timeout;

use crate::app::Channel;
use crate::app::health::AppHealth;
use crate::config::InitEndpoints;
use crate::delivery::consumer::Consumer;
use crate::delivery::running::{Outages, Running};
use crate::delivery::subscriptions::{Origin, RuleError, Subscription, SubscriptionSet, described};
use crate::health::Health;
use crate::pubsub::Catalog;
use crate::resiliency::Targets;
use crate::resources::advice;
use crate::resources::difference::Resource;
use crate::resources::kinds::policies::Direction;
use crate::resources::kinds::subscription::SubscriptionSpec;
use crate::shutdown::{Stop, Tasks};
use crate::telemetry::Telemetry;
use crate::telemetry::events::subscription::{
    AppSubscribed, FirstFailureDeadLetters, PubsubNotLoaded, RuleVariableUnknown,
};
use crate::telemetry::trace::Tracing;

/// How long a subscription may drain while the sidecar keeps running (B18). After that it goes on draining in the background.
const DRAIN: Duration = Duration::from_secs(30);

/// What a supervisor works with.
pub struct SupervisorConfig {
    /// The pub/subs.
    pub catalog: Catalog,
    /// What the resource files declare for this app, in order.
    pub declared: Vec<SubscriptionSpec>,
    /// The policies of deliveries.
    pub targets: Targets,
    /// Trace contexts.
    pub tracing: Tracing,
    /// `--disable-init-endpoints`: what the app is not asked.
    pub disabled: InitEndpoints,
    /// Where tasks are spawned.
    pub tasks: Tasks,
    /// Ends everything: the subscriptions, and the probes of the app, which go on after [`super::Supervisor::stop`].
    pub stop: Stop,
    /// Where subscriptions report whether they run.
    pub health: Health,
    /// Log and metrics.
    pub telemetry: Telemetry,
}

/// A declared subscription that cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("{error}")]
pub struct DeclareError {
    /// Its `metadata.name`.
    pub name: String,
    /// What is wrong with it.
    pub error: RuleError,
}

pub(super) struct Reconciler {
    /// `declared` and `targets` are only the first ones: the current ones are in `subscriptions` and in `targets` below.
    pub(super) config: SupervisorConfig,
    targets: RwLock<Targets>,
    subscriptions: RwLock<SubscriptionSet>,
    /// What runs. Locked while it changes.
    running: Mutex<Vec<Running>>,
    /// Ends all subscriptions.
    pub(super) stop: Stop,
    /// Notified when a delivery or a probe finds that nothing listens on the app's port.
    pub(super) app_is_gone: Arc<Notify>,
    /// Components whose subscriptions cannot start.
    outages: Arc<Outages>,
    /// Not set without health checks: then the app counts as healthy.
    pub(super) health: OnceLock<AppHealth>,
}

impl Reconciler {
    pub(super) fn new(mut config: SupervisorConfig) -> Result<Self, RuleError> {
        let declared = std::mem::take(&mut config.declared)
            .into_iter()
            .map(|spec| Subscription::compile(spec, Origin::Declarative))
            .collect::<Result<Vec<_>, _>>()?;
        let mut subscriptions = SubscriptionSet::default();
        subscriptions.set_declared(declared);
        Ok(Self {
            targets: RwLock::new(config.targets.clone()),
            subscriptions: RwLock::new(subscriptions),
            running: Mutex::default(),
            stop: config.stop.child(),
            app_is_gone: Arc::default(),
            outages: Arc::default(),
            health: OnceLock::new(),
            config,
        })
    }

    /// What is to run, in the order of the metadata API.
    pub(super) fn listed(&self) -> Vec<Arc<Subscription>> {
        self.subscriptions.read().merged().to_vec()
    }

    pub(super) fn has_programmatic(&self) -> bool {
        self.subscriptions.read().merged().iter().any(|known| known.origin == Origin::Programmatic)
    }

    /// Replace what the files declare. A subscription that means the same as before stays the same.
    pub(super) fn declare(&self, specs: Vec<SubscriptionSpec>) -> Result<(), DeclareError> {
        let known = self.subscriptions.read().declared().to_vec();
        let compile = |spec: SubscriptionSpec| {
            if let Some(same) = known.iter().find(|known| known.spec.means_the_same(&spec)) {
                return Ok(same.clone());
            }
            let name = spec.name.clone();
            Subscription::compile(spec, Origin::Declarative).map_err(|error| DeclareError { name, error })
        };
        let declared = specs.into_iter().map(compile).collect::<Result<Vec<_>, _>>()?;
        self.subscriptions.write().set_declared(declared);
        Ok(())
    }

    /// Replace what the app asks for, and runs it.
    pub(super) async fn set_programmatic(&self, wanted: Vec<Arc<Subscription>>, channel: &Arc<dyn Channel>) {
        self.subscriptions.write().set_programmatic(wanted);
        self.reconcile(channel).await;
    }

    pub(super) fn set_targets(&self, targets: Targets) {
        *self.targets.write() = targets;
    }

    fn targets(&self) -> Targets {
        self.targets.read().clone()
    }

    fn is_app_healthy(&self) -> bool {
        self.health.get().is_none_or(AppHealth::is_healthy)
    }

    /// Make what runs equal to what is listed, or to nothing while the app is unhealthy.
    pub(super) async fn reconcile(&self, channel: &Arc<dyn Channel>) {
        let mut running = self.running.lock().await;
        let listed = if self.is_app_healthy() { self.listed() } else { Vec::new() };
        let is_listed = |known: &Running| listed.iter().any(|wanted| wanted.equals(&known.subscription));
        drain(running.extract_if(.., |known| !is_listed(known)).collect()).await;
        let runs = |wanted: &Subscription| running.iter().any(|known| known.subscription.equals(wanted));
        let missing: Vec<_> = listed.iter().filter(|wanted| !runs(wanted)).collect();
        if missing.is_empty() || self.stop.is_triggered() {
            return;
        }
        self.log_new(&missing);
        let started = join_all(missing.into_iter().map(|wanted| self.start_one(wanted, channel))).await;
        running.extend(started);
    }

    /// End what runs over this component, within [`DRAIN`].
    pub(super) async fn end_component(&self, pubsub: &str) {
        let mut running = self.running.lock().await;
        drain(running.extract_if(.., |known| known.subscription.spec.pubsub == pubsub).collect()).await;
    }

    /// End all subscriptions for good, however long their events in flight take.
    pub(super) async fn end_all(&self) {
        self.stop.trigger();
        let mut running = self.running.lock().await;
        Running::end_all(std::mem::take(&mut *running)).await;
    }

    async fn start_one(&self, wanted: &Arc<Subscription>, channel: &Arc<dyn Channel>) -> Running {
        let (subscription, stop) = (wanted.clone(), self.stop.child());
        let Some(pubsub) = self.config.catalog.get(&wanted.spec.pubsub) else {
            return Running::inactive(subscription, stop);
        };
        let policy = self.targets().policy(&pubsub.name, Direction::Inbound, stop.clone());
        let spec = &wanted.spec;
        let report = self.config.health.subscription(&spec.pubsub, &spec.topic);
        let consumer = Consumer {
            subscription,
            pubsub,
            channel: channel.clone(),
            tracing: self.config.tracing.clone(),
            app_is_gone: self.app_is_gone.clone(),
            health: self.health.get().cloned(),
            policy,
            stop,
            report,
            telemetry: self.config.telemetry.clone(),
        };
        Running::start(consumer, &self.outages, &self.config.tasks).await
    }

    /// Log what the app has subscribed to and what is doubtful about it. About what files declare, most was said when they were read.
    fn log_new(&self, new: &[&Arc<Subscription>]) {
        let telemetry = &self.config.telemetry;
        for subscription in new {
            for problem in subscription.rules.unknown_variables() {
                telemetry.emit(RuleVariableUnknown { subscription: &described(&subscription.spec), problem: &problem });
            }
        }
        let mut topics: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        let mut dead_lettered = Vec::new();
        let programmatic = new.iter().filter(|subscription| subscription.origin == Origin::Programmatic);
        for spec in programmatic.map(|subscription| &subscription.spec) {
            topics.entry(&spec.pubsub).or_default().push(&spec.topic);
            if let Some(diagnostic) = advice::dead_letters_to_itself(spec) {
                diagnostic.report(telemetry);
            }
            if advice::retry_before_dead_letter(spec, self.targets().policies()).is_some() {
                dead_lettered.push(spec.topic.as_str());
            }
        }
        for (pubsub, topics) in topics {
            telemetry.emit(AppSubscribed { pubsub, topics: &topics });
            if self.config.catalog.get(pubsub).is_none() {
                let loaded = self.config.catalog.all();
                let loaded: Vec<&str> = loaded.iter().map(|it| it.name.as_str()).collect();
                let text = advice::pubsub_not_loaded(pubsub, &topics, &loaded);
                telemetry.emit(PubsubNotLoaded { advice: &text });
            }
        }
        if !dead_lettered.is_empty() {
            telemetry.emit(FirstFailureDeadLetters { topics: &dead_lettered });
        }
    }
}

/// End these within [`DRAIN`]; those that take longer go on ending in the background.
async fn drain(ending: Vec<Running>) {
    let _ = timeout(DRAIN, Running::end_all(ending)).await;
}

#[cfg(test)]
impl Reconciler {
    /// The address of the running subscription of this name: it changes when the subscription is started anew.
    pub(super) async fn address_of(&self, name: &str) -> *const Subscription {
        let running = self.running.lock().await;
        let found = running.iter().find(|known| known.subscription.spec.name == name);
        Arc::as_ptr(&found.unwrap().subscription)
    }
}
