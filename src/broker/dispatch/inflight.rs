//! The entries in flight of a broker, by subscription: a table that its loops share. It does no I/O and reads no clock.
//!
//! An entry is in flight from the moment it is read until its ack is confirmed, it is handed back, or it turns out to belong to another
//! consumer. Its phase says what happens next:
//!
//! ```text
//!  read ─► Ready ─► Running ─► Acking ─► gone
//!            ▲         └─────► Waiting ─► Fetching ─┐
//!            └──────────────────────────────────────┘
//! ```
//!
//! A broker that delivers failed entries again by itself ([`Redelivery::Native`]) gets them back at once instead of Waiting.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::ops::Bound;
use std::sync::Arc;

use parking_lot::{Mutex, MutexGuard};
use tokio::sync::Notify;
use tokio::time::Instant;

use super::driver::{AckOrder, DispatchEntry, DispatchPolicy, Id, Redelivery, Returned};
use super::offsets::Offsets;
use super::subscription_id::SubscriptionId;
use crate::broker::ack::Ack;
use crate::broker::contract::Sink;
use crate::message::Settlement;

/// The most entries of one subscription in flight; beyond it the subscription is not read until some are done.
const MAX_HELD: usize = 10_000;

/// The table. All methods are short and never wait.
pub(in crate::broker) struct InFlight<I> {
    table: Mutex<Table<I>>,
    /// The most entries with sinks at a time. A subscription whose sink has a limit of its own does not count (D18).
    max_running: usize,
    /// The most entries Ready or Running at a time, again without such subscriptions.
    max_begun: usize,
    policy: DispatchPolicy,
    /// For the reader: a subscription more or less, or buffer space again.
    pub(in crate::broker) reader: Notify,
    /// For the upkeep: an earlier redelivery, a subscription to take over for.
    pub(in crate::broker) upkeep: Notify,
    /// An entry has left.
    pub(in crate::broker) left: Notify,
}

struct Table<I> {
    subscriptions: BTreeMap<SubscriptionId, OpenSubscription<I>>,
    last_number: u64,
    /// Of the subscriptions that share `max_running`.
    running: usize,
    /// Of these subscriptions.
    ready: usize,
    /// The entries that are Waiting, by the time they are due.
    waiting: BTreeSet<(Instant, SubscriptionId, I)>,
    /// The subscription that was served last: the next one in order has the next turn.
    turn: Option<SubscriptionId>,
    /// The last read left out at least one subscription because its buffer was full.
    reader_lacks_space: bool,
}

struct OpenSubscription<I> {
    sink: Arc<dyn Sink>,
    ack: Ack,
    /// The limit of its own sink, if it does not share that of the component.
    max_running: Option<usize>,
    ready: VecDeque<DispatchEntry<I>>,
    running: usize,
    held: HashMap<I, Held>,
    /// For [`AckOrder::Offset`].
    offsets: Option<Offsets<I>>,
    /// Not read any more; ends when nothing is held.
    closing: bool,
    /// Not read for now: the broker refuses this topic.
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

/// The next read: its subscriptions, and how many entries of each.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::broker) struct ReadPlan {
    /// In order of topic.
    pub(in crate::broker) subscriptions: Vec<SubscriptionId>,
    /// The most entries of each.
    pub(in crate::broker) count: usize,
}

impl ReadPlan {
    /// The subscription to a topic.
    pub(in crate::broker) fn to(&self, topic: &str) -> Option<&SubscriptionId> {
        let at = self.subscriptions.binary_search_by(|subscription| (*subscription.topic).cmp(topic));
        at.ok().map(|at| &self.subscriptions[at])
    }
}

/// An entry to hand to its sink.
pub(in crate::broker) struct Job<I> {
    pub(in crate::broker) subscription: SubscriptionId,
    pub(in crate::broker) sink: Arc<dyn Sink>,
    pub(in crate::broker) ack: Ack,
    pub(in crate::broker) entry: DispatchEntry<I>,
}

/// The next step of an entry that a sink has finished.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Finished<I> {
    /// Nothing: it waits for its redelivery, or for entries before it ([`AckOrder::Offset`]).
    Waits,
    /// Acknowledge this entry; with [`AckOrder::Offset`] it stands for all before it.
    Acknowledge(I),
    /// Give it back to the broker.
    HandBack(Returned<I>),
}

