//! The end of a subscription: nothing new is read, what sinks hold is finished, the rest is handed back so that another
//! consumer of the group takes it at once (tests/spec/redis.md, "18. Interop rules"; D16).

use std::sync::Arc;
use std::time::Duration;

use super::Shared;
use super::entry::EntryId;
use super::stream::MAX_CLAIM;

/// Handed-back entries look as idle as this where `processingTimeout` does not say: every daprd takes them then.
const LONG_IDLE: Duration = Duration::from_secs(60);

/// Close a topic: returns when nothing of it is in hand any more.
pub(super) async fn close(shared: &Arc<Shared>, topic: &str) {
    let back = shared.board.close(topic);
    // Counted from here: a read that was planned before may still bring entries of this topic, and has not ended yet.
    let over = shared.rounds.over();
    hand_back(shared, topic, &back).await;
    // What it brings is handed back as it comes. Without waiting for it the consumer could be deleted together with such entries.
    over.await;
    loop {
        let left = shared.board.left.notified();
        tokio::pin!(left);
        left.as_mut().enable();
        if shared.board.is_empty(topic) && shared.handing_back.is_idle() {
            break;
        }
        left.await;
    }
    leave_group(shared, topic).await;
    shared.board.remove(topic);
}

/// Hand entries back as a task: for those who cannot wait.
pub(super) fn hand_back_later(shared: &Arc<Shared>, topic: &str, ids: Vec<EntryId>) {
    let (shared, topic) = (shared.clone(), topic.to_owned());
    shared.handing_back.begin();
    let tasks = shared.tasks.clone();
    tasks.spawn("redis hand back", async move {
        hand_back(&shared, &topic, &ids).await;
        shared.handing_back.end();
        shared.board.left.notify_waiters();
    });
}

/// Make entries look as if nobody had touched them for long.
async fn hand_back(shared: &Shared, topic: &str, ids: &[EntryId]) {
    if ids.is_empty() {
        return;
    }
    let idle = shared.settings.processing_timeout.unwrap_or(LONG_IDLE);
    for ids in ids.chunks(MAX_CLAIM) {
        if let Err(error) = shared.stream.hand_back(topic, idle, ids).await {
            // They stay with this consumer and are taken over like those of a dead one.
            shared.telemetry.redis_hand_back_failed(topic, ids.len(), &error);
        }
    }
    shared.instance.leaves_entries(topic);
}

/// Leave no empty consumer behind. One that still has entries must stay: they would be lost with it.
async fn leave_group(shared: &Shared, topic: &str) {
    if shared.stream.has_no_pending(topic).await {
        let _ = shared.stream.delete_consumer(topic).await;
    }
}
