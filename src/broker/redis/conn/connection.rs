//! One connection to a Redis server, over TCP, TLS or a Unix socket.

use std::ops::{Deref, DerefMut};
use std::sync::Arc;

use deadpool_redis::redis::aio::MultiplexedConnection;
use deadpool_redis::redis::{AsyncConnectionConfig, Pipeline, RedisConnectionInfo, RedisError, Value};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::task::JoinSet;

/// A multiplexed connection. It is closed when its last clone is dropped, even if commands are still unanswered.
#[derive(Clone)]
pub(in crate::broker::redis) struct Connection {
    connection: MultiplexedConnection,
    /// The task that drives the connection, unless the redis crate has spawned one itself.
    _driver: Option<Arc<JoinSet<()>>>,
}

impl Connection {
    /// Log in on this stream: credentials, database.
    ///
    /// # Errors
    /// If the server refuses them.
    pub(super) async fn login(
        stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
        login: &RedisConnectionInfo,
        config: AsyncConnectionConfig,
    ) -> Result<Self, RedisError> {
        let (connection, driver) = MultiplexedConnection::new_with_config(login, stream, config).await?;
        let mut drivers = JoinSet::new();
        drivers.spawn(driver);
        Ok(Self { connection, _driver: Some(Arc::new(drivers)) })
    }

    /// Send commands in one write. Returns one reply per command; an error of the server is a value.
    ///
    /// # Errors
    /// If not all replies came.
    pub(in crate::broker::redis) async fn pipeline(&mut self, pipeline: &Pipeline) -> Result<Vec<Value>, RedisError> {
        self.connection.send_packed_commands(pipeline, 0, pipeline.len()).await
    }
}

impl From<MultiplexedConnection> for Connection {
    fn from(connection: MultiplexedConnection) -> Self {
        Self { connection, _driver: None }
    }
}

impl Deref for Connection {
    type Target = MultiplexedConnection;

    fn deref(&self) -> &MultiplexedConnection {
        &self.connection
    }
}

impl DerefMut for Connection {
    fn deref_mut(&mut self) -> &mut MultiplexedConnection {
        &mut self.connection
    }
}
