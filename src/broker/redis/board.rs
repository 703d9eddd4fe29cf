//! What a component has in hand: a table of topics and entries that its loops share. No I/O, no clock.
//!
//! An entry is on the board from the moment it is read until its ack is confirmed, it is handed back, or it turns out to belong to
//! somebody else. Its phase says what happens next:
//!
//! ```text
//!  read ─► Ready ─► Running ─► Acking ─► gone
//!            ▲         └─────► Waiting ─► Fetching ─┐
//!            └──────────────────────────────────────┘
//! ```

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::sync::Arc;

use parking_lot::{Mutex, MutexGuard};
use tokio::sync::Notify;
use tokio::time::Instant;

use super::entry::{Entry, EntryId};
use crate::broker::Sink;
use crate::broker::ack::Ack;
use crate::message::Settlement;

/// Entries of one topic that may be on the board; beyond it the topic is not read until some are done.
pub(super) const MOST_HELD: usize = 10_000;

/// The table. All methods are short and never wait.
pub(super) struct Board {
    state: Mutex<State>,
    /// Entries that may be with sinks at a time. A topic whose sink has places of its own does not count (D18).
    concurrency: usize,
    /// Entries that may be Ready or Running at a time, again without such topics.
    capacity: usize,
    /// Something changed that the reader should look at: a topic more or less, or room again.
    pub(super) reader: Notify,
    /// Something changed that the keeper should look at: an earlier redelivery, a topic to take over.
    pub(super) keeper: Notify,
    /// An entry has left the board.
    pub(super) left: Notify,
}

#[derive(Default)]
struct State {
    topics: BTreeMap<Arc<str>, Topic>,
    /// Of the topics that share the places of the component.
    running: usize,
    /// Of the same topics.
    ready: usize,
    /// The entries that are Waiting, by the time they are due.
    waiting: BTreeSet<(Instant, Arc<str>, EntryId)>,
    /// Who was served last: the next topic in order has the next turn.
    turn: Option<Arc<str>>,
    /// The reader waits for room, or reads without some topics for want of it.
    reader_lacks_room: bool,
}

struct Topic {
    sink: Arc<dyn Sink>,
    ack: Ack,
    /// Places of its own.
    places: Option<usize>,
    ready: VecDeque<Entry>,
    running: usize,
    held: HashMap<EntryId, Held>,
    /// Not read any more; ends when nothing is held.
    closing: bool,
    /// Not read for the moment: Redis refuses this topic.
    refused: bool,
}

#[derive(Clone, Copy, Debug)]
struct Held {
    attempt: u32,
    phase: Phase,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Ready,
    Running,
    Waiting(Instant),
    Fetching,
    Acking,
}

/// What to ask Redis for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ReadPlan {
    pub(super) topics: Vec<Arc<str>>,
    /// Entries of each topic.
    pub(super) count: usize,
}

/// An entry to hand to its sink.
pub(super) struct Job {
    pub(super) topic: Arc<str>,
    pub(super) sink: Arc<dyn Sink>,
    pub(super) ack: Ack,
    pub(super) entry: Entry,
}

/// Why a topic could not be put on the board.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct AlreadyOpen;

impl Board {
    pub(super) fn new(concurrency: usize, queue_depth: usize) -> Self {
        Self {
            state: Mutex::default(),
            concurrency,
            capacity: concurrency.saturating_add(queue_depth),
            reader: Notify::new(),
            keeper: Notify::new(),
            left: Notify::new(),
        }
    }

    /// Begin to read a topic.
    pub(super) fn open(&self, name: &Arc<str>, sink: Arc<dyn Sink>, ack: Ack) -> Result<(), AlreadyOpen> {
        let mut state = self.state();
        if state.topics.contains_key(name) {
            return Err(AlreadyOpen);
        }
        let topic = Topic {
            places: sink.places().map(|places| places.max(1)),
            sink,
            ack,
            ready: VecDeque::new(),
            running: 0,
            held: HashMap::new(),
            closing: false,
            refused: false,
        };
        state.topics.insert(name.clone(), topic);
        drop(state);
        self.reader.notify_one();
        Ok(())
    }

    /// Do not read a topic any more, and take back what no sink has begun: these entries are to be handed back.
    pub(super) fn close(&self, name: &str) -> Vec<EntryId> {
        let mut state = self.state();
        let Some(topic) = state.topics.get_mut(name) else {
            return Vec::new();
        };
        topic.closing = true;
        let unread = topic.ready.len();
        topic.ready.clear();
        let mut back = Vec::new();
        topic.held.retain(|id, held| {
            let keep = matches!(held.phase, Phase::Running | Phase::Acking);
            if !keep {
                back.push(*id);
            }
            keep
        });
        if topic.places.is_none() {
            state.ready -= unread;
        }
        state.waiting.retain(|(_, topic, _)| **topic != *name);
        drop(state);
        self.reader.notify_one();
        back
    }

