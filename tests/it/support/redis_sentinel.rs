//! A real Redis master with a replica, and a sentinel that watches them. They end with the test.

use std::path::Path;
use std::process::{Child, Stdio};
use std::sync::Arc;

use deadpool_redis::redis::{Client, RedisResult, Value, cmd};
use sidestream::broker::redis::RedisBroker;

use super::eventually;
use super::port::free_port;
use super::redis::{RedisServer, broker_with, program};

/// The password that clients of the sentinel need.
pub(crate) const SENTINEL_PASSWORD: &str = "watch";

pub(crate) struct RedisSentinel {
    /// The master of the start first.
    pub(crate) servers: [RedisServer; 2],
    port: u16,
    /// 0 without TLS.
    tls_port: u16,
    process: Child,
    _folder: tempfile::TempDir,
}

impl RedisSentinel {
    pub(crate) async fn start() -> Self {
        let master = RedisServer::start().await;
        let port_of_master = master.port.to_string();
        let replica = RedisServer::start_with(&["--replicaof", "127.0.0.1", &port_of_master], 0).await;
        Self::watch([master, replica], "", 0).await
    }

    /// As `start`, with TLS between all of them, and for clients.
    pub(crate) async fn start_tls(certificate: &Path, key: &Path) -> Self {
        let tls = ["--tls-replication", "yes", "--tls-auth-clients", "no"];
        let master = RedisServer::start_tls(certificate, key, &tls).await;
        let port_of_master = master.port_for_others().to_string();
        let more = [&tls[..], &["--replicaof", "127.0.0.1", &port_of_master]].concat();
        let replica = RedisServer::start_tls(certificate, key, &more).await;
        let tls_port = free_port();
        let settings = format!(
            "tls-port {tls_port}\ntls-replication yes\ntls-auth-clients no\n\
             tls-cert-file {certificate}\ntls-key-file {key}\ntls-ca-cert-file {certificate}\n",
            certificate = certificate.display(),
            key = key.display()
        );
        Self::watch([master, replica], &settings, tls_port).await
    }

    async fn watch(servers: [RedisServer; 2], more: &str, tls_port: u16) -> Self {
        let port_of_master = servers[0].port_for_others();
        let (port, folder) = (free_port(), tempfile::tempdir().unwrap());
        let file = folder.path().join("sentinel.conf");
        let settings = format!(
            "{more}port {port}\nbind 127.0.0.1\ndir {}\nrequirepass {SENTINEL_PASSWORD}\n\
             sentinel monitor orders-master 127.0.0.1 {port_of_master} 1\n\
             sentinel down-after-milliseconds orders-master 3000\n\
             sentinel failover-timeout orders-master 3000\n",
            folder.path().display()
        );
        std::fs::write(&file, settings).unwrap();
        let process =
            program().arg(&file).arg("--sentinel").stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let sentinel = Self { servers, port, tls_port, process, _folder: folder };
        eventually("the sentinel knows the replica", || async { sentinel.knows_replica().await }).await;
        sentinel
    }

    async fn knows_replica(&self) -> bool {
        let said: String = self.servers[1].call(&["INFO", "replication"]).await;
        let replicas = self.ask("replicas").await;
        said.contains("master_link_status:up") && matches!(replicas, Some(Value::Array(rows)) if rows.len() == 1)
    }

    async fn ask(&self, question: &str) -> Option<Value> {
        let url = format!("redis://:{SENTINEL_PASSWORD}@127.0.0.1:{}/", self.port);
        let client = Client::open(url).unwrap();
        let mut connection = client.get_multiplexed_async_connection().await.ok()?;
        let mut command = cmd("SENTINEL");
        command.arg(question).arg("orders-master");
        command.query_async(&mut connection).await.ok()
    }

    /// Whether this server is the master, by its own word and the sentinel's.
    pub(crate) async fn is_master(&self, at: usize) -> bool {
        // A server that becomes the master closes all its connections.
        let said: RedisResult<Vec<Value>> = self.servers[at].try_call(&["ROLE"]).await;
        let said = said.unwrap_or_default();
        let named = self.ask("get-master-addr-by-name").await;
        let port = self.servers[at].port_for_others().to_string();
        let port = Value::BulkString(port.into_bytes());
        said.first() == Some(&Value::BulkString(b"master".to_vec()))
            && matches!(named, Some(Value::Array(parts)) if parts.get(1) == Some(&port))
    }

    /// The address of the sentinel.
    pub(crate) fn host(&self) -> String {
        let port = if self.tls_port == 0 { self.port } else { self.tls_port };
        format!("127.0.0.1:{port}")
    }

    /// A broker that knows two sentinels, of which the first is unreachable.
    pub(crate) fn broker(&self, group: &str, settings: &[(&str, &str)]) -> Arc<RedisBroker> {
        let host = format!("127.0.0.1:1,{}", self.host());
        let sentinel = [
            ("redisHost", host.as_str()),
            ("failover", "true"),
            ("sentinelMasterName", "orders-master"),
            ("sentinelPassword", SENTINEL_PASSWORD),
        ];
        // The settings of the test override these.
        let named = |name: &str| settings.iter().any(|(own, _)| *own == name);
        let mut all: Vec<_> = sentinel.into_iter().filter(|(name, _)| !named(name)).collect();
        all.extend(settings);
        broker_with(group, &all)
    }
}

impl Drop for RedisSentinel {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
