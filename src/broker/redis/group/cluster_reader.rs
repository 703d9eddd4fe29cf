//! Reading from a cluster: one connection for each server that has topics, however many topics there are (D11).
//!
//! One command can only name streams of one slot, so no blocking read can wait for several topics, and a connection for each topic would
//! be many. Instead the server reports when a topic has changed (CLIENT TRACKING, since Redis 6): a reader asks for all topics that may
//! have entries, in one write and without blocking, and then sleeps until the server names topics again. The length of a topic is asked
//! before its entries, which makes the server remember to report; entries added later are reported. That costs one more round trip than a
//! blocking read.
//!
//! Measured on a busy machine with two cores, in a debug build, with 200 topics on three masters: an event of an idle topic is with its
//! sink after 2.8 ms (1.8 ms on a single server), and waiting for events takes 0.7 % of a core (0.3 %). Under load, with 200 topics,
//! publishing falls to 2400 events/s beside the six servers of a test (5700 on one server; 5500 to one topic): nearly every event causes
//! its own report and read. Topics reported within [`GATHER`] are asked for in one write.
//!
//! Where the server does not permit tracking, topics are polled, with pauses that grow up to [`MAX_TURN`].
//!
//! This reader also serves an address that refuses one read of several topics ([`run_one_by_one`]): there it always polls, because behind
//! such an address may be a proxy, whose servers cannot report anything.

use std::collections::{BTreeSet, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use deadpool_redis::redis::{PushInfo, PushKind, RedisError, Value, pipe};
use parking_lot::{Mutex, MutexGuard};
use tokio::sync::Notify;
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use tokio::time::Instant;

use super::super::conn::{Cluster, Connection, Connector, MAX_SILENCE, Node, error};
use super::super::entry::{self, Entry};
use super::super::reply;
use super::client::GroupClient;
use super::reader_context::ReaderContext;
use super::topic_check::{self, Examined};
use crate::backoff::Backoff;
use crate::broker::dispatch::{ReadPlan, SubscriptionId};
use crate::shutdown::Stop;
use crate::telemetry::events::broker::{ReadingFailed, ReadingResumed};

/// All topics are asked at least this often: a server that has lost a slot does not always report it.
const MAX_SLEEP: Duration = Duration::from_secs(2);
/// Without tracking, the shortest and the longest pause between two polls.
const MIN_TURN: Duration = Duration::from_millis(2);
pub(super) const MAX_TURN: Duration = Duration::from_millis(100);
/// The pause before a topic is asked again whose slot is moving to another server.
const SLOT_MOVES: Duration = Duration::from_millis(20);
/// Topics reported within this time of the last question are asked together; after a pause, the first goes at once.
const GATHER: Duration = Duration::from_millis(1);
const PAUSE: Backoff = Backoff::doubling(Duration::from_millis(50), Duration::from_secs(1));

/// Keep a reader for every server that has slots, until `stop`.
pub(super) async fn run(context: ReaderContext, cluster: Arc<Cluster>, stop: Stop) {
    let mut changes = cluster.changes();
    let set = Arc::new(ReaderSet::default());
    let mut readers = Vec::<(Arc<Node>, ReaderHandle)>::new();
    let mut is_changed = true;
    loop {
        if is_changed {
            sync_readers(&context, &cluster, &set, &stop, &mut readers);
            context.suspect_lost_replies();
        }
        set.count(&context.workers.inflight().subscriptions(), &cluster);
        for (_, handle) in &readers {
            handle.wake.notify_one();
        }
        is_changed = false;
        tokio::select! {
            () = stop.triggered() => break,
            () = context.workers.inflight().reader.notified() => {}
            Ok(()) = changes.changed() => is_changed = true,
        }
    }
}

/// Read all topics from one address, each by itself, until `stop`.
pub(super) async fn run_one_by_one(context: ReaderContext, connector: Arc<Connector>, stop: Stop) {
    let handle = ReaderHandle { stop, wake: Arc::default() };
    let scope = ReadScope::Address(connector);
    NodeReader::new(&context, scope, &Arc::default(), &handle).run().await;
}

/// Start a reader for each server that has slots, and stop those of any other.
fn sync_readers(
    context: &ReaderContext,
    cluster: &Arc<Cluster>,
    set: &Arc<ReaderSet>,
    stop: &Stop,
    readers: &mut Vec<(Arc<Node>, ReaderHandle)>,
) {
    let masters = cluster.masters();
    readers.retain(|(node, handle)| {
        let stays = masters.iter().any(|master| Arc::ptr_eq(master, node));
        if !stays {
            handle.stop.trigger();
        }
        stays
    });
    for node in masters {
        if !readers.iter().any(|(known, _)| Arc::ptr_eq(known, &node)) {
            let handle = ReaderHandle { stop: stop.child(), wake: Arc::default() };
            let scope = ReadScope::Node(cluster.clone(), node.clone());
            let reader = NodeReader::new(context, scope, set, &handle);
            context.tasks.spawn("redis reader", reader.run());
            readers.push((node, handle));
        }
    }
}

/// The state that the readers of a group share.
#[derive(Default)]
struct ReaderSet {
    /// How many of them have topics.
    busy: AtomicUsize,
    /// The version of the slot map and the number of topics of that count.
    counted: Mutex<(u64, usize)>,
    outage: Mutex<Outage>,
}

/// The readers whose last read failed, for one log line when the first fails and one when none does any more.
#[derive(Default)]
struct Outage {
    failing: BTreeSet<usize>,
    is_logged: bool,
}

/// Wakes and stops one reader.
struct ReaderHandle {
    stop: Stop,
    /// The topics or the space for them have changed.
    wake: Arc<Notify>,
}

impl ReaderSet {
    fn count(&self, subscriptions: &[SubscriptionId], cluster: &Cluster) {
        let now = (cluster.version(), subscriptions.len());
        let mut counted = self.counted.lock();
        if std::mem::replace(&mut *counted, now) == now {
            return;
        }
        let owners = subscriptions.iter().filter_map(|subscription| cluster.owner(&subscription.topic));
        let owners: BTreeSet<_> = owners.map(|node| Arc::as_ptr(&node)).collect();
        self.busy.store(owners.len(), Ordering::Relaxed);
    }

    /// A reader has failed. Returns whether that is to be logged.
    fn failed(&self, reader: usize) -> bool {
        let mut outage = self.outage();
        outage.failing.insert(reader);
        !std::mem::replace(&mut outage.is_logged, true)
    }

    /// A reader has read. Returns whether that is to be logged.
    fn recovered(&self, reader: usize) -> bool {
        let mut outage = self.outage();
        outage.failing.remove(&reader);
        outage.is_logged && outage.failing.is_empty() && std::mem::take(&mut outage.is_logged)
    }

    fn left(&self, reader: usize) {
        self.outage().failing.remove(&reader);
    }

    fn outage(&self) -> MutexGuard<'_, Outage> {
        self.outage.lock()
    }
}

