//! The sink of a subscription: a message of the broker goes to the app, and the app's verdict settles it
//! (tests/spec/delivery.md, "B7. Inbound handling of one message (non-bulk)").
//!
//! A delivery ends in one of three outcomes. A delivered event is acknowledged. A rejected event (dropped, expired, without
//! route) goes to the dead-letter topic if there is one, and is acknowledged. A failed event goes there, too, or else is
//! delivered again later, by the broker's plan (D1).

use std::sync::Arc;

use async_trait::async_trait;
use tokio::sync::Notify;
use tokio::time::Instant;

use crate::app::health::AppHealth;
use crate::app::{Answer, Channel, Delivery, FailureReason, Verdict};
use crate::broker::Sink;
use crate::delivery::dead_letter::DeadLetter;
use crate::delivery::outcome::{DeadLetterReason, Outcome};
use crate::delivery::prepare::{Prepared, Preparer};
use crate::delivery::subscriptions::Subscription;
use crate::health::Report;
use crate::message::{EventRef, Incoming, Settlement};
use crate::pubsub::Pubsub;
use crate::resiliency::{CallError, Policy};
use crate::shutdown::Stop;
use crate::telemetry::Telemetry;
use crate::telemetry::events::delivery::{
    AttemptVerdict, Attempted, DeadLetterFailed, DeadLettered, DeliveryFailed, DeliveryMode, Dropped, Interrupted,
};
use crate::telemetry::trace::Tracing;

/// The metadata key with the name of the component, for the app.
const PUBSUB_NAME: &str = "pubsubName";

/// The reason why an event is not delivered to an unhealthy app (tests/spec/resources-cli.md, "11.5 App health checks").
const UNHEALTHY: &str = "app is not in a healthy state";

/// The sink of one subscription.
pub(super) struct Consumer {
    pub(super) subscription: Arc<Subscription>,
    pub(super) pubsub: Arc<Pubsub>,
    pub(super) channel: Arc<dyn Channel>,
    pub(super) tracing: Tracing,
    /// Notified when the app cannot be reached.
    pub(super) app_is_gone: Arc<Notify>,
    /// `None` without health checks.
    pub(super) health: Option<AppHealth>,
    /// The resiliency policy of deliveries; `None` is one attempt without timeout.
    pub(super) policy: Option<Policy>,
    pub(super) stop: Stop,
    /// Where the subscription reports whether its broker is read.
    pub(super) report: Report,
    pub(super) telemetry: Telemetry,
}

#[async_trait]
impl Sink for Consumer {
    async fn accept(&self, mut message: Incoming) -> Settlement {
        if self.stop.is_triggered() && !message.only_once {
            return Settlement::Retry;
        }
        message.metadata.insert(PUBSUB_NAME.to_owned(), self.pubsub.name.clone());
        let preparer = self.preparer(DeliveryMode::Single);
        let (prepared, route) = match preparer.is_raw() {
            Ok(is_raw) => preparer.prepare(&message, is_raw),
            Err(outcome) => (Prepared::default(), Err(outcome)),
        };
        let id = prepared.id();
        let event = preparer.event_ref(&message, &id);
        let outcome = match route {
            Ok(path) => self.deliver(path, &prepared, event, &mut message).await,
            Err(outcome) => outcome,
        };
        let has_failed = matches!(outcome, Outcome::Failed(_));
        let settlement = self.settle(message, event, outcome).await;
        // Beside its attempts a failure is counted once for its end. An event that is handed back at the stop has no end
        // (tests/spec/delivery.md, "B19. Metrics (Prometheus names)").
        if has_failed && !self.stop.is_triggered() {
            self.telemetry.emit(DeliveryFailed { event, is_redelivered: settlement == Settlement::Retry });
        }
        settlement
    }

    fn reading(&self, reading: Result<(), &str>) {
        self.report.reads(reading);
    }
}

