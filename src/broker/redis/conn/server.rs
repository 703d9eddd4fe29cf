//! One Redis server: opens connections to an address with the credentials, database and TLS of the settings. There is no pool: each
//! connection is opened for one shared connection or one reader.

use std::fmt;
use std::io::ErrorKind;
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

use super::super::address::Address;
use super::super::settings::{Settings, Tls};
use super::connection::Connection;
use super::error::{self, io_error};
use super::tls;
use crate::broker::error::{BrokerError, BrokerErrorKind};

/// One server, and how to log in to it.
pub(in crate::broker::redis) struct RedisServer {
    pub(super) address: Address,
    settings: Arc<Settings>,
    closed: AtomicBool,
}

impl RedisServer {
    /// A server at this address. Nothing is dialled yet.
    ///
    /// # Errors
    /// If the certificates cannot be used.
    pub(super) fn new(settings: &Arc<Settings>, address: Address) -> Result<Self, BrokerError> {
        if let (Address::Tcp(..), Some(tls)) = (&address, &settings.tls) {
            tls::config(tls).map_err(|error| misconfigured(&error))?;
        }
        Ok(Self { address, settings: settings.clone(), closed: AtomicBool::new(false) })
    }

    /// Open a connection without a limit on the time of replies.
    ///
    /// # Errors
    /// If the server cannot be reached or refuses the credentials.
    pub(super) async fn open(&self) -> Result<Connection, RedisError> {
        let settings = &self.settings;
        self.dial(&login(settings), connection_config(settings)).await
    }

    /// Open a connection on which the server may push messages (RESP3); they go to `pushes`.
    ///
    /// # Errors
    /// If the server cannot be reached, refuses the credentials, or has no RESP3.
    pub(super) async fn open_with_pushes(&self, pushes: UnboundedSender<PushInfo>) -> Result<Connection, RedisError> {
        let login = login(&self.settings).set_protocol(ProtocolVersion::RESP3);
        let config = connection_config(&self.settings).set_push_sender(pushes);
        self.dial(&login, config).await
    }

    async fn dial(&self, login: &RedisConnectionInfo, config: AsyncConnectionConfig) -> Result<Connection, RedisError> {
        if self.closed.load(Ordering::Relaxed) {
            return Err(io_error(ErrorKind::NotConnected));
        }
        Box::pin(dial(&self.settings, &self.address, login, config)).await
    }

    /// Log in once and send PING, with errors in the server's own words (tests/spec/redis.md, "5.1 Init sequence").
    ///
    /// # Errors
    /// If the server cannot be reached. A refusal is among the replies.
    pub(super) async fn probe(&self) -> Result<Vec<Value>, RedisError> {
        query(&self.settings, &self.address, &probing(&self.settings), self.settings.dial_timeout).await
    }

    /// Refuse new connections.
    pub(super) fn close(&self) {
        self.closed.store(true, Ordering::Relaxed);
    }
}

/// Send commands on a connection of their own, which is not logged in and is closed afterwards.
///
/// # Errors
/// If the server cannot be reached within `limit`. A refusal is among the replies.
pub(super) async fn query(
    settings: &Settings,
    address: &Address,
    commands: &Pipeline,
    limit: Duration,
) -> Result<Vec<Value>, RedisError> {
    let exchange = async {
        let login = RedisConnectionInfo::default();
        let mut connection = dial(settings, address, &login, connection_config(settings)).await?;
        connection.pipeline(commands).await
    };
    let failed = match tokio::time::timeout(limit, Box::pin(exchange)).await {
        Ok(Ok(replies)) => return Ok(replies),
        Ok(Err(error)) => error,
        Err(_) => io_error(ErrorKind::TimedOut),
    };
    let is_odd = error::is_broken(&failed) && !failed.is_connection_refusal();
    if let (true, Address::Tcp(host, port), None) = (is_odd, address, &settings.tls)
        && let Some(mismatch) = tls::speaks_tls(host, *port).await
    {
        return Err(mismatch.into());
    }
    Err(failed)
}

async fn dial(
    settings: &Settings,
    address: &Address,
    login: &RedisConnectionInfo,
    config: AsyncConnectionConfig,
) -> Result<Connection, RedisError> {
    if let (Address::Tcp(host, port), Some(tls)) = (address, &settings.tls) {
        let dialled = dial_tls(tls, (host, *port), login, config);
        return match tokio::time::timeout(settings.dial_timeout, dialled).await {
            Ok(dialled) => dialled,
            Err(_) => Err(io_error(ErrorKind::TimedOut)),
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
) -> Result<Connection, RedisError> {
    // A name may have several addresses, some of which do not answer: all are dialled, and the first connection is used.
    let addresses = tokio::net::lookup_host((host, port)).await?;
    let dialled: Vec<_> = addresses.map(|address| Box::pin(TcpStream::connect(address))).collect();
    if dialled.is_empty() {
        return Err(io_error(ErrorKind::NotFound));
    }
    let (stream, _) = select_ok(dialled).await?;
    stream.set_nodelay(true)?;
    let stream = tls::connect(tls, host, stream).await?;
    Connection::login(stream, login, config).await.map_err(|error| tls::explain(error, tls))
}

/// The error for settings that no server could be reached with.
pub(super) fn misconfigured(error: &dyn fmt::Display) -> BrokerError {
    BrokerError::new(BrokerErrorKind::Misconfigured, format_args!("redis client configuration error: {error}"))
}

fn probing(settings: &Settings) -> Pipeline {
    let mut pipeline = redis::pipe();
    if !settings.password.is_empty() {
        pipeline.cmd("AUTH").arg(user(&settings.username)).arg(&settings.password);
    }
    if settings.database > 0 && !settings.is_cluster() {
        pipeline.cmd("SELECT").arg(settings.database);
    }
    pipeline.cmd("PING");
    if settings.is_cluster() {
        // A server that is no cluster refuses with an error that says so.
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

/// The user of AUTH. Its two-argument form with the default user is always sent: a server without password then takes any
/// (tests/spec/redis.md, "23. Edge cases worth a test", row 39a).
pub(super) fn user(name: &str) -> &str {
    if name.is_empty() { "default" } else { name }
}

fn connection_config(settings: &Settings) -> AsyncConnectionConfig {
    AsyncConnectionConfig::new().set_connection_timeout(Some(settings.dial_timeout)).set_response_timeout(None)
}
