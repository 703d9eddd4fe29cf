//! One request of a batch, until each entry has the verdict that stands: asked once, or as often as the component's
//! policy says, each time with the entries that failed, under the same ids (tests/spec/delivery.md, "B15. Bulk
//! subscribe"). The HTTP status of an answer is not for `matching` here.

use parking_lot::Mutex;

use crate::app::{BulkDelivery, FailureReason, Verdict};
use crate::delivery::consumer::Consumer;
use crate::resiliency::{CallError, Interruption};

/// The last verdict on each entry, if there was one.
type Verdicts = Mutex<Vec<Option<Verdict>>>;

/// A verdict for each entry, in their order; or what the policy did to its last attempt.
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
    if let Some(interruption) = interruption {
        let (open, reason) = (
            verdicts.iter().filter(|verdict| is_open(verdict)).count(),
            FailureReason::Unanswered(interruption.to_string()),
        );
        let telemetry = &consumer.telemetry;
        telemetry.bulk_failed(delivery.topic, open, verdicts.len(), &reason);
    }
    let outcome = |verdict: Option<Verdict>| match (verdict, interruption) {
        (None | Some(Verdict::Retry(_)), Some(interruption)) => Err(interruption),
        (Some(verdict), _) => Ok(verdict),
        (None, None) => Ok(Verdict::Retry(FailureReason::Unanswered(String::new()))),
    };
    verdicts.into_iter().map(outcome).collect()
}

/// Ask for the entries that have no verdict yet that stands.
async fn attempt(consumer: &Consumer, delivery: &BulkDelivery<'_>, verdicts: &Verdicts) -> Result<(), FailureReason> {
    let places: Vec<usize> = {
        let verdicts = verdicts.lock();
        let open = verdicts.iter().enumerate().filter(|(_, verdict)| is_open(verdict));
        open.map(|(place, _)| place).collect()
    };
    let rest = BulkDelivery {
        id: delivery.id.clone(),
        path: delivery.path.clone(),
        pubsub: delivery.pubsub,
        topic: delivery.topic,
        entries: places.iter().map(|place| delivery.entries[*place].clone()).collect(),
        traceparent: delivery.traceparent.clone(),
    };
    let got = deliver_once(consumer, &rest).await;
    let mut failure = None;
    let mut verdicts = verdicts.lock();
    for (place, verdict) in places.into_iter().zip(got) {
        if let Verdict::Retry(reason) = &verdict {
            failure.get_or_insert_with(|| reason.clone());
        }
        verdicts[place] = Some(verdict);
    }
    failure.map_or(Ok(()), Err)
}

fn is_open(verdict: &Option<Verdict>) -> bool {
    matches!(verdict, None | Some(Verdict::Retry(_)))
}

/// One attempt: a verdict for each entry, in their order. What is worth telling has been told.
async fn deliver_once(consumer: &Consumer, delivery: &BulkDelivery<'_>) -> Vec<Verdict> {
    let verdicts = match consumer.reason_not_to_ask() {
        None => consumer.channel.deliver_bulk(delivery).await,
        Some(reason) => vec![Verdict::Retry(reason); delivery.entries.len()],
    };
    let failures = || {
        verdicts.iter().filter_map(|verdict| match verdict {
            Verdict::Retry(reason) => Some(reason),
            Verdict::Success | Verdict::Drop(_) => None,
        })
    };
    match (failures().next(), verdicts.first()) {
        (Some(FailureReason::Code { code, .. }), _) => {
            consumer.telemetry.bulk_delivery_refused(delivery.topic, *code);
        }
        (Some(reason), _) => {
            if matches!(reason, FailureReason::Unreachable(_)) {
                consumer.app_is_gone.notify_one();
            }
            consumer.telemetry.bulk_failed(delivery.topic, failures().count(), verdicts.len(), reason);
        }
        (None, Some(Verdict::Drop(FailureReason::Code { .. }))) => {
            consumer.telemetry.bulk_refused(delivery.topic);
        }
        (None, _) => {}
    }
    verdicts
}
