//! Connections to a Redis server: the pool that makes and replaces them, and the shared lane for ordinary commands.
//!
//! A [`Lane`] is one multiplexed connection that all publishers and all settlements of a component share, so that their commands travel
//! in common round trips. A blocking read never runs on a lane (style.md 5.6, trap 3): the reader takes a connection of its own.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use deadpool_redis::redis::aio::MultiplexedConnection;
use deadpool_redis::redis::{
    self, AsyncConnectionConfig, Client, ClientTlsConfig, ConnectionAddr, ErrorKind,
    IntoConnectionInfo, Pipeline, RedisConnectionInfo, RedisError, ServerErrorKind,
    TlsCertificates, Value,
};
use deadpool_redis::{Connection, Manager, Pool, PoolError};
use tokio::sync::Mutex;
use tokio::time::Instant;

use super::settings::Settings;
use crate::broker::{BrokerError, BrokerErrorKind};

/// Lanes, the reader, and one to spare for the moment in which a broken one is replaced.
const POOL_SIZE: usize = 4;

/// What makes connections for one component.
pub(super) struct Connector {
    pool: Pool,
    /// Without credentials and database: for the first contact, whose errors are told in the server's words.
    plain: Client,
    settings: Arc<Settings>,
}

impl Connector {
    /// Prepare connections. Nothing is dialled yet.
    ///
    /// # Errors
    /// If the address or the certificates cannot be used.
    pub(super) fn new(settings: Arc<Settings>) -> Result<Self, BrokerError> {
        let plain = client(&settings, RedisConnectionInfo::default())?;
        let mut redis = RedisConnectionInfo::default().set_db(settings.database);
        if !settings.password.is_empty() {
            redis = redis
                .set_username(user(&settings))
                .set_password(&settings.password);
        }
        let info = client(&settings, redis)?.get_connection_info().clone();
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(settings.dial_timeout))
            .set_response_timeout(None);
        let manager =
            Manager::new_with_config(info, config).map_err(|error| misconfigured(&error))?;
        let pool = Pool::builder(manager)
            .max_size(POOL_SIZE)
            .build()
            .map_err(|error| misconfigured(&error))?;
        Ok(Self {
            pool,
            plain,
            settings,
        })
    }

    /// The first contact: credentials, database, PING, with errors in the server's own words (spec redis.md 5.1).
    ///
    /// # Errors
    /// Transient if the server is away or busy, else what it says of the settings.
    pub(super) async fn probe(&self) -> Result<(), BrokerError> {
        let settings = &self.settings;
        let failed = |kind, text: &dyn fmt::Display| {
            BrokerError::new(
                kind,
                format_args!(
                    "redis streams: error connecting to redis at {}: {text}",
                    settings.host
                ),
            )
        };
        let contact = async {
            let config = AsyncConnectionConfig::new()
                .set_connection_timeout(Some(settings.dial_timeout))
                .set_response_timeout(None);
            let mut connection = self
                .plain
                .get_multiplexed_async_connection_with_config(&config)
                .await?;
            answers(&mut connection, &greeting(settings)).await
        };
        let answers = match tokio::time::timeout(settings.dial_timeout, contact).await {
            Ok(Ok(answers)) => answers,
            Ok(Err(error)) => {
                return Err(failed(
                    BrokerErrorKind::Unavailable,
                    &error_text(&error, &settings.host),
                ));
            }
            Err(_) => {
                return Err(failed(
                    BrokerErrorKind::Unavailable,
                    &"context deadline exceeded",
                ));
            }
        };
        match answers
            .into_iter()
            .find_map(|answer| answer.extract_error().err())
        {
            None => {
                is_supported(settings).map_err(|text| failed(BrokerErrorKind::Misconfigured, &text))
            }
            Some(error) => {
                let kind = if is_refused_for_now(&error) {
                    BrokerErrorKind::Unavailable
                } else {
                    BrokerErrorKind::Misconfigured
                };
                Err(failed(kind, &error_text(&error, &settings.host)))
            }
        }
    }

    /// A connection of one's own, without limit for answers: for blocking reads, which have a deadline of their own.
    ///
    /// # Errors
    /// If the server cannot be reached or refuses the credentials.
    pub(super) async fn dedicated(&self) -> Result<Connection, RedisError> {
        match self.pool.get().await {
            Ok(connection) => Ok(connection),
            Err(PoolError::Backend(error)) => Err(error),
            Err(other) => Err(std::io::Error::other(other.to_string()).into()),
        }
    }

    /// No more connections; those that idle are closed.
    pub(super) fn close(&self) {
        self.pool.close();
    }
}