    /// Is nothing of this topic with a sink or waiting for the confirmation of its ack?
    pub(super) fn is_empty(&self, name: &str) -> bool {
        self.state().topics.get(name).is_none_or(|topic| topic.held.is_empty())
    }

    /// Is this topic not read any more?
    pub(super) fn is_closing(&self, name: &str) -> bool {
        let state = self.state();
        state.topics.get(name).is_none_or(|topic| topic.closing)
    }

    /// Forget a topic.
    pub(super) fn remove(&self, name: &str) {
        self.state().topics.remove(name);
    }

    /// The topics that are read or still being closed.
    pub(super) fn topics(&self) -> Vec<Arc<str>> {
        self.state().topics.keys().cloned().collect()
    }

    /// Redis refuses this topic for this reason: it is left out until [`Board::admit`]. Tells whether that is news.
    pub(super) fn refuse(&self, name: &str, reason: &str) -> bool {
        self.set_refused(name, true, Err(reason))
    }

    /// Redis accepts this topic again. Tells whether that is news.
    pub(super) fn admit(&self, name: &str) -> bool {
        let news = self.set_refused(name, false, Ok(()));
        self.reader.notify_one();
        news
    }

    fn set_refused(&self, name: &str, refused: bool, reading: Result<(), &str>) -> bool {
        let mut state = self.state();
        let Some(topic) = state.topics.get_mut(name).filter(|topic| !topic.closing) else {
            return false;
        };
        let news = std::mem::replace(&mut topic.refused, refused) != refused;
        let sink = topic.sink.clone();
        drop(state);
        sink.reading(reading);
        news
    }

    /// Tell the sinks of these topics whether they are read, but for those that Redis refuses by themselves.
    pub(super) fn tell_readers(&self, names: &[Arc<str>], reading: Result<(), &str>) {
        let sinks: Vec<_> = {
            let state = self.state();
            let topics = names.iter().filter_map(|name| state.topics.get(name));
            topics.filter(|topic| topic.is_open()).map(|topic| topic.sink.clone()).collect()
        };
        for sink in sinks {
            sink.reading(reading);
        }
    }

    /// The topics that Redis refuses.
    pub(super) fn refused(&self) -> Vec<Arc<str>> {
        self.state()
            .topics
            .iter()
            .filter(|(_, topic)| topic.refused && !topic.closing)
            .map(|(name, _)| name.clone())
            .collect()
    }

    /// What to read next; `None` if there is nothing to read or no room. Reads are made in large pieces: not before half of the room
    /// is free.
    pub(super) fn plan(&self) -> Option<ReadPlan> {
        self.plan_some(1, |_| true)
    }

    /// The same for a reader that reads only some topics, beside `readers - 1` others that share the room.
    pub(super) fn plan_some(&self, readers: usize, mut wanted: impl FnMut(&Arc<str>) -> bool) -> Option<ReadPlan> {
        let mut state = self.state();
        let open = state.topics.values().filter(|topic| topic.is_open()).count();
        let free = self.capacity.saturating_sub(state.ready + state.running);
        let share = (self.capacity / open.max(1)).max(1);
        let has_room = |topic: &Topic| {
            let enough = match topic.places {
                None => free * 2 >= self.capacity && topic.ready.len() <= share / 2,
                Some(places) => topic.ready.len() <= places / 2,
            };
            enough && topic.held.len() < MOST_HELD
        };
        let mut read: Vec<_> = state.topics.iter().filter(|(_, topic)| topic.is_open() && has_room(topic)).collect();
        let lacks_room = read.len() < open;
        read.retain(|(name, _)| wanted(name));
        let sharing = read.iter().filter(|(_, topic)| topic.places.is_none()).count();
        let free = free / readers.max(1);
        // One count holds for all topics of a read: that of the topic with the least room.
        let count = read.iter().map(|(_, topic)| topic.own_room().unwrap_or_else(|| free / sharing.max(1))).min();
        let topics: Vec<_> = read.into_iter().map(|(name, _)| name.clone()).collect();
        state.reader_lacks_room = lacks_room;
        count.map(|count| ReadPlan { count: count.max(1), topics })
    }