impl Consumer {
    pub(super) fn preparer(&self, mode: DeliveryMode) -> Preparer<'_> {
        Preparer {
            subscription: &self.subscription,
            subscriber: self.pubsub.app_id(),
            mode,
            telemetry: &self.telemetry,
        }
    }

    async fn deliver(
        &self,
        path: Arc<str>,
        prepared: &Prepared,
        event: EventRef<'_>,
        message: &mut Incoming,
    ) -> Outcome {
        let delivery = Delivery {
            path,
            body: prepared.wrapper.as_ref().unwrap_or(&message.data).clone(),
            metadata: std::mem::take(&mut message.metadata),
            traceparent: self.tracing.at_delivery(prepared.trace().as_deref()),
            // With a dead-letter topic, an event whose metadata cannot be sent moves there instead of losing the metadata.
            must_keep_headers: self.subscription.dead_letter_topic().is_some(),
        };
        let event = EventRef { trace: delivery.traceparent.as_deref(), ..event };
        let result = match &self.policy {
            None => self.attempt(&delivery, event).await.map_err(CallError::Failed),
            Some(policy) => policy.run(FailureReason::code, || self.attempt(&delivery, event)).await,
        };
        let outcome = result.unwrap_or_else(|error| match error {
            CallError::Failed(reason) => Outcome::Failed((&reason).into()),
            CallError::Interrupted(interruption) => {
                self.telemetry.emit(Interrupted { event, error: &interruption });
                Outcome::Failed(interruption.into())
            }
        });
        message.metadata = delivery.metadata;
        outcome
    }

    /// Make one attempt, and report it.
    async fn attempt(&self, delivery: &Delivery, event: EventRef<'_>) -> Result<Outcome, FailureReason> {
        let begun = Instant::now();
        let Answer { verdict, status, excerpt } = match self.reason_not_to_ask() {
            None => self.channel.deliver(delivery).await,
            Some(reason) => Answer::missing(reason),
        };
        if matches!(verdict, Verdict::Retry(FailureReason::Unreachable(_))) {
            self.app_is_gone.notify_one();
        }
        let (verdict_of_attempt, duration) = (verdict_of_attempt(&verdict), begun.elapsed());
        self.telemetry.emit(Attempted { event, verdict: verdict_of_attempt, status, excerpt: &excerpt, duration });
        match verdict {
            Verdict::Success => Ok(Outcome::Delivered),
            Verdict::Drop(reason) => Ok(Outcome::Rejected((&reason).into())),
            Verdict::Retry(reason) => Err(reason),
        }
    }

    /// Settle an event by its outcome. A rejected event is not acknowledged before its dead letter is written (D3).
    pub(super) async fn settle(&self, message: Incoming, event: EventRef<'_>, outcome: Outcome) -> Settlement {
        let dead_letter_topic = self.subscription.dead_letter_topic();
        match (outcome, dead_letter_topic) {
            (Outcome::Delivered, _) => Settlement::Ack,
            (Outcome::Rejected(reason), None) => {
                self.telemetry.emit(Dropped { event, reason: reason.code });
                Settlement::Ack
            }
            (Outcome::Rejected(reason), Some(topic)) => self.dead_letter(message, event, topic, &reason).await,
            (Outcome::Failed(reason), Some(topic)) if message.only_once || !self.is_interrupted() => {
                self.dead_letter(message, event, topic, &reason).await
            }
            (Outcome::Failed(_), _) => Settlement::Retry,
        }
    }

    /// The subscription is stopping, or about to stop for an unhealthy app. A failure at such a time is not final: the
    /// event is handed back to the broker (tests/spec/delivery.md, "B18. Ordering, stopping, shutdown").
    fn is_interrupted(&self) -> bool {
        self.stop.is_triggered() || !self.is_app_healthy()
    }

    fn is_app_healthy(&self) -> bool {
        self.health.as_ref().is_none_or(AppHealth::is_healthy)
    }

    /// No attempt is made while the app is unhealthy.
    pub(super) fn reason_not_to_ask(&self) -> Option<FailureReason> {
        (!self.is_app_healthy()).then(|| FailureReason::Unanswered(UNHEALTHY.to_owned()))
    }

    async fn dead_letter(
        &self,
        message: Incoming,
        event: EventRef<'_>,
        dead_letter_topic: &str,
        reason: &DeadLetterReason,
    ) -> Settlement {
        // Bulk subscriptions add nothing to metadata: an entry that another publisher wrote without any leaves a dead
        // letter without any.
        let is_bare = !message.has_metadata && message.metadata.is_empty();
        let letter = DeadLetter {
            data: message.data,
            metadata: (!is_bare).then_some(message.metadata),
            origin: event.topic,
            attempts: message.attempt,
            reason,
        };
        if let Err(error) = letter.send(&self.pubsub, dead_letter_topic).await {
            self.telemetry.emit(DeadLetterFailed { event, dead_letter_topic, error: &error });
            return Settlement::Retry;
        }
        let DeadLetterReason { code: reason, detail } = reason;
        self.telemetry.emit(DeadLettered { event, dead_letter_topic, reason, detail, is_bare });
        Settlement::Ack
    }
}

fn verdict_of_attempt(verdict: &Verdict) -> AttemptVerdict<'_> {
    match verdict {
        Verdict::Success => AttemptVerdict::Success,
        Verdict::Drop(FailureReason::Status(_)) => AttemptVerdict::Dropped,
        Verdict::Drop(_) => AttemptVerdict::Refused,
        Verdict::Retry(FailureReason::Status(status)) if status == "RETRY" => AttemptVerdict::RetryWanted,
        Verdict::Retry(FailureReason::Status(status)) => AttemptVerdict::StatusUnknown(status),
        Verdict::Retry(FailureReason::Code { .. }) => AttemptVerdict::Failed,
        Verdict::Retry(FailureReason::Unreachable(error) | FailureReason::Unanswered(error)) => {
            AttemptVerdict::Unanswered(error)
        }
    }
}

#[cfg(test)]
mod tests;