/// One shared connection for ordinary commands: opened on first use, replaced when it breaks.
pub(super) struct Lane {
    connector: Arc<Connector>,
    current: RwLock<Option<Shared>>,
    /// Held while dialling, so that one dials and the others wait for it.
    dialling: Mutex<()>,
    begun: Instant,
    /// When it was last used, in seconds since `begun`.
    used: AtomicU64,
}

/// A connection with a number, so that of many who see it break only the first takes it away.
#[derive(Clone)]
struct Shared {
    connection: MultiplexedConnection,
    number: u64,
}

impl Lane {
    pub(super) fn new(connector: Arc<Connector>) -> Self {
        Self {
            connector,
            current: RwLock::default(),
            dialling: Mutex::default(),
            begun: Instant::now(),
            used: AtomicU64::new(0),
        }
    }

    /// Make sure that there is a connection. One that has idled is tried first: it may have died unnoticed, and a command that
    /// finds that out cannot be sent again, because the server may have executed it.
    ///
    /// # Errors
    /// If the server cannot be reached or refuses the credentials. Nothing was sent then.
    pub(super) async fn reach(&self) -> Result<(), RedisError> {
        let now = self.begun.elapsed().as_secs();
        if self.used.swap(now, Ordering::Relaxed) + 1 < now {
            // If it is dead this takes it away, and the next line opens another.
            let _ = self.command(&redis::cmd("PING")).await;
        }
        self.connection().await.map(drop)
    }

    /// Send a command and wait for its answer.
    ///
    /// # Errors
    /// If there is no connection, no answer in `readTimeout`, or the answer is an error.
    pub(super) async fn command(&self, command: &redis::Cmd) -> Result<Value, RedisError> {
        let mut shared = self.connection().await?;
        let answer = shared
            .connection
            .send_packed_command(command)
            .await
            .and_then(Value::extract_error);
        answer.inspect_err(|error| self.lose_if_broken(&shared, error))
    }

    /// Send commands in one write; each answer stands for itself and may be an error.
    ///
    /// # Errors
    /// If there is no connection, or not all answers came in `readTimeout`.
    pub(super) async fn pipeline(&self, pipeline: &Pipeline) -> Result<Vec<Value>, RedisError> {
        if pipeline.is_empty() {
            return Ok(Vec::new());
        }
        let mut shared = self.connection().await?;
        answers(&mut shared.connection, pipeline)
            .await
            .inspect_err(|error| self.lose_if_broken(&shared, error))
    }

    async fn connection(&self) -> Result<Shared, RedisError> {
        if let Some(shared) = self.ready() {
            return Ok(shared);
        }
        let _dialling = self.dialling.lock().await;
        if let Some(shared) = self.ready() {
            return Ok(shared);
        }
        let mut connection = Connection::take(self.connector.dedicated().await?);
        if let Some(limit) = self.connector.settings.read_timeout {
            connection.set_response_timeout(limit);
        }
        let shared = Shared {
            connection,
            number: fastrand::u64(..),
        };
        *self.current.write().unwrap_or_else(PoisonError::into_inner) = Some(shared.clone());
        Ok(shared)
    }