impl<I: Id> InFlight<I> {
    pub(super) fn new(concurrency: usize, queue_depth: usize, policy: DispatchPolicy) -> Self {
        Self {
            table: Mutex::new(Table {
                subscriptions: BTreeMap::new(),
                last_number: 0,
                running: 0,
                ready: 0,
                waiting: BTreeSet::new(),
                turn: None,
                reader_lacks_space: false,
            }),
            max_running: concurrency,
            max_begun: concurrency.saturating_add(queue_depth),
            policy,
            reader: Notify::new(),
            upkeep: Notify::new(),
            left: Notify::new(),
        }
    }

    /// Begin a subscription. Its topic may have others.
    pub(in crate::broker) fn open(&self, topic: &Arc<str>, sink: Arc<dyn Sink>, ack: Ack) -> SubscriptionId {
        self.insert(&mut self.table(), topic, sink, ack)
    }

    /// Begin the only subscription to a topic; `None` if there is one already.
    pub(in crate::broker) fn open_only(
        &self,
        topic: &Arc<str>,
        sink: Arc<dyn Sink>,
        ack: Ack,
    ) -> Option<SubscriptionId> {
        let mut table = self.table();
        let is_known = table.subscriptions.keys().any(|known| known.topic == *topic);
        (!is_known).then(|| self.insert(&mut table, topic, sink, ack))
    }

    fn insert(&self, table: &mut Table<I>, topic: &Arc<str>, sink: Arc<dyn Sink>, ack: Ack) -> SubscriptionId {
        table.last_number += 1;
        let id = SubscriptionId { topic: topic.clone(), number: table.last_number };
        let subscription = OpenSubscription {
            max_running: sink.max_in_flight().map(|most| most.max(1)),
            sink,
            ack,
            ready: VecDeque::new(),
            running: 0,
            held: HashMap::new(),
            offsets: (self.policy.ack_order == AckOrder::Offset).then(Offsets::new),
            closing: false,
            refused: false,
        };
        table.subscriptions.insert(id.clone(), subscription);
        self.reader.notify_one();
        id
    }

    /// Stop reading a subscription, and take back what no sink has begun: these entries are to be handed back.
    pub(in crate::broker) fn close(&self, id: &SubscriptionId) -> Vec<Returned<I>> {
        let mut table = self.table();
        let Some(subscription) = table.subscriptions.get_mut(id) else {
            return Vec::new();
        };
        subscription.closing = true;
        let unread = subscription.ready.len();
        subscription.ready.clear();
        let back = subscription.take_back(|phase| !matches!(phase, Phase::Running | Phase::Acking));
        if subscription.max_running.is_none() {
            table.ready -= unread;
        }
        table.waiting.retain(|(_, waiting, _)| waiting != id);
        drop(table);
        self.reader.notify_one();
        back
    }

    /// End a subscription at once. Returns all its entries but those whose ack is on its way: also those that a sink had begun.
    pub(in crate::broker) fn abandon(&self, id: &SubscriptionId) -> Vec<Returned<I>> {
        let mut back = self.close(id);
        let mut table = self.table();
        let Some(mut subscription) = table.subscriptions.remove(id) else {
            return back;
        };
        if subscription.max_running.is_none() {
            table.running -= subscription.running;
        }
        back.extend(subscription.take_back(|phase| phase == Phase::Running));
        back
    }

    /// Is nothing of this subscription with its sink or waiting for the confirmation of its ack?
    pub(in crate::broker) fn is_empty(&self, id: &SubscriptionId) -> bool {
        self.table().subscriptions.get(id).is_none_or(|subscription| subscription.held.is_empty())
    }

    /// Are as many entries of this subscription in flight as may be?
    pub(in crate::broker) fn is_full(&self, id: &SubscriptionId) -> bool {
        self.table().subscriptions.get(id).is_none_or(|subscription| subscription.held.len() >= MAX_HELD)
    }

    /// Has this subscription ended, or is it about to?
    pub(in crate::broker) fn is_closing(&self, id: &SubscriptionId) -> bool {
        self.table().subscriptions.get(id).is_none_or(|subscription| subscription.closing)
    }

    /// Forget a subscription.
    pub(in crate::broker) fn remove(&self, id: &SubscriptionId) {
        self.table().subscriptions.remove(id);
    }

