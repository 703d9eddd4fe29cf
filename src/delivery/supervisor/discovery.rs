//! Asks the app what it subscribes to: at the start, until it answers, and again when it comes back
//! (tests/spec/delivery.md, "B2. Programmatic discovery over HTTP"; D14).

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures_util::FutureExt;

use super::reconciler::Reconciler;
use crate::app::{Channel, DiscoveryError};
use crate::backoff::Backoff;
use crate::delivery::subscriptions::{Origin, RuleError, Subscription};
use crate::telemetry::events::app::{DiscoveryFailed, DiscoverySkipped, SubscribingFailed};
use crate::telemetry::events::lifecycle::ConfigurationSkipped;

/// Pauses between two questions while the start waits for the answer.
const START_PAUSES: Backoff = Backoff::as_daprd(Duration::from_secs(1));

/// Pauses between two questions in the background.
const PAUSES: Backoff = Backoff::as_daprd(Duration::from_secs(15));

/// How often an app that cannot be reached is asked before the start goes on without it (B2).
const START_QUESTIONS: u32 = 4;

/// How long the declared subscriptions wait for an app that accepts the question and does not answer.
const PATIENCE: Duration = Duration::from_secs(5);

/// Why the app's subscriptions are not known.
#[derive(Debug, thiserror::Error)]
enum AskError {
    #[error(transparent)]
    Discovery(#[from] DiscoveryError),
    #[error(transparent)]
    Rule(#[from] RuleError),
}

type Answer = Result<Vec<Arc<Subscription>>, AskError>;

/// The questions to one app. Clones are handles to the same.
#[derive(Clone)]
pub(super) struct Discovery {
    reconciler: Arc<Reconciler>,
    channel: Arc<dyn Channel>,
    /// Has the app been asked, or is it being asked?
    asked: Arc<AtomicBool>,
}

impl Discovery {
    pub(super) fn new(reconciler: Arc<Reconciler>, channel: Arc<dyn Channel>) -> Self {
        Self { reconciler, channel, asked: Arc::default() }
    }

    /// Ask the app and starts all subscriptions. Returns after the first round; later ones go on in the background.
    pub(super) async fn start(&self) {
        if self.reconciler.config.disabled.subscribe {
            self.reconciler.config.telemetry.emit(DiscoverySkipped);
        }
        if !self.must_ask() {
            return self.reconcile().await;
        }
        let first = self.ask_at_start().await;
        let discovery = self.clone();
        self.reconciler.config.tasks.spawn("discovery", async move { discovery.keep_asking(first).await });
    }

    /// Start and stops what a hot reload has changed, and asks an app for which there was no pub/sub before.
    pub(super) async fn resume(&self) {
        self.reconcile().await;
        if self.must_ask() {
            let discovery = self.clone();
            self.reconciler.config.tasks.spawn("discovery", async move {
                let first = discovery.ask_at_start().await;
                discovery.keep_asking(first).await;
            });
        }
    }

    /// Is this the time to ask the app for the first time? It is as soon as there is a pub/sub (tests/spec/resources-cli.md,
    /// "11.2 App start-up calls").
    fn must_ask(&self) -> bool {
        let config = &self.reconciler.config;
        !config.disabled.subscribe && !config.catalog.is_empty() && !self.asked.swap(true, Ordering::Relaxed)
    }

    /// Ask for `/dapr/config`, as daprd does. Neither the answer nor its absence has an effect: it is about actors.
    pub(super) async fn load_configuration(&self) {
        let config = &self.reconciler.config;
        if config.disabled.config {
            return config.telemetry.emit(ConfigurationSkipped);
        }
        let loading = tokio::time::timeout(PATIENCE, self.channel.load_configuration());
        let _ = self.reconciler.stop.run_until_triggered(loading).await;
    }

    async fn reconcile(&self) {
        self.reconciler.reconcile(&self.channel).await;
    }

    /// The first round. `Ok` if the app has answered; otherwise the error that was logged, which is empty at the stop.
    async fn ask_at_start(&self) -> Result<(), String> {
        for question in 1..=START_QUESTIONS {
            let error = match self.ask_patiently().await {
                None => return Err(String::new()),
                Some(Ok(wanted)) => {
                    self.reconciler.set_programmatic(wanted, &self.channel).await;
                    return Ok(());
                }
                Some(Err(error)) => error,
            };
            // Declared subscriptions do not wait for the app's answer.
            self.reconcile().await;
            let is_unreachable = matches!(error, AskError::Discovery(DiscoveryError::Unreachable(_)));
            if !is_unreachable || question == START_QUESTIONS {
                self.log_error(&error);
                return Err(error.to_string());
            }
            if !self.reconciler.stop.sleep(START_PAUSES.after(question)).await {
                return Err(String::new());
            }
        }
        Err(String::new())
    }

    /// Ask, however long the answer takes. If that is long, declared subscriptions start meanwhile. `None` at the stop.
    async fn ask_patiently(&self) -> Option<Answer> {
        let mut answer = pin!(self.reconciler.stop.run_until_triggered(self.ask()));
        if let Ok(answer) = tokio::time::timeout(PATIENCE, answer.as_mut()).await {
            return answer;
        }
        self.reconcile().await;
        answer.await
    }

    /// Ask until there is an answer, and again when the app comes back after having been gone. Runs in the background.
    async fn keep_asking(&self, first: Result<(), String>) {
        let mut failures = 0;
        let mut is_known = first.is_ok();
        let mut logged = first.err().unwrap_or_default();
        loop {
            let goes_on = if is_known {
                failures = 0;
                self.comes_back().await
            } else {
                failures += 1;
                self.is_healthy_after(PAUSES.after(failures)).await
            };
            if !goes_on {
                return;
            }
            let had_some = self.reconciler.has_programmatic();
            match self.reconciler.stop.run_until_triggered(self.ask()).await {
                None => return,
                Some(Ok(wanted)) => {
                    self.reconciler.set_programmatic(wanted, &self.channel).await;
                    // An app that had subscriptions and now lists none may not be ready yet: it is asked again.
                    is_known = !had_some || self.reconciler.has_programmatic();
                }
                Some(Err(error)) => {
                    is_known = false;
                    let text = error.to_string();
                    if logged != text {
                        self.log_error(&error);
                        logged = text;
                    }
                }
            }
        }
    }

    /// Resolves when the app has been gone and is there again; `false` if the stop came first.
    async fn comes_back(&self) -> bool {
        let (stop, app_is_gone) = (&self.reconciler.stop, &self.reconciler.app_is_gone);
        let is_back = stop.run_until_triggered(app_is_gone.notified()).await.is_some()
            && self.channel.listening(stop).await
            && self.is_healthy_after(Duration::ZERO).await;
        // A notification that came meanwhile is about the same absence.
        let _ = app_is_gone.notified().now_or_never();
        is_back
    }

    /// Resolves when this time is over and the app is healthy; `false` if the stop came first.
    async fn is_healthy_after(&self, pause: Duration) -> bool {
        let healthy = async {
            tokio::time::sleep(pause).await;
            if let Some(health) = self.reconciler.health.get() {
                health.healthy().await;
            }
        };
        self.reconciler.stop.run_until_triggered(healthy).await.is_some()
    }

    /// Ask once. One rule that does not compile spoils the whole list (B2).
    async fn ask(&self) -> Answer {
        let wanted = self.channel.subscriptions().await?;
        let compile = |spec| Subscription::compile(spec, Origin::Programmatic);
        Ok(wanted.into_iter().map(compile).collect::<Result<_, _>>()?)
    }

    fn log_error(&self, error: &AskError) {
        let telemetry = &self.reconciler.config.telemetry;
        match error {
            AskError::Discovery(error @ DiscoveryError::Status(..)) => telemetry.emit(DiscoveryFailed { error }),
            AskError::Discovery(error @ DiscoveryError::Malformed(_)) => {
                telemetry.emit(DiscoveryFailed { error });
                telemetry.emit(SubscribingFailed { error });
            }
            AskError::Discovery(DiscoveryError::Unreachable(_)) | AskError::Rule(_) => {
                telemetry.emit(SubscribingFailed { error });
            }
        }
    }
}
