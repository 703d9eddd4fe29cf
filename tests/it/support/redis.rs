//! A real `redis-server` for one test, with its own port and folder. It ends with the test.

use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use deadpool_redis::redis::aio::MultiplexedConnection;
use deadpool_redis::redis::{AsyncConnectionConfig, Client, FromRedisValue, RedisResult, Value, cmd};
use sidestream::broker::redis::{RedisBroker, Settings};
use sidestream::shutdown::Tasks;
use sidestream::telemetry::Telemetry;

use super::port::free_port;
use super::{PATIENCE, quiet};

pub(crate) struct RedisServer {
    pub(crate) port: u16,
    /// 0 without TLS.
    pub(crate) tls_port: u16,
    process: Child,
    folder: tempfile::TempDir,
    more: Vec<String>,
}

/// The server binary: that of `REDIS_SERVER`, or the installed one.
pub(crate) fn program() -> Command {
    Command::new(std::env::var_os("REDIS_SERVER").unwrap_or_else(|| "redis-server".into()))
}

/// A port with a free port 10000 above it, for the cluster bus.
fn free_port_of_cluster() -> u16 {
    let mut port = free_port();
    while TcpListener::bind(("127.0.0.1", port + 10_000)).is_err() {
        port = free_port();
    }
    port
}

impl RedisServer {
    pub(crate) async fn start() -> Self {
        Self::start_with(&[], 0).await
    }

    /// As `start`, with a TLS port beside the plain one.
    pub(crate) async fn start_with_tls(certificate: &Path, key: &Path) -> Self {
        Self::start_tls(certificate, key, &["--tls-auth-clients", "no"]).await
    }

    /// As `start`, with a TLS port that requires a client certificate signed by this authority.
    pub(crate) async fn start_with_client_tls(certificate: &Path, key: &Path) -> Self {
        Self::start_tls(certificate, key, &["--tls-auth-clients", "yes"]).await
    }

    /// As `start`, with these further options.
    pub(crate) async fn start_tls(certificate: &Path, key: &Path, more: &[&str]) -> Self {
        let port = free_port_of_cluster();
        let [certificate, key] = [certificate, key].map(|path| path.display().to_string());
        let text = port.to_string();
        let tls = [
            "--tls-port",
            &text,
            "--tls-cert-file",
            &certificate,
            "--tls-key-file",
            &key,
            "--tls-ca-cert-file",
            &certificate,
        ];
        Self::start_with(&[&tls, more].concat(), port).await
    }

    /// A cluster of one server: it has every slot, and refuses commands over several slots.
    pub(crate) async fn start_sharded() -> Self {
        let server = Self::start_with(&["--cluster-enabled", "yes"], 0).await;
        let slots: Vec<_> = (0..16_384).map(|slot: u16| slot.to_string()).collect();
        let mut words = vec!["CLUSTER", "ADDSLOTS"];
        words.extend(slots.iter().map(String::as_str));
        let _: String = server.call(&words).await;
        super::eventually("the cluster is complete", || async {
            let said: String = server.call(&["CLUSTER", "INFO"]).await;
            said.contains("cluster_state:ok")
        })
        .await;
        server
    }

    /// Start with these further options.
    pub(crate) async fn start_with(more: &[&str], tls_port: u16) -> Self {
        let port = free_port_of_cluster();
        let folder = tempfile::tempdir().unwrap();
        let process = Self::spawn(port, &folder, more);
        let server =
            Self { port, tls_port, process, folder, more: more.iter().map(|word| (*word).to_owned()).collect() };
        server.answers().await;
        server
    }

    fn spawn<S: AsRef<std::ffi::OsStr>>(port: u16, folder: &tempfile::TempDir, more: &[S]) -> Child {
        program()
            .args(["--port", &port.to_string(), "--bind", "127.0.0.1"])
            .args(["--save", "", "--appendonly", "yes"])
            // Each write reaches the kernel before its answer, and survives a kill. With `everysec` it may come after
            // the answer.
            .args(["--appendfsync", "no", "--dir"])
            .arg(folder.path())
            .args(more)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("redis-server must be installed: apt-get install redis-server")
    }

    async fn answers(&self) {
        super::eventually("redis-server answers", || async { self.try_connect().await.is_some() }).await;
    }

