//! Starts and stops the subscriptions of a sidecar, and knows what they are.
//!
//! What files declare and what the app asks for is merged into one set (tests/spec/delivery.md, "B5. Merging"); what
//! runs is then made equal to it. An app that cannot say what it wants is asked again, and so is one that comes back
//! after having been gone (D14). While health checks find the app unhealthy, nothing runs.

mod discovery;
mod reload;

use std::collections::BTreeMap;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use futures_util::future::join_all;
use parking_lot::RwLock;
use tokio::sync::{Mutex, Notify};

use crate::app::Channel;
use crate::app::health::{AppHealth, Probes};
use crate::config::{AppHealthSettings, InitEndpoints};
use crate::delivery::consumer::Consumer;
use crate::delivery::running::{Outages, Running};
pub use crate::delivery::subscriptions::{Origin, RuleError};
use crate::delivery::subscriptions::{Subscription, described, merge};
use crate::health::Health;
use crate::pubsub::Catalog;
use crate::resiliency::Targets;
use crate::resources::advice;
use crate::resources::kinds::policies::Direction;
use crate::resources::kinds::subscription::SubscriptionSpec;
use crate::shutdown::{Stop, Tasks};
use crate::telemetry::Telemetry;
use crate::telemetry::events::subscription::{
    AppSubscribed, FirstFailureDeadLetters, PubsubNotLoaded, RuleVariableUnknown,
};
use crate::telemetry::trace::Tracing;

/// So long a subscription that ends while others go on may take to finish what the app has in hand (B18).
const DRAIN: Duration = Duration::from_secs(30);

/// All subscriptions of one sidecar. Clones are handles to the same.
#[derive(Clone)]
pub struct Supervisor(Arc<Inner>);

/// What a supervisor works with.
pub struct SupervisorConfig {
    /// The pub/subs.
    pub catalog: Catalog,
    /// What the resource files declare for this app, in order.
    pub declared: Vec<SubscriptionSpec>,
    /// Which policy deliveries of a component have.
    pub targets: Targets,
    /// Trace contexts.
    pub tracing: Tracing,
    /// `--disable-init-endpoints`: what the app is not asked.
    pub disabled: InitEndpoints,
    /// Where loops run.
    pub tasks: Tasks,
    /// Ends everything: subscriptions, and the probes of the app, which go on after [`Supervisor::stop`].
    pub stop: Stop,
    /// Where subscriptions report whether they run.
    pub health: Health,
    /// Log and metrics.
    pub telemetry: Telemetry,
}

struct Inner {
    /// Without what is declared and the targets, which change: see below.
    config: SupervisorConfig,
    targets: RwLock<Targets>,
    subscriptions: RwLock<SubscriptionSet>,
    /// There once the app may get events.
    channel: OnceLock<Arc<dyn Channel>>,
    /// Has the app been asked, or is it being?
    asked: AtomicBool,
    /// What runs. Held while it changes.
    running: Mutex<Vec<Running>>,
    /// Ends all subscriptions.
    stop: Stop,
    app_is_gone: Arc<Notify>,
    /// Components whose subscriptions cannot begin.
    outages: Arc<Outages>,
    /// Empty without health checks: then the app counts as healthy.
    health: OnceLock<AppHealth>,
}

/// What there is to subscribe to.
#[derive(Default)]
struct SubscriptionSet {
    declared: Vec<Arc<Subscription>>,
    programmatic: Vec<Arc<Subscription>>,
    /// Both merged, in the order of the metadata API.
    merged: Vec<Arc<Subscription>>,
}

impl SubscriptionSet {
    fn merge(&mut self) {
        self.merged = merge(&self.declared, &self.programmatic);
    }
}

impl Supervisor {
    /// Compile what is declared.
    ///
    /// # Errors
    /// If a rule of a declared subscription does not compile.
    pub fn new(mut config: SupervisorConfig) -> Result<Self, RuleError> {
        let declared = std::mem::take(&mut config.declared)
            .into_iter()
            .map(|spec| Subscription::compile(spec, Origin::Declarative))
            .collect::<Result<Vec<_>, _>>()?;
        let mut subscriptions = SubscriptionSet { declared, ..SubscriptionSet::default() };
        subscriptions.merge();
        Ok(Self(Arc::new(Inner {
            targets: RwLock::new(config.targets.clone()),
            subscriptions: RwLock::new(subscriptions),
            channel: OnceLock::new(),
            asked: AtomicBool::new(false),
            running: Mutex::default(),
            stop: config.stop.child(),
            app_is_gone: Arc::default(),
            outages: Arc::default(),
            health: OnceLock::new(),
            config,
        })))
    }

    /// Ask the app for its subscriptions and start all; what fails is tried again in the background
    /// (tests/spec/delivery.md, "B6. Starting a subscription"; D14).
    ///
    /// Without health checks this returns after the first round. With them it returns at once: the app is asked when a
    /// probe first succeeds, and its subscriptions run while it is healthy (tests/spec/resources-cli.md, "11.5 App
    /// health checks").
    pub async fn start(&self, channel: Arc<dyn Channel>, checks: Option<AppHealthSettings>) {
        let inner = self.0.clone();
        let Some(settings) = checks else {
            return inner.start(channel).await;
        };
        let probes = Probes {
            channel: channel.clone(),
            settings,
            app_is_gone: inner.app_is_gone.clone(),
            telemetry: inner.config.telemetry.clone(),
        };
        let watch = || AppHealth::watch(probes, &inner.config.tasks, inner.config.stop.clone());
        let health = inner.health.get_or_init(watch).clone();
        let tasks = inner.config.tasks.clone();
        tasks.spawn("app subscriptions", async move {
            let stop = inner.stop.clone();
            stop.run_until_triggered(inner.follow_health(health, channel)).await;
        });
    }

