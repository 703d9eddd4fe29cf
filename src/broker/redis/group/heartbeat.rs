//! Heartbeats, in a loop of their own: they come in time however much there is to redeliver or to take over, and however slowly Redis
//! answers. They share the connection of the upkeep. The consequence of a late one for entries in flight is decided by [`super::upkeep`].

use std::sync::Arc;

use super::client::GroupClient;
use super::liveness::PERIOD;
use crate::broker::dispatch::Workers;
use crate::shutdown::Stop;

/// Send heartbeats until `stop`. Failures are not logged here: the readers log that Redis does not answer.
pub(super) async fn run(workers: Arc<Workers<GroupClient>>, stop: Stop) {
    let client = workers.driver();
    while stop.sleep(PERIOD).await {
        if workers.inflight().is_idle() {
            // Nothing is read, so nothing is in flight, and no other instance needs to know that this one lives.
            client.liveness.pause();
            continue;
        }
        let was_well = client.liveness.is_well();
        if stop.run_until_triggered(client.beat()).await.is_none() {
            break;
        }
        if !was_well || !client.liveness.is_well() {
            workers.inflight().upkeep.notify_one();
        }
    }
}
