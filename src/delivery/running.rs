//! One subscription at its broker: started, retried until it works, stopped (tests/spec/delivery.md, "B6. Starting a
//! subscription", "B18. Ordering, stopping, shutdown").

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::{BoxFuture, join_all};
use parking_lot::{Mutex, MutexGuard};
use tokio::task::JoinHandle;

use crate::backoff::Backoff;
use crate::broker::{BrokerErrorKind, Sink};
use crate::delivery::bulk;
use crate::delivery::consumer::Consumer;
use crate::delivery::subscriptions::Subscription;
use crate::health::Report;
use crate::pubsub::{Pubsub, SubscribeError};
use crate::shutdown::{Stop, Tasks};
use crate::telemetry::events::subscription::{
    SubscriptionFailed, SubscriptionStartedLate, SubscriptionWithoutTopic, SubscriptionsStarted, SubscriptionsWaiting,
};

/// Pauses between two attempts to subscribe.
const PAUSES: Backoff = Backoff::as_daprd(Duration::from_secs(60));

/// A subscription that runs or is being retried.
pub(super) struct Running {
    pub(super) subscription: Arc<Subscription>,
    stop: Stop,
    /// `None` if it cannot run: there is no such component, or the scopes forbid the topic.
    task: Option<JoinHandle<()>>,
    /// `None` if there is no such component, which does not count as a failure.
    report: Option<Report>,
}

/// The topics of each component whose subscriptions cannot start because its broker is away. This is logged once for all of them.
#[derive(Default)]
pub(super) struct Outages(Mutex<BTreeMap<String, BTreeSet<String>>>);

impl Outages {
    /// Add a subscription that cannot start. Returns whether it is the first of its component.
    fn add(&self, pubsub: &str, topic: &str) -> bool {
        let mut outages = self.all();
        let is_first = !outages.contains_key(pubsub);
        let topics = outages.entry(pubsub.to_owned()).or_default();
        topics.insert(topic.to_owned());
        is_first
    }

    /// Remove a subscription that no longer waits for its broker. Returns whether it was the last of its component.
    fn remove(&self, pubsub: &str, topic: &str) -> bool {
        let mut outages = self.all();
        let Some(topics) = outages.get_mut(pubsub) else {
            return false;
        };
        if !topics.remove(topic) || !topics.is_empty() {
            return false;
        }
        outages.remove(pubsub);
        true
    }

    fn all(&self) -> MutexGuard<'_, BTreeMap<String, BTreeSet<String>>> {
        self.0.lock()
    }
}

/// The attempts to start one subscription.
struct StartAttempts {
    consumer: Arc<Consumer>,
    outages: Arc<Outages>,
    /// The last error that was logged for this subscription alone.
    logged: Option<String>,
}

/// The result of one attempt to subscribe.
enum StartResult {
    Running(BoxFuture<'static, ()>),
    /// To be tried again.
    Failed,
    /// Another attempt would fail the same way.
    GivenUp,
}

impl Running {
    /// A subscription that is listed and cannot run: there is no such component.
    pub(super) fn inactive(subscription: Arc<Subscription>, stop: Stop) -> Self {
        Self { subscription, stop, task: None, report: None }
    }

    /// Start a subscription. Returns after the first attempt; if that failed, a task retries.
    pub(super) async fn start(consumer: Consumer, outages: &Arc<Outages>, tasks: &Tasks) -> Self {
        let (subscription, stop) = (consumer.subscription.clone(), consumer.stop.clone());
        let report = Some(consumer.report.clone());
        let attempts = StartAttempts { consumer: Arc::new(consumer), outages: outages.clone(), logged: None };
        let task = establish(attempts, &stop, tasks).await;
        Self { subscription, stop, task, report }
    }

