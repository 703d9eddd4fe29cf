//! Acknowledgements: collected from all sinks of a component and sent in pipelines, one round trip for whatever has gathered.
//!
//! An ack that could not be sent is sent again until Redis has answered; the entry stays on the board until then.

use std::collections::BTreeMap;
use std::mem;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use deadpool_redis::redis::{Pipeline, pipe};
use tokio::sync::Notify;

use super::Shared;
use super::entry::EntryId;
use crate::backoff::Backoff;
use crate::shutdown::Stop;

/// Ids in one XACK.
const MOST_IDS: usize = 256;
const PAUSE: Backoff = Backoff::doubling(Duration::from_millis(50), Duration::from_secs(2));

/// Acks to be sent.
#[derive(Default)]
pub(super) struct Acks {
    waiting: Mutex<Ids>,
    more: Notify,
}

type Ids = BTreeMap<Arc<str>, Vec<EntryId>>;

impl Acks {
    /// Acknowledge an entry, soon.
    pub(super) fn add(&self, topic: &Arc<str>, id: EntryId) {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        match waiting.get_mut(topic) {
            Some(ids) => ids.push(id),
            None => drop(waiting.insert(topic.clone(), vec![id])),
        }
        drop(waiting);
        self.more.notify_one();
    }

    fn take(&self) -> Ids {
        mem::take(&mut *self.waiting.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Send acks until `stop`.
pub(super) async fn run(shared: Arc<Shared>, stop: Stop) {
    while stop.or(shared.acks.more.notified()).await.is_some() {
        let ids = shared.acks.take();
        if stop.or(send(&shared, ids)).await.is_none() {
            break;
        }
    }
}

async fn send(shared: &Shared, ids: Ids) {
    if ids.is_empty() {
        return;
    }
    let commands = commands(&shared.settings.group, &ids);
    let mut failures = 0;
    while let Err(error) = shared.lane.pipeline(&commands).await {
        failures += 1;
        if failures == 1 {
            shared.telemetry.redis_acks_delayed(&shared.name, &error);
        }
        tokio::time::sleep(PAUSE.after(failures)).await;
    }
    // An error in an answer means that there is no such group any more: then there is nothing to acknowledge either.
    for (topic, ids) in &ids {
        shared.board.acked(topic, ids);
    }
}

fn commands(group: &str, ids: &Ids) -> Pipeline {
    let mut commands = pipe();
    for (topic, ids) in ids {
        for ids in ids.chunks(MOST_IDS) {
            let command = commands.cmd("XACK").arg(&**topic).arg(group);
            for id in ids {
                command.arg(id.to_string());
            }
        }
    }
    commands
}