    /// The subscriptions that are read or being closed, in order of topic.
    pub(in crate::broker) fn subscriptions(&self) -> Vec<SubscriptionId> {
        self.table().subscriptions.keys().cloned().collect()
    }

    /// Are there no subscriptions?
    pub(in crate::broker) fn is_idle(&self) -> bool {
        self.table().subscriptions.is_empty()
    }

    /// Leave a subscription out until [`InFlight::admit`], because the broker refuses its topic. Returns whether it was read before.
    pub(in crate::broker) fn refuse(&self, id: &SubscriptionId, reason: &str) -> bool {
        self.set_refused(id, true, Err(reason))
    }

    /// Read a subscription again that was left out. Returns whether it was left out.
    pub(in crate::broker) fn admit(&self, id: &SubscriptionId) -> bool {
        let was_refused = self.set_refused(id, false, Ok(()));
        self.reader.notify_one();
        was_refused
    }

    fn set_refused(&self, id: &SubscriptionId, refused: bool, reading: Result<(), &str>) -> bool {
        let mut table = self.table();
        let Some(subscription) = table.subscriptions.get_mut(id).filter(|subscription| !subscription.closing) else {
            return false;
        };
        let is_changed = std::mem::replace(&mut subscription.refused, refused) != refused;
        let sink = subscription.sink.clone();
        drop(table);
        sink.reading(reading);
        is_changed
    }

    /// Report to the sinks of these subscriptions whether they are read, but for those that are refused by themselves.
    pub(in crate::broker) fn report_reading(&self, ids: &[SubscriptionId], reading: Result<(), &str>) {
        let sinks: Vec<_> = {
            let table = self.table();
            let subscriptions = ids.iter().filter_map(|id| table.subscriptions.get(id));
            subscriptions
                .filter(|subscription| subscription.is_open())
                .map(|subscription| subscription.sink.clone())
                .collect()
        };
        for sink in sinks {
            sink.reading(reading);
        }
    }

    /// The subscriptions that are left out because the broker refuses them.
    pub(in crate::broker) fn refused(&self) -> Vec<SubscriptionId> {
        let table = self.table();
        let refused = table.subscriptions.iter().filter(|(_, known)| known.refused && !known.closing);
        refused.map(|(id, _)| id.clone()).collect()
    }

    /// The next read; `None` if there is nothing to read or no space. Reads are made in large pieces: not before half of the buffer
    /// is free.
    pub(in crate::broker) fn plan(&self) -> Option<ReadPlan> {
        self.plan_for(1, |_| true)
    }

    /// As [`InFlight::plan`], for a reader that reads only some subscriptions, beside `readers - 1` others that share the buffer.
    pub(in crate::broker) fn plan_for(
        &self,
        readers: usize,
        mut wanted: impl FnMut(&SubscriptionId) -> bool,
    ) -> Option<ReadPlan> {
        let mut table = self.table();
        let open = table.subscriptions.values().filter(|subscription| subscription.is_open()).count();
        let free = self.max_begun.saturating_sub(table.ready + table.running);
        let share = (self.max_begun / open.max(1)).max(1);
        let has_space = |subscription: &OpenSubscription<I>| {
            let enough = match subscription.max_running {
                None => free * 2 >= self.max_begun && subscription.ready.len() <= share / 2,
                Some(most) => subscription.ready.len() <= most / 2,
            };
            enough && subscription.held.len() < MAX_HELD
        };
        let mut read: Vec<_> = table
            .subscriptions
            .iter()
            .filter(|(_, subscription)| subscription.is_open() && has_space(subscription))
            .collect();
        let lacks_space = read.len() < open;
        read.retain(|(id, _)| wanted(id));
        let sharing = read.iter().filter(|(_, subscription)| subscription.max_running.is_none()).count();
        let free = free / readers.max(1);
        // One count holds for all subscriptions of a read: that of the subscription with the least space.
        let count = read
            .iter()
            .map(|(_, subscription)| subscription.own_space().unwrap_or_else(|| free / sharing.max(1)))
            .min();
        let subscriptions: Vec<_> = read.into_iter().map(|(id, _)| id.clone()).collect();
        table.reader_lacks_space = lacks_space;
        count.map(|count| ReadPlan { count: count.max(1), subscriptions })
    }

