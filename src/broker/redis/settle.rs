//! Acknowledgements: collected from all sinks of a component and sent in pipelines, one round trip for whatever has gathered.
//!
//! An ack that could not be sent is sent again until Redis has answered; the entry stays on the board until then. So does one that Redis
//! refuses, for example for want of the right: less often, and without delaying those of other topics. A topic of which so many are kept
//! that its board is full is not read any more until they are accepted.

use std::collections::BTreeMap;
use std::future::pending;
use std::mem;
use std::sync::Arc;
use std::time::Duration;

use deadpool_redis::redis::{Pipeline, RedisError, pipe};
use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until, timeout_at};

use super::conn::error;
use super::entry::EntryId;
use super::stream::StreamClient;
use super::{Shared, advice};
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
        Self { waiting: Mutex::default(), enough, first: Notify::new(), full: Notify::new() }
    }

    /// Acknowledge an entry, soon.
    pub(super) fn add(&self, topic: &Arc<str>, id: EntryId) {
        let mut waiting = self.waiting.lock();
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

    /// What has gathered, `until` then or until it is enough; whatever there is when something else is `due`.
    async fn gathered(&self, until: Instant, due: Option<Instant>) -> Ids {
        let due = async {
            match due {
                Some(due) => sleep_until(due).await,
                None => pending().await,
            }
        };
        tokio::select! {
            () = self.first.notified() => if Instant::now() < until {
                // A permit that is left from acks already taken only ends this wait early.
                let _ = timeout_at(until, self.full.notified()).await;
            },
            () = due => {}
        }
        let mut waiting = self.waiting.lock();
        mem::take(&mut *waiting).ids
    }

    /// These were not confirmed.
    fn put_back(&self, topic: Arc<str>, ids: Vec<EntryId>) {
        let mut waiting = self.waiting.lock();
        waiting.count += ids.len();
        waiting.ids.entry(topic).or_default().extend(ids);
        drop(waiting);
        self.first.notify_one();
    }
}

/// Send acks until `stop`. After a pause the first goes at once; those that follow closely go together.
pub(super) async fn run(shared: Arc<Shared>, stop: Stop) {
    let (mut next, mut failures) = (Instant::now(), 0);
    let mut refused = Refused::default();
    while let Some(ids) = stop.run_until_triggered(shared.acks.gathered(next, refused.due)).await {
        let ids = refused.exchange(ids, Instant::now());
        let Some(failed) = stop.run_until_triggered(send(&shared, ids, &mut refused)).await else {
            break;
        };
        next = Instant::now() + GATHER;
        refused.plan(&shared, failed.is_none());
        let Some(error) = failed else {
            failures = 0;
            continue;
        };
        failures += 1;
        if failures == 1 {
            let text = error::error_text(&error, &shared.settings.host);
            shared.telemetry.redis_acks_delayed(&shared.name, &text);
        }
        stop.sleep(PAUSE.after(failures)).await;
    }
}

/// Acks that Redis refuses, for topics that are read.
#[derive(Default)]
struct Refused {
    ids: Ids,
    /// When they are sent again.
    due: Option<Instant>,
    tries: u32,
    /// The first refusal, until it has been told.
    news: Option<(Arc<str>, RedisError)>,
    told: bool,
}

impl Refused {
    /// What is to be sent of these: of topics that were refused nothing before it is due, and then everything.
    fn exchange(&mut self, mut ids: Ids, now: Instant) -> Ids {
        for (topic, kept) in &mut self.ids {
            kept.extend(ids.remove(topic).unwrap_or_default());
        }
        if self.due.is_some_and(|due| due <= now) {
            self.due = None;
            ids.append(&mut self.ids);
        }
        ids
    }

    fn keep(&mut self, topic: Arc<str>, ids: Vec<EntryId>, error: RedisError) {
        self.news.get_or_insert_with(|| (topic.clone(), error));
        self.ids.entry(topic).or_default().extend(ids);
    }

    /// Decide when to try again, and say what is new: one line when the first is refused, one when none is any more.
    fn plan(&mut self, shared: &Shared, all_answered: bool) {
        if let Some((topic, error)) = self.news.take()
            && !mem::replace(&mut self.told, true)
        {
            let remedy = match error.code() {
                Some("NOPERM") => " (grant the user of redisUsername +xack on the key of the topic)",
                _ => advice::on(&error),
            };
            let text = error::error_text(&error, &shared.settings.host);
            shared.telemetry.redis_acks_refused(&shared.name, &topic, &format_args!("{text}{remedy}"));
        }
        if !self.ids.is_empty() {
            if self.due.is_none() {
                self.tries += 1;
                self.due = Some(Instant::now() + PAUSE.after(self.tries));
            }
        } else if all_answered {
            self.tries = 0;
            if mem::take(&mut self.told) {
                shared.telemetry.redis_acks_accepted(&shared.name);
            }
        }
    }
}

/// Send these acks. Those that were not confirmed wait again; the first error among them.
async fn send(shared: &Shared, ids: Ids, refused: &mut Refused) -> Option<RedisError> {
    if ids.is_empty() {
        return None;
    }
    let mut answers = shared.connections.each(&commands(&shared.stream, &ids)).await.into_iter();
    let mut first = None;
    for (topic, ids) in ids {
        let (mut failure, mut refusal) = (None, None);
        for answer in answers.by_ref().take(ids.len().div_ceil(MOST_IDS)) {
            match answer {
                Ok(answer) => refusal = answer.extract_error().err().or(refusal),
                Err(error) => failure = Some(error),
            }
        }
        if let Some(failure) = failure {
            shared.acks.put_back(topic, ids);
            first.get_or_insert(failure.into_error());
        } else if let Some(error) = refusal.filter(|error| !is_void(error))
            && !shared.board.is_closing(&topic)
        {
            refused.keep(topic, ids, error);
        } else {
            // At the end of a subscription one more try is enough: whoever reads the topic next gets these entries, too.
            shared.board.acked(&topic, &ids);
        }
    }
    first
}

/// Is there no such group any more? Then there is nothing to acknowledge either.
fn is_void(error: &RedisError) -> bool {
    matches!(error.code(), Some("NOGROUP" | "WRONGTYPE"))
}

fn commands(stream: &StreamClient, ids: &Ids) -> Pipeline {
    let mut commands = pipe();
    for (topic, ids) in ids {
        for ids in ids.chunks(MOST_IDS) {
            commands.add_command(stream.ack(topic, ids));
        }
    }
    commands
}
