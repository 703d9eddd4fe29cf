//! Asking the app what it subscribes to: at the start, until it says so, and again when it comes back
//! (tests/spec/delivery.md, "B2. Programmatic discovery over HTTP"; D14).

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use futures_util::FutureExt;

use super::{Inner, Origin, RuleError};
use crate::app::{Channel, DiscoveryError};
use crate::backoff::Backoff;
use crate::delivery::subscriptions::Subscription;
use crate::telemetry::events::app::{DiscoveryFailed, DiscoverySkipped, SubscribingFailed};
use crate::telemetry::events::lifecycle::ConfigurationSkipped;

/// Pauses between two questions while the start waits for the answer, and later.
const FIRST_PAUSES: Backoff = Backoff::as_daprd(Duration::from_secs(1));
const PAUSES: Backoff = Backoff::as_daprd(Duration::from_secs(15));

/// As often an app that is not reached is asked before the start goes on without it (B2).
const FIRST_QUESTIONS: u32 = 4;

/// So long the declared subscriptions wait for an app that takes a question and does not answer.
const PATIENCE: Duration = Duration::from_secs(5);

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

impl Inner {
    /// Ask the app and start all. Returns after the first round; later ones go on in the background.
    pub(super) async fn start(self: Arc<Self>, channel: Arc<dyn Channel>) {
        self.load_configuration(&channel).await;
        // From here on what changes in the files takes effect.
        let channel = self.channel.get_or_init(|| channel).clone();
        if self.config.disabled.subscribe {
            self.config.telemetry.emit(DiscoverySkipped);
        }
        if !self.must_ask() {
            return self.reconcile(&channel).await;
        }
        let first = self.ask_at_start(&channel).await;
        let inner = self.clone();
        self.config.tasks.spawn("discovery", async move { inner.keep_asking(&channel, first).await });
    }

    /// Is this the time to ask the app first? It is once there is a pub/sub (tests/spec/resources-cli.md, "11.2 App
    /// start-up calls").
    pub(super) fn must_ask(&self) -> bool {
        let config = &self.config;
        !config.disabled.subscribe && !config.catalog.is_empty() && !self.asked.swap(true, Ordering::Relaxed)
    }

    /// Ask an app for which there was no pub/sub before.
    pub(super) async fn ask_late(self: Arc<Self>, channel: Arc<dyn Channel>) {
        let first = self.ask_at_start(&channel).await;
        self.keep_asking(&channel, first).await;
    }

    /// As daprd does. Nothing in the answer matters to us, nor whether there is one.
    async fn load_configuration(&self, channel: &Arc<dyn Channel>) {
        if self.config.disabled.config {
            return self.config.telemetry.emit(ConfigurationSkipped);
        }
        let loading = tokio::time::timeout(PATIENCE, channel.load_configuration());
        let _ = self.stop.run_until_triggered(loading).await;
    }

    /// The first round. `Ok` if the app's answer is known, else what the log was logged about it (nothing at the stop).
    async fn ask_at_start(&self, channel: &Arc<dyn Channel>) -> Result<(), String> {
        for question in 1..=FIRST_QUESTIONS {
            let error = match self.ask_patiently(channel).await {
                None => return Err(String::new()),
                Some(Ok(wanted)) => {
                    self.set_programmatic(wanted, channel).await;
                    return Ok(());
                }
                Some(Err(error)) => error,
            };
            // What is declared does not wait for the app's answer.
            self.reconcile(channel).await;
            let is_lost = matches!(error, AskError::Discovery(DiscoveryError::Unreachable(_)));
            if !is_lost || question == FIRST_QUESTIONS {
                self.log_error(&error);
                return Err(error.to_string());
            }
            if !self.stop.sleep(FIRST_PAUSES.after(question)).await {
                return Err(String::new());
            }
        }
        Err(String::new())
    }

    /// Ask, however long the answer takes; but what is declared starts meanwhile if it takes long. `None` at the stop.
    async fn ask_patiently(&self, channel: &Arc<dyn Channel>) -> Option<Answer> {
        let mut answer = pin!(self.stop.run_until_triggered(ask(channel)));
        if let Ok(answer) = tokio::time::timeout(PATIENCE, answer.as_mut()).await {
            return answer;
        }
        self.reconcile(channel).await;
        answer.await
    }

    /// In the background: ask until there is an answer, and again when the app comes back after having been gone.
    async fn keep_asking(&self, channel: &Arc<dyn Channel>, first: Result<(), String>) {
        let mut failures = 0;
        let mut is_known = first.is_ok();
        let mut logged = first.err().unwrap_or_default();
        loop {
            let goes_on = if is_known {
                failures = 0;
                self.comes_back(channel).await
            } else {
                failures += 1;
                self.is_well_after(PAUSES.after(failures)).await
            };
            if !goes_on {
                return;
            }
            let had_some = self.has_programmatic();
            match self.stop.run_until_triggered(ask(channel)).await {
                None => return,
                Some(Ok(wanted)) => {
                    self.set_programmatic(wanted, channel).await;
                    // An app that asked for something before may only not be ready to say so.
                    is_known = !had_some || self.has_programmatic();
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
    async fn comes_back(&self, channel: &Arc<dyn Channel>) -> bool {
        let is_back = self.stop.run_until_triggered(self.app_is_gone.notified()).await.is_some()
            && channel.listening(&self.stop).await
            && self.is_well_after(Duration::ZERO).await;
        // Whoever else found it gone meanwhile means the same absence.
        let _ = self.app_is_gone.notified().now_or_never();
        is_back
    }

    /// Resolves when this time is over and the app is healthy; `false` if the stop came first.
    async fn is_well_after(&self, pause: Duration) -> bool {
        let well = async {
            tokio::time::sleep(pause).await;
            if let Some(health) = self.health.get() {
                health.healthy().await;
            }
        };
        self.stop.run_until_triggered(well).await.is_some()
    }

    fn log_error(&self, error: &AskError) {
        let telemetry = &self.config.telemetry;
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

/// Ask the app what it wants. One bad rule spoils its whole list (B2).
async fn ask(channel: &Arc<dyn Channel>) -> Answer {
    let wanted = channel.subscriptions().await?;
    let compile = |spec| Subscription::compile(spec, Origin::Programmatic);
    Ok(wanted.into_iter().map(compile).collect::<Result<_, _>>()?)
}
