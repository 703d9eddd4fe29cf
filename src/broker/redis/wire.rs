//! One connection to a Redis server, over whatever leads there.

use std::ops::{Deref, DerefMut};
use std::sync::Arc;

use deadpool_redis::redis::aio::MultiplexedConnection;
use deadpool_redis::redis::{AsyncConnectionConfig, RedisConnectionInfo, RedisError};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::task::JoinSet;

/// A connection of one's own. It is closed when the last clone of it is dropped, whatever is still unanswered.
#[derive(Clone)]
pub(super) struct Wire {
    connection: MultiplexedConnection,
    /// The task that drives the connection, where the redis crate does not spawn it.
    _driver: Option<Arc<JoinSet<()>>>,
}

impl Wire {
    /// Speak Redis on this stream: credentials, database.
    ///
    /// # Errors
    /// If the server refuses them.
    pub(super) async fn on(
        stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
        login: &RedisConnectionInfo,
        config: AsyncConnectionConfig,
    ) -> Result<Self, RedisError> {
        let (connection, driver) = MultiplexedConnection::new_with_config(login, stream, config).await?;
        let mut drivers = JoinSet::new();
        drivers.spawn(driver);
        Ok(Self { connection, _driver: Some(Arc::new(drivers)) })
    }
}

impl From<MultiplexedConnection> for Wire {
    fn from(connection: MultiplexedConnection) -> Self {
        Self { connection, _driver: None }
    }
}

impl Deref for Wire {
    type Target = MultiplexedConnection;

    fn deref(&self) -> &MultiplexedConnection {
        &self.connection
    }
}

impl DerefMut for Wire {
    fn deref_mut(&mut self) -> &mut MultiplexedConnection {
        &mut self.connection
    }
}
