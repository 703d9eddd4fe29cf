//! The end of a subscription: nothing new is read, what sinks hold is finished, and the rest is handed back so that another consumer of the
//! group takes it at once (D16).

use std::sync::Arc;

use super::client::GroupClient;
use super::read_barrier::ReadBarrier;
use crate::broker::dispatch::{Driver, SubscriptionId, Workers};

/// Close a subscription. Returns when nothing of it is in flight any more.
pub(super) async fn close(workers: &Arc<Workers<GroupClient>>, barrier: &ReadBarrier, subscription: &SubscriptionId) {
    let inflight = workers.inflight();
    let back = inflight.close(subscription);
    // Taken here: a read that was planned before may still bring entries of this topic, and has not ended yet.
    let passed = barrier.passed();
    workers.driver().hand_back(subscription, &back).await;
    // Entries of such a read are handed back as they come. Before that the consumer must not be deleted: they would be lost with it.
    passed.await;
    loop {
        let left = inflight.left.notified();
        tokio::pin!(left);
        left.as_mut().enable();
        if inflight.is_empty(subscription) && workers.has_handed_back() {
            break;
        }
        left.await;
    }
    leave_group(workers.driver(), &subscription.topic).await;
    inflight.remove(subscription);
}

/// Delete the consumer if it has no entries. With entries it must stay: they would be lost with it.
async fn leave_group(client: &GroupClient, topic: &str) {
    if client.stream.has_no_pending(topic).await {
        let _ = client.stream.delete_consumer(topic).await;
    }
}
