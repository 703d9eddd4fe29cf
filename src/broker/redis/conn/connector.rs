//! Opens connections to one server, whether the settings or sentinels name it.

use deadpool_redis::redis::{PushInfo, RedisError};
use tokio::sync::mpsc::UnboundedSender;

use super::connection::Connection;
use super::sentinel::Sentinels;
use super::server::RedisServer;

/// Opens connections for one shared connection or reader.
pub(in crate::broker::redis) enum Connector {
    /// A server with a fixed address.
    Direct(RedisServer),
    /// The current master, as sentinels name it.
    Master(Sentinels),
}

impl Connector {
    /// Open a connection without a limit on the time of replies: blocking reads set a deadline of their own.
    ///
    /// # Errors
    /// If the server cannot be reached or refuses the credentials.
    pub(in crate::broker::redis) async fn open(&self) -> Result<Connection, RedisError> {
        match self {
            // Boxed: dialling is rare, but part of the future of every command, which would be 7 KiB larger.
            Self::Direct(server) => Box::pin(server.open()).await,
            Self::Master(sentinels) => Box::pin(sentinels.open()).await,
        }
    }

    /// Open a connection on which the server may push messages (RESP3); they go to `pushes`.
    ///
    /// # Errors
    /// As [`Connector::open`], or if the server has no RESP3. Masters behind sentinels are not read this way.
    pub(in crate::broker::redis) async fn open_with_pushes(
        &self,
        pushes: UnboundedSender<PushInfo>,
    ) -> Result<Connection, RedisError> {
        match self {
            Self::Direct(server) => server.open_with_pushes(pushes).await,
            Self::Master(_) => Err(std::io::Error::from(std::io::ErrorKind::Unsupported).into()),
        }
    }

    /// How often another server has become the master so far.
    pub(in crate::broker::redis) fn failovers(&self) -> u64 {
        match self {
            Self::Direct(_) => 0,
            Self::Master(sentinels) => sentinels.failovers(),
        }
    }

    /// Resolves once [`Connector::failovers`] is no longer `since`.
    pub(in crate::broker::redis) async fn failed_over(&self, since: u64) {
        match self {
            Self::Direct(_) => std::future::pending().await,
            Self::Master(sentinels) => sentinels.failed_over(since).await,
        }
    }

    /// Refuse new connections.
    pub(super) fn close(&self) {
        match self {
            Self::Direct(server) => server.close(),
            Self::Master(sentinels) => sentinels.close(),
        }
    }
}