    /// Stop these, and wait until none of their events is in flight.
    pub(super) async fn end_all(running: Vec<Self>) {
        for ending in &running {
            ending.stop.trigger();
            if let Some(report) = &ending.report {
                report.over();
            }
        }
        // A task that panicked has ended too.
        let _ = join_all(running.into_iter().filter_map(|ending| ending.task)).await;
    }
}

async fn establish(mut attempts: StartAttempts, stop: &Stop, tasks: &Tasks) -> Option<JoinHandle<()>> {
    let first = stop.run_until_triggered(attempts.attempt(stop)).await;
    match first? {
        StartResult::Running(work) => Some(tasks.spawn("subscription", work)),
        StartResult::GivenUp => None,
        StartResult::Failed => {
            let stop = stop.clone();
            let trying = async move { retry(attempts, &stop).await };
            Some(tasks.spawn("subscription", trying))
        }
    }
}

/// Retry until it works, then run it (B6).
async fn retry(mut attempts: StartAttempts, stop: &Stop) {
    let mut failures = 1;
    while stop.sleep(PAUSES.after(failures)).await {
        match stop.run_until_triggered(attempts.attempt(stop)).await {
            Some(StartResult::Running(work)) => {
                attempts.log_started();
                return work.await;
            }
            Some(StartResult::Failed) => failures += 1,
            Some(StartResult::GivenUp) | None => return,
        }
    }
}

/// Would the subscription fail again until a file changes?
fn is_permanent(error: &SubscribeError) -> bool {
    match error {
        SubscribeError::Forbidden { .. } => true,
        SubscribeError::Broker(error) => error.kind == BrokerErrorKind::Misconfigured,
    }
}

impl StartAttempts {
    async fn attempt(&mut self, stop: &Stop) -> StartResult {
        let consumer = &self.consumer.clone();
        let spec = &consumer.subscription.spec;
        let pubsub: &Pubsub = &consumer.pubsub;
        let telemetry = &consumer.telemetry;
        if spec.topic.is_empty() {
            telemetry.emit(SubscriptionWithoutTopic { pubsub: &spec.pubsub });
            return StartResult::GivenUp;
        }
        let (sink, bulk): (Arc<dyn Sink>, _) = match spec.bulk.filter(|bulk| bulk.enabled) {
            None => (consumer.clone(), None),
            Some(limits) => {
                let (sink, delivering) = bulk::open(consumer.clone(), limits);
                (sink, Some(delivering))
            }
        };
        let subscribing = pubsub.subscribe(&spec.topic, spec.metadata.clone(), sink, stop.clone());
        let work = match subscribing.await {
            Ok(work) => work,
            Err(error) => return self.failed(&error),
        };
        consumer.report.works();
        match bulk {
            None => StartResult::Running(work),
            Some(delivering) => StartResult::Running(Box::pin(async move {
                // `work` ends when the sink has settled everything.
                tokio::select! {
                    () = work => {}
                    () = delivering => {}
                }
            })),
        }
    }

    fn failed(&mut self, error: &SubscribeError) -> StartResult {
        let consumer = &self.consumer;
        let (spec, telemetry) = (&consumer.subscription.spec, &consumer.telemetry);
        let text = error.to_string();
        let is_away = match error {
            // Not an outage: the scopes were set on purpose.
            SubscribeError::Forbidden { .. } => false,
            SubscribeError::Broker(error) => {
                consumer.report.fails(&text);
                error.is_transient()
            }
        };
        if is_away {
            if self.outages.add(&spec.pubsub, &spec.topic) {
                telemetry.emit(SubscriptionsWaiting { pubsub: &spec.pubsub, error });
            }
            return StartResult::Failed;
        }
        self.outages.remove(&spec.pubsub, &spec.topic);
        if self.logged.as_ref() != Some(&text) {
            self.logged = Some(text);
            telemetry.emit(SubscriptionFailed { pubsub: &spec.pubsub, topic: &spec.topic, error });
        }
        if is_permanent(error) { StartResult::GivenUp } else { StartResult::Failed }
    }

    /// Log that the subscription runs after failed attempts.
    fn log_started(&mut self) {
        let spec = &self.consumer.subscription.spec;
        let telemetry = &self.consumer.telemetry;
        if self.outages.remove(&spec.pubsub, &spec.topic) {
            telemetry.emit(SubscriptionsStarted { pubsub: &spec.pubsub });
        }
        if self.logged.take().is_some() {
            telemetry.emit(SubscriptionStartedLate { pubsub: &spec.pubsub, topic: &spec.topic });
        }
    }
}

impl Drop for StartAttempts {
    /// A subscription that ends no longer waits for its broker.
    fn drop(&mut self) {
        let spec = &self.consumer.subscription.spec;
        self.outages.remove(&spec.pubsub, &spec.topic);
    }
}