    /// Put entries on the board as Ready. Those already on it are skipped; those of a topic that is not read any more are returned:
    /// they are to be handed back.
    pub(super) fn accept(&self, name: &str, entries: Vec<Entry>) -> Vec<EntryId> {
        let mut state = self.state();
        let state = &mut *state;
        let Some(topic) = state.topics.get_mut(name).filter(|topic| !topic.closing) else {
            return entries.iter().map(|entry| entry.id).collect();
        };
        for mut entry in entries {
            let attempt = match topic.held.get(&entry.id) {
                None => entry.attempt,
                Some(Held { phase: Phase::Fetching, attempt }) => attempt + 1,
                Some(_) => continue,
            };
            entry.attempt = attempt;
            topic.held.insert(entry.id, Held { attempt, phase: Phase::Ready });
            topic.ready.push_back(entry);
            if topic.places.is_none() {
                state.ready += 1;
            }
        }
        Vec::new()
    }

    /// The next entry for a sink that shares the component's places, if one is free. Topics take turns, and the last
    /// free place is kept for a topic that has none (D10).
    pub(super) fn next(&self) -> Option<Job> {
        let mut state = self.state();
        let free = self.concurrency.saturating_sub(state.running);
        if free == 0 || state.ready == 0 {
            return None;
        }
        let mut sharing = state.topics.values().filter(|topic| topic.places.is_none());
        let alone = sharing.nth(1).is_none();
        let may_run = |topic: &Topic| {
            topic.places.is_none() && !topic.ready.is_empty() && (alone || free > 1 || topic.running == 0)
        };
        let name = {
            let after = |turn: &Arc<str>| {
                state
                    .topics
                    .range::<Arc<str>, _>((std::ops::Bound::Excluded(turn), std::ops::Bound::Unbounded))
                    .find(|(_, topic)| may_run(topic))
            };
            let later = state.turn.as_ref().and_then(after);
            later.or_else(|| state.topics.iter().find(|(_, topic)| may_run(topic))).map(|(name, _)| name.clone())?
        };
        let job = state.topics.get_mut(&name)?.begin(&name)?;
        state.running += 1;
        state.ready -= 1;
        state.turn = Some(name);
        Some(job)
    }

    /// Is there something for [`Board::gathered`]?
    pub(super) fn may_gather(&self) -> bool {
        self.state().topics.values().any(Topic::may_gather)
    }

    /// The entries for sinks with places of their own, as far as these are free, in the order of their stream.
    pub(super) fn gathered(&self) -> Vec<Job> {
        let mut state = self.state();
        let mut jobs = Vec::new();
        for (name, topic) in &mut state.topics {
            while topic.may_gather()
                && let Some(job) = topic.begin(name)
            {
                jobs.push(job);
            }
        }
        let room = state.reader_lacks_room && !jobs.is_empty();
        drop(state);
        if room {
            self.reader.notify_one();
        }
        jobs
    }

    /// A sink has finished with an entry. To acknowledge: it stays on the board until [`Board::acked`]. To retry: it waits until `due`,
    /// or, if its topic is being closed, leaves the board and is to be handed back (`true`).
    pub(super) fn finished(&self, name: &str, id: EntryId, settlement: Settlement, due: Instant) -> bool {
        let mut guard = self.state();
        let state = &mut *guard;
        let mut back = false;
        if let Some(topic) = state.topics.get_mut(name) {
            topic.running = topic.running.saturating_sub(1);
            if topic.places.is_none() {
                state.running = state.running.saturating_sub(1);
            }
            match settlement {
                Settlement::Ack => topic.move_to(id, Phase::Acking),
                Settlement::Retry if topic.closing => {
                    topic.held.remove(&id);
                    back = true;
                }
                Settlement::Retry => state.wait(name, id, due),
            }
        }
        let first_due = state.waiting.first().is_some_and(|(_, _, first)| *first == id);
        let room = state.reader_lacks_room && (state.ready + state.running) * 2 <= self.capacity;
        drop(guard);
        if room {
            self.reader.notify_one();
        }
        if first_due {
            self.keeper.notify_one();
        }
        if back {
            self.left.notify_waiters();
        }
        back
    }

    /// The acks of these entries are confirmed, or they are gone for another reason.
    pub(super) fn acked(&self, name: &str, ids: &[EntryId]) {
        if let Some(topic) = self.state().topics.get_mut(name) {
            for id in ids {
                topic.held.remove(id);
            }
        }
        self.left.notify_waiters();
    }

    /// When the next redelivery is due.
    pub(super) fn next_due(&self) -> Option<Instant> {
        self.state().waiting.first().map(|(due, _, _)| *due)
    }

    /// The entries whose redelivery is due, as far as there is room, by topic; they are Fetching now.
    pub(super) fn take_due(&self, now: Instant) -> BTreeMap<Arc<str>, Vec<EntryId>> {
        let mut state = self.state();
        let mut room = self.room_in(&state);
        let mut due = BTreeMap::<Arc<str>, Vec<EntryId>>::new();
        while room > 0 && state.waiting.first().is_some_and(|(at, _, _)| *at <= now) {
            let Some((_, name, id)) = state.waiting.pop_first() else {
                break;
            };
            if let Some(topic) = state.topics.get_mut(&name) {
                topic.move_to(id, Phase::Fetching);
            }
            due.entry(name).or_default().push(id);
            room -= 1;
        }
        due
    }

