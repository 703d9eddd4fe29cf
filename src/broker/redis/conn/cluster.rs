//! A Redis Cluster: which server owns which slot, and commands sent to the owner of their key.
//!
//! The map of slots is asked for when it is first needed, and again when a reply shows that it is outdated (MOVED, a broken connection,
//! CLUSTERDOWN). Several servers are asked, and the first answer is used. Redirections are followed here. Whether a failed command is sent
//! again is the caller's decision, and [`SendError`] says whether it may.

use std::collections::BTreeMap;
use std::io::ErrorKind::{NotConnected, TimedOut};
use std::sync::Arc;
use std::time::Duration;

use deadpool_redis::redis::{Cmd, ErrorKind, Pipeline, RedisError, ServerErrorKind, Value, cmd, pipe};
use futures_util::future::{join_all, select_ok};
use parking_lot::{Mutex, MutexGuard, RwLock};
use tokio::sync::watch;
use tokio::time::Instant;

use super::super::address::Address;
use super::super::settings::Settings;
use super::connector::Connector;
use super::error::{self, SendError, io_error, prefer_transient};
use super::server::RedisServer;
use super::shared::{SharedConnection, Traffic};
use super::slots::{self, Range};
use crate::broker::error::BrokerError;

/// Redirections of one command. Two are usual when a slot has just moved.
const MAX_REDIRECTIONS: usize = 8;
/// The map is not asked for more often than this.
const REFRESH_PAUSE: Duration = Duration::from_millis(50);
/// The longest wait for one server that is asked for the map: others are asked at the same time.
const MAP_TIMEOUT: Duration = Duration::from_secs(2);
/// How many servers are asked for the map at a time.
const MAX_ASKED: usize = 8;
/// How long a server without slots is kept: one that is about to get some appears in ASK redirections only.
const NODE_EXPIRY: Duration = Duration::from_secs(60);

/// The servers of a cluster.
pub(in crate::broker::redis) struct Cluster {
    settings: Arc<Settings>,
    seeds: Vec<Address>,
    map: RwLock<Arc<SlotMap>>,
    /// All servers that the map or a redirection has named lately.
    nodes: Mutex<BTreeMap<Address, Arc<Node>>>,
    /// Held while the map is asked for; the time of the last answer.
    refreshing: tokio::sync::Mutex<Option<Instant>>,
    /// How often slots have changed their owner.
    changes: watch::Sender<u64>,
}

/// One server of a cluster.
pub(in crate::broker::redis) struct Node {
    pub(in crate::broker::redis) connector: Arc<Connector>,
    address: Address,
    publishing: SharedConnection,
    upkeep: SharedConnection,
    /// When a redirection last named it, at first when it became known.
    named: Mutex<Instant>,
}

/// Which server owns which slot. Immutable: a newer map replaces it.
#[derive(Default)]
struct SlotMap {
    version: u64,
    ranges: Vec<Range>,
    /// The owner of each range.
    owners: Vec<Arc<Node>>,
}

/// Where one command is sent.
struct Target {
    node: Arc<Node>,
    /// The slot is being moved to this server: the command must follow an ASKING.
    asking: bool,
}