    fn ready(&self) -> Option<Shared> {
        self.current
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// After a timeout, too: answers that come late would otherwise delay all that follow.
    fn lose_if_broken(&self, shared: &Shared, error: &RedisError) {
        if is_broken(error) {
            let mut current = self.current.write().unwrap_or_else(PoisonError::into_inner);
            if current
                .as_ref()
                .is_some_and(|known| known.number == shared.number)
            {
                *current = None;
            }
        }
    }
}

/// Send a pipeline; server errors are values of the result.
pub(super) async fn answers(
    connection: &mut MultiplexedConnection,
    pipeline: &Pipeline,
) -> Result<Vec<Value>, RedisError> {
    connection
        .send_packed_commands(pipeline, 0, pipeline.len())
        .await
}

/// Must the connection be replaced after this error?
pub(super) fn is_broken(error: &RedisError) -> bool {
    matches!(
        error.kind(),
        ErrorKind::Io | ErrorKind::Parse | ErrorKind::Client
    ) || error.is_unrecoverable_error()
}

/// Did the server explicitly refuse, and may it accept the same in a moment? Then nothing was done and it can be sent again.
pub(super) fn is_refused_for_now(error: &RedisError) -> bool {
    let by_kind = matches!(
        error.kind(),
        ErrorKind::Server(
            ServerErrorKind::BusyLoading
                | ServerErrorKind::ReadOnly
                | ServerErrorKind::ClusterDown
                | ServerErrorKind::TryAgain
                | ServerErrorKind::MasterDown
        )
    );
    by_kind
        || error.code() == Some("NOREPLICAS")
        || error
            .detail()
            .is_some_and(|detail| detail.contains("max number of clients reached"))
}

/// An error in words a user of daprd knows: the server's own text, or what failed on the way there.
pub(super) fn error_text(error: &RedisError, host: &str) -> String {
    let host = if host.is_empty() {
        "localhost:6379"
    } else {
        host
    };
    if error.is_connection_refusal() {
        return format!("dial tcp {host}: connect: connection refused");
    }
    if error.is_timeout() {
        return format!("dial tcp {host}: i/o timeout");
    }
    if error.kind() == ErrorKind::Parse {
        return format!("{host} does not speak the Redis protocol");
    }
    match (error.code(), error.detail()) {
        (Some(code), Some(detail)) => format!("{code} {detail}"),
        (Some(code), None) => code.to_owned(),
        (None, _) => error.to_string(),
    }
}

fn greeting(settings: &Settings) -> Pipeline {
    let mut pipeline = redis::pipe();
    if !settings.password.is_empty() {
        pipeline
            .cmd("AUTH")
            .arg(user(settings))
            .arg(&settings.password);
    }
    if settings.database > 0 {
        pipeline.cmd("SELECT").arg(settings.database);
    }
    pipeline.cmd("PING");
    if settings.cluster {
        // A server that is no cluster refuses, and says so better than we could.
        pipeline.cmd("CLUSTER").arg("INFO");
    }
    pipeline
}

/// Several servers are the next issue but one; until then one that answers is not mistaken for all of them.
fn is_supported(settings: &Settings) -> Result<(), &'static str> {
    if settings.cluster {
        Err("redisType cluster is not supported yet; remove it to use a single server")
    } else if settings.sentinel {
        Err("failover (sentinel) is not supported yet; remove it and name the master in redisHost")
    } else {
        Ok(())
    }
}

/// The two-argument form of AUTH with the default user: a server without password then takes any (spec redis.md 23, 39a).
fn user(settings: &Settings) -> &str {
    if settings.username.is_empty() {
        "default"
    } else {
        &settings.username
    }
}

fn client(settings: &Settings, redis: RedisConnectionInfo) -> Result<Client, BrokerError> {
    let info = address(settings)?
        .into_connection_info()
        .map_err(|error| misconfigured(&error))?;
    let tcp = info.tcp_settings().clone().set_nodelay(true);
    let info = info.set_redis_settings(redis).set_tcp_settings(tcp);
    let client = match settings.tls.as_ref().and_then(|tls| tls.client.as_ref()) {
        None => Client::open(info),
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

fn address(settings: &Settings) -> Result<ConnectionAddr, BrokerError> {
    let host = if settings.host.is_empty() {
        "localhost:6379"
    } else {
        &settings.host
    };
    let (name, port) = host.rsplit_once(':').unwrap_or((host, "6379"));
    let port: u16 = port
        .parse()
        .map_err(|_| misconfigured(&format_args!("redisHost {host:?} has no usable port")))?;
    let name = name
        .trim_start_matches('[')
        .trim_end_matches(']')
        .to_owned();
    Ok(match &settings.tls {
        None => ConnectionAddr::Tcp(name, port),
        Some(tls) => ConnectionAddr::TcpTls {
            host: name,
            port,
            insecure: tls.insecure,
            tls_params: None,
        },
    })
}

fn misconfigured(error: &dyn fmt::Display) -> BrokerError {
    BrokerError::new(
        BrokerErrorKind::Misconfigured,
        format_args!("redis client configuration error: {error}"),
    )
}

/// The longest a read may stay silent beyond its own blocking time before its connection counts as dead.
pub(super) const SILENCE: Duration = Duration::from_secs(2);