/// Which topics a reader reads, and from where.
enum ReadScope {
    /// The topics of one server of a cluster.
    Node(Arc<Cluster>, Arc<Node>),
    /// All topics, from the only address.
    Address(Arc<Connector>),
}

impl ReadScope {
    fn connector(&self) -> &Connector {
        match self {
            Self::Node(_, node) => &node.connector,
            Self::Address(connector) => connector,
        }
    }

    fn has(&self, topic: &str) -> bool {
        match self {
            Self::Node(cluster, node) => cluster.owner(topic).is_some_and(|owner| Arc::ptr_eq(&owner, node)),
            Self::Address(_) => true,
        }
    }

    /// The version of the slot map that [`ReadScope::has`] goes by.
    fn version(&self) -> u64 {
        match self {
            Self::Node(cluster, _) => cluster.version(),
            Self::Address(_) => 0,
        }
    }

    /// The slot map may be out of date.
    async fn refresh(&self) {
        if let Self::Node(cluster, _) = self {
            cluster.refresh().await;
        }
    }

    fn id(&self) -> usize {
        match self {
            Self::Node(_, node) => Arc::as_ptr(node).addr(),
            Self::Address(connector) => Arc::as_ptr(connector).addr(),
        }
    }
}

/// The reader of one server.
struct NodeReader {
    context: ReaderContext,
    scope: ReadScope,
    set: Arc<ReaderSet>,
    stop: Stop,
    wake: Arc<Notify>,
    connection: Option<PollingConnection>,
    /// Topics that had nothing when they were last asked; the server reports when they have.
    idle_topics: HashSet<Arc<str>>,
    /// Topics that other servers have, by the slot map of version `map`.
    foreign: HashSet<Arc<str>>,
    map: u64,
    failures: u32,
    /// The number of suspicions at the last search for lost replies.
    searched: u64,
    /// A reply to this reader was lost.
    has_lost_reply: bool,
    /// When topics were last asked, and whether one had more than there was space for.
    asked: Option<Instant>,
    has_more: bool,
    /// When all topics were asked, idle or not.
    asked_all: Instant,
    /// The pause before the next poll, without tracking.
    turn: Duration,
    /// This server does not permit tracking, or cannot.
    no_tracking: bool,
}

