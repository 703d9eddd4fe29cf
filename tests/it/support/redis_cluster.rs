//! A real Redis Cluster for one test: three masters with a replica each. It ends with the test.

use std::path::Path;
use std::sync::Arc;

use deadpool_redis::redis::Value;
use sidestream::broker::redis::RedisBroker;
use tokio::sync::{Semaphore, SemaphorePermit};

use super::eventually;
use super::redis::{RedisServer, broker_with};

const SLOTS: u32 = 16_384;
const MASTERS: usize = 3;
const BY_TLS: &[&str] = &["--tls-cluster", "yes", "--tls-replication", "yes", "--tls-auth-clients", "no"];
/// One cluster at a time: six servers are much for a small machine.
static TURN: Semaphore = Semaphore::const_new(1);

pub(crate) struct RedisCluster {
    /// The masters of the start first.
    servers: Vec<RedisServer>,
    dead: Vec<usize>,
    _turn: SemaphorePermit<'static>,
}

impl RedisCluster {
    pub(crate) async fn start() -> Self {
        Self::start_on(None).await
    }

    /// As `start`, with TLS between the servers, and for clients.
    pub(crate) async fn start_tls(certificate: &Path, key: &Path) -> Self {
        Self::start_on(Some((certificate, key))).await
    }

    async fn start_on(tls: Option<(&Path, &Path)>) -> Self {
        let turn = TURN.acquire().await.unwrap();
        let options =
            ["--cluster-enabled", "yes", "--cluster-node-timeout", "3000", "--cluster-replica-validity-factor", "0"];
        let servers = futures_util::future::join_all((0..2 * MASTERS).map(async |_| match tls {
            None => RedisServer::start_with(&options, 0).await,
            Some((certificate, key)) => {
                let more = [&options[..], BY_TLS].concat();
                RedisServer::start_tls(certificate, key, &more).await
            }
        }))
        .await;
        let cluster = Self { servers, dead: Vec::new(), _turn: turn };
        cluster.join().await;
        cluster
    }

    async fn join(&self) {
        let first = &self.servers[0];
        for (at, server) in self.servers.iter().enumerate() {
            let epoch = (at + 1).to_string();
            let _: String = server.call(&["CLUSTER", "SET-CONFIG-EPOCH", &epoch]).await;
            let port = first.port_for_others().to_string();
            let _: String = server.call(&["CLUSTER", "MEET", "127.0.0.1", &port]).await;
        }
        let share = SLOTS.div_ceil(u32::try_from(MASTERS).unwrap());
        for (at, server) in (0..).zip(&self.servers[..MASTERS]) {
            let slots: Vec<_> = (at * share..SLOTS.min((at + 1) * share)).map(|slot: u32| slot.to_string()).collect();
            let mut words = vec!["CLUSTER", "ADDSLOTS"];
            words.extend(slots.iter().map(String::as_str));
            let _: String = server.call(&words).await;
        }
        eventually("all servers know each other", || async { self.all_say("INFO", "cluster_known_nodes:6").await })
            .await;
        for at in 0..MASTERS {
            let master = self.id(at).await;
            let replica = &self.servers[MASTERS + at];
            let _: String = replica.call(&["CLUSTER", "REPLICATE", &master]).await;
        }
        eventually("the cluster is complete", || async {
            self.all_say("INFO", "cluster_state:ok").await && self.has_replicas().await
        })
        .await;
    }

    async fn all_say(&self, question: &str, expected: &str) -> bool {
        for server in &self.servers {
            let said: String = server.call(&["CLUSTER", question]).await;
            if !said.contains(expected) {
                return false;
            }
        }
        true
    }

    async fn has_replicas(&self) -> bool {
        for server in &self.servers {
            let rows: Vec<Vec<Value>> = server.call(&["CLUSTER", "SLOTS"]).await;
            if rows.len() < MASTERS || rows.iter().any(|row| row.len() < 4) {
                return false;
            }
        }
        for replica in &self.servers[MASTERS..] {
            let said: String = replica.call(&["INFO", "replication"]).await;
            if !said.contains("master_link_status:up") {
                return false;
            }
        }
        true
    }

    pub(crate) fn server(&self, at: usize) -> &RedisServer {
        &self.servers[at]
    }

    pub(crate) async fn id(&self, at: usize) -> String {
        self.servers[at].call(&["CLUSTER", "MYID"]).await
    }

    /// A broker that knows two of the masters, with these further settings.
    pub(crate) fn broker(&self, group: &str, settings: &[(&str, &str)]) -> Arc<RedisBroker> {
        let host =
            format!("127.0.0.1:{}, 127.0.0.1:{}", self.servers[0].port_for_others(), self.servers[1].port_for_others());
        let cluster = [("redisHost", host.as_str()), ("redisType", "cluster")];
        broker_with(group, &[&cluster[..], settings].concat())
    }

    /// The server that has a topic, by the live servers. `None`: they disagree, or name a dead one.
    pub(crate) async fn holder(&self, topic: &str) -> Option<usize> {
        let mut said = None;
        for (at, server) in self.servers.iter().enumerate() {
            if self.dead.contains(&at) {
                continue;
            }
            let slot: u16 = server.call(&["CLUSTER", "KEYSLOT", topic]).await;
            let rows: Vec<(u16, u16, u16)> = slots(server).await;
            let row = rows.into_iter().find(|(first, last, _)| (*first..=*last).contains(&slot))?;
            let holder = self.servers.iter().position(|server| server.port == row.2)?;
            if self.dead.contains(&holder) || said.is_some_and(|said| said != holder) {
                return None;
            }
            said = Some(holder);
        }
        said
    }

    /// The same server, once they agree.
    pub(crate) async fn settled_holder(&self, topic: &str) -> usize {
        eventually("the servers agree on who has the topic", || async { self.holder(topic).await.is_some() }).await;
        self.holder(topic).await.unwrap()
    }

    /// The server that has a topic, once all agree.
    pub(crate) async fn of(&self, topic: &str) -> &RedisServer {
        &self.servers[self.settled_holder(topic).await]
    }

    /// A topic of the master with this number.
    pub(crate) async fn topic_at(&self, at: usize) -> String {
        for number in 0..1000 {
            let topic = format!("orders-{number}");
            if self.holder(&topic).await == Some(at) {
                return topic;
            }
        }
        panic!("no topic for {at}");
    }

    pub(crate) fn kill(&mut self, at: usize) {
        self.servers[at].crash();
        self.dead.push(at);
    }
}

/// The slot ranges, each with the port of its master.
async fn slots(server: &RedisServer) -> Vec<(u16, u16, u16)> {
    let rows: Vec<Vec<Value>> = server.call(&["CLUSTER", "SLOTS"]).await;
    let row = |row: Vec<Value>| {
        let [Value::Int(first), Value::Int(last), Value::Array(master), ..] = &row[..] else {
            panic!("{row:?}");
        };
        let Value::Int(port) = master[1] else {
            panic!("{master:?}");
        };
        let number = |number: i64| u16::try_from(number).unwrap();
        (number(*first), number(*last), number(port))
    };
    rows.into_iter().map(row).collect()
}
