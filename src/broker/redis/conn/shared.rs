//! A connection that many tasks share, so that their commands travel in common round trips.
//!
//! Blocking reads do not run on it: a reader opens a connection of its own.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use deadpool_redis::redis::{self, Cmd, Pipeline, RedisError, Value};
use parking_lot::RwLock;
use tokio::sync::Mutex;
use tokio::time::Instant;

use super::connection::Connection;
use super::connector::Connector;
use super::error;

/// How long a reply may be overdue before its connection counts as dead.
pub(in crate::broker::redis) const MAX_SILENCE: Duration = Duration::from_secs(2);

/// What a shared connection carries. Publishing has one of its own, so that no publish waits behind an upkeep command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::broker::redis) enum Traffic {
    /// Publishing, and nothing else.
    Publishing,
    /// Everything but publishing and reading.
    Upkeep,
}

/// One shared connection: opened on first use, replaced when it breaks.
pub(in crate::broker::redis) struct SharedConnection {
    connector: Arc<Connector>,
    current: RwLock<Option<Established>>,
    /// The longest wait for a reply.
    limit: Option<Duration>,
    /// Held while dialling, so that one task dials and the others wait for the outcome. A failure is shared with those that asked before the
    /// instant: for as long as the dialling took, at most [`MAX_SILENCE`].
    dialling: Mutex<Option<(Instant, RedisError)>>,
    created: Instant,
    /// When it was last used, in seconds since `created`.
    used: AtomicU64,
}

/// An open connection. The serial number makes sure that of many tasks that see it break only the first removes it.
#[derive(Clone)]
struct Established {
    connection: Connection,
    serial: u64,
}

impl SharedConnection {
    /// Not open yet. A reply may take as long as `limit`.
    pub(super) fn new(connector: Arc<Connector>, limit: Option<Duration>) -> Self {
        Self {
            connector,
            current: RwLock::default(),
            limit,
            dialling: Mutex::default(),
            created: Instant::now(),
            used: AtomicU64::new(0),
        }
    }

    /// Make sure that there is a connection. An idle one is tested with PING first: it may have died unnoticed, and a command that finds
    /// out cannot be sent again, because the server may have executed it.
    ///
    /// # Errors
    /// If the server cannot be reached or refuses the credentials. No command was sent then.
    pub(super) async fn ensure_open(&self) -> Result<(), RedisError> {
        let now = self.created.elapsed().as_secs();
        if self.used.swap(now, Ordering::Relaxed) + 1 < now {
            // If the connection is dead this removes it, and the next line opens another.
            let _ = self.command(&redis::cmd("PING")).await;
        }
        self.connection().await.map(drop)
    }

    /// Send a command and wait for its reply.
    ///
    /// # Errors
    /// If there is no connection, no reply within `readTimeout`, or the reply is an error.
    pub(super) async fn command(&self, command: &Cmd) -> Result<Value, RedisError> {
        let mut open = self.connection().await?;
        let reply = open.connection.send_packed_command(command).await.and_then(Value::extract_error);
        reply.inspect_err(|error| self.discard_if_broken(&open, error))
    }

    /// Send commands in one write. Returns one reply per command; an error of the server is a value.
    ///
    /// # Errors
    /// If there is no connection, or not all replies came within `readTimeout`.
    pub(super) async fn pipeline(&self, pipeline: &Pipeline) -> Result<Vec<Value>, RedisError> {
        if pipeline.is_empty() {
            return Ok(Vec::new());
        }
        let mut open = self.connection().await?;
        let replies = open.connection.pipeline(pipeline).await;
        let replies = replies.inspect_err(|error| self.discard_if_broken(&open, error))?;
        if let Some(error) = replies.iter().find_map(error::read_only_reply) {
            self.discard_if_broken(&open, &error);
        }
        Ok(replies)
    }

    /// Send a command whose key is just being moved to this server of a cluster (ASK).
    ///
    /// # Errors
    /// As [`SharedConnection::command`].
    pub(super) async fn asking(&self, command: &Cmd) -> Result<Value, RedisError> {
        let mut both = redis::pipe();
        both.cmd("ASKING").add_command(command.clone());
        let reply = self.pipeline(&both).await?.pop();
        reply.unwrap_or(Value::Nil).extract_error()
    }

    async fn connection(&self) -> Result<Established, RedisError> {
        if let Some(open) = self.current() {
            return Ok(open);
        }
        let asked = Instant::now();
        let mut failed = self.dialling.lock().await;
        if let Some(open) = self.current() {
            return Ok(open);
        }
        if let Some((until, error)) = &*failed
            && asked < *until
        {
            return Err(error.clone());
        }
        let began = Instant::now();
        let dialled = self.connector.open().await;
        *failed =
            dialled.as_ref().err().map(|error| (Instant::now() + began.elapsed().min(MAX_SILENCE), error.clone()));
        let mut connection = dialled?;
        if let Some(limit) = self.limit {
            connection.set_response_timeout(limit);
        }
        let open = Established { connection, serial: fastrand::u64(..) };
        *self.current.write() = Some(open.clone());
        Ok(open)
    }

    fn current(&self) -> Option<Established> {
        self.current.read().clone()
    }

    /// Remove the connection if it can no longer be used. After a timeout, too: a late reply would delay all that follow. And after
    /// READONLY: the name or a sentinel may lead to another server now.
    fn discard_if_broken(&self, open: &Established, error: &RedisError) {
        if error::is_broken(error) || error::is_read_only(error) {
            let mut current = self.current.write();
            if current.as_ref().is_some_and(|known| known.serial == open.serial) {
                *current = None;
            }
        }
    }
}
