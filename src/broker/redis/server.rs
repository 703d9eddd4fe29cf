//! One Redis server: where it is, and what makes connections to it. Knows nothing of several servers.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use deadpool_redis::redis::{
    self, AsyncConnectionConfig, Client, ConnectionAddr, IntoConnectionInfo, Pipeline, ProtocolVersion, PushInfo,
    RedisConnectionInfo, RedisError, Value,
};
use futures_util::future::select_ok;
use tokio::net::TcpStream;
use tokio::sync::mpsc::UnboundedSender;

use super::address::Address;
use super::connect;
use super::settings::{Settings, Tls};
use super::tls;
use super::wire::Wire;
use crate::broker::{BrokerError, BrokerErrorKind};

/// What makes connections to one server, with the credentials and the database of the settings.
pub(super) struct Server {
    pub(super) address: Address,
    settings: Arc<Settings>,
    closed: AtomicBool,
}

impl Server {
    /// Prepare connections. Nothing is dialled yet.
    ///
    /// # Errors
    /// If the certificates cannot be used.
    pub(super) fn new(settings: &Arc<Settings>, address: Address) -> Result<Self, BrokerError> {
        if let (Address::Tcp(..), Some(tls)) = (&address, &settings.tls) {
            tls::config(tls).map_err(|error| misconfigured(&error))?;
        }
        Ok(Self { address, settings: settings.clone(), closed: AtomicBool::new(false) })
    }

    /// A connection of one's own, without limit for answers.
    ///
    /// # Errors
    /// If the server cannot be reached or refuses the credentials.
    pub(super) async fn open(&self) -> Result<Wire, RedisError> {
        let settings = &self.settings;
        self.dial(&login(settings), dialling(settings)).await
    }

    /// The same for a connection on which the server may speak first (RESP3); what it says goes to `heard`.
    ///
    /// # Errors
    /// If the server cannot be reached, refuses the credentials, or does not know how.
    pub(super) async fn open_listening(&self, heard: UnboundedSender<PushInfo>) -> Result<Wire, RedisError> {
        let login = login(&self.settings).set_protocol(ProtocolVersion::RESP3);
        let config = dialling(&self.settings).set_push_sender(heard);
        self.dial(&login, config).await
    }

    async fn dial(&self, login: &RedisConnectionInfo, config: AsyncConnectionConfig) -> Result<Wire, RedisError> {
        if self.closed.load(Ordering::Relaxed) {
            return Err(std::io::Error::from(std::io::ErrorKind::NotConnected).into());
        }
        Box::pin(dial(&self.settings, &self.address, login, config)).await
    }

    /// The first contact: credentials, database, PING, with errors in the server's own words (tests/spec/redis.md, "5.1
    /// Init sequence").
    ///
    /// # Errors
    /// If the server cannot be reached. What it refuses is an answer.
    pub(super) async fn greet(&self) -> Result<Vec<Value>, RedisError> {
        ask(&self.settings, &self.address, &greeting(&self.settings), self.settings.dial_timeout).await
    }

    /// No more connections.
    pub(super) fn close(&self) {
        self.closed.store(true, Ordering::Relaxed);
    }
}

/// Ask a server on a connection that is closed afterwards, and that is without credentials so far.
///
/// # Errors
/// If it cannot be reached in time. What it refuses is an answer.
pub(super) async fn ask(
    settings: &Settings,
    address: &Address,
    questions: &Pipeline,
    limit: Duration,
) -> Result<Vec<Value>, RedisError> {
    let contact = async {
        let login = RedisConnectionInfo::default();
        let mut connection = dial(settings, address, &login, dialling(settings)).await?;
        connection.send_packed_commands(questions, 0, questions.len()).await
    };
    let failed = match tokio::time::timeout(limit, Box::pin(contact)).await {
        Ok(Ok(answers)) => return Ok(answers),
        Ok(Err(error)) => error,
        Err(_) => std::io::Error::from(std::io::ErrorKind::TimedOut).into(),
    };
    let is_odd = connect::is_broken(&failed) && !failed.is_connection_refusal();
    if let (true, Address::Tcp(host, port), None) = (is_odd, address, &settings.tls)
        && let Some(refused) = tls::speaks_tls(host, *port).await
    {
        return Err(std::io::Error::from(refused).into());
    }
    Err(failed)
}

