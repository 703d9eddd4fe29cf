//! A real `redis-server` of one test, on a port and in a folder of its own, gone with the test.

use std::net::TcpListener;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use deadpool_redis::redis::aio::MultiplexedConnection;
use deadpool_redis::redis::{Client, FromRedisValue, Value, cmd};
use sidestream::broker::redis::{RedisBroker, Settings};
use sidestream::shutdown::Tasks;

use super::quiet;

pub(crate) struct RedisServer {
    pub(crate) port: u16,
    process: Child,
    folder: tempfile::TempDir,
}

impl RedisServer {
    pub(crate) async fn start() -> Self {
        let port = TcpListener::bind("127.0.0.1:0")
            .unwrap()
            .local_addr()
            .unwrap()
            .port();
        let folder = tempfile::tempdir().unwrap();
        let server = Self {
            port,
            process: Self::spawn(port, &folder),
            folder,
        };
        server.answers().await;
        server
    }

    fn spawn(port: u16, folder: &tempfile::TempDir) -> Child {
        Command::new("redis-server")
            .args([
                "--port",
                &port.to_string(),
                "--bind",
                "127.0.0.1",
                "--save",
                "",
                "--appendonly",
                "yes",
                "--dir",
            ])
            .arg(folder.path())
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
        self.process = Self::spawn(self.port, &self.folder);
        self.answers().await;
    }

    /// A broker on this server, with these settings beside the address.
    pub(crate) fn broker(&self, group: &str, settings: &[(&str, &str)]) -> Arc<RedisBroker> {
        self.broker_with(group, settings, Tasks::new())
    }

    pub(crate) fn broker_with(
        &self,
        group: &str,
        settings: &[(&str, &str)],
        tasks: Tasks,
    ) -> Arc<RedisBroker> {
        let host = format!("127.0.0.1:{}", self.port);
        let properties = [("redisHost", host.as_str()), ("consumerID", group)]
            .into_iter()
            .chain(settings.iter().copied())
            .collect();
        let settings = Settings::of(&properties, group).0.unwrap();
        Arc::new(RedisBroker::new("pubsub", settings, tasks, quiet()).unwrap())
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
