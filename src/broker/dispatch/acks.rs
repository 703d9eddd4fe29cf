//! Acks in batches: collected from all sinks and sent together, one round trip for what has gathered.
//!
//! An ack that could not be sent is sent again until the broker has answered; the entry stays in flight until then. So does an entry
//! whose ack the broker refuses, for example for want of the right: that ack is sent again less often, and does not delay those of other
//! subscriptions. A subscription with so many of them that its buffer is full is not read until they are accepted.

use std::mem;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::dispatcher::Dispatcher;
use super::driver::{AckBatch, AckDriver, AckReply};
use super::subscription_id::SubscriptionId;
use super::workers::Workers;
use crate::backoff::Backoff;
use crate::shutdown::Stop;

/// How long acks gather before they are sent, unless there are as many as the component has slots: that number bounds what a killed
/// sidecar repeats.
const GATHER: Duration = Duration::from_millis(10);
const PAUSE: Backoff = Backoff::doubling(Duration::from_millis(50), Duration::from_secs(2));

/// Send acks until `stop`. After a pause the first goes at once; those that follow closely go together.
pub(in crate::broker) async fn run<D: AckDriver>(workers: Arc<Workers<D>>, stop: Stop) {
    let dispatcher = &workers.dispatcher;
    let (mut next, mut failures) = (Instant::now(), 0);
    let mut refused = RefusedAcks::default();
    while let Some(batch) = stop.run_until_triggered(dispatcher.acks.collect(next, refused.due)).await {
        let batch = refused.exchange(batch, Instant::now());
        let Some(failed) = stop.run_until_triggered(send(dispatcher, batch, &mut refused)).await else {
            break;
        };
        next = Instant::now() + GATHER;
        refused.plan(&dispatcher.driver, failed.is_none());
        let Some(error) = failed else {
            failures = 0;
            continue;
        };
        failures += 1;
        if failures == 1 {
            dispatcher.driver.report_delayed(&error);
        }
        stop.sleep(PAUSE.after(failures)).await;
    }
}

/// Send these acks. Those that were not confirmed wait again. Returns the first error among them.
async fn send<D: AckDriver>(
    dispatcher: &Dispatcher<D>,
    batch: AckBatch<D::Id>,
    refused: &mut RefusedAcks<D>,
) -> Option<D::Error> {
    if batch.is_empty() {
        return None;
    }
    let replies = dispatcher.driver.ack(&batch).await;
    let mut first = None;
    for ((subscription, ids), reply) in batch.into_iter().zip(replies) {
        match reply {
            AckReply::Failed(error) => {
                dispatcher.acks.put_back(subscription, ids);
                first.get_or_insert(error);
            }
            AckReply::Refused(error) if !dispatcher.inflight.is_closing(&subscription) => {
                refused.keep(subscription, ids, error);
            }
            // At the end of a subscription one try is enough: the next reader of the topic gets these entries, too.
            AckReply::Confirmed | AckReply::Refused(_) => dispatcher.inflight.acked(&subscription, &ids),
        }
    }
    first
}

/// Acks that the broker refuses, of subscriptions that are read.
struct RefusedAcks<D: AckDriver> {
    batch: AckBatch<D::Id>,
    /// When they are sent again.
    due: Option<Instant>,
    tries: u32,
    /// The first refusal, until it is reported.
    news: Option<(SubscriptionId, D::Error)>,
    is_reported: bool,
}

impl<D: AckDriver> Default for RefusedAcks<D> {
    fn default() -> Self {
        Self { batch: AckBatch::new(), due: None, tries: 0, news: None, is_reported: false }
    }
}

impl<D: AckDriver> RefusedAcks<D> {
    /// Hold back acks of subscriptions with refused ones until their retry is due. Returns what to send now.
    fn exchange(&mut self, mut batch: AckBatch<D::Id>, now: Instant) -> AckBatch<D::Id> {
        for (subscription, kept) in &mut self.batch {
            kept.extend(batch.remove(subscription).unwrap_or_default());
        }
        if self.due.is_some_and(|due| due <= now) {
            self.due = None;
            batch.append(&mut self.batch);
        }
        batch
    }

    fn keep(&mut self, subscription: SubscriptionId, ids: Vec<D::Id>, error: D::Error) {
        self.news.get_or_insert_with(|| (subscription.clone(), error));
        self.batch.entry(subscription).or_default().extend(ids);
    }

    /// Decide when to try again, and report a change: when the first ack is refused, and when none is any more.
    fn plan(&mut self, driver: &D, all_answered: bool) {
        if let Some((subscription, error)) = self.news.take()
            && !mem::replace(&mut self.is_reported, true)
        {
            driver.report_refused(&subscription, &error);
        }
        if !self.batch.is_empty() {
            if self.due.is_none() {
                self.tries += 1;
                self.due = Some(Instant::now() + PAUSE.after(self.tries));
            }
        } else if all_answered {
            self.tries = 0;
            if mem::take(&mut self.is_reported) {
                driver.report_accepted();
            }
        }
    }
}