struct PollingConnection {
    connection: Connection,
    /// See [`Connector::failovers`].
    failovers: u64,
    /// Reports of the server; `None` without tracking.
    pushes: Option<UnboundedReceiver<PushInfo>>,
}

/// How to go on after a read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum NextPoll {
    AtOnce,
    After(Duration),
}

impl NodeReader {
    fn new(context: &ReaderContext, scope: ReadScope, set: &Arc<ReaderSet>, handle: &ReaderHandle) -> Self {
        Self {
            context: context.clone(),
            no_tracking: matches!(scope, ReadScope::Address(_)),
            scope,
            set: set.clone(),
            stop: handle.stop.clone(),
            wake: handle.wake.clone(),
            connection: None,
            idle_topics: HashSet::new(),
            foreign: HashSet::new(),
            map: 0,
            has_more: false,
            asked: None,
            failures: 0,
            searched: 0,
            has_lost_reply: false,
            asked_all: Instant::now(),
            turn: MIN_TURN,
        }
    }

    async fn run(mut self) {
        let context = self.context.clone();
        let turn = context.barrier.join();
        let stop = self.stop.clone();
        while !stop.is_triggered() {
            // Entries of a topic that has just moved to this server may be on their way to its former reader, and look like lost replies.
            if context.lost_replies.suspicions() != self.searched
                && stop.run_until_triggered(context.barrier.passed()).await.is_none()
            {
                break;
            }
            turn.enter();
            let Some(plan) = self.plan() else {
                turn.leave();
                if stop.run_until_triggered(self.rest()).await.is_none() {
                    break;
                }
                continue;
            };
            let Some(read) = stop.run_until_triggered(Box::pin(self.recover_and_read(&plan))).await else {
                break;
            };
            // The entries of this read are in flight: what waits for its end can go on.
            turn.leave();
            let pause = match read {
                Ok(NextPoll::AtOnce) => self.pause_to_gather(),
                Ok(NextPoll::After(pause)) => pause,
                Err(error) => self.failed(&error).await,
            };
            if !pause.is_zero() {
                stop.sleep(pause).await;
            }
        }
        drop(turn);
        if self.connection.is_some() || self.has_lost_reply {
            // Entries on their way to this reader are assigned to us, and did not arrive.
            context.suspect_lost_replies();
        }
        self.set.left(self.scope.id());
    }

    fn client(&self) -> &GroupClient {
        self.context.workers.driver()
    }

    fn plan(&mut self) -> Option<ReadPlan> {
        if self.asked_all.elapsed() >= MAX_SLEEP {
            self.asked_all = Instant::now();
            self.idle_topics.clear();
            self.foreign.clear();
        }
        self.take_pushes();
        let version = self.scope.version();
        if std::mem::replace(&mut self.map, version) != version {
            self.foreign.clear();
        }
        let (scope, idle_topics, foreign) = (&self.scope, &self.idle_topics, &mut self.foreign);
        let wanted = |subscription: &SubscriptionId| {
            let topic = &subscription.topic;
            if idle_topics.contains(topic) || foreign.contains(topic) {
                return false;
            }
            let is_ours = scope.has(topic);
            if !is_ours {
                foreign.insert(topic.clone());
            }
            is_ours
        };
        // Not counted for the only address.
        let readers = self.set.busy.load(Ordering::Relaxed).max(1);
        self.context.workers.inflight().plan_for(readers, wanted)
    }

    /// How long the server may go on reporting topics before the next question.
    fn pause_to_gather(&self) -> Duration {
        match self.asked {
            Some(asked) if !self.has_more => GATHER.saturating_sub(asked.elapsed()),
            _ => Duration::ZERO,
        }
    }

