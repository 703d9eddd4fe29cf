//! Signs of life, in a loop of their own: however much there is to redeliver or to take over, and however slowly Redis answers, they come
//! in time. They share the connection of the upkeep. What a late sign means for what is in hand, [`super::keep`] decides.

use std::sync::Arc;

use deadpool_redis::redis::RedisError;

use super::Shared;
use super::instance::{SIGN, Sign};
use crate::shutdown::Stop;

/// Give signs until `stop`. That Redis does not answer is told by those who need it more.
pub(super) async fn run(shared: Arc<Shared>, stop: Stop) {
    while stop.sleep(SIGN).await {
        if shared.board.topics().is_empty() {
            // Nothing is read: nothing can be in hand, and nobody needs to know that we live.
            shared.instance.rests();
            continue;
        }
        let was_well = shared.instance.is_well();
        if stop.run_until_triggered(give(&shared)).await.is_none() {
            break;
        }
        if !was_well || !shared.instance.is_well() {
            shared.board.keeper.notify_one();
        }
    }
}

/// Give one.
///
/// # Errors
/// If Redis did not answer.
pub(super) async fn give(shared: &Shared) -> Result<(), RedisError> {
    if shared.instance.sign(&shared.connections).await? == Sign::JustDenied {
        shared.telemetry.redis_liveness_denied(&shared.name);
    }
    Ok(())
}