    /// Take entries in as Ready. Those already in flight are skipped; those of a subscription that is not read any more are returned:
    /// they are to be handed back.
    pub(in crate::broker) fn accept(
        &self,
        id: &SubscriptionId,
        entries: impl IntoIterator<Item = DispatchEntry<I>>,
    ) -> Vec<Returned<I>> {
        let mut table = self.table();
        let table = &mut *table;
        let Some(subscription) = table.subscriptions.get_mut(id).filter(|subscription| !subscription.closing) else {
            let unread = |entry: DispatchEntry<I>| Returned {
                id: entry.id,
                attempts: entry.attempt.saturating_sub(1),
                due: None,
            };
            return entries.into_iter().map(unread).collect();
        };
        for mut entry in entries {
            let attempt = match subscription.held.get(&entry.id) {
                None => entry.attempt,
                Some(Held { phase: Phase::Fetching, attempt }) => attempt + 1,
                Some(_) => continue,
            };
            entry.attempt = attempt;
            subscription.hold(entry.id, Held { attempt, phase: Phase::Ready });
            subscription.ready.push_back(entry);
            if subscription.max_running.is_none() {
                table.ready += 1;
            }
        }
        Vec::new()
    }

    /// Take in as Waiting an entry that had so many deliveries before, and is due again then.
    pub(in crate::broker) fn accept_waiting(&self, id: &SubscriptionId, entry: I, attempts: u32, due: Instant) {
        let mut table = self.table();
        if let Some(subscription) = table.subscriptions.get_mut(id) {
            subscription.hold(entry, Held { attempt: attempts, phase: Phase::Waiting(due) });
            table.waiting.insert((due, id.clone(), entry));
        }
    }

    /// The next entry for a sink that shares `concurrency`, if a slot is free. Subscriptions take turns, and the last free slot is kept
    /// for a subscription that has none (D10).
    pub(in crate::broker) fn next(&self) -> Option<Job<I>> {
        let mut table = self.table();
        let free = self.max_running.saturating_sub(table.running);
        if free == 0 || table.ready == 0 {
            return None;
        }
        let mut sharing = table.subscriptions.values().filter(|subscription| subscription.max_running.is_none());
        let alone = sharing.nth(1).is_none();
        let may_run = |subscription: &OpenSubscription<I>| {
            subscription.max_running.is_none()
                && !subscription.ready.is_empty()
                && (alone || free > 1 || subscription.running == 0)
        };
        let id = {
            let after = |turn: &SubscriptionId| {
                table
                    .subscriptions
                    .range((Bound::Excluded(turn), Bound::Unbounded))
                    .find(|(_, subscription)| may_run(subscription))
            };
            let later = table.turn.as_ref().and_then(after);
            let next = later.or_else(|| table.subscriptions.iter().find(|(_, subscription)| may_run(subscription)));
            next.map(|(id, _)| id.clone())?
        };
        let job = table.subscriptions.get_mut(&id)?.begin(&id)?;
        table.running += 1;
        table.ready -= 1;
        table.turn = Some(id);
        Some(job)
    }

    /// Is there something for [`InFlight::next_batch`]?
    pub(in crate::broker) fn has_batch(&self) -> bool {
        self.table().subscriptions.values().any(OpenSubscription::may_begin)
    }

    /// The entries for sinks with a limit of their own, as far as it allows, in the order of their streams.
    pub(in crate::broker) fn next_batch(&self) -> Vec<Job<I>> {
        let mut table = self.table();
        let mut jobs = Vec::new();
        for (id, subscription) in &mut table.subscriptions {
            while subscription.may_begin()
                && let Some(job) = subscription.begin(id)
            {
                jobs.push(job);
            }
        }
        let has_space = table.reader_lacks_space && !jobs.is_empty();
        drop(table);
        if has_space {
            self.reader.notify_one();
        }
        jobs
    }