    /// How the app is, if health checks are on and have begun.
    pub fn app_health(&self) -> Option<AppHealth> {
        self.0.health.get().cloned()
    }

    /// What is subscribed, in the order of the metadata API (tests/spec/http-api.md, "7.1 GET /v1.0/metadata").
    pub fn listed(&self) -> Vec<SubscriptionInfo> {
        let list = |subscription: &Arc<Subscription>| SubscriptionInfo {
            spec: subscription.spec.clone(),
            origin: subscription.origin,
        };
        self.0.merged().iter().map(list).collect()
    }

    /// End all subscriptions for good: no new messages, what the app has in hand is finished and settled.
    pub async fn stop(&self) {
        self.0.stop.trigger();
        let mut running = self.0.running.lock().await;
        Running::end_all(std::mem::take(&mut *running)).await;
    }
}

impl Inner {
    /// Run what there is to run while the app is healthy.
    async fn follow_health(self: Arc<Self>, health: AppHealth, channel: Arc<dyn Channel>) {
        health.healthy().await;
        // A task of its own: an app that never answers may turn unhealthy all the same.
        let first_round = self.clone().start(channel.clone());
        self.config.tasks.spawn("discovery", first_round);
        loop {
            health.unhealthy().await;
            self.reconcile(&channel).await;
            health.healthy().await;
            self.reconcile(&channel).await;
        }
    }

    fn is_app_healthy(&self) -> bool {
        self.health.get().is_none_or(AppHealth::is_healthy)
    }

    /// Run what the app wants, beside what is declared.
    async fn set_programmatic(&self, wanted: Vec<Arc<Subscription>>, channel: &Arc<dyn Channel>) {
        self.update(|known| known.programmatic = wanted);
        self.reconcile(channel).await;
    }

    fn update(&self, change: impl FnOnce(&mut SubscriptionSet)) {
        let mut subscriptions = self.subscriptions.write();
        change(&mut subscriptions);
        subscriptions.merge();
    }

    fn has_programmatic(&self) -> bool {
        self.merged().iter().any(|known| known.origin == Origin::Programmatic)
    }

    fn merged(&self) -> Vec<Arc<Subscription>> {
        let subscriptions = self.subscriptions.read();
        subscriptions.merged.clone()
    }

    /// Make what runs equal to what is listed, or to nothing while the app is unhealthy.
    async fn reconcile(&self, channel: &Arc<dyn Channel>) {
        let mut running = self.running.lock().await;
        let listed = if self.is_app_healthy() { self.merged() } else { Vec::new() };
        let runs =
            |running: &[Running], wanted: &Subscription| running.iter().any(|known| known.subscription.equals(wanted));
        let is_unwanted = |known: &mut Running| {
            let same = |wanted: &Arc<Subscription>| wanted.equals(&known.subscription);
            !listed.iter().any(same)
        };
        let ending = Running::end_all(running.extract_if(.., is_unwanted).collect());
        // Those that take longer go on ending without anybody waiting for it.
        let _ = tokio::time::timeout(DRAIN, ending).await;
        let missing: Vec<_> = listed.iter().filter(|wanted| !runs(&running, wanted)).collect();
        if missing.is_empty() || self.stop.is_triggered() {
            return;
        }
        self.log_new(&missing);
        let starting = missing.into_iter().map(|wanted| self.start_one(wanted, channel));
        let started = join_all(starting).await;
        running.extend(started);
    }

    fn targets(&self) -> Targets {
        self.targets.read().clone()
    }

    fn log_new(&self, new: &[&Arc<Subscription>]) {
        let telemetry = &self.config.telemetry;
        let mut topics: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        let mut lettered = Vec::new();
        for subscription in new {
            let spec = &subscription.spec;
            for said in subscription.rules.unknown_variables() {
                telemetry.emit(RuleVariableUnknown { subscription: &described(spec), problem: &said });
            }
            if subscription.origin == Origin::Programmatic {
                topics.entry(&spec.pubsub).or_default().push(&spec.topic);
                if let Some(note) = advice::dead_letters_to_itself(spec) {
                    note.report(telemetry);
                }
            }
            // About what is declared it was said when the files were read.
            if subscription.origin == Origin::Programmatic
                && advice::retry_before_dead_letter(spec, self.targets().policies()).is_some()
            {
                lettered.push(spec.topic.as_str());
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
        if !lettered.is_empty() {
            telemetry.emit(FirstFailureDeadLetters { topics: &lettered });
        }
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
}

/// One subscription as the metadata API shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SubscriptionInfo {
    /// What was declared.
    pub spec: SubscriptionSpec,
    /// Who declared it.
    pub origin: Origin,
}

#[cfg(test)]
mod tests;
