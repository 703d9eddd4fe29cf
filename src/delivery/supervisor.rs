//! Starts and stops the subscriptions of a sidecar, and knows what they are.
//!
//! What files declare and what the app asks for is merged into one set (spec delivery.md B5); what runs is then made equal to it. An app
//! that cannot say what it wants is asked again, and so is one that comes back after having been gone (design.md D14).

use std::collections::BTreeMap;
use std::pin::pin;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use futures_util::future::join_all;
use tokio::sync::{Mutex, Notify};

use crate::app::{Channel, DiscoveryError};
use crate::delivery::backoff::Backoff;
use crate::delivery::consumer::Consumer;
use crate::delivery::running::Running;
use crate::delivery::subscriptions::{Subscription, merge};
use crate::pubsub::Catalog;
use crate::resources::subscription::SubscriptionSpec;
use crate::shutdown::{Stop, Tasks};
use crate::telemetry::Telemetry;
use crate::telemetry::trace::Tracing;

/// As often an app that is not reached is asked before the start goes on without it (B2), and the longest pause meanwhile.
const FIRST_QUESTIONS: u32 = 4;
const LONGEST_FIRST_PAUSE: Duration = Duration::from_secs(1);

/// So long the declared subscriptions wait for an app that takes the question and does not answer.
const PATIENCE: Duration = Duration::from_secs(5);

/// Longest pause between two questions in the background.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

/// All subscriptions of one sidecar. Clones are handles to the same.
#[derive(Clone)]
pub struct Supervisor(Arc<Inner>);

/// What a supervisor works with.
pub struct Parts {
    /// The pub/subs.
    pub catalog: Catalog,
    /// What the resource files declare for this app, in order.
    pub declared: Vec<SubscriptionSpec>,
    /// Trace contexts.
    pub tracing: Tracing,
    /// `--disable-init-endpoints subscribe`: the app is not asked.
    pub skip_discovery: bool,
    /// Where loops run.
    pub tasks: Tasks,
    /// Ends all subscriptions.
    pub stop: Stop,
    /// Log and metrics.
    pub telemetry: Telemetry,
}

struct Inner {
    parts: Parts,
    declared: Vec<Arc<Subscription>>,
    /// The merged set, in the order of the metadata API.
    listed: RwLock<Vec<Arc<Subscription>>>,
    /// What runs. Held while it changes.
    running: Mutex<Vec<Running>>,
    app_is_gone: Arc<Notify>,
}

/// A `match` expression that does not compile, with the subscription and the position.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct RuleError(pub String);