    /// A sink has finished an entry. With [`Settlement::Ack`] it stays in flight until [`InFlight::acked`]. With [`Settlement::Retry`] it
    /// waits until `due`, or leaves because its subscription is being closed or the broker delivers it again.
    pub(super) fn finished(&self, id: &SubscriptionId, entry: I, settlement: Settlement, due: Instant) -> Finished<I> {
        let mut guard = self.table();
        let table = &mut *guard;
        let mut finished = Finished::Waits;
        if let Some(subscription) = table.subscriptions.get_mut(id) {
            subscription.running = subscription.running.saturating_sub(1);
            if subscription.max_running.is_none() {
                table.running = table.running.saturating_sub(1);
            }
            match settlement {
                Settlement::Ack => {
                    subscription.move_to(entry, Phase::Acking);
                    let covering = match &mut subscription.offsets {
                        None => Some(entry),
                        Some(offsets) => offsets.finish(entry),
                    };
                    finished = covering.map_or(Finished::Waits, Finished::Acknowledge);
                }
                Settlement::Retry if subscription.closing || self.policy.redelivery == Redelivery::Native => {
                    let attempts = subscription.release(entry).map_or(1, |held| held.attempt);
                    finished = Finished::HandBack(Returned { id: entry, attempts, due: Some(due) });
                }
                Settlement::Retry => table.wait(id, entry, due),
            }
        }
        let is_first_due = table.waiting.first().is_some_and(|(_, _, first)| *first == entry);
        let has_space = table.reader_lacks_space && (table.ready + table.running) * 2 <= self.max_begun;
        drop(guard);
        if has_space {
            self.reader.notify_one();
        }
        if is_first_due {
            self.upkeep.notify_one();
        }
        if matches!(finished, Finished::HandBack(_)) {
            self.left.notify_waiters();
        }
        finished
    }

    /// Remove entries whose acks are confirmed, or that are gone for another reason.
    pub(in crate::broker) fn acked(&self, id: &SubscriptionId, entries: &[I]) {
        if let Some(subscription) = self.table().subscriptions.get_mut(id) {
            for entry in entries {
                if subscription.offsets.is_some() {
                    subscription.held.retain(|id, held| id > entry || held.phase != Phase::Acking);
                } else {
                    subscription.held.remove(entry);
                }
            }
        }
        self.left.notify_waiters();
    }

    /// When the next redelivery is due.
    pub(in crate::broker) fn next_due(&self) -> Option<Instant> {
        self.table().waiting.first().map(|(due, _, _)| *due)
    }

    /// The entries whose redelivery is due, as far as there is space; they are Fetching now.
    pub(in crate::broker) fn take_due(&self, now: Instant) -> BTreeMap<SubscriptionId, Vec<I>> {
        let mut table = self.table();
        let mut space = self.space_in(&table);
        let mut due = BTreeMap::<SubscriptionId, Vec<I>>::new();
        while space > 0 && table.waiting.first().is_some_and(|(at, _, _)| *at <= now) {
            let Some((_, id, entry)) = table.waiting.pop_first() else {
                break;
            };
            if let Some(subscription) = table.subscriptions.get_mut(&id) {
                subscription.move_to(entry, Phase::Fetching);
            }
            due.entry(id).or_default().push(entry);
            space -= 1;
        }
        due
    }

    /// Put entries of [`InFlight::take_due`] that could not be fetched back to Waiting, until `due`.
    pub(super) fn not_fetched(&self, id: &SubscriptionId, entries: &[I], due: Instant) {
        let mut table = self.table();
        for entry in entries {
            if table.subscriptions.get(id).is_some_and(|subscription| subscription.is_fetching(entry)) {
                table.wait(id, *entry, due);
            }
        }
    }

    /// Remove entries that were fetched and no longer exist. Returns how many that were.
    pub(super) fn not_found(&self, id: &SubscriptionId, entries: &[I]) -> usize {
        let mut gone = 0;
        if let Some(subscription) = self.table().subscriptions.get_mut(id) {
            for entry in entries {
                if subscription.is_fetching(entry) {
                    subscription.release(*entry);
                    gone += 1;
                }
            }
        }
        self.left.notify_waiters();
        gone
    }

    /// All entries in flight, to keep them alive.
    pub(in crate::broker) fn held(&self) -> Vec<(SubscriptionId, Vec<I>)> {
        let table = self.table();
        let subscriptions = table.subscriptions.iter().filter(|(_, subscription)| !subscription.held.is_empty());
        subscriptions.map(|(id, subscription)| (id.clone(), subscription.held.keys().copied().collect())).collect()
    }

    /// Those of these entries that are not in flight.
    pub(in crate::broker) fn unknown(&self, id: &SubscriptionId, entries: impl IntoIterator<Item = I>) -> Vec<I> {
        let table = self.table();
        let Some(subscription) = table.subscriptions.get(id).filter(|subscription| !subscription.closing) else {
            return Vec::new();
        };
        entries.into_iter().filter(|entry| !subscription.held.contains_key(entry)).collect()
    }

