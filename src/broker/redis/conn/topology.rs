//! The servers of a component, one or many, and the connections shared by all its tasks but the readers.

use std::fmt;
use std::sync::Arc;

use deadpool_redis::redis::{Cmd, Pipeline, RedisError, Value};

use super::super::settings::Settings;
use super::cluster::Cluster;
use super::connector::Connector;
use super::error::{self, SendError};
use super::sentinel::Sentinels;
use super::server::{RedisServer, misconfigured};
use super::shared::{SharedConnection, Traffic};
use crate::broker::error::{BrokerError, BrokerErrorKind};

/// Which servers hold the topics of a component.
#[derive(Clone)]
pub(in crate::broker::redis) enum Topology {
    /// One server, or one master at a time, holds all topics.
    Single(Arc<Connector>),
    /// Several servers, each with some of the topics.
    Cluster(Arc<Cluster>),
}

/// The shared connections for one kind of traffic: one to each server.
#[expect(
    clippy::large_enum_variant,
    reason = "there are two of them in a component, and every publish goes through one"
)]
pub(in crate::broker::redis) enum Connections {
    /// See [`Topology::Single`].
    Single(SharedConnection),
    /// See [`Topology::Cluster`].
    Cluster(Arc<Cluster>, Traffic),
}

impl Topology {
    /// The servers that these settings name. Nothing is dialled yet.
    ///
    /// # Errors
    /// If the addresses or the certificates cannot be used.
    pub(in crate::broker::redis) fn new(settings: &Arc<Settings>) -> Result<Self, BrokerError> {
        if settings.is_cluster() {
            return Ok(Self::Cluster(Arc::new(Cluster::new(settings)?)));
        }
        let connector = if settings.sentinel {
            Connector::Master(Sentinels::new(settings)?)
        } else {
            let [address] = &settings.addresses[..] else {
                let host = &settings.host;
                return Err(misconfigured(&format_args!(
                    "dial tcp: address {host}: too many colons in address; several servers need redisType cluster or failover true"
                )));
            };
            Connector::Direct(RedisServer::new(settings, address.clone())?)
        };
        Ok(Self::Single(Arc::new(connector)))
    }

    /// The shared connections for this traffic.
    pub(in crate::broker::redis) fn connections(&self, settings: &Settings, traffic: Traffic) -> Connections {
        match self {
            Self::Single(connector) => {
                Connections::Single(SharedConnection::new(connector.clone(), settings.read_timeout))
            }
            Self::Cluster(cluster) => Connections::Cluster(cluster.clone(), traffic),
        }
    }

    /// Reach the servers once, to tell a wrong setting from a server that is away (tests/spec/redis.md, "5.1 Init sequence").
    ///
    /// # Errors
    /// Transient if no server can be reached or it is busy, else what it says about the settings.
    pub(in crate::broker::redis) async fn probe(&self, settings: &Settings) -> Result<(), BrokerError> {
        let probed = match self {
            Self::Single(connector) => match &**connector {
                Connector::Direct(server) => server.probe().await,
                Connector::Master(sentinels) => Box::pin(sentinels.probe()).await,
            },
            Self::Cluster(cluster) => Box::pin(cluster.probe()).await,
        };
        let failed = |kind, text: &dyn fmt::Display| {
            let host = &settings.host;
            BrokerError::new(kind, format_args!("redis streams: error connecting to redis at {host}: {text}"))
        };
        let error = match probed {
            Ok(replies) => replies.into_iter().find_map(|reply| reply.extract_error().err()),
            Err(error) if error.is_timeout() => {
                return Err(failed(BrokerErrorKind::Unavailable, &"context deadline exceeded"));
            }
            Err(error) => Some(error),
        };
        error.map_or(Ok(()), |error| {
            let is_worth_retrying = error::is_worth_retrying(&error);
            let kind = if is_worth_retrying { BrokerErrorKind::Unavailable } else { BrokerErrorKind::Misconfigured };
            Err(failed(kind, &error::error_text(&error, &settings.host)))
        })
    }

    /// Refuse new connections.
    pub(in crate::broker::redis) fn close(&self) {
        match self {
            Self::Single(connector) => connector.close(),
            Self::Cluster(cluster) => cluster.close(),
        }
    }
}

impl Connections {
    /// Send a command; before it, make sure that there is a connection.
    ///
    /// # Errors
    /// Whether the command may be sent again.
    pub(in crate::broker::redis) async fn send(&self, command: &Cmd) -> Result<Value, SendError> {
        match self {
            Self::Single(connection) => {
                connection.ensure_open().await.map_err(SendError::unreachable)?;
                connection.command(command).await.map_err(SendError::of_command)
            }
            Self::Cluster(cluster, traffic) => Box::pin(cluster.send(*traffic, command)).await,
        }
    }

    /// Send commands, to each server in one write; before it, make sure that there is a connection. One outcome per command; a permanent
    /// refusal is `Ok(Value::ServerError)`, a temporary one `Err`.
    pub(in crate::broker::redis) async fn send_all(&self, pipeline: &Pipeline) -> Vec<Result<Value, SendError>> {
        if let Self::Single(connection) = self
            && let Err(error) = connection.ensure_open().await
        {
            return vec![Err(SendError::unreachable(error)); pipeline.len()];
        }
        self.each(pipeline).await
    }

    /// Send a command and wait for its reply.
    ///
    /// # Errors
    /// If there is no connection, no reply within `readTimeout`, or the reply is an error.
    pub(in crate::broker::redis) async fn command(&self, command: &Cmd) -> Result<Value, RedisError> {
        match self {
            Self::Single(connection) => connection.command(command).await,
            Self::Cluster(cluster, traffic) => {
                let sent = Box::pin(cluster.send(*traffic, command)).await;
                sent.map_err(SendError::into_error)
            }
        }
    }

    /// Send commands, to each server in one write. One reply per command; a permanent refusal is a value.
    ///
    /// # Errors
    /// If one of them got no reply, or was refused temporarily.
    pub(in crate::broker::redis) async fn pipeline(&self, pipeline: &Pipeline) -> Result<Vec<Value>, RedisError> {
        match self {
            Self::Single(connection) => {
                let replies = connection.pipeline(pipeline).await?;
                match replies.iter().find_map(error::temporary_refusal) {
                    Some(error) => Err(error),
                    None => Ok(replies),
                }
            }
            Self::Cluster(..) => {
                let replies = self.each(pipeline).await.into_iter();
                replies.map(|reply| reply.map_err(SendError::into_error)).collect()
            }
        }
    }

    /// As [`Connections::pipeline`], but the failure of one command leaves the replies of the others.
    pub(in crate::broker::redis) async fn each(&self, pipeline: &Pipeline) -> Vec<Result<Value, SendError>> {
        match self {
            Self::Single(connection) => match connection.pipeline(pipeline).await {
                Ok(replies) => replies.into_iter().map(SendError::of_reply).collect(),
                Err(error) => vec![Err(SendError::MaybeExecuted(error)); pipeline.len()],
            },
            Self::Cluster(cluster, traffic) => Box::pin(cluster.send_all(*traffic, pipeline)).await,
        }
    }
}
