//! Acknowledgements: collected from all sinks of a component and sent in pipelines, one round trip for whatever has gathered.
//!
//! An ack that could not be sent is sent again until Redis has answered; the entry stays on the board until then.

use std::collections::BTreeMap;
use std::mem;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use deadpool_redis::redis::{Pipeline, RedisError, pipe};
use tokio::sync::Notify;
use tokio::time::{Instant, timeout_at};

use super::entry::EntryId;
use super::{Shared, connect};
use crate::backoff::Backoff;
use crate::shutdown::Stop;

/// How long acks gather before they are sent, unless it has become as many as the component has places: what a killed sidecar repeats is
/// bounded by that number.
const GATHER: Duration = Duration::from_millis(10);
/// Ids in one XACK.
const MOST_IDS: usize = 256;
const PAUSE: Backoff = Backoff::doubling(Duration::from_millis(50), Duration::from_secs(2));

/// Acks to be sent.
pub(super) struct Acks {
    waiting: Mutex<Waiting>,
    /// So many do not wait for more.
    enough: usize,
    first: Notify,
    full: Notify,
}

#[derive(Default)]
struct Waiting {
    ids: Ids,
    count: usize,
}

type Ids = BTreeMap<Arc<str>, Vec<EntryId>>;

impl Acks {
    pub(super) fn new(enough: usize) -> Self {
        Self {
            waiting: Mutex::default(),
            enough,
            first: Notify::new(),
            full: Notify::new(),
        }
    }

    /// Acknowledge an entry, soon.
    pub(super) fn add(&self, topic: &Arc<str>, id: EntryId) {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        match waiting.ids.get_mut(topic) {
            Some(ids) => ids.push(id),
            None => drop(waiting.ids.insert(topic.clone(), vec![id])),
        }
        waiting.count += 1;
        let count = waiting.count;
        drop(waiting);
        if count == 1 {
            self.first.notify_one();
        }
        if count == self.enough {
            self.full.notify_one();
        }
    }

    /// What has gathered, `until` then or until it is enough.
    async fn gathered(&self, until: Instant) -> Ids {
        self.first.notified().await;
        if Instant::now() < until {
            // A permit that is left from acks already taken only ends this wait early.
            let _ = timeout_at(until, self.full.notified()).await;
        }
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        mem::take(&mut *waiting).ids
    }

    /// These were not confirmed.
    fn put_back(&self, topic: Arc<str>, ids: Vec<EntryId>) {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        waiting.count += ids.len();
        waiting.ids.entry(topic).or_default().extend(ids);
        drop(waiting);
        self.first.notify_one();
    }
}

/// Send acks until `stop`. After a pause the first goes at once; those that follow closely go together.
pub(super) async fn run(shared: Arc<Shared>, stop: Stop) {
    let (mut next, mut failures) = (Instant::now(), 0);
    while let Some(ids) = stop.or(shared.acks.gathered(next)).await {
        let Some(failed) = stop.or(send(&shared, ids)).await else {
            break;
        };
        next = Instant::now() + GATHER;
        let Some(error) = failed else {
            failures = 0;
            continue;
        };
        failures += 1;
        if failures == 1 {
            let text = connect::error_text(&error, &shared.settings.host);
            shared.telemetry.redis_acks_delayed(&shared.name, &text);
        }
        stop.sleep(PAUSE.after(failures)).await;
    }
}

/// Send these acks. Those that were not confirmed wait again; the first error among them.
async fn send(shared: &Shared, ids: Ids) -> Option<RedisError> {
    if ids.is_empty() {
        return None;
    }
    let mut answers = shared
        .lane
        .each(&commands(&shared.settings.group, &ids))
        .await
        .into_iter();
    let mut first = None;
    for (topic, ids) in ids {
        let of_topic = answers.by_ref().take(ids.len().div_ceil(MOST_IDS));
        // An error that is a value means that there is no such group any more: then there is nothing to acknowledge either.
        match of_topic.filter_map(Result::err).last() {
            None => shared.board.acked(&topic, &ids),
            Some(failure) => {
                shared.acks.put_back(topic, ids);
                first.get_or_insert(failure.into_error());
            }
        }
    }
    first
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