    /// What [`Board::take_due`] gave out could not be fetched: it waits until `due`.
    pub(super) fn not_fetched(&self, name: &str, ids: &[EntryId], due: Instant) {
        let mut state = self.state();
        for id in ids {
            if state.topics.get(name).is_some_and(|topic| topic.is_fetching(id)) {
                state.wait(name, *id, due);
            }
        }
    }

    /// What was fetched and did not come: the stream no longer has it. It leaves the board.
    pub(super) fn not_found(&self, name: &str, ids: &[EntryId]) -> Vec<EntryId> {
        let mut gone = Vec::new();
        if let Some(topic) = self.state().topics.get_mut(name) {
            for id in ids {
                if topic.is_fetching(id) {
                    topic.held.remove(id);
                    gone.push(*id);
                }
            }
        }
        self.left.notify_waiters();
        gone
    }

    /// All entries on the board, to keep them alive.
    pub(super) fn held(&self) -> Vec<(Arc<str>, Vec<EntryId>)> {
        let state = self.state();
        let topics = state.topics.iter().filter(|(_, topic)| !topic.held.is_empty());
        topics.map(|(name, topic)| (name.clone(), topic.held.keys().copied().collect())).collect()
    }

    /// Which of these entries are not on the board?
    pub(super) fn unknown(&self, name: &str, ids: impl IntoIterator<Item = EntryId>) -> Vec<EntryId> {
        let state = self.state();
        let Some(topic) = state.topics.get(name).filter(|topic| !topic.closing) else {
            return Vec::new();
        };
        ids.into_iter().filter(|id| !topic.held.contains_key(id)).collect()
    }

    /// These entries belong to somebody else now: what no sink has begun leaves the board.
    pub(super) fn disown(&self, name: &str, ids: &[EntryId]) {
        let mut state = self.state();
        let state = &mut *state;
        let Some(topic) = state.topics.get_mut(name) else {
            return;
        };
        for id in ids {
            let Some(held) = topic.held.get(id).filter(|held| !matches!(held.phase, Phase::Running | Phase::Acking))
            else {
                continue;
            };
            if let Phase::Waiting(due) = held.phase {
                state.waiting.remove(&(due, Arc::from(name), *id));
            }
            topic.held.remove(id);
        }
        let before = topic.ready.len();
        topic.ready.retain(|entry| topic.held.contains_key(&entry.id));
        if topic.places.is_none() {
            state.ready -= before - topic.ready.len();
        }
    }

    /// How many more entries may be Ready or Running.
    pub(super) fn room(&self) -> usize {
        self.room_in(&self.state())
    }

    fn room_in(&self, state: &State) -> usize {
        let own: usize = state.topics.values().filter_map(Topic::own_room).sum();
        own + self.capacity.saturating_sub(state.ready + state.running)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock()
    }
}

impl State {
    fn wait(&mut self, name: &str, id: EntryId, due: Instant) {
        if let Some(topic) = self.topics.get_mut(name) {
            topic.move_to(id, Phase::Waiting(due));
            self.waiting.insert((due, Arc::from(name), id));
        }
    }
}

impl Topic {
    fn is_fetching(&self, id: &EntryId) -> bool {
        self.held.get(id).is_some_and(|held| held.phase == Phase::Fetching)
    }

    /// How many more entries a topic with places of its own may have Ready or Running: as many again as its sink holds may wait for it.
    fn own_room(&self) -> Option<usize> {
        let most = self.places?.saturating_mul(2).min(MOST_HELD);
        Some(most.saturating_sub(self.running + self.ready.len()))
    }

    fn may_gather(&self) -> bool {
        !self.ready.is_empty() && self.places.is_some_and(|places| self.running < places)
    }

    /// The first entry that is Ready goes to the sink.
    fn begin(&mut self, name: &Arc<str>) -> Option<Job> {
        let entry = self.ready.pop_front()?;
        self.running += 1;
        self.held.insert(entry.id, Held { attempt: entry.attempt, phase: Phase::Running });
        Some(Job { topic: name.clone(), sink: self.sink.clone(), ack: self.ack, entry })
    }

    fn is_open(&self) -> bool {
        !self.closing && !self.refused
    }

    fn move_to(&mut self, id: EntryId, phase: Phase) {
        if let Some(held) = self.held.get_mut(&id) {
            held.phase = phase;
        }
    }
}

#[cfg(test)]
mod tests;
