//! A Redis Cluster: who has which slot, and commands sent to whoever has their key.
//!
//! The map of the slots is asked for when it is first needed, and again whenever a server shows that it is old (MOVED, a broken
//! connection, CLUSTERDOWN): any server may answer, the first one counts. Redirections are followed here; whether a command that failed
//! is sent again is the caller's business, and [`Failure`] says what he must know for that.

mod slots;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use deadpool_redis::redis::{Cmd, ErrorKind, Pipeline, RedisError, ServerErrorKind, Value, cmd, pipe};
use futures_util::future::{join_all, select_ok};
use parking_lot::{Mutex, MutexGuard, RwLock};
use tokio::sync::watch;
use tokio::time::Instant;

use self::slots::Range;
use super::address::Address;
use super::connect::{self, Connector, Lane};
use super::lanes::{Failure, Purpose};
use super::server::Server;
use super::settings::Settings;
use crate::broker::BrokerError;

/// Redirections in a row of one command. Two are usual when a slot has just moved.
const MOST_REDIRECTIONS: usize = 8;
/// The map is not asked for more often than this.
const REST: Duration = Duration::from_millis(50);
/// The longest wait for one server that is asked for the map: others are asked at the same time.
const PATIENCE: Duration = Duration::from_secs(2);
/// How many servers are asked for the map at a time.
const ASKED: usize = 8;
/// A server that has no slot is remembered this long: one that is about to get some is only in ASK redirections.
const REMEMBERED: Duration = Duration::from_secs(60);

/// The servers of a cluster.
pub(super) struct Cluster {
    settings: Arc<Settings>,
    seeds: Vec<Address>,
    map: RwLock<Arc<Map>>,
    /// All servers that have been heard of lately.
    nodes: Mutex<BTreeMap<Address, Arc<Node>>>,
    /// Held while the map is asked for; when that was last over.
    refreshing: tokio::sync::Mutex<Option<Instant>>,
    /// How often the slots were found with other servers than before.
    changes: watch::Sender<u64>,
}

/// One server of a cluster.
pub(super) struct Node {
    pub(super) connector: Arc<Connector>,
    address: Address,
    publishing: Lane,
    upkeep: Lane,
    /// When it was last heard of in a redirection, or first at all.
    heard_of: Mutex<Instant>,
}

/// Who has which slot. A value: the next one replaces it.
#[derive(Default)]
struct Map {
    number: u64,
    ranges: Vec<Range>,
    /// As many as ranges.
    owners: Vec<Arc<Node>>,
}

/// Another server than the map says, for one command.
struct Detour {
    node: Arc<Node>,
    asking: bool,
}

impl Cluster {
    /// Nothing is dialled yet.
    ///
    /// # Errors
    /// If an address or the certificates cannot be used.
    pub(super) fn new(settings: &Arc<Settings>) -> Result<Self, BrokerError> {
        let seeds = settings.addresses.clone();
        for seed in &seeds {
            Server::new(settings, seed.clone())?;
        }
        Ok(Self {
            settings: settings.clone(),
            seeds,
            map: RwLock::default(),
            nodes: Mutex::default(),
            refreshing: tokio::sync::Mutex::default(),
            changes: watch::Sender::new(0),
        })
    }

    /// The first contact: one of the servers in the settings answers as a server of a cluster does, and says who has the slots.
    ///
    /// # Errors
    /// If none can be reached. What the first one that is reached refuses is an answer.
    pub(super) async fn greet(&self) -> Result<Vec<Value>, RedisError> {
        let mut failed = None;
        for seed in &self.seeds {
            let server =
                Server::new(&self.settings, seed.clone()).map_err(|error| std::io::Error::other(error.message))?;
            match server.greet().await {
                Ok(answers) => {
                    let refused = answers.iter().any(|answer| matches!(answer, Value::ServerError(_)));
                    if !refused {
                        self.refresh(self.map().number, None).await?;
                    }
                    return Ok(answers);
                }
                // Prefers a failure that a retry can heal: the settings are blamed only if every server refuses them.
                Err(error) => {
                    if failed.as_ref().is_none_or(|before| !connect::may_heal(before)) {
                        failed = Some(error);
                    }
                }
            }
        }
        Err(failed.unwrap_or_else(|| std::io::Error::from(std::io::ErrorKind::NotConnected).into()))
    }

    /// Send a command to whoever has its key, wherever that leads.
    ///
    /// # Errors
    /// With the last server's error, or that of the way there.
    pub(super) async fn send(&self, purpose: Purpose, command: &Cmd) -> Result<Value, Failure> {
        let slot = slots::slot_of_command(command);
        let mut detour = None;
        for _ in 0..MOST_REDIRECTIONS {
            let seen = self.map().number;
            let Detour { node, asking } = match detour.take() {
                Some(detour) => detour,
                None => self.direct(slot).await.map_err(Failure::NotDone)?,
            };
            let lane = node.lane(purpose);
            if let Err(error) = lane.reach().await {
                let _ = self.refresh(seen, None).await;
                return Err(Failure::of_way(error));
            }
            let answer = if asking { lane.asking(command).await } else { lane.command(command).await };
            let error = match answer {
                Ok(answer) => return Ok(answer),
                Err(error) => error,
            };
            detour = self.detour(&error, &node, slot).await;
            if detour.is_none() {
                if connect::is_for_now(&error) {
                    let _ = self.refresh(seen, None).await;
                }
                return Err(Failure::of(error));
            }
        }
        Err(Failure::NotDone(down("too many redirections")))
    }