/// Why the app's subscriptions are not known.
#[derive(Debug, thiserror::Error)]
enum AskError {
    #[error(transparent)]
    Discovery(#[from] DiscoveryError),
    #[error(transparent)]
    Rule(#[from] RuleError),
}

/// What the app wants.
type Answer = Result<Vec<Arc<Subscription>>, AskError>;

impl Supervisor {
    /// Compile what is declared.
    ///
    /// # Errors
    /// If a rule of a declared subscription does not compile.
    pub fn new(mut parts: Parts) -> Result<Self, RuleError> {
        let declared = std::mem::take(&mut parts.declared)
            .into_iter()
            .map(|spec| Subscription::compile(spec, Origin::Declarative))
            .collect::<Result<Vec<_>, _>>()?;
        Ok(Self(Arc::new(Inner {
            listed: RwLock::new(merge(&declared, &[])),
            declared,
            running: Mutex::default(),
            app_is_gone: Arc::default(),
            parts,
        })))
    }

    /// Ask the app for its subscriptions and start all. Returns after the first round; what failed is tried again in the
    /// background (design.md D14, spec delivery.md B6).
    pub async fn activate(&self, channel: Arc<dyn Channel>) {
        let parts = &self.0.parts;
        if parts.skip_discovery {
            parts.telemetry.discovery_skipped();
        }
        if parts.skip_discovery || parts.catalog.is_empty() {
            return self.0.run(&channel).await;
        }
        let is_known = self.0.ask_at_start(&channel).await;
        let inner = self.0.clone();
        parts.tasks.spawn("discovery", async move {
            inner.keep_asking(&channel, is_known).await
        });
    }

    /// What is subscribed, in the order of the metadata API (spec http-api.md 7.1).
    pub fn listed(&self) -> Vec<Listed> {
        let list = |subscription: &Arc<Subscription>| Listed {
            spec: subscription.spec.clone(),
            origin: subscription.origin,
        };
        self.0.merged().iter().map(list).collect()
    }

    /// End all subscriptions: no new messages, what the app has in hand is finished and settled.
    pub async fn stop(&self) {
        self.0.parts.stop.order();
        let mut running = self.0.running.lock().await;
        Running::end_all(std::mem::take(&mut *running)).await;
    }
}

impl Inner {
    /// The first round. Tells whether the app's answer is known.
    async fn ask_at_start(&self, channel: &Arc<dyn Channel>) -> bool {
        let mut backoff = Backoff::up_to(LONGEST_FIRST_PAUSE);
        for question in 1..=FIRST_QUESTIONS {
            let error = match self.ask_with_patience(channel).await {
                None => return false,
                Some(Ok(wanted)) => {
                    self.adopt(&wanted, channel).await;
                    return true;
                }
                Some(Err(error)) => error,
            };
            // What is declared does not wait for the app's answer.
            self.run(channel).await;
            let is_lost = matches!(error, AskError::Discovery(DiscoveryError::Unreachable(_)));
            if !is_lost || question == FIRST_QUESTIONS {
                self.tell(&error);
                return false;
            }
            if !self.parts.stop.sleep(backoff.pause()).await {
                return false;
            }
        }
        false
    }

    /// Ask, however long the answer takes; but what is declared starts meanwhile if it takes long. `None` at the stop.
    async fn ask_with_patience(&self, channel: &Arc<dyn Channel>) -> Option<Answer> {
        let mut answer = pin!(self.parts.stop.or(ask(channel)));
        if let Ok(answer) = tokio::time::timeout(PATIENCE, answer.as_mut()).await {
            return answer;
        }
        self.run(channel).await;
        answer.await
    }

    /// In the background: ask until there is an answer, and again when the app comes back after having been gone.
    async fn keep_asking(&self, channel: &Arc<dyn Channel>, mut is_known: bool) {
        let stop = &self.parts.stop;
        let mut backoff = Backoff::up_to(LONGEST_PAUSE);
        let mut told = String::new();
        loop {
            let goes_on = if is_known {
                backoff = Backoff::up_to(LONGEST_PAUSE);
                stop.or(self.app_is_gone.notified()).await.is_some()
                    && channel.listening(stop).await
            } else {
                stop.sleep(backoff.pause()).await
            };
            if !goes_on {
                return;
            }
            let had_some = self.has_programmatic();
            match stop.or(ask(channel)).await {
                None => return,
                Some(Ok(wanted)) => {
                    self.adopt(&wanted, channel).await;
                    // An app that asked for something before may only not be ready to say so.
                    is_known = !had_some || self.has_programmatic();
                }
                Some(Err(error)) => {
                    is_known = false;
                    let text = error.to_string();
                    if told != text {
                        self.tell(&error);
                        told = text;
                    }
                }
            }
        }
    }

    fn tell(&self, error: &AskError) {
        let telemetry = &self.parts.telemetry;
        match error {
            AskError::Discovery(error @ DiscoveryError::Status(_)) => {
                telemetry.discovery_failed(error)
            }
            AskError::Discovery(error @ DiscoveryError::Malformed(_)) => {
                telemetry.discovery_failed(error);
                telemetry.subscribing_failed(error);
            }
            AskError::Discovery(DiscoveryError::Unreachable(_)) | AskError::Rule(_) => {
                telemetry.subscribing_failed(error);
            }
        }
    }

    /// Run what the app wants, beside what is declared.
    async fn adopt(&self, wanted: &[Arc<Subscription>], channel: &Arc<dyn Channel>) {
        let merged = merge(&self.declared, wanted);
        *self.listed.write().unwrap_or_else(PoisonError::into_inner) = merged;
        self.run(channel).await;
    }

    fn has_programmatic(&self) -> bool {
        self.merged()
            .iter()
            .any(|known| known.origin == Origin::Programmatic)
    }

    fn merged(&self) -> Vec<Arc<Subscription>> {
        self.listed
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// Make what runs equal to what is listed.
    async fn run(&self, channel: &Arc<dyn Channel>) {
        let mut running = self.running.lock().await;
        let listed = self.merged();
        let runs = |running: &[Running], wanted: &Subscription| {
            running
                .iter()
                .any(|known| known.subscription.equals(wanted))
        };
        let is_unwanted = |known: &mut Running| {
            let same = |wanted: &Arc<Subscription>| wanted.equals(&known.subscription);
            !listed.iter().any(same)
        };
        Running::end_all(running.extract_if(.., is_unwanted).collect()).await;
        let missing: Vec<_> = listed
            .iter()
            .filter(|wanted| !runs(&running, wanted))
            .collect();
        if missing.is_empty() || self.parts.stop.is_ordered() {
            return;
        }
        self.announce(&missing);
        let starting = missing
            .into_iter()
            .map(|wanted| self.start(wanted, channel));
        let started = join_all(starting).await;
        running.extend(started);
    }

    fn announce(&self, new: &[&Arc<Subscription>]) {
        let telemetry = &self.parts.telemetry;
        let mut topics: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        let mut lettered = Vec::new();
        for subscription in new {
            let spec = &subscription.spec;
            if subscription.origin == Origin::Programmatic {
                topics.entry(&spec.pubsub).or_default().push(&spec.topic);
            }
            if subscription.dead_letter_topic().is_some() {
                lettered.push(spec.topic.as_str());
            }
        }
        for (pubsub, topics) in topics {
            telemetry.app_subscribed(pubsub, &topics);
        }
        if !lettered.is_empty() {
            telemetry.first_failure_dead_letters(&lettered);
        }
    }

    async fn start(&self, wanted: &Arc<Subscription>, channel: &Arc<dyn Channel>) -> Running {
        let (subscription, stop) = (wanted.clone(), self.parts.stop.child());
        let Some(pubsub) = self.parts.catalog.get(&wanted.spec.pubsub) else {
            return Running::inactive(subscription, stop);
        };
        let consumer = Consumer {
            subscription,
            pubsub,
            channel: channel.clone(),
            tracing: self.parts.tracing.clone(),
            app_is_gone: self.app_is_gone.clone(),
            stop,
            telemetry: self.parts.telemetry.clone(),
        };
        Running::start(consumer, &self.parts.tasks).await
    }
}

/// Ask the app what it wants. One bad rule spoils its whole list (B2).
async fn ask(channel: &Arc<dyn Channel>) -> Answer {
    let wanted = channel.subscriptions().await?;
    let compile = |spec| Subscription::compile(spec, Origin::Programmatic);
    Ok(wanted.into_iter().map(compile).collect::<Result<_, _>>()?)
}

/// One subscription as the metadata API shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    /// What was declared.
    pub spec: SubscriptionSpec,
    /// Who declared it.
    pub origin: Origin,
}

/// Who declared a subscription.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// A resource file.
    Declarative,
    /// The app.
    Programmatic,
    /// A gRPC stream.
    Streaming,
}

#[cfg(test)]
mod tests;
