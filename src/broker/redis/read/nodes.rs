//! Reading from a cluster: one connection for each server that has topics, however many topics there are (D11).
//!
//! One command can only name streams of one slot, so that no blocking read can wait for several topics. A connection for each topic would
//! do, and would need as many connections as there are topics. Instead the server tells when a topic has changed (CLIENT TRACKING, since
//! Redis 6): a reader asks for all topics that may have entries, in one write and without blocking, and then sleeps until the server
//! names topics again. Of a topic the length is asked before its entries, which is what makes the server remember to tell; whatever is
//! added later is told. It costs one more round trip than a blocking read. Measured on a busy machine with two cores, in a debug build, with
//! 200 topics on three masters: an event of an idle topic is with its sink after 2.8 ms (1.8 ms on a single server), and waiting for
//! events takes 0.7 % of a core (0.3 %). What it takes from publishing flat out to 200 topics is more, as nearly every event is told of and
//! asked for by itself: 2400 events/s beside the six servers of a test, when a single server did 5700; to one topic it was 5500. What
//! is told within [`GATHER`] is asked for in one write.
//!
//! Where the server does not permit that, topics are asked in turns, with pauses that grow up to [`LONGEST_TURN`].
//!
//! The same reader serves an address that refuses one read of several topics ([`run_one_by_one`]): there it always asks in turns, because
//! what stands behind such an address may be a proxy, whose servers cannot tell us anything.

use std::collections::{BTreeSet, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use deadpool_redis::redis::{PushInfo, PushKind, RedisError, Value, pipe};
use parking_lot::{Mutex, MutexGuard};
use tokio::sync::Notify;
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use tokio::time::Instant;

use super::super::board::ReadPlan;
use super::super::conn::{Cluster, Connection, Connector, MAX_SILENCE, Node, error};
use super::super::{Shared, entry, reply, takeover, work};
use super::topics::{self, Examined};
use crate::backoff::Backoff;
use crate::shutdown::Stop;

/// All topics are asked at least this often: who has lost a slot does not always tell.
const LONGEST_SLEEP: Duration = Duration::from_secs(2);
/// Where the server does not tell: the shortest and the longest pause between two turns.
const SHORTEST_TURN: Duration = Duration::from_millis(2);
pub(super) const LONGEST_TURN: Duration = Duration::from_millis(100);
/// How soon a topic is asked again whose slot is on its way to another server.
const ON_ITS_WAY: Duration = Duration::from_millis(20);
/// Topics that the server names within so much time of the last question are asked together; after a pause, the first goes at once.
const GATHER: Duration = Duration::from_millis(1);
const PAUSE: Backoff = Backoff::doubling(Duration::from_millis(50), Duration::from_secs(1));

/// Keep a reader for every server that has slots, until `stop`.
pub(super) async fn run(shared: Arc<Shared>, cluster: Arc<Cluster>, stop: Stop) {
    let mut changes = cluster.changes();
    let crew = Arc::new(Crew::default());
    let mut readers = Vec::<(Arc<Node>, Hand)>::new();
    let mut is_changed = true;
    loop {
        if is_changed {
            enlist(&shared, &cluster, &crew, &stop, &mut readers);
            shared.look_for_strays();
        }
        crew.count(&shared, &cluster);
        for (_, hand) in &readers {
            hand.wake.notify_one();
        }
        is_changed = false;
        tokio::select! {
            () = stop.triggered() => break,
            () = shared.board.reader.notified() => {}
            Ok(()) = changes.changed() => is_changed = true,
        }
    }
}

/// Read all topics from one address, each by itself, until `stop`.
pub(super) async fn run_one_by_one(shared: Arc<Shared>, connector: Arc<Connector>, stop: Stop) {
    let hand = Hand { stop, wake: Arc::default() };
    let scope = Scope::Address(connector);
    Reader::new(&shared, scope, &Arc::default(), &hand).run().await;
}

/// A reader for each server that has slots, and none for any other.
fn enlist(
    shared: &Arc<Shared>,
    cluster: &Arc<Cluster>,
    crew: &Arc<Crew>,
    stop: &Stop,
    readers: &mut Vec<(Arc<Node>, Hand)>,
) {
    let masters = cluster.masters();
    readers.retain(|(node, hand)| {
        let stays = masters.iter().any(|master| Arc::ptr_eq(master, node));
        if !stays {
            hand.stop.trigger();
        }
        stays
    });
    for node in masters {
        if !readers.iter().any(|(known, _)| Arc::ptr_eq(known, &node)) {
            let hand = Hand { stop: stop.child(), wake: Arc::default() };
            let scope = Scope::Node(cluster.clone(), node.clone());
            let reader = Reader::new(shared, scope, crew, &hand);
            shared.tasks.spawn("redis reader", reader.run());
            readers.push((node, hand));
        }
    }
}

/// What the readers of a component have in common.
#[derive(Default)]
struct Crew {
    /// How many of them have topics.
    busy: AtomicUsize,
    /// With what map and how many topics that was counted.
    counted: Mutex<(u64, usize)>,
    outage: Mutex<Outage>,
}

/// Those whose last read failed, for one line when the first does and one when none does any more.
#[derive(Default)]
struct Outage {
    failing: BTreeSet<usize>,
    told: bool,
}

/// How a reader is led.
struct Hand {
    stop: Stop,
    /// The topics or the room for them have changed.
    wake: Arc<Notify>,
}

impl Crew {
    fn count(&self, shared: &Shared, cluster: &Cluster) {
        let topics = shared.board.topics();
        let now = (cluster.version(), topics.len());
        let mut counted = self.counted.lock();
        if std::mem::replace(&mut *counted, now) == now {
            return;
        }
        let holders = topics.iter().filter_map(|topic| cluster.owner(topic));
        let holders: BTreeSet<_> = holders.map(|node| Arc::as_ptr(&node)).collect();
        self.busy.store(holders.len(), Ordering::Relaxed);
    }

    fn failed(&self, reader: usize) -> bool {
        let mut outage = self.outage();
        outage.failing.insert(reader);
        !std::mem::replace(&mut outage.told, true)
    }

    fn recovered(&self, reader: usize) -> bool {
        let mut outage = self.outage();
        outage.failing.remove(&reader);
        outage.told && outage.failing.is_empty() && std::mem::take(&mut outage.told)
    }

    fn left(&self, reader: usize) {
        self.outage().failing.remove(&reader);
    }

    fn outage(&self) -> MutexGuard<'_, Outage> {
        self.outage.lock()
    }
}