    async fn try_connect(&self) -> Option<MultiplexedConnection> {
        let client = Client::open(format!("redis://127.0.0.1:{}/", self.port)).unwrap();
        // The default timeout of half a second is not always enough.
        let patient =
            AsyncConnectionConfig::new().set_connection_timeout(Some(PATIENCE)).set_response_timeout(Some(PATIENCE));
        let connection = client.get_multiplexed_async_connection_with_config(&patient);
        connection.await.ok()
    }

    /// Run one command, given as words.
    pub(crate) async fn call<T: FromRedisValue>(&self, words: &[&str]) -> T {
        self.try_call(words).await.unwrap()
    }

    /// As [`RedisServer::call`], for a server that may be unreachable, or close its connections.
    pub(crate) async fn try_call<T: FromRedisValue>(&self, words: &[&str]) -> RedisResult<T> {
        let mut connection =
            self.try_connect().await.ok_or_else(|| std::io::Error::from(std::io::ErrorKind::NotConnected))?;
        let mut command = cmd(words[0]);
        for word in &words[1..] {
            command.arg(*word);
        }
        command.query_async(&mut connection).await
    }

    /// Kill the server, as a crash would. Its append-only file stays.
    pub(crate) fn crash(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }

    /// Start it again on the same port.
    pub(crate) async fn restart(&mut self) {
        self.process = Self::spawn(self.port, &self.folder, &self.more);
        self.answers().await;
    }

    /// Stop or continue the process: a stopped server does not answer, and keeps its connections.
    pub(crate) fn signal(&self, signal: nix::sys::signal::Signal) {
        let id = i32::try_from(self.process.id()).unwrap();
        nix::sys::signal::kill(nix::unistd::Pid::from_raw(id), signal).unwrap();
    }

    /// A broker on this server, with these further settings.
    pub(crate) fn broker(&self, group: &str, settings: &[(&str, &str)]) -> Arc<RedisBroker> {
        Self::broker_at(self.port, group, settings)
    }

    /// A broker on the TLS port.
    pub(crate) fn tls_broker(&self, settings: &[(&str, &str)]) -> Arc<RedisBroker> {
        Self::broker_at(self.tls_port, "app", settings)
    }

    fn broker_at(port: u16, group: &str, settings: &[(&str, &str)]) -> Arc<RedisBroker> {
        broker_on(port, group, settings, quiet())
    }

    /// The port for other servers and clients.
    pub(crate) fn port_for_others(&self) -> u16 {
        if self.tls_port == 0 { self.port } else { self.tls_port }
    }

    /// The number of pending entries of a group in a topic.
    pub(crate) async fn pending(&self, topic: &str, group: &str) -> i64 {
        let summary: Vec<Value> = self.call(&["XPENDING", topic, group]).await;
        let Some(Value::Int(count)) = summary.first() else {
            panic!("no summary: {summary:?}");
        };
        *count
    }

    /// Permit the user `few` with the password `secret` these commands on all keys, and nothing else.
    pub(crate) async fn allow(&self, rights: &str) {
        let user = ["ACL", "SETUSER", "few", "on", ">secret", "~*", "-@all"];
        let words: Vec<&str> = user.into_iter().chain(rights.split_whitespace()).collect();
        let _: String = self.call(&words).await;
    }

    /// Wait until a topic has no pending entries.
    pub(crate) async fn settled(&self, topic: &str, group: &str) {
        super::eventually("nothing is pending", || async { self.pending(topic, group).await == 0 }).await;
    }
}

/// A broker with these settings.
pub(crate) fn broker_with(group: &str, settings: &[(&str, &str)]) -> Arc<RedisBroker> {
    broker_telling(group, settings, quiet())
}

/// A broker for the server on this port, with its telemetry.
pub(crate) fn broker_on(port: u16, group: &str, settings: &[(&str, &str)], telemetry: Telemetry) -> Arc<RedisBroker> {
    let host = format!("127.0.0.1:{port}");
    let settings = [&[("redisHost", host.as_str())][..], settings].concat();
    broker_telling(group, &settings, telemetry)
}

fn broker_telling(group: &str, settings: &[(&str, &str)], telemetry: Telemetry) -> Arc<RedisBroker> {
    let properties = [("consumerID", group)].into_iter().chain(settings.iter().copied()).collect();
    let settings = Settings::of(&properties, group).0.unwrap();
    Arc::new(RedisBroker::new("pubsub", settings, Tasks::new(), telemetry).unwrap())
}

impl Drop for RedisServer {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Long enough to notice an event that should not happen, where no condition can be awaited.
pub(crate) const A_WHILE: Duration = Duration::from_millis(300);