    /// Send commands to whoever has their keys, to each server in one write. Each answer stands for itself.
    pub(super) async fn send_all(&self, purpose: Purpose, pipeline: &Pipeline) -> Vec<Result<Value, Failure>> {
        let commands: Vec<&Cmd> = pipeline.cmd_iter().collect();
        let mut answers: Vec<Option<Result<Value, Failure>>> = Vec::new();
        answers.resize_with(commands.len(), || None);
        let parts = self.parts(&commands).await;
        let seen = self.map().number;
        let sent = parts.into_iter().map(|(node, places)| {
            let mut part = pipe();
            for place in &places {
                part.add_command(commands[*place].clone());
            }
            async move {
                let lane = node.lane(purpose);
                let answers = match lane.reach().await {
                    Ok(()) => lane.pipeline(&part).await.map_err(Failure::Unknown),
                    Err(error) => Err(Failure::of_way(error)),
                };
                (places, answers)
            }
        });
        let mut is_old = false;
        for (places, part) in join_all(sent).await {
            is_old |= part.is_err();
            match part {
                Ok(part) => {
                    for (place, answer) in places.into_iter().zip(part) {
                        answers[place] = Some(Failure::sort(answer));
                    }
                }
                Err(failure) => {
                    for place in places {
                        answers[place] = Some(Err(failure.clone()));
                    }
                }
            }
        }
        if is_old {
            let _ = self.refresh(seen, None).await;
        }
        let again = answers.into_iter().zip(commands).map(async |(answer, command)| match answer {
            // Not executed there, and there is somebody else to go to.
            None => self.send(purpose, command).await,
            Some(Err(Failure::NotDone(error))) if error.redirect_node().is_some() => self.send(purpose, command).await,
            Some(answer) => answer,
        });
        join_all(again).await
    }

    /// The servers that have slots.
    pub(super) fn masters(&self) -> Vec<Arc<Node>> {
        let mut masters = BTreeMap::new();
        for node in &self.map().owners {
            masters.insert(node.address.clone(), node.clone());
        }
        masters.into_values().collect()
    }

    /// Another number means that the map is another one.
    pub(super) fn number(&self) -> u64 {
        self.map().number
    }

    /// Who has a topic, as far as is known.
    pub(super) fn holder(&self, topic: &str) -> Option<Arc<Node>> {
        self.map().owner(slots::slot_of(topic.as_bytes())).cloned()
    }

    /// Changes of the map.
    pub(super) fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    /// The map has proven old, or a server silent: ask for it again.
    pub(super) async fn doubt(&self) {
        let _ = self.refresh(self.map().number, None).await;
    }

    /// No more connections.
    pub(super) fn close(&self) {
        for node in self.nodes().values() {
            node.connector.close();
        }
    }

    /// Commands by the servers that have their keys. Those whose server is not known are in no part.
    async fn parts(&self, commands: &[&Cmd]) -> Vec<(Arc<Node>, Vec<usize>)> {
        let mut parts: Vec<(Arc<Node>, Vec<usize>)> = Vec::new();
        for (place, command) in commands.iter().enumerate() {
            let Ok(Detour { node, .. }) = self.direct(slots::slot_of_command(command)).await else {
                continue;
            };
            match parts.iter_mut().find(|(known, _)| Arc::ptr_eq(known, &node)) {
                Some((_, places)) => places.push(place),
                None => parts.push((node, vec![place])),
            }
        }
        parts
    }

    /// Where a command for this slot goes first; without a slot, anywhere.
    async fn direct(&self, slot: Option<u16>) -> Result<Detour, RedisError> {
        let direct = |map: &Map| {
            let node = match slot {
                Some(slot) => map.owner(slot),
                None => map.owners.first(),
            };
            node.cloned().map(|node| Detour { node, asking: false })
        };
        let map = self.map();
        if let Some(detour) = direct(&map) {
            return Ok(detour);
        }
        self.refresh(map.number, None).await?;
        direct(&self.map()).ok_or_else(|| down("Hash slot not served"))
    }

    /// Where the server that gave this error says that the command belongs.
    async fn detour(&self, error: &RedisError, from: &Arc<Node>, slot: Option<u16>) -> Option<Detour> {
        let (to, _) = error.redirect_node()?;
        let node = self.node(slots::address_of(to, &from.address)?).ok()?;
        *node.heard_of() = Instant::now();
        let asking = error.kind() == ErrorKind::Server(ServerErrorKind::Ask);
        let map = self.map();
        let is_news = slot.and_then(|slot| map.owner(slot)).is_none_or(|owner| !Arc::ptr_eq(owner, &node));
        if !asking && is_news {
            // Who has got the slot knows best.
            let _ = self.refresh(map.number, Some(&node)).await;
        }
        Some(Detour { node, asking })
    }