/// Which topics a reader reads, and from where.
enum Scope {
    /// The topics of one server of a cluster.
    Node(Arc<Cluster>, Arc<Node>),
    /// All topics, from the only address.
    Address(Arc<Connector>),
}

impl Scope {
    fn connector(&self) -> &Connector {
        match self {
            Self::Node(_, node) => &node.connector,
            Self::Address(connector) => connector,
        }
    }

    fn has(&self, topic: &str) -> bool {
        match self {
            Self::Node(cluster, node) => cluster.owner(topic).is_some_and(|holder| Arc::ptr_eq(&holder, node)),
            Self::Address(_) => true,
        }
    }

    /// The number of the map of slots that [`Scope::has`] goes by.
    fn number(&self) -> u64 {
        match self {
            Self::Node(cluster, _) => cluster.version(),
            Self::Address(_) => 0,
        }
    }

    /// The map of slots may be out of date.
    async fn doubt(&self) {
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
struct Reader {
    shared: Arc<Shared>,
    scope: Scope,
    crew: Arc<Crew>,
    stop: Stop,
    wake: Arc<Notify>,
    connection: Option<Open>,
    /// Topics that had nothing when they were last asked; the server tells when they have.
    quiet: HashSet<Arc<str>>,
    /// Topics that other servers have, as the map with this number says.
    foreign: HashSet<Arc<str>>,
    map: u64,
    failures: u32,
    /// How often strays had been wanted when they were last looked for.
    strays: u64,
    /// An answer to this reader was lost.
    has_strays: bool,
    /// When there was last a question, and whether some topic had more than there was room for.
    asked: Option<Instant>,
    has_more: bool,
    /// When all topics were asked, whether quiet or not.
    asked_all: Instant,
    /// The pause before the next turn, where the server does not tell.
    turn: Duration,
    /// This server does not tell.
    is_mute: bool,
}

struct Open {
    connection: Connection,
    /// See [`Connector::failovers`].
    masters: u64,
    /// What the server says by itself; nothing if it does not.
    heard: Option<UnboundedReceiver<PushInfo>>,
}

/// How to go on after a read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Next {
    AtOnce,
    After(Duration),
}

impl Reader {
    fn new(shared: &Arc<Shared>, scope: Scope, crew: &Arc<Crew>, hand: &Hand) -> Self {
        Self {
            shared: shared.clone(),
            is_mute: matches!(scope, Scope::Address(_)),
            scope,
            crew: crew.clone(),
            stop: hand.stop.clone(),
            wake: hand.wake.clone(),
            connection: None,
            quiet: HashSet::new(),
            foreign: HashSet::new(),
            map: 0,
            has_more: false,
            asked: None,
            failures: 0,
            strays: 0,
            has_strays: false,
            asked_all: Instant::now(),
            turn: SHORTEST_TURN,
        }
    }

