//! A private `redis-server` that keeps nothing on disk, and what is put into it before a sidecar starts.

use std::process::{Child, Command, Stdio};
use std::time::Duration;

use deadpool_redis::redis::aio::MultiplexedConnection;
use deadpool_redis::redis::{Client, cmd, pipe};

use crate::port::free_port;

/// Ids and fields.
type Entries = Vec<(String, Vec<String>)>;

/// Commands in one write.
const AT_ONCE: u64 = 1000;

pub(crate) struct Redis {
    pub(crate) port: u16,
    process: Child,
}

impl Redis {
    pub(crate) async fn start() -> Self {
        let port = free_port();
        let process = Command::new("redis-server")
            .args(["--port", &port.to_string(), "--bind", "127.0.0.1"])
            .args(["--save", "", "--appendonly", "no"])
            .stdout(Stdio::null())
            .spawn()
            .expect("redis-server must be installed");
        let server = Self { port, process };
        while server.connect().await.is_none() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        server
    }

    /// Append CloudEvents with so many bytes of data.
    pub(crate) async fn fill(&self, topic: &str, events: u64, size: usize) {
        let mut connection = self.connect().await.unwrap();
        let data = "x".repeat(size);
        for first in (0..events).step_by(usize::try_from(AT_ONCE).unwrap()) {
            let mut commands = pipe();
            for number in first..events.min(first + AT_ONCE) {
                let event = format!(
                    r#"{{"data":"{data}","datacontenttype":"application/json","id":"{number}","pubsubname":"pubsub","source":"bench","specversion":"1.0","topic":"{topic}","type":"com.dapr.event.sent"}}"#
                );
                commands.cmd("XADD").arg(topic).arg("*").arg("data").arg(event).ignore();
            }
            commands.exec_async(&mut connection).await.unwrap();
        }
    }

    /// All entries of a topic are read by a consumer that then is never seen again, long ago.
    pub(crate) async fn abandon(&self, topic: &str, group: &str, events: u64) {
        let mut connection = self.connect().await.unwrap();
        let mut commands = pipe();
        commands.cmd("XGROUP").arg("CREATE").arg(topic).arg(group).arg("0").ignore();
        let _: () = commands.query_async(&mut connection).await.unwrap();
        for _ in 0..events.div_ceil(AT_ONCE) {
            let mut read = cmd("XREADGROUP");
            read.arg("GROUP").arg(group).arg("dead").arg("COUNT").arg(AT_ONCE);
            read.arg("STREAMS").arg(topic).arg(">");
            let streams: Vec<(String, Entries)> = read.query_async(&mut connection).await.unwrap();
            let mut claim = cmd("XCLAIM");
            claim.arg(topic).arg(group).arg("dead").arg(0);
            for (id, _) in streams.iter().flat_map(|(_, entries)| entries) {
                claim.arg(id);
            }
            let hour = Duration::from_secs(3600).as_millis();
            claim.arg("IDLE").arg(u64::try_from(hour).unwrap()).arg("JUSTID");
            let _: Vec<String> = claim.query_async(&mut connection).await.unwrap();
        }
    }

    /// How many connections there are beside our own.
    pub(crate) async fn clients(&self) -> usize {
        let mut connection = self.connect().await.unwrap();
        let list: String = cmd("CLIENT").arg("LIST").query_async(&mut connection).await.unwrap();
        list.lines().count() - 1
    }

    async fn connect(&self) -> Option<MultiplexedConnection> {
        let client = Client::open(format!("redis://127.0.0.1:{}/", self.port)).unwrap();
        client.get_multiplexed_async_connection().await.ok()
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
