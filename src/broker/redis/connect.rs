//! Connections to a Redis server: where they come from, and the shared lane for ordinary commands.
//!
//! A [`Lane`] is one multiplexed connection that all publishers and all settlements of a component share, so that their commands travel
//! in common round trips. A blocking read never runs on a lane: the reader takes a connection of its own.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use deadpool_redis::redis::aio::MultiplexedConnection;
use deadpool_redis::redis::{self, ErrorKind, Pipeline, PushInfo, RedisError, ServerErrorKind, Value};
use parking_lot::RwLock;
use tokio::sync::Mutex;
use tokio::sync::mpsc::UnboundedSender;
use tokio::time::Instant;

use super::sentinel::Sentinels;
use super::server::Server;
use super::settings::Tls;
use super::tls::{self, Refused};
use super::wire::Wire;

/// What makes connections for one lane or reader: to the server of the settings, or to the master that sentinels name.
pub(super) enum Connector {
    /// One server.
    Direct(Server),
    /// Whoever is the master at the time.
    Master(Sentinels),
}

impl Connector {
    /// A connection of one's own, without limit for answers: for blocking reads, which have a deadline of their own.
    ///
    /// # Errors
    /// If the server cannot be reached or refuses the credentials.
    pub(super) async fn dedicated(&self) -> Result<Wire, RedisError> {
        match self {
            // Dialling is rare, and in the future of every command: not boxed, it would make each of them 7 KiB.
            Self::Direct(server) => Box::pin(server.open()).await,
            Self::Master(sentinels) => Box::pin(sentinels.open()).await,
        }
    }

    /// A connection on which the server may speak first; what it says goes to `heard`.
    ///
    /// # Errors
    /// As [`Connector::dedicated`], or if the server does not know how.
    pub(super) async fn listening(&self, heard: UnboundedSender<PushInfo>) -> Result<Wire, RedisError> {
        match self {
            Self::Direct(server) => server.open_listening(heard).await,
            Self::Master(_) => Err(std::io::Error::from(std::io::ErrorKind::Unsupported).into()),
        }
    }

    /// How often another server has become the master so far.
    pub(super) fn masters(&self) -> u64 {
        match self {
            Self::Direct(_) => 0,
            Self::Master(sentinels) => sentinels.masters(),
        }
    }

    /// Resolves when another server is the master than the one that was when [`Connector::masters`] was `since`.
    pub(super) async fn moved(&self, since: u64) {
        match self {
            Self::Direct(_) => std::future::pending().await,
            Self::Master(sentinels) => sentinels.moved(since).await,
        }
    }

    /// No more connections; those that idle are closed.
    pub(super) fn close(&self) {
        match self {
            Self::Direct(server) => server.close(),
            Self::Master(sentinels) => sentinels.close(),
        }
    }
}

/// One shared connection for ordinary commands: opened on first use, replaced when it breaks.
pub(super) struct Lane {
    connector: Arc<Connector>,
    current: RwLock<Option<Shared>>,
    /// The longest wait for an answer.
    limit: Option<Duration>,
    /// Held while dialling, so that one dials and the others wait for it, and share its failure: until then, for as long as it took.
    dialling: Mutex<Option<(Instant, RedisError)>>,
    begun: Instant,
    /// When it was last used, in seconds since `begun`.
    used: AtomicU64,
}

/// A connection with a number, so that of many who see it break only the first takes it away.
#[derive(Clone)]
struct Shared {
    connection: Wire,
    number: u64,
}

