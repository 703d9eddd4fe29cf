//! A real `redis-server` of one test, on a port and in a folder of its own, gone with the test.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use deadpool_redis::redis::aio::MultiplexedConnection;
use deadpool_redis::redis::{Client, FromRedisValue, Value, cmd};
use sidestream::broker::redis::{RedisBroker, Settings};
use sidestream::shutdown::Tasks;

use super::quiet;
use super::sidecar::free_port;

pub(crate) struct RedisServer {
    pub(crate) port: u16,
    /// 0 without TLS.
    tls_port: u16,
    process: Child,
    folder: tempfile::TempDir,
}

impl RedisServer {
    pub(crate) async fn start() -> Self {
        Self::start_with(&[], 0).await
    }

    /// The same with a TLS port beside the plain one.
    pub(crate) async fn start_with_tls(certificate: &Path, key: &Path) -> Self {
        let port = free_port();
        let [certificate, key] = [certificate, key].map(|path| path.display().to_string());
        let text = port.to_string();
        let more = [
            "--tls-port",
            &text,
            "--tls-cert-file",
            &certificate,
            "--tls-key-file",
            &key,
            "--tls-ca-cert-file",
            &certificate,
            "--tls-auth-clients",
            "no",
        ];
        Self::start_with(&more, port).await
    }

    async fn start_with(more: &[&str], tls_port: u16) -> Self {
        let port = free_port();
        let folder = tempfile::tempdir().unwrap();
        let process = Self::spawn(port, &folder, more);
        let server = Self {
            port,
            tls_port,
            process,
            folder,
        };
        server.answers().await;
        server
    }

    fn spawn(port: u16, folder: &tempfile::TempDir, more: &[&str]) -> Child {
        Command::new("redis-server")
            .args(["--port", &port.to_string(), "--bind", "127.0.0.1"])
            .args(["--save", "", "--appendonly", "yes", "--dir"])
            .arg(folder.path())
            .args(more)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("redis-server must be installed: apt-get install redis-server")
    }

    async fn answers(&self) {
        super::eventually("redis-server answers", || async {
            self.try_connect().await.is_some()
        })
        .await;
    }

    async fn try_connect(&self) -> Option<MultiplexedConnection> {
        let client = Client::open(format!("redis://127.0.0.1:{}/", self.port)).unwrap();
        client.get_multiplexed_async_connection().await.ok()
    }

    /// Run one command, given as words.
    pub(crate) async fn call<T: FromRedisValue>(&self, words: &[&str]) -> T {
        let mut connection = self.try_connect().await.expect("redis-server is running");
        let mut command = cmd(words[0]);
        for word in &words[1..] {
            command.arg(*word);
        }
        command.query_async(&mut connection).await.unwrap()
    }

    /// Kill the server as a crash would; its append-only file stays.
    pub(crate) fn crash(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }

    /// Bring it back on the same port.
    pub(crate) async fn restart(&mut self) {
        self.process = Self::spawn(self.port, &self.folder, &[]);
        self.answers().await;
    }

    /// A broker on this server, with these settings beside the address.
    pub(crate) fn broker(&self, group: &str, settings: &[(&str, &str)]) -> Arc<RedisBroker> {
        Self::broker_at(self.port, group, settings)
    }

    /// A broker on the TLS port.
    pub(crate) fn tls_broker(&self, settings: &[(&str, &str)]) -> Arc<RedisBroker> {
        Self::broker_at(self.tls_port, "app", settings)
    }

    fn broker_at(port: u16, group: &str, settings: &[(&str, &str)]) -> Arc<RedisBroker> {
        let host = format!("127.0.0.1:{port}");
        let properties = [("redisHost", host.as_str()), ("consumerID", group)]
            .into_iter()
            .chain(settings.iter().copied())
            .collect();
        let settings = Settings::of(&properties, group).0.unwrap();
        Arc::new(RedisBroker::new("pubsub", settings, Tasks::new(), quiet()).unwrap())
    }

    /// How many entries of a topic a group has read and not acknowledged.
    pub(crate) async fn pending(&self, topic: &str, group: &str) -> i64 {
        let summary: Vec<Value> = self.call(&["XPENDING", topic, group]).await;
        let Some(Value::Int(count)) = summary.first() else {
            panic!("no summary: {summary:?}");
        };
        *count
    }

    /// Wait until nothing of a topic is pending.
    pub(crate) async fn settled(&self, topic: &str, group: &str) {
        super::eventually("nothing is pending", || async {
            self.pending(topic, group).await == 0
        })
        .await;
    }
}

impl Drop for RedisServer {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Long enough to notice what should not happen, where no condition can be awaited.
pub(crate) const A_WHILE: Duration = Duration::from_millis(300);