    async fn run(mut self) {
        let shared = self.shared.clone();
        let rounds = shared.rounds.join();
        let stop = self.stop.clone();
        while !stop.is_triggered() {
            // Entries of a topic that has just come to this server may be on their way to the reader it had before, and look like strays.
            if shared.strays() != self.strays && stop.run_until_triggered(shared.rounds.over()).await.is_none() {
                break;
            }
            rounds.begun();
            let Some(plan) = self.plan() else {
                rounds.ended();
                if stop.run_until_triggered(self.rest()).await.is_none() {
                    break;
                }
                continue;
            };
            let Some(read) = stop.run_until_triggered(Box::pin(self.read_after_strays(&plan))).await else {
                break;
            };
            // Whoever waits for the end of a read that may contain its topic can go on now: its entries are on the board.
            rounds.ended();
            let pause = match read {
                Ok(Next::AtOnce) => self.pause_to_gather(),
                Ok(Next::After(pause)) => pause,
                Err(error) => self.failed(&error).await,
            };
            if !pause.is_zero() {
                stop.sleep(pause).await;
            }
        }
        drop(rounds);
        if self.connection.is_some() || self.has_strays {
            // What was on its way to this reader is ours, and did not arrive.
            shared.look_for_strays();
        }
        self.crew.left(self.scope.id());
    }

    fn plan(&mut self) -> Option<ReadPlan> {
        if self.asked_all.elapsed() >= LONGEST_SLEEP {
            self.asked_all = Instant::now();
            self.quiet.clear();
            self.foreign.clear();
        }
        self.hear_all();
        let number = self.scope.number();
        if std::mem::replace(&mut self.map, number) != number {
            self.foreign.clear();
        }
        let (scope, quiet, foreign) = (&self.scope, &self.quiet, &mut self.foreign);
        let wanted = |topic: &Arc<str>| {
            if quiet.contains(topic) || foreign.contains(topic) {
                return false;
            }
            let is_ours = scope.has(topic);
            if !is_ours {
                foreign.insert(topic.clone());
            }
            is_ours
        };
        // Not counted for the only address.
        let readers = self.crew.busy.load(Ordering::Relaxed).max(1);
        self.shared.board.plan_some(readers, wanted)
    }

    /// How long the server may go on naming topics before the next question.
    fn pause_to_gather(&self) -> Duration {
        match self.asked {
            Some(asked) if !self.has_more => GATHER.saturating_sub(asked.elapsed()),
            _ => Duration::ZERO,
        }
    }