    /// Ask for the map again, unless somebody else has done so since it had the number `seen`, or just now.
    async fn refresh(&self, seen: u64, first: Option<&Arc<Node>>) -> Result<(), RedisError> {
        let mut refreshed = self.refreshing.lock().await;
        if self.map().number != seen || refreshed.is_some_and(|at| at.elapsed() < REST) {
            return Ok(());
        }
        let answer = self.ask(first).await;
        *refreshed = Some(Instant::now());
        self.replace(answer?)
    }

    async fn ask(&self, first: Option<&Arc<Node>>) -> Result<Vec<Range>, RedisError> {
        if let Some(node) = first
            && let Ok(ranges) = node.ranges(&self.settings).await
        {
            return Ok(ranges);
        }
        let mut known = self.masters();
        fastrand::shuffle(&mut known);
        known.truncate(ASKED);
        if let Ok(ranges) = self.ask_any(&known).await {
            return Ok(ranges);
        }
        let seeds: Result<Vec<_>, _> = self.seeds.iter().map(|seed| self.node(seed.clone())).collect();
        self.ask_any(&seeds?).await
    }

    async fn ask_any(&self, nodes: &[Arc<Node>]) -> Result<Vec<Range>, RedisError> {
        if nodes.is_empty() {
            return Err(std::io::Error::from(std::io::ErrorKind::NotConnected).into());
        }
        let asked = nodes.iter().map(|node| Box::pin(node.ranges(&self.settings)));
        select_ok(asked).await.map(|(ranges, _)| ranges)
    }

    fn replace(&self, ranges: Vec<Range>) -> Result<(), RedisError> {
        let owners: Result<Vec<_>, _> = ranges.iter().map(|range| self.node(range.master.clone())).collect();
        let owners = owners?;
        self.nodes().retain(|_, node| {
            node.heard_of().elapsed() < REMEMBERED || owners.iter().any(|owner| Arc::ptr_eq(owner, node))
        });
        let mut map = self.map.write();
        let changed = map.ranges != ranges;
        *map = Arc::new(Map { number: map.number + 1, ranges, owners });
        drop(map);
        if changed {
            self.changes.send_modify(|changes| *changes += 1);
        }
        Ok(())
    }

    fn node(&self, address: Address) -> Result<Arc<Node>, RedisError> {
        let mut nodes = self.nodes();
        if let Some(node) = nodes.get(&address) {
            return Ok(node.clone());
        }
        let node = Arc::new(Node::new(&self.settings, address.clone())?);
        nodes.insert(address, node.clone());
        Ok(node)
    }

    fn nodes(&self) -> MutexGuard<'_, BTreeMap<Address, Arc<Node>>> {
        self.nodes.lock()
    }

    fn map(&self) -> Arc<Map> {
        self.map.read().clone()
    }
}

impl Map {
    fn owner(&self, slot: u16) -> Option<&Arc<Node>> {
        let at = self.ranges.partition_point(|range| range.last < slot);
        let range = self.ranges.get(at)?;
        (range.first <= slot).then(|| self.owners.get(at)).flatten()
    }
}

impl Node {
    fn new(settings: &Arc<Settings>, address: Address) -> Result<Self, RedisError> {
        let server = Server::new(settings, address.clone()).map_err(|error| std::io::Error::other(error.message))?;
        let connector = Arc::new(Connector::Direct(server));
        Ok(Self {
            publishing: Lane::new(connector.clone(), settings.read_timeout),
            upkeep: Lane::new(connector.clone(), settings.read_timeout),
            connector,
            address,
            heard_of: Mutex::new(Instant::now()),
        })
    }

    fn heard_of(&self) -> MutexGuard<'_, Instant> {
        self.heard_of.lock()
    }

    /// Its shared connection for ordinary commands.
    fn lane(&self, purpose: Purpose) -> &Lane {
        match purpose {
            Purpose::Publishing => &self.publishing,
            Purpose::Upkeep => &self.upkeep,
        }
    }

    /// Who has which slot, as far as this server knows.
    async fn ranges(&self, settings: &Settings) -> Result<Vec<Range>, RedisError> {
        let mut question = cmd("CLUSTER");
        // Since version 7 there is CLUSTER SHARDS, but all versions know this.
        question.arg("SLOTS");
        let asked = self.upkeep.command(&question);
        let answer = tokio::time::timeout(settings.dial_timeout.min(PATIENCE), asked)
            .await
            .map_err(|_| RedisError::from(std::io::Error::from(std::io::ErrorKind::TimedOut)))??;
        let ranges = slots::ranges_of(answer, &self.address);
        if ranges.is_empty() {
            return Err(down("Hash slot not served"));
        }
        Ok(ranges)
    }
}

fn down(reason: &'static str) -> RedisError {
    (ErrorKind::Server(ServerErrorKind::ClusterDown), reason).into()
}
