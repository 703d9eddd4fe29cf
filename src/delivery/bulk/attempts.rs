//! The attempts to deliver one request of a batch: one, or as many as the component's policy allows. Each further attempt
//! carries only the entries that have failed, under the same ids (tests/spec/delivery.md, "B15. Bulk subscribe").
//! `matching` of retry policies does not look at the HTTP status of these answers.

use parking_lot::Mutex;
use tokio::time::Instant;

use crate::app::{BulkAnswer, BulkDelivery, FailureReason, Verdict};
use crate::delivery::consumer::Consumer;
use crate::resiliency::{CallError, Interruption};
use crate::telemetry::events::delivery::{BulkAttemptVerdict, BulkAttempted, BulkInterrupted};

/// The last verdict on each entry, if there was one.
type Verdicts = Mutex<Vec<Option<Verdict>>>;

/// The verdict on each entry, in their order; or what the policy did to the last attempt.
pub(super) async fn deliver(consumer: &Consumer, delivery: &BulkDelivery<'_>) -> Vec<Result<Verdict, Interruption>> {
    let Some(policy) = &consumer.policy else {
        let verdicts = deliver_once(consumer, delivery).await;
        return verdicts.into_iter().map(Ok).collect();
    };
    let verdicts = Verdicts::new(vec![None; delivery.entries.len()]);
    let result = policy.run(|_| None, || attempt(consumer, delivery, &verdicts)).await;
    let interruption = match result {
        Err(CallError::Interrupted(interruption)) => Some(interruption),
        Ok(()) | Err(CallError::Failed(_)) => None,
    };
    let verdicts = verdicts.into_inner();
    if let Some(interruption) = &interruption {
        consumer.telemetry.emit(BulkInterrupted {
            pubsub: delivery.pubsub,
            topic: delivery.topic,
            events: verdicts.len(),
            failed: verdicts.iter().filter(|verdict| is_open(verdict)).count(),
            error: interruption,
        });
    }
    let result = |verdict: Option<Verdict>| match (verdict, interruption) {
        (None | Some(Verdict::Retry(_)), Some(interruption)) => Err(interruption),
        (Some(verdict), _) => Ok(verdict),
        (None, None) => Ok(Verdict::Retry(FailureReason::Unanswered(String::new()))),
    };
    verdicts.into_iter().map(result).collect()
}

/// Deliver the entries that have no final verdict yet.
async fn attempt(consumer: &Consumer, delivery: &BulkDelivery<'_>, verdicts: &Verdicts) -> Result<(), FailureReason> {
    let indexes: Vec<usize> = {
        let verdicts = verdicts.lock();
        let open = verdicts.iter().enumerate().filter(|(_, verdict)| is_open(verdict));
        open.map(|(index, _)| index).collect()
    };
    let rest = BulkDelivery {
        id: delivery.id.clone(),
        path: delivery.path.clone(),
        pubsub: delivery.pubsub,
        topic: delivery.topic,
        entries: indexes.iter().map(|index| delivery.entries[*index].clone()).collect(),
        traceparent: delivery.traceparent.clone(),
    };
    let got = deliver_once(consumer, &rest).await;
    let mut failure = None;
    let mut verdicts = verdicts.lock();
    for (index, verdict) in indexes.into_iter().zip(got) {
        if let Verdict::Retry(reason) = &verdict {
            failure.get_or_insert_with(|| reason.clone());
        }
        verdicts[index] = Some(verdict);
    }
    failure.map_or(Ok(()), Err)
}

fn is_open(verdict: &Option<Verdict>) -> bool {
    matches!(verdict, None | Some(Verdict::Retry(_)))
}

/// One attempt: the verdict on each entry, in their order. The attempt is reported here.
async fn deliver_once(consumer: &Consumer, delivery: &BulkDelivery<'_>) -> Vec<Verdict> {
    let begun = Instant::now();
    let BulkAnswer { verdicts, status } = match consumer.reason_not_to_ask() {
        None => consumer.channel.deliver_bulk(delivery).await,
        Some(reason) => BulkAnswer::missing(reason, delivery.entries.len()),
    };
    let failures = || {
        verdicts.iter().filter_map(|verdict| match verdict {
            Verdict::Retry(reason) => Some(reason),
            Verdict::Success | Verdict::Drop(_) => None,
        })
    };
    let verdict = match (failures().next(), verdicts.first()) {
        (Some(FailureReason::Code { .. }), _) => BulkAttemptVerdict::Failed,
        (Some(error), _) => {
            if matches!(error, FailureReason::Unreachable(_)) {
                consumer.app_is_gone.notify_one();
            }
            BulkAttemptVerdict::PartlyFailed { failed: failures().count(), error }
        }
        (None, Some(Verdict::Drop(FailureReason::Code { .. }))) => BulkAttemptVerdict::Refused,
        (None, _) => BulkAttemptVerdict::Success,
    };
    consumer.telemetry.emit(BulkAttempted {
        pubsub: delivery.pubsub,
        topic: delivery.topic,
        events: verdicts.len(),
        verdict,
        status,
        duration: begun.elapsed(),
    });
    verdicts
}
