//! Subscriptions that deliver several events in one request (tests/spec/delivery.md, "B15. Bulk subscribe"). The sink collects
//! messages until the batch is full or its first message has waited long enough; a loop beside the broker's delivers batch
//! after batch.
//!
//! `batch` handles one batch.

mod attempts;
mod batch;

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures_util::FutureExt;
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;

use crate::broker::Sink;
use crate::delivery::consumer::Consumer;
use crate::health::Report;
use crate::message::{Incoming, Settlement};
use crate::resources::kinds::subscription::BulkSpec;
use crate::shutdown::Stop;

/// Messages of a batch, unless the subscription sets it.
const COUNT: usize = 100;

/// Most messages of a batch: all of them are in memory, and in one request.
const MOST: usize = 10_000;

/// How long a batch waits to fill, unless the subscription sets it.
const WAIT: Duration = Duration::from_secs(1);

/// When a batch is delivered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct BatchLimits {
    count: usize,
    wait: Duration,
}

/// A message that waits for its settlement.
struct Queued {
    message: Incoming,
    settle: oneshot::Sender<Settlement>,
}

/// The sink. Messages wait in it until their batch is delivered.
struct BatchSink {
    inbox: mpsc::UnboundedSender<Queued>,
    count: usize,
    stop: Stop,
    report: Report,
}

/// A sink for bulk delivery, and the loop that delivers its batches. The loop never ends by itself: drop it when the subscription has
/// ended.
pub(super) fn open(
    consumer: Arc<Consumer>,
    spec: BulkSpec,
) -> (Arc<dyn Sink>, impl Future<Output = ()> + Send + 'static) {
    let limits = BatchLimits::of(spec);
    // Bounded by the broker, which delivers no more than `places` messages at a time.
    let (inbox, waiting) = mpsc::unbounded_channel();
    let sink = BatchSink { inbox, count: limits.count, stop: consumer.stop.clone(), report: consumer.report.clone() };
    (Arc::new(sink), run(consumer, waiting, limits))
}

#[async_trait]
impl Sink for BatchSink {
    async fn accept(&self, message: Incoming) -> Settlement {
        let (settle, settled) = oneshot::channel();
        let is_late = self.stop.is_triggered() && !message.only_once;
        if is_late || self.inbox.send(Queued { message, settle }).is_err() {
            return Settlement::Retry;
        }
        settled.await.unwrap_or(Settlement::Retry)
    }

    fn max_in_flight(&self) -> Option<usize> {
        Some(self.count)
    }

    fn reading(&self, reading: Result<(), &str>) {
        self.report.reads(reading);
    }
}

/// Deliver batch after batch. At the stop, messages whose batch has not begun go back to the broker.
async fn run(consumer: Arc<Consumer>, mut waiting: mpsc::UnboundedReceiver<Queued>, limits: BatchLimits) {
    while let Some(first) = waiting.recv().await {
        let mut batch = collect_batch(first, &mut waiting, limits, &consumer.stop).await;
        if consumer.stop.is_triggered() {
            // A message that is dropped without settlement is delivered again. One that the broker would not deliver again is delivered
            // now.
            batch.retain(|waiting| waiting.message.only_once);
        }
        if batch.is_empty() {
            continue;
        }
        let (messages, settles): (Vec<_>, Vec<_>) =
            batch.into_iter().map(|waiting| (waiting.message, waiting.settle)).unzip();
        // A panic must not end the subscription: it counts as a retry of the whole batch.
        let settled = AssertUnwindSafe(batch::settle(&consumer, messages)).catch_unwind();
        for (settle, settlement) in settles.into_iter().zip(settled.await.unwrap_or_default()) {
            // If the receiver is gone, the message has been counted as a retry.
            let _ = settle.send(settlement);
        }
    }
}

async fn collect_batch(
    first: Queued,
    waiting: &mut mpsc::UnboundedReceiver<Queued>,
    limits: BatchLimits,
    stop: &Stop,
) -> Vec<Queued> {
    let deadline = Instant::now() + limits.wait;
    let mut batch = vec![first];
    while batch.len() < limits.count {
        let next = tokio::time::timeout_at(deadline, waiting.recv());
        match stop.run_until_triggered(next).await {
            Some(Ok(Some(next))) => batch.push(next),
            _ => break,
        }
    }
    batch
}

impl BatchLimits {
    fn of(spec: BulkSpec) -> Self {
        let positive = |value: i32| usize::try_from(value).ok().filter(|value| *value > 0);
        let millis = u64::try_from(spec.max_await_duration_ms).unwrap_or(0);
        Self {
            count: positive(spec.max_messages_count).unwrap_or(COUNT).min(MOST),
            wait: if millis > 0 { Duration::from_millis(millis) } else { WAIT },
        }
    }
}

#[cfg(test)]
mod tests;
