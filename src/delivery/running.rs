//! One subscription at its broker: begun, tried again until it works, ended (spec delivery.md B6 and B18).

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::{BoxFuture, join_all};
use tokio::task::JoinHandle;

use crate::backoff::Backoff;
use crate::broker::{BrokerErrorKind, Sink};
use crate::delivery::bulk;
use crate::delivery::consumer::Consumer;
use crate::delivery::subscriptions::Subscription;
use crate::pubsub::{Pubsub, SubscribeError};
use crate::shutdown::{Stop, Tasks};

/// Pauses between two attempts to subscribe.
const PAUSES: Backoff = Backoff::as_daprd(Duration::from_secs(60));

/// A subscription that runs or is being tried again.
pub(super) struct Running {
    pub(super) subscription: Arc<Subscription>,
    stop: Stop,
    /// `None` if it cannot run: no such component, or not allowed.
    task: Option<JoinHandle<()>>,
}

/// What came of one attempt to subscribe.
enum Attempt {
    Runs(BoxFuture<'static, ()>),
    /// Worth trying again.
    Failed,
    /// Not worth it.
    Hopeless,
}

impl Running {
    /// One that is listed and cannot run: there is no such component.
    pub(super) fn inactive(subscription: Arc<Subscription>, stop: Stop) -> Self {
        Self {
            subscription,
            stop,
            task: None,
        }
    }

    /// Begin a subscription. Returns after the first attempt; if that failed, a task goes on trying.
    pub(super) async fn start(consumer: Consumer, tasks: &Tasks) -> Self {
        let (subscription, stop) = (consumer.subscription.clone(), consumer.stop.clone());
        let task = establish(Arc::new(consumer), &stop, tasks).await;
        Self {
            subscription,
            stop,
            task,
        }
    }

    /// Stop these, and wait until the app has nothing of theirs in hand.
    pub(super) async fn end_all(running: Vec<Self>) {
        for ending in &running {
            ending.stop.order();
        }
        // A task that panicked has ended too.
        let _ = join_all(running.into_iter().filter_map(|ending| ending.task)).await;
    }
}

async fn establish(consumer: Arc<Consumer>, stop: &Stop, tasks: &Tasks) -> Option<JoinHandle<()>> {
    match stop.or(attempt(&consumer, stop, true)).await? {
        Attempt::Runs(work) => Some(tasks.spawn("subscription", work)),
        Attempt::Hopeless => None,
        Attempt::Failed => {
            let stop = stop.clone();
            let trying = async move { retry(&consumer, &stop).await };
            Some(tasks.spawn("subscription", trying))
        }
    }
}

/// Try until it works, then run it (B6).
async fn retry(consumer: &Arc<Consumer>, stop: &Stop) {
    let mut failures = 1;
    while stop.sleep(PAUSES.after(failures)).await {
        match stop.or(attempt(consumer, stop, false)).await {
            Some(Attempt::Runs(work)) => {
                let spec = &consumer.subscription.spec;
                consumer
                    .telemetry
                    .subscription_started_late(&spec.pubsub, &spec.topic);
                return work.await;
            }
            Some(Attempt::Failed) => failures += 1,
            Some(Attempt::Hopeless) | None => return,
        }
    }
}

/// Does only a change of files help?
fn is_hopeless(error: &SubscribeError) -> bool {
    match error {
        SubscribeError::Forbidden { .. } => true,
        SubscribeError::Broker(error) => error.kind == BrokerErrorKind::Misconfigured,
    }
}

async fn attempt(consumer: &Arc<Consumer>, stop: &Stop, is_first: bool) -> Attempt {
    let spec = &consumer.subscription.spec;
    let pubsub: &Pubsub = &consumer.pubsub;
    let telemetry = &consumer.telemetry;
    if spec.topic.is_empty() {
        telemetry.subscription_without_topic(&spec.pubsub);
        return Attempt::Hopeless;
    }
    let (sink, bulk): (Arc<dyn Sink>, _) = match spec.bulk.filter(|bulk| bulk.enabled) {
        None => (consumer.clone(), None),
        Some(limits) => {
            let (sink, delivering) = bulk::open(consumer.clone(), limits);
            (sink, Some(delivering))
        }
    };
    let begun = pubsub.subscribe(&spec.topic, spec.metadata.clone(), sink, stop.clone());
    match (begun.await, bulk) {
        (Ok(work), None) => Attempt::Runs(work),
        (Ok(work), Some(delivering)) => Attempt::Runs(Box::pin(async move {
            // The broker's work ends when the sink has settled everything.
            tokio::select! {
                () = work => {}
                () = delivering => {}
            }
        })),
        (Err(error), _) if is_hopeless(&error) => {
            telemetry.subscription_failed(&spec.pubsub, &spec.topic, &error);
            Attempt::Hopeless
        }
        (Err(error), _) => {
            if is_first {
                telemetry.subscription_failed(&spec.pubsub, &spec.topic, &error);
            } else {
                telemetry.subscription_failed_again(&spec.pubsub, &spec.topic, &error);
            }
            Attempt::Failed
        }
    }
}