    /// Remove those of these entries that no sink has begun: they belong to another consumer now.
    pub(in crate::broker) fn forget_claimed(&self, id: &SubscriptionId, entries: &[I]) {
        let mut table = self.table();
        let table = &mut *table;
        let Some(subscription) = table.subscriptions.get_mut(id) else {
            return;
        };
        for entry in entries {
            let held = subscription.held.get(entry);
            let Some(held) = held.filter(|held| !matches!(held.phase, Phase::Running | Phase::Acking)) else {
                continue;
            };
            if let Phase::Waiting(due) = held.phase {
                table.waiting.remove(&(due, id.clone(), *entry));
            }
            subscription.release(*entry);
        }
        let before = subscription.ready.len();
        subscription.ready.retain(|entry| subscription.held.contains_key(&entry.id));
        if subscription.max_running.is_none() {
            table.ready -= before - subscription.ready.len();
        }
    }

    /// How many more entries may be Ready or Running.
    pub(in crate::broker) fn space(&self) -> usize {
        self.space_in(&self.table())
    }

    fn space_in(&self, table: &Table<I>) -> usize {
        let own: usize = table.subscriptions.values().filter_map(OpenSubscription::own_space).sum();
        own + self.max_begun.saturating_sub(table.ready + table.running)
    }

    fn table(&self) -> MutexGuard<'_, Table<I>> {
        self.table.lock()
    }
}

impl<I: Id> Table<I> {
    fn wait(&mut self, id: &SubscriptionId, entry: I, due: Instant) {
        if let Some(subscription) = self.subscriptions.get_mut(id) {
            subscription.move_to(entry, Phase::Waiting(due));
            self.waiting.insert((due, id.clone(), entry));
        }
    }
}

impl<I: Id> OpenSubscription<I> {
    fn is_fetching(&self, entry: &I) -> bool {
        self.held.get(entry).is_some_and(|held| held.phase == Phase::Fetching)
    }

    /// How many more entries a subscription with a limit of its own may have Ready or Running: as many again as its sink holds may wait
    /// for it.
    fn own_space(&self) -> Option<usize> {
        let most = self.max_running?.saturating_mul(2).min(MAX_HELD);
        Some(most.saturating_sub(self.running + self.ready.len()))
    }

    fn may_begin(&self) -> bool {
        !self.ready.is_empty() && self.max_running.is_some_and(|most| self.running < most)
    }

    /// The first entry that is Ready goes to the sink.
    fn begin(&mut self, id: &SubscriptionId) -> Option<Job<I>> {
        let entry = self.ready.pop_front()?;
        self.running += 1;
        self.held.insert(entry.id, Held { attempt: entry.attempt, phase: Phase::Running });
        Some(Job { subscription: id.clone(), sink: self.sink.clone(), ack: self.ack, entry })
    }

    fn is_open(&self) -> bool {
        !self.closing && !self.refused
    }

    fn move_to(&mut self, entry: I, phase: Phase) {
        if let Some(held) = self.held.get_mut(&entry) {
            held.phase = phase;
        }
    }

    fn hold(&mut self, entry: I, held: Held) {
        self.held.insert(entry, held);
        if let Some(offsets) = &mut self.offsets {
            offsets.begin(entry);
        }
    }

    /// An entry leaves without being finished.
    fn release(&mut self, entry: I) -> Option<Held> {
        if let Some(offsets) = &mut self.offsets {
            offsets.forget(entry);
        }
        self.held.remove(&entry)
    }

    /// Remove the entries in these phases.
    fn take_back(&mut self, is_taken: impl Fn(Phase) -> bool) -> Vec<Returned<I>> {
        let taken = self.held.iter().filter(|(_, held)| is_taken(held.phase)).map(|(id, held)| {
            let due = if let Phase::Waiting(due) = held.phase { Some(due) } else { None };
            // A delivery that has not begun does not count.
            let attempts = if held.phase == Phase::Ready { held.attempt.saturating_sub(1) } else { held.attempt };
            Returned { id: *id, attempts, due }
        });
        let taken: Vec<_> = taken.collect();
        for returned in &taken {
            self.release(returned.id);
        }
        taken
    }
}

#[cfg(test)]
mod tests;