impl Lane {
    /// A lane on which an answer may take as long as `limit`.
    pub(super) fn new(connector: Arc<Connector>, limit: Option<Duration>) -> Self {
        Self {
            connector,
            current: RwLock::default(),
            limit,
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
        let answer = shared.connection.send_packed_command(command).await.and_then(Value::extract_error);
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
        let answers =
            answers(&mut shared.connection, pipeline).await.inspect_err(|error| self.lose_if_broken(&shared, error))?;
        if let Some(error) = answers.iter().find_map(demotion) {
            self.lose_if_broken(&shared, &error);
        }
        Ok(answers)
    }

    /// The same for a key that is just moving to this server of a cluster.
    ///
    /// # Errors
    /// As [`Lane::command`].
    pub(super) async fn asking(&self, command: &redis::Cmd) -> Result<Value, RedisError> {
        let mut both = redis::pipe();
        both.cmd("ASKING").add_command(command.clone());
        let answer = self.pipeline(&both).await?.pop();
        answer.unwrap_or(Value::Nil).extract_error()
    }

    async fn connection(&self) -> Result<Shared, RedisError> {
        if let Some(shared) = self.ready() {
            return Ok(shared);
        }
        let asked = Instant::now();
        let mut failed = self.dialling.lock().await;
        if let Some(shared) = self.ready() {
            return Ok(shared);
        }
        if let Some((until, error)) = &*failed
            && asked < *until
        {
            return Err(error.clone());
        }
        let begun = Instant::now();
        let dialled = self.connector.dedicated().await;
        *failed = dialled.as_ref().err().map(|error| (Instant::now() + begun.elapsed().min(SILENCE), error.clone()));
        let mut connection = dialled?;
        if let Some(limit) = self.limit {
            connection.set_response_timeout(limit);
        }
        let shared = Shared { connection, number: fastrand::u64(..) };
        *self.current.write() = Some(shared.clone());
        Ok(shared)
    }

    fn ready(&self) -> Option<Shared> {
        self.current.read().clone()
    }

    /// After a timeout, too: answers that come late would otherwise delay all that follow. And after READONLY: a name or a sentinel
    /// may lead to another server now.
    fn lose_if_broken(&self, shared: &Shared, error: &RedisError) {
        if is_broken(error) || is_demoted(error) {
            let mut current = self.current.write();
            if current.as_ref().is_some_and(|known| known.number == shared.number) {
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
    connection.send_packed_commands(pipeline, 0, pipeline.len()).await
}

/// Must the connection be replaced after this error?
pub(super) fn is_broken(error: &RedisError) -> bool {
    matches!(error.kind(), ErrorKind::Io | ErrorKind::Parse | ErrorKind::Client) || error.is_unrecoverable_error()
}

/// The settings that do not fit the server (TLS, certificates), if the error shows some. Trying again does not help then.
pub(super) fn refusal(error: &RedisError) -> Option<&Refused> {
    io_error(error)?.get_ref()?.downcast_ref()
}

/// The same error, in words if it is one of TLS that says something of the settings.
pub(super) fn with_refusal(error: RedisError, tls: &Tls) -> RedisError {
    match io_error(&error).and_then(|error| tls::refusal(error, tls)) {
        Some(refused) => std::io::Error::from(refused).into(),
        None => error,
    }
}

fn io_error(error: &RedisError) -> Option<&std::io::Error> {
    type Shared = Arc<dyn std::error::Error + Send + Sync>;
    let source = std::error::Error::source(error)?;
    source.downcast_ref::<Shared>()?.downcast_ref()
}

/// Can a retry succeed without a change of the settings?
pub(super) fn may_heal(error: &RedisError) -> bool {
    is_for_now(error) && refusal(error).is_none()
}

/// Is the server a replica that takes no writes?
pub(super) fn is_demoted(error: &RedisError) -> bool {
    error.kind() == ErrorKind::Server(ServerErrorKind::ReadOnly)
}

fn demotion(answer: &Value) -> Option<RedisError> {
    let Value::ServerError(error) = answer else {
        return None;
    };
    (error.kind() == Some(ServerErrorKind::ReadOnly)).then(|| error.clone().into())
}

/// Is it the server or the way to it that fails, and not the command?
pub(super) fn is_for_now(error: &RedisError) -> bool {
    is_broken(error) || is_refused_for_now(error)
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
        || error.detail().is_some_and(|detail| detail.contains("max number of clients reached"))
}

/// An error in words a user of daprd knows: the server's own text, or what failed on the way there.
pub(super) fn error_text(error: &RedisError, host: &str) -> String {
    let host = if host.is_empty() { "localhost:6379" } else { host };
    if let Some(refused) = refusal(error) {
        return refused.to_string();
    }
    if error.is_connection_refusal() {
        return format!("dial tcp {host}: connect: connection refused");
    }
    if error.is_timeout() {
        return format!("dial tcp {host}: i/o timeout");
    }
    if error.kind() == ErrorKind::Parse {
        return format!("{host} does not speak the Redis protocol");
    }
    if error.kind() == ErrorKind::AuthenticationFailed && error.code().is_none() {
        // The client keeps the server's own words to itself.
        return "WRONGPASS invalid username-password pair or user is disabled.".to_owned();
    }
    match (error.code(), error.detail()) {
        (Some("MOVED"), Some(detail)) => {
            format!("MOVED {detail} (the server is one of a cluster: set redisType to cluster)")
        }
        (Some(code), Some(detail)) => {
            // A server that does not know AUTH repeats the password that was sent with it.
            let detail = detail.split(", with args beginning with").next();
            format!("{code} {}", detail.unwrap_or_default())
        }
        (Some(code), None) => code.to_owned(),
        (None, _) => error.to_string(),
    }
}

/// The longest a read may stay silent beyond its own blocking time before its connection counts as dead.
pub(super) const SILENCE: Duration = Duration::from_secs(2);

#[cfg(test)]
mod tests {
    use deadpool_redis::redis::parse_redis_value;

    use super::*;

    #[test]
    fn what_a_server_repeats_of_a_command_is_not_shown() {
        let said = b"-ERR unknown command 'AUTH', with args beginning with: 'default' 'hunter2' \r\n";
        let error = parse_redis_value(said).unwrap().extract_error().unwrap_err();
        assert_eq!(error_text(&error, "h:1"), "ERR unknown command 'AUTH'");
    }
}
