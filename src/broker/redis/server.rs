//! One Redis server: where it is, and what makes connections to it. Knows nothing of several servers.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use deadpool_redis::redis::aio::MultiplexedConnection;
use deadpool_redis::redis::{
    self, AsyncConnectionConfig, Client, ClientTlsConfig, ConnectionAddr, IntoConnectionInfo,
    Pipeline, ProtocolVersion, PushInfo, RedisConnectionInfo, RedisError, TlsCertificates, Value,
};
use deadpool_redis::{Connection, Manager, Pool, PoolError};
use tokio::sync::mpsc::UnboundedSender;

use super::address::Address;
use super::settings::Settings;
use crate::broker::{BrokerError, BrokerErrorKind};

/// Lanes, the reader, and one to spare for the moment in which a broken one is replaced.
const POOL_SIZE: usize = 4;

/// What makes connections to one server, with the credentials and the database of the settings.
pub(super) struct Server {
    pub(super) address: Address,
    pool: Pool,
    settings: Arc<Settings>,
}

impl Server {
    /// Prepare connections. Nothing is dialled yet.
    ///
    /// # Errors
    /// If the certificates cannot be used.
    pub(super) fn new(settings: &Arc<Settings>, address: Address) -> Result<Self, BrokerError> {
        let info = client(settings, &address, login(settings))?
            .get_connection_info()
            .clone();
        let manager = Manager::new_with_config(info, dialling(settings))
            .map_err(|error| misconfigured(&error))?;
        let pool = Pool::builder(manager)
            .max_size(POOL_SIZE)
            .build()
            .map_err(|error| misconfigured(&error))?;
        Ok(Self {
            address,
            pool,
            settings: settings.clone(),
        })
    }

    /// A connection of one's own, without limit for answers.
    ///
    /// # Errors
    /// If the server cannot be reached or refuses the credentials.
    pub(super) async fn open(&self) -> Result<Connection, RedisError> {
        match self.pool.get().await {
            Ok(connection) => Ok(connection),
            Err(PoolError::Backend(error)) => Err(error),
            Err(other) => Err(std::io::Error::other(other.to_string()).into()),
        }
    }

    /// The same for a connection on which the server may speak first (RESP3); what it says goes to `heard`.
    ///
    /// # Errors
    /// If the server cannot be reached, refuses the credentials, or does not know how.
    pub(super) async fn open_listening(
        &self,
        heard: UnboundedSender<PushInfo>,
    ) -> Result<MultiplexedConnection, RedisError> {
        let info = login(&self.settings).set_protocol(ProtocolVersion::RESP3);
        let client = client(&self.settings, &self.address, info)
            .map_err(|error| std::io::Error::other(error.message))?;
        let config = dialling(&self.settings).set_push_sender(heard);
        client
            .get_multiplexed_async_connection_with_config(&config)
            .await
    }

    /// The first contact: credentials, database, PING, with errors in the server's own words (spec redis.md 5.1).
    ///
    /// # Errors
    /// If the server cannot be reached. What it refuses is an answer.
    pub(super) async fn greet(&self) -> Result<Vec<Value>, RedisError> {
        ask(
            &self.settings,
            &self.address,
            &greeting(&self.settings),
            self.settings.dial_timeout,
        )
        .await
    }

    /// No more connections; those that idle are closed.
    pub(super) fn close(&self) {
        self.pool.close();
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
        let client = client(settings, address, RedisConnectionInfo::default())
            .map_err(|error| std::io::Error::other(error.message))?;
        let mut connection = client
            .get_multiplexed_async_connection_with_config(&dialling(settings))
            .await?;
        connection
            .send_packed_commands(questions, 0, questions.len())
            .await
    };
    match tokio::time::timeout(limit, contact).await {
        Ok(answers) => answers,
        Err(_) => Err(std::io::Error::from(std::io::ErrorKind::TimedOut).into()),
    }
}

/// The settings are of no use, whatever the server does.
pub(super) fn misconfigured(error: &dyn fmt::Display) -> BrokerError {
    BrokerError::new(
        BrokerErrorKind::Misconfigured,
        format_args!("redis client configuration error: {error}"),
    )
}

fn greeting(settings: &Settings) -> Pipeline {
    let mut pipeline = redis::pipe();
    if !settings.password.is_empty() {
        pipeline
            .cmd("AUTH")
            .arg(user(&settings.username))
            .arg(&settings.password);
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
        info = info
            .set_username(user(&settings.username))
            .set_password(&settings.password);
    }
    info
}

/// The two-argument form of AUTH with the default user: a server without password then takes any (spec redis.md 23, 39a).
pub(super) fn user(name: &str) -> &str {
    if name.is_empty() { "default" } else { name }
}

fn dialling(settings: &Settings) -> AsyncConnectionConfig {
    AsyncConnectionConfig::new()
        .set_connection_timeout(Some(settings.dial_timeout))
        .set_response_timeout(None)
}

fn info(settings: &Settings, address: &Address) -> ConnectionAddr {
    match (address, &settings.tls) {
        (Address::Unix(path), _) => ConnectionAddr::Unix(path.into()),
        (Address::Tcp(host, port), None) => ConnectionAddr::Tcp(host.clone(), *port),
        (Address::Tcp(host, port), Some(tls)) => ConnectionAddr::TcpTls {
            host: host.clone(),
            port: *port,
            insecure: tls.insecure,
            tls_params: None,
        },
    }
}

fn client(
    settings: &Settings,
    address: &Address,
    redis: RedisConnectionInfo,
) -> Result<Client, BrokerError> {
    let info = info(settings, address)
        .into_connection_info()
        .map_err(|error| misconfigured(&error))?;
    let tcp = info.tcp_settings().clone().set_nodelay(true);
    let info = info.set_redis_settings(redis).set_tcp_settings(tcp);
    let client = match settings.tls.as_ref().and_then(|tls| tls.client.as_ref()) {
        None => Client::open(info),
        Some(_) if matches!(address, Address::Unix(_)) => Client::open(info),
        Some((certificate, key)) => {
            let no_pem = |text: &str| !text.contains("-----BEGIN");
            if no_pem(certificate) || no_pem(key) {
                return Err(misconfigured(
                    &"tls: failed to find any PEM data in certificate input",
                ));
            }
            let client_tls = ClientTlsConfig {
                client_cert: certificate.clone().into_bytes(),
                client_key: key.clone().into_bytes(),
            };
            Client::build_with_tls(
                info,
                TlsCertificates {
                    client_tls: Some(client_tls),
                    root_cert: None,
                },
            )
        }
    };
    client.map_err(|error| misconfigured(&error))
}