    /// Nothing is to be read: wait for a report of the server or a change of the subscriptions.
    async fn rest(&mut self) {
        let limit = if self.no_tracking { self.turn } else { MAX_SLEEP };
        let context = self.context.clone();
        let woken = async {
            match &self.scope {
                ReadScope::Node(..) => self.wake.notified().await,
                ReadScope::Address(_) => context.workers.inflight().reader.notified().await,
            }
        };
        let pushed = async {
            match self.connection.as_mut().and_then(|open| open.pushes.as_mut()) {
                Some(pushes) => pushes.recv().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            push = pushed => {
                match push {
                    Some(push) => self.on_push(push),
                    None => self.close(),
                }
                self.take_pushes();
            }
            () = woken => {}
            () = tokio::time::sleep(limit) => {
                self.turn = (self.turn * 2).min(MAX_TURN);
                if self.no_tracking {
                    self.idle_topics.clear();
                }
            }
        }
    }

    /// Lost replies are searched for between two reads: during one, its entries would look like that, too.
    async fn recover_and_read(&mut self, plan: &ReadPlan) -> Result<NextPoll, RedisError> {
        let suspicions = self.context.lost_replies.suspicions();
        if suspicions != self.searched || self.has_lost_reply {
            self.context.lost_replies.recover(&self.context.workers, &self.ours()).await?;
            (self.searched, self.has_lost_reply) = (suspicions, false);
        }
        self.read(plan).await
    }

    /// The subscriptions that this reader reads for.
    fn ours(&self) -> Vec<SubscriptionId> {
        let mut subscriptions = self.context.workers.inflight().subscriptions();
        subscriptions.retain(|subscription| self.scope.has(&subscription.topic));
        subscriptions
    }

    async fn read(&mut self, plan: &ReadPlan) -> Result<NextPoll, RedisError> {
        (self.asked, self.has_more) = (Some(Instant::now()), false);
        let replies = self.ask(plan).await.inspect_err(|_| self.close())?;
        let (mut moved, mut broken, mut next) = (Vec::new(), Vec::new(), NextPoll::AtOnce);
        let mut failed = None;
        for (subscription, reply) in plan.subscriptions.iter().zip(replies) {
            match reply.extract_error() {
                Ok(reply) => self.take(plan, subscription, reply),
                Err(error) if self.is_redirected(&error) => moved.push(subscription.clone()),
                Err(error) if topic_check::may_concern_one(&error) => broken.push(subscription.clone()),
                Err(error) => failed = Some(error),
            }
        }
        self.take_pushes();
        if let Some(error) = failed {
            if error::is_read_only(&error) {
                self.close();
            }
            return Err(error);
        }
        if !moved.is_empty() {
            self.read_elsewhere(plan, &moved).await?;
            next = NextPoll::After(SLOT_MOVES);
        }
        if !broken.is_empty() && topic_check::examine(&self.context.workers, &broken).await != Examined::Changed {
            next = NextPoll::After(PAUSE.after(1));
        }
        self.recovered();
        Ok(next)
    }

    /// Ask for the entries of all topics of a plan. Returns one reply for each.
    async fn ask(&mut self, plan: &ReadPlan) -> Result<Vec<Value>, RedisError> {
        let workers = self.context.workers.clone();
        let client = workers.driver();
        let limit = client.settings.read_timeout.unwrap_or(MAX_SILENCE) + MAX_SILENCE;
        let open = self.open().await?;
        let is_tracked = open.pushes.is_some();
        let mut questions = pipe();
        for SubscriptionId { topic, .. } in &plan.subscriptions {
            if is_tracked {
                questions.cmd("XLEN").arg(&**topic);
            }
            // One more than there is space for shows whether that was all.
            questions.add_command(client.stream.reading_of(topic, plan.count.saturating_add(1)));
        }
        let asked = open.connection.pipeline(&questions);
        let replies =
            tokio::time::timeout(limit, asked).await.map_err(|_| error::io_error(std::io::ErrorKind::TimedOut))??;
        if is_tracked { Ok(replies.into_iter().skip(1).step_by(2).collect()) } else { Ok(replies) }
    }

    /// Take in the entries of one topic. A topic that has no more is idle from now on.
    fn take(&mut self, plan: &ReadPlan, subscription: &SubscriptionId, reply: Value) {
        let read = entry::entries_by_topic(reply);
        let count: usize = read.iter().map(|(_, entries)| entries.len()).sum();
        if count <= plan.count {
            self.idle_topics.insert(subscription.topic.clone());
        } else {
            self.has_more = true;
        }
        if count > 0 {
            self.turn = MIN_TURN;
            self.accept(subscription, read);
        }
    }

    fn accept(&self, subscription: &SubscriptionId, read: Vec<(String, Vec<Entry>)>) {
        for (_, entries) in read {
            self.context.workers.accept_read(subscription, entries);
        }
        self.context.workers.start();
    }

    /// The slots of these topics are moving or have moved: read once where they are, and refresh the slot map.
    async fn read_elsewhere(&mut self, plan: &ReadPlan, moved: &[SubscriptionId]) -> Result<(), RedisError> {
        for subscription in moved {
            match self.client().stream.read(&subscription.topic, plan.count).await {
                Ok(read) => self.accept(subscription, read),
                Err(error) if topic_check::may_concern_one(&error) => {
                    topic_check::examine(&self.context.workers, std::slice::from_ref(subscription)).await;
                }
                Err(error) => {
                    self.context.suspect_lost_replies();
                    return Err(error);
                }
            }
        }
        self.scope.refresh().await;
        Ok(())
    }

    /// Does another server of the cluster have the topic? Behind the only address there is no other to ask.
    fn is_redirected(&self, error: &RedisError) -> bool {
        matches!(self.scope, ReadScope::Node(..)) && error.redirect_node().is_some()
    }

    async fn open(&mut self) -> Result<&mut PollingConnection, RedisError> {
        let failovers = self.scope.connector().failovers();
        if self.connection.as_ref().is_some_and(|open| open.failovers != failovers) {
            self.close();
        }
        if self.connection.is_none() {
            self.idle_topics.clear();
            self.connection = Some(self.dial().await?);
        }
        self.connection.as_mut().ok_or_else(|| error::io_error(std::io::ErrorKind::NotConnected))
    }

    async fn dial(&mut self) -> Result<PollingConnection, RedisError> {
        if !self.no_tracking {
            match self.dial_with_tracking().await {
                Err(error) if !error::is_transient(&error) => {}
                other => return other,
            }
        }
        let failovers = self.scope.connector().failovers();
        let connection = self.scope.connector().open().await?;
        self.no_tracking = true;
        Ok(PollingConnection { connection, failovers, pushes: None })
    }

    async fn dial_with_tracking(&self) -> Result<PollingConnection, RedisError> {
        let (sender, pushes) = unbounded_channel();
        let failovers = self.scope.connector().failovers();
        let mut connection = self.scope.connector().open_with_pushes(sender).await?;
        let mut tracking = pipe();
        tracking.cmd("CLIENT").arg("TRACKING").arg("ON");
        for reply in connection.pipeline(&tracking).await? {
            reply.extract_error()?;
        }
        Ok(PollingConnection { connection, failovers, pushes: Some(pushes) })
    }

    /// Drop the connection. A reply may be lost with it.
    fn close(&mut self) {
        self.connection = None;
        self.idle_topics.clear();
        self.has_lost_reply = true;
    }

    fn take_pushes(&mut self) {
        while let Some(push) = self.connection.as_mut().and_then(|open| open.pushes.as_mut()?.try_recv().ok()) {
            self.on_push(push);
        }
    }

    fn on_push(&mut self, push: PushInfo) {
        match push.kind {
            PushKind::Invalidate => match push.data.into_iter().next() {
                Some(Value::Array(topics)) => {
                    for topic in topics.into_iter().filter_map(reply::text) {
                        self.idle_topics.remove(topic.as_str());
                    }
                }
                // Everything, for example after FLUSHALL.
                _ => self.idle_topics.clear(),
            },
            PushKind::Disconnection => self.close(),
            _ => {}
        }
    }

    /// Report a failure. Returns how long to wait after it.
    async fn failed(&mut self, error: &RedisError) -> Duration {
        self.failures += 1;
        let client = self.client();
        let text = client.advised_text(error);
        if !error::is_transient(error) {
            self.context.workers.inflight().report_reading(&self.ours(), Err(&text));
        }
        if self.set.failed(self.scope.id()) {
            client.telemetry.emit(ReadingFailed { component: &client.component, error: &text });
        }
        self.scope.refresh().await;
        PAUSE.after(self.failures)
    }

    fn recovered(&mut self) {
        if std::mem::take(&mut self.failures) > 0 {
            self.context.workers.inflight().report_reading(&self.ours(), Ok(()));
        }
        if self.set.recovered(self.scope.id()) {
            let client = self.client();
            client.telemetry.emit(ReadingResumed { component: &client.component });
        }
    }
}