impl Cluster {
    /// A cluster that these settings lead to. Nothing is dialled yet.
    ///
    /// # Errors
    /// If the certificates cannot be used.
    pub(super) fn new(settings: &Arc<Settings>) -> Result<Self, BrokerError> {
        let seeds = settings.addresses.clone();
        for seed in &seeds {
            RedisServer::new(settings, seed.clone())?;
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

    /// Log in to one of the servers in the settings, which must belong to a cluster, and read the map of slots.
    ///
    /// # Errors
    /// If none can be reached. A refusal by the first one that is reached is among the replies.
    pub(super) async fn probe(&self) -> Result<Vec<Value>, RedisError> {
        let mut failed = None;
        for seed in &self.seeds {
            let server =
                RedisServer::new(&self.settings, seed.clone()).map_err(|error| std::io::Error::other(error.message))?;
            match server.probe().await {
                Ok(replies) => {
                    let refused = replies.iter().any(|reply| matches!(reply, Value::ServerError(_)));
                    if !refused {
                        self.refresh_since(self.version(), None).await?;
                    }
                    return Ok(replies);
                }
                Err(error) => failed = Some(prefer_transient(failed, error)),
            }
        }
        Err(failed.unwrap_or_else(|| io_error(NotConnected)))
    }

    /// Send a command to the owner of its key, following redirections.
    ///
    /// # Errors
    /// With the error of the last server, or of reaching it.
    pub(super) async fn send(&self, traffic: Traffic, command: &Cmd) -> Result<Value, SendError> {
        let slot = slots::slot_of_command(command);
        let mut redirected = None;
        for _ in 0..MAX_REDIRECTIONS {
            let seen = self.version();
            let Target { node, asking } = match redirected.take() {
                Some(target) => target,
                None => self.target(slot).await.map_err(SendError::NotExecuted)?,
            };
            let connection = node.connection(traffic);
            if let Err(error) = connection.ensure_open().await {
                let _ = self.refresh_since(seen, None).await;
                return Err(SendError::unreachable(error));
            }
            let reply = if asking { connection.asking(command).await } else { connection.command(command).await };
            let error = match reply {
                Ok(reply) => return Ok(reply),
                Err(error) => error,
            };
            redirected = self.redirection(&error, &node, slot).await;
            if redirected.is_none() {
                if error::is_transient(&error) {
                    let _ = self.refresh_since(seen, None).await;
                }
                return Err(SendError::of_command(error));
            }
        }
        Err(SendError::NotExecuted(cluster_down("too many redirections")))
    }

    /// Send commands to the owners of their keys, to each server in one write. One outcome per command.
    pub(super) async fn send_all(&self, traffic: Traffic, pipeline: &Pipeline) -> Vec<Result<Value, SendError>> {
        let commands: Vec<&Cmd> = pipeline.cmd_iter().collect();
        let mut outcomes: Vec<Option<Result<Value, SendError>>> = Vec::new();
        outcomes.resize_with(commands.len(), || None);
        let parts = self.by_owner(&commands).await;
        let seen = self.version();
        let sent = parts.into_iter().map(|(node, indexes)| {
            let mut part = pipe();
            for index in &indexes {
                part.add_command(commands[*index].clone());
            }
            async move {
                let connection = node.connection(traffic);
                let replies = match connection.ensure_open().await {
                    Ok(()) => connection.pipeline(&part).await.map_err(SendError::MaybeExecuted),
                    Err(error) => Err(SendError::unreachable(error)),
                };
                (indexes, replies)
            }
        });
        let mut is_outdated = false;
        for (indexes, replies) in join_all(sent).await {
            match replies {
                Ok(replies) => {
                    for (index, reply) in indexes.into_iter().zip(replies) {
                        outcomes[index] = Some(SendError::of_reply(reply));
                    }
                }
                Err(error) => {
                    is_outdated = true;
                    for index in indexes {
                        outcomes[index] = Some(Err(error.clone()));
                    }
                }
            }
        }
        if is_outdated {
            let _ = self.refresh_since(seen, None).await;
        }
        let again = outcomes.into_iter().zip(commands).map(async |(outcome, command)| match outcome {
            None => self.send(traffic, command).await,
            // Not executed there, and another server is named.
            Some(Err(SendError::NotExecuted(error))) if error.redirect_node().is_some() => {
                self.send(traffic, command).await
            }
            Some(outcome) => outcome,
        });
        join_all(again).await
    }

    /// The servers that own slots.
    pub(in crate::broker::redis) fn masters(&self) -> Vec<Arc<Node>> {
        let mut masters = BTreeMap::new();
        for node in &self.map().owners {
            masters.insert(node.address.clone(), node.clone());
        }
        masters.into_values().collect()
    }

    /// The version of the map. Each answer to a refresh raises it.
    pub(in crate::broker::redis) fn version(&self) -> u64 {
        self.map().version
    }

    /// The server that owns a topic, as far as is known.
    pub(in crate::broker::redis) fn owner(&self, topic: &str) -> Option<Arc<Node>> {
        self.map().owner(slots::slot_of(topic.as_bytes())).cloned()
    }

    /// Counts how often slots have changed their owner.
    pub(in crate::broker::redis) fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    /// Ask for the map again: it has proven outdated, or a server does not answer.
    pub(in crate::broker::redis) async fn refresh(&self) {
        let _ = self.refresh_since(self.version(), None).await;
    }

    /// Refuse new connections.
    pub(super) fn close(&self) {
        for node in self.nodes().values() {
            node.connector.close();
        }
    }

    /// The indexes of commands, grouped by the owner of their keys. Commands without a known owner are left out.
    async fn by_owner(&self, commands: &[&Cmd]) -> Vec<(Arc<Node>, Vec<usize>)> {
        let mut parts: Vec<(Arc<Node>, Vec<usize>)> = Vec::new();
        for (index, command) in commands.iter().enumerate() {
            let Ok(Target { node, .. }) = self.target(slots::slot_of_command(command)).await else {
                continue;
            };
            match parts.iter_mut().find(|(known, _)| Arc::ptr_eq(known, &node)) {
                Some((_, indexes)) => indexes.push(index),
                None => parts.push((node, vec![index])),
            }
        }
        parts
    }

    /// Where a command for this slot is sent first; without a slot, to any server.
    async fn target(&self, slot: Option<u16>) -> Result<Target, RedisError> {
        let owner = |map: &SlotMap| {
            let node = match slot {
                Some(slot) => map.owner(slot),
                None => map.owners.first(),
            };
            node.cloned().map(|node| Target { node, asking: false })
        };
        let map = self.map();
        if let Some(target) = owner(&map) {
            return Ok(target);
        }
        self.refresh_since(map.version, None).await?;
        owner(&self.map()).ok_or_else(|| cluster_down("Hash slot not served"))
    }

    /// The server that this error of `from` redirects to, if it does.
    async fn redirection(&self, error: &RedisError, from: &Arc<Node>, slot: Option<u16>) -> Option<Target> {
        let (to, _) = error.redirect_node()?;
        let node = self.node(slots::address_of(to, &from.address)?).ok()?;
        *node.named.lock() = Instant::now();
        let asking = error.kind() == ErrorKind::Server(ServerErrorKind::Ask);
        let map = self.map();
        let is_news = slot.and_then(|slot| map.owner(slot)).is_none_or(|owner| !Arc::ptr_eq(owner, &node));
        if !asking && is_news {
            // The new owner of the slot has the newest map.
            let _ = self.refresh_since(map.version, Some(&node)).await;
        }
        Some(Target { node, asking })
    }

    /// Ask for the map again, unless that was done since it had the version `seen`, or just now.
    async fn refresh_since(&self, seen: u64, first: Option<&Arc<Node>>) -> Result<(), RedisError> {
        let mut refreshed = self.refreshing.lock().await;
        if self.version() != seen || refreshed.is_some_and(|at| at.elapsed() < REFRESH_PAUSE) {
            return Ok(());
        }
        let ranges = self.ask(first).await;
        *refreshed = Some(Instant::now());
        self.replace(ranges?)
    }

    /// Ask for the map: `first`, then owners of slots, then the servers in the settings.
    async fn ask(&self, first: Option<&Arc<Node>>) -> Result<Vec<Range>, RedisError> {
        if let Some(node) = first
            && let Ok(ranges) = node.ranges(&self.settings).await
        {
            return Ok(ranges);
        }
        let mut known = self.masters();
        fastrand::shuffle(&mut known);
        known.truncate(MAX_ASKED);
        if let Ok(ranges) = self.ask_any(&known).await {
            return Ok(ranges);
        }
        let seeds: Result<Vec<_>, _> = self.seeds.iter().map(|seed| self.node(seed.clone())).collect();
        self.ask_any(&seeds?).await
    }

    async fn ask_any(&self, nodes: &[Arc<Node>]) -> Result<Vec<Range>, RedisError> {
        if nodes.is_empty() {
            return Err(io_error(NotConnected));
        }
        let asked = nodes.iter().map(|node| Box::pin(node.ranges(&self.settings)));
        select_ok(asked).await.map(|(ranges, _)| ranges)
    }

    fn replace(&self, ranges: Vec<Range>) -> Result<(), RedisError> {
        let owners: Result<Vec<_>, _> = ranges.iter().map(|range| self.node(range.master.clone())).collect();
        let owners = owners?;
        self.nodes().retain(|_, node| {
            node.named.lock().elapsed() < NODE_EXPIRY || owners.iter().any(|owner| Arc::ptr_eq(owner, node))
        });
        let mut map = self.map.write();
        let changed = map.ranges != ranges;
        *map = Arc::new(SlotMap { version: map.version + 1, ranges, owners });
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

    fn map(&self) -> Arc<SlotMap> {
        self.map.read().clone()
    }
}

impl SlotMap {
    fn owner(&self, slot: u16) -> Option<&Arc<Node>> {
        let at = self.ranges.partition_point(|range| range.last < slot);
        let range = self.ranges.get(at)?;
        (range.first <= slot).then(|| self.owners.get(at)).flatten()
    }
}

impl Node {
    fn new(settings: &Arc<Settings>, address: Address) -> Result<Self, RedisError> {
        let server =
            RedisServer::new(settings, address.clone()).map_err(|error| std::io::Error::other(error.message))?;
        let connector = Arc::new(Connector::Direct(server));
        Ok(Self {
            publishing: SharedConnection::new(connector.clone(), settings.read_timeout),
            upkeep: SharedConnection::new(connector.clone(), settings.read_timeout),
            connector,
            address,
            named: Mutex::new(Instant::now()),
        })
    }

    /// The shared connection for this traffic.
    fn connection(&self, traffic: Traffic) -> &SharedConnection {
        match traffic {
            Traffic::Publishing => &self.publishing,
            Traffic::Upkeep => &self.upkeep,
        }
    }

    /// The owners of all slots, as far as this server knows.
    async fn ranges(&self, settings: &Settings) -> Result<Vec<Range>, RedisError> {
        let mut command = cmd("CLUSTER");
        // CLUSTER SHARDS is newer, but only version 7 has it.
        command.arg("SLOTS");
        let asked = self.upkeep.command(&command);
        let reply = tokio::time::timeout(settings.dial_timeout.min(MAP_TIMEOUT), asked)
            .await
            .map_err(|_| io_error(TimedOut))??;
        let ranges = slots::ranges_of(reply, &self.address);
        if ranges.is_empty() {
            return Err(cluster_down("Hash slot not served"));
        }
        Ok(ranges)
    }
}

/// An error as a server gives it while the cluster cannot serve a slot.
fn cluster_down(reason: &'static str) -> RedisError {
    (ErrorKind::Server(ServerErrorKind::ClusterDown), reason).into()
}