async fn dial(
    settings: &Settings,
    address: &Address,
    login: &RedisConnectionInfo,
    config: AsyncConnectionConfig,
) -> Result<Wire, RedisError> {
    if let (Address::Tcp(host, port), Some(tls)) = (address, &settings.tls) {
        let dialled = dial_tls(tls, (host, *port), login, config);
        return match tokio::time::timeout(settings.dial_timeout, dialled).await {
            Ok(dialled) => dialled,
            Err(_) => Err(std::io::Error::from(std::io::ErrorKind::TimedOut).into()),
        };
    }
    let address = match address {
        Address::Tcp(host, port) => ConnectionAddr::Tcp(host.clone(), *port),
        Address::Unix(path) => ConnectionAddr::Unix(path.into()),
    };
    let info = address.into_connection_info()?;
    let tcp = info.tcp_settings().clone().set_nodelay(true);
    let info = info.set_redis_settings(login.clone()).set_tcp_settings(tcp);
    let connection = Client::open(info)?.get_multiplexed_async_connection_with_config(&config).await?;
    Ok(connection.into())
}

async fn dial_tls(
    tls: &Tls,
    (host, port): (&str, u16),
    login: &RedisConnectionInfo,
    config: AsyncConnectionConfig,
) -> Result<Wire, RedisError> {
    // A name may have several addresses, some of which lead nowhere: the first that answers counts.
    let addresses = tokio::net::lookup_host((host, port)).await?;
    let dialled: Vec<_> = addresses.map(|address| Box::pin(TcpStream::connect(address))).collect();
    if dialled.is_empty() {
        return Err(std::io::Error::from(std::io::ErrorKind::NotFound).into());
    }
    let (stream, _) = select_ok(dialled).await?;
    stream.set_nodelay(true)?;
    let stream = tls::connect(tls, host, stream).await?;
    Wire::on(stream, login, config).await.map_err(|error| connect::with_refusal(error, tls))
}

/// The settings are of no use, whatever the server does.
pub(super) fn misconfigured(error: &dyn fmt::Display) -> BrokerError {
    BrokerError::new(BrokerErrorKind::Misconfigured, format_args!("redis client configuration error: {error}"))
}

fn greeting(settings: &Settings) -> Pipeline {
    let mut pipeline = redis::pipe();
    if !settings.password.is_empty() {
        pipeline.cmd("AUTH").arg(user(&settings.username)).arg(&settings.password);
    }
    if settings.database > 0 && !settings.is_cluster() {
        pipeline.cmd("SELECT").arg(settings.database);
    }
    pipeline.cmd("PING");
    if settings.is_cluster() {
        // A server that is no cluster refuses, and says so better than we could.
        pipeline.cmd("CLUSTER").arg("INFO");
    }
    pipeline
}

fn login(settings: &Settings) -> RedisConnectionInfo {
    let mut info = RedisConnectionInfo::default();
    if !settings.is_cluster() {
        info = info.set_db(settings.database);
    }
    if !settings.password.is_empty() {
        info = info.set_username(user(&settings.username)).set_password(&settings.password);
    }
    info
}

/// The two-argument form of AUTH with the default user: a server without password then takes any (tests/spec/redis.md,
/// "23. Edge cases worth a test", row 39a).
pub(super) fn user(name: &str) -> &str {
    if name.is_empty() { "default" } else { name }
}

fn dialling(settings: &Settings) -> AsyncConnectionConfig {
    AsyncConnectionConfig::new().set_connection_timeout(Some(settings.dial_timeout)).set_response_timeout(None)
}