    /// Nothing is to be read: wait until the server or the board says something.
    async fn rest(&mut self) {
        let limit = if self.is_mute { self.turn } else { LONGEST_SLEEP };
        let shared = self.shared.clone();
        let woken = async {
            match &self.scope {
                Scope::Node(..) => self.wake.notified().await,
                Scope::Address(_) => shared.board.reader.notified().await,
            }
        };
        let heard = async {
            match self.connection.as_mut().and_then(|open| open.heard.as_mut()) {
                Some(heard) => heard.recv().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            told = heard => {
                match told {
                    Some(told) => self.hear(told),
                    None => self.close(),
                }
                self.hear_all();
            }
            () = woken => {}
            () = tokio::time::sleep(limit) => {
                self.turn = (self.turn * 2).min(LONGEST_TURN);
                if self.is_mute {
                    self.quiet.clear();
                }
            }
        }
    }

    /// Entries that are ours and never arrived are looked for between two reads: during one, its entries would look like that too.
    async fn read_after_strays(&mut self, plan: &ReadPlan) -> Result<Next, RedisError> {
        let wanted = self.shared.strays();
        if wanted != self.strays || self.has_strays {
            takeover::strays(&self.shared, &self.ours()).await?;
            (self.strays, self.has_strays) = (wanted, false);
        }
        self.read(plan).await
    }

    /// The topics that this reader reads.
    fn ours(&self) -> Vec<Arc<str>> {
        let mut topics = self.shared.board.topics();
        topics.retain(|topic| self.scope.has(topic));
        topics
    }

    async fn read(&mut self, plan: &ReadPlan) -> Result<Next, RedisError> {
        (self.asked, self.has_more) = (Some(Instant::now()), false);
        let answers = self.ask(plan).await.inspect_err(|_| self.close())?;
        let (mut moved, mut broken, mut next) = (Vec::new(), Vec::new(), Next::AtOnce);
        let mut failed = None;
        for (topic, answer) in plan.topics.iter().zip(answers) {
            match answer.extract_error() {
                Ok(answer) => self.take(plan, topic, answer),
                Err(error) if self.is_redirected(&error) => moved.push(topic.clone()),
                Err(error) if topics::may_concern_one(&error) => broken.push(topic.clone()),
                Err(error) => failed = Some(error),
            }
        }
        self.hear_all();
        if let Some(error) = failed {
            if error::is_read_only(&error) {
                self.close();
            }
            return Err(error);
        }
        if !moved.is_empty() {
            self.read_elsewhere(plan, &moved).await?;
            next = Next::After(ON_ITS_WAY);
        }
        if !broken.is_empty() && topics::examine(&self.shared, &broken).await != Examined::Changed {
            next = Next::After(PAUSE.after(1));
        }
        self.recovered();
        Ok(next)
    }

    /// Ask for the entries of all topics of a plan; one answer for each.
    async fn ask(&mut self, plan: &ReadPlan) -> Result<Vec<Value>, RedisError> {
        let shared = self.shared.clone();
        let limit = shared.settings.read_timeout.unwrap_or(MAX_SILENCE) + MAX_SILENCE;
        let open = self.open().await?;
        let is_told = open.heard.is_some();
        let mut questions = pipe();
        for topic in &plan.topics {
            if is_told {
                questions.cmd("XLEN").arg(&**topic);
            }
            // One more than there is room for shows whether that was all.
            questions.add_command(shared.stream.reading_of(topic, plan.count.saturating_add(1)));
        }
        let asked = open.connection.pipeline(&questions);
        let answers = tokio::time::timeout(limit, asked)
            .await
            .map_err(|_| RedisError::from(std::io::Error::from(std::io::ErrorKind::TimedOut)))??;
        if is_told { Ok(answers.into_iter().skip(1).step_by(2).collect()) } else { Ok(answers) }
    }

    /// Put entries on the board. A topic that has no more is quiet from now on.
    fn take(&mut self, plan: &ReadPlan, topic: &Arc<str>, answer: Value) {
        let read = entry::of_read(answer);
        let count: usize = read.iter().map(|(_, entries)| entries.len()).sum();
        if count <= plan.count {
            self.quiet.insert(topic.clone());
        } else {
            self.has_more = true;
        }
        if count > 0 {
            self.turn = SHORTEST_TURN;
            work::accept(&self.shared, read);
        }
    }

    /// The slots of these topics are on their way or have gone: one read where they are, and a look at the map.
    async fn read_elsewhere(&mut self, plan: &ReadPlan, topics: &[Arc<str>]) -> Result<(), RedisError> {
        for topic in topics {
            match self.shared.stream.read(topic, plan.count).await {
                Ok(entries) => work::accept(&self.shared, entries),
                Err(error) if topics::may_concern_one(&error) => {
                    topics::examine(&self.shared, std::slice::from_ref(topic)).await;
                }
                Err(error) => {
                    self.shared.look_for_strays();
                    return Err(error);
                }
            }
        }
        self.scope.doubt().await;
        Ok(())
    }

    /// Does another server of the cluster have the topic? Behind the only address there is no other to ask.
    fn is_redirected(&self, error: &RedisError) -> bool {
        matches!(self.scope, Scope::Node(..)) && error.redirect_node().is_some()
    }

    async fn open(&mut self) -> Result<&mut Open, RedisError> {
        let masters = self.scope.connector().failovers();
        if self.connection.as_ref().is_some_and(|open| open.masters != masters) {
            self.close();
        }
        if self.connection.is_none() {
            self.quiet.clear();
            self.connection = Some(self.dial().await?);
        }
        self.connection.as_mut().ok_or_else(|| std::io::Error::from(std::io::ErrorKind::NotConnected).into())
    }

    async fn dial(&mut self) -> Result<Open, RedisError> {
        if !self.is_mute {
            match self.dial_listening().await {
                Err(error) if !error::is_transient(&error) => {}
                other => return other,
            }
        }
        let masters = self.scope.connector().failovers();
        let connection = self.scope.connector().open().await?;
        self.is_mute = true;
        Ok(Open { connection, masters, heard: None })
    }

    async fn dial_listening(&self) -> Result<Open, RedisError> {
        let (told, heard) = unbounded_channel();
        let masters = self.scope.connector().failovers();
        let mut connection = self.scope.connector().open_with_pushes(told).await?;
        let mut tracking = pipe();
        tracking.cmd("CLIENT").arg("TRACKING").arg("ON");
        for answer in connection.pipeline(&tracking).await? {
            answer.extract_error()?;
        }
        Ok(Open { connection, masters, heard: Some(heard) })
    }

    /// The connection is gone, and with it perhaps an answer: entries that are ours and that we have never seen.
    fn close(&mut self) {
        self.connection = None;
        self.quiet.clear();
        self.has_strays = true;
    }

    fn hear_all(&mut self) {
        while let Some(told) = self.connection.as_mut().and_then(|open| open.heard.as_mut()?.try_recv().ok()) {
            self.hear(told);
        }
    }

    fn hear(&mut self, told: PushInfo) {
        match told.kind {
            PushKind::Invalidate => match told.data.into_iter().next() {
                Some(Value::Array(topics)) => {
                    for topic in topics.into_iter().filter_map(reply::text) {
                        self.quiet.remove(topic.as_str());
                    }
                }
                // Everything, for example after FLUSHALL.
                _ => self.quiet.clear(),
            },
            PushKind::Disconnection => self.close(),
            _ => {}
        }
    }

    /// How long to wait after a failure.
    async fn failed(&mut self, error: &RedisError) -> Duration {
        self.failures += 1;
        let text = topics::reason(&self.shared, error);
        if !error::is_transient(error) {
            self.shared.board.tell_readers(&self.ours(), Err(&text));
        }
        if self.crew.failed(self.scope.id()) {
            self.shared.telemetry.redis_reading_failed(&self.shared.name, &text);
        }
        self.scope.doubt().await;
        PAUSE.after(self.failures)
    }

    fn recovered(&mut self) {
        if std::mem::take(&mut self.failures) > 0 {
            self.shared.board.tell_readers(&self.ours(), Ok(()));
        }
        if self.crew.recovered(self.scope.id()) {
            self.shared.telemetry.redis_reading_again(&self.shared.name);
        }
    }
}
