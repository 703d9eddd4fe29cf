//! The servers of a component, one or many, and the shared connections to them. Everybody but the readers sends commands through
//! [`Lanes`], and need not know how many servers there are.

use std::fmt;
use std::sync::Arc;

use deadpool_redis::redis::{Cmd, Pipeline, RedisError, ServerErrorKind, Value};

use super::cluster::Cluster;
use super::connect::{self, Connector, Lane};
use super::sentinel::Sentinels;
use super::server::{Server, misconfigured};
use super::settings::Settings;
use crate::broker::{BrokerError, BrokerErrorKind};

/// Who holds the topics of a component.
#[derive(Clone)]
pub(super) enum Servers {
    /// One server, or one master at a time.
    One(Arc<Connector>),
    /// Several, each with some of the topics.
    Cluster(Arc<Cluster>),
}

/// What a shared connection is for, so that nobody's publish waits behind an upkeep command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Purpose {
    /// Publishing, and nothing else.
    Publishing,
    /// Everything but publishing and reading.
    Upkeep,
}

/// The shared connections for one purpose: one to each server.
#[expect(
    clippy::large_enum_variant,
    reason = "there are two of them in a component, and every publish goes through one"
)]
pub(super) enum Lanes {
    /// See [`Servers::One`].
    One(Lane),
    /// See [`Servers::Cluster`].
    Cluster(Arc<Cluster>, Purpose),
}

/// Why a command has no answer.
#[derive(Clone, Debug)]
pub(super) enum Failure {
    /// It was certainly not executed, and may succeed in a moment.
    NotDone(RedisError),
    /// It was perhaps executed; or it was refused, and will be again.
    Unknown(RedisError),
}

impl Servers {
    /// Nothing is dialled yet.
    ///
    /// # Errors
    /// If the addresses or the certificates cannot be used.
    pub(super) fn new(settings: &Arc<Settings>) -> Result<Self, BrokerError> {
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
            Connector::Direct(Server::new(settings, address.clone())?)
        };
        Ok(Self::One(Arc::new(connector)))
    }

    /// The shared connections for a purpose.
    pub(super) fn lanes(&self, settings: &Settings, purpose: Purpose) -> Lanes {
        match self {
            Self::One(connector) => Lanes::One(Lane::new(connector.clone(), settings.read_timeout)),
            Self::Cluster(cluster) => Lanes::Cluster(cluster.clone(), purpose),
        }
    }

    /// The first contact, to tell a wrong setting from a server that is away (tests/spec/redis.md, "5.1 Init
    /// sequence").
    ///
    /// # Errors
    /// Transient if no server can be reached or it is busy, else what it says of the settings.
    pub(super) async fn probe(&self, settings: &Settings) -> Result<(), BrokerError> {
        let greeted = match self {
            Self::One(connector) => match &**connector {
                Connector::Direct(server) => server.greet().await,
                Connector::Master(sentinels) => Box::pin(sentinels.greet()).await,
            },
            Self::Cluster(cluster) => Box::pin(cluster.greet()).await,
        };
        let failed = |kind, text: &dyn fmt::Display| {
            let host = &settings.host;
            BrokerError::new(kind, format_args!("redis streams: error connecting to redis at {host}: {text}"))
        };
        let answers = match greeted {
            Ok(answers) => answers,
            Err(error) if error.is_timeout() => {
                return Err(failed(BrokerErrorKind::Unavailable, &"context deadline exceeded"));
            }
            Err(error) => {
                let text = connect::error_text(&error, &settings.host);
                return Err(failed(kind_of_greeting(&error), &text));
            }
        };
        let refused = answers.into_iter().find_map(|answer| answer.extract_error().err());
        refused.map_or(Ok(()), |error| {
            let text = connect::error_text(&error, &settings.host);
            Err(failed(kind_of_greeting(&error), &text))
        })
    }

    /// No more connections; those that idle are closed.
    pub(super) fn close(&self) {
        match self {
            Self::One(connector) => connector.close(),
            Self::Cluster(cluster) => cluster.close(),
        }
    }
}

impl Lanes {
    /// Send a command; before it, make sure that there is a connection.
    ///
    /// # Errors
    /// With whether the command may be sent again.
    pub(super) async fn send(&self, command: &Cmd) -> Result<Value, Failure> {
        match self {
            Self::One(lane) => {
                lane.reach().await.map_err(Failure::of_way)?;
                lane.command(command).await.map_err(Failure::of)
            }
            Self::Cluster(cluster, purpose) => Box::pin(cluster.send(*purpose, command)).await,
        }
    }

    /// Send commands, to each server in one write; before it, make sure that there is a connection. Each answer stands for itself, and
    /// one that is refused for good is a value.
    pub(super) async fn send_all(&self, pipeline: &Pipeline) -> Vec<Result<Value, Failure>> {
        if let Self::One(lane) = self
            && let Err(error) = lane.reach().await
        {
            return vec![Err(Failure::of_way(error)); pipeline.len()];
        }
        self.each(pipeline).await
    }

    /// Send a command and wait for its answer.
    ///
    /// # Errors
    /// If there is no connection, no answer in `readTimeout`, or the answer is an error.
    pub(super) async fn command(&self, command: &Cmd) -> Result<Value, RedisError> {
        match self {
            Self::One(lane) => lane.command(command).await,
            Self::Cluster(cluster, purpose) => {
                let sent = Box::pin(cluster.send(*purpose, command)).await;
                sent.map_err(Failure::into_error)
            }
        }
    }

    /// Send commands, to each server in one write; each answer stands for itself, and one that is refused for good is a value.
    ///
    /// # Errors
    /// If one of them was not answered, or only refused for the moment.
    pub(super) async fn pipeline(&self, pipeline: &Pipeline) -> Result<Vec<Value>, RedisError> {
        match self {
            Self::One(lane) => {
                let answers = lane.pipeline(pipeline).await?;
                match answers.iter().find_map(refusal_for_now) {
                    Some(error) => Err(error),
                    None => Ok(answers),
                }
            }
            Self::Cluster(..) => {
                let answers = self.each(pipeline).await.into_iter();
                answers.map(|answer| answer.map_err(Failure::into_error)).collect()
            }
        }
    }

    /// The same for those who can go on with a part of the answers: a failure is only that of its command.
    pub(super) async fn each(&self, pipeline: &Pipeline) -> Vec<Result<Value, Failure>> {
        match self {
            Self::One(lane) => match lane.pipeline(pipeline).await {
                Ok(answers) => answers.into_iter().map(Failure::sort).collect(),
                Err(error) => vec![Err(Failure::Unknown(error)); pipeline.len()],
            },
            Self::Cluster(cluster, purpose) => Box::pin(cluster.send_all(*purpose, pipeline)).await,
        }
    }
}

impl Failure {
    /// The failure of a command that was answered so, or not at all.
    pub(super) fn of(error: RedisError) -> Self {
        if connect::is_refused_for_now(&error) || error.redirect_node().is_some() {
            Self::NotDone(error)
        } else {
            Self::Unknown(error)
        }
    }

    /// The failure to reach the server. Wrong credentials are not better in a moment.
    pub(super) fn of_way(error: RedisError) -> Self {
        if connect::is_for_now(&error) { Self::NotDone(error) } else { Self::Unknown(error) }
    }

    /// An answer within a pipeline: an error that may pass is a failure, any other a value.
    pub(super) fn sort(answer: Value) -> Result<Value, Self> {
        refusal_for_now(&answer).map_or(Ok(answer), |error| Err(Self::NotDone(error)))
    }

    /// What the server or the way there said.
    pub(super) fn into_error(self) -> RedisError {
        match self {
            Self::NotDone(error) | Self::Unknown(error) => error,
        }
    }
}

fn refusal_for_now(answer: &Value) -> Option<RedisError> {
    let Value::ServerError(error) = answer else {
        return None;
    };
    let redirected = matches!(error.kind(), Some(ServerErrorKind::Moved | ServerErrorKind::Ask));
    let error = RedisError::from(error.clone());
    (redirected || connect::is_refused_for_now(&error)).then_some(error)
}

fn kind_of_greeting(error: &RedisError) -> BrokerErrorKind {
    if connect::may_heal(error) { BrokerErrorKind::Unavailable } else { BrokerErrorKind::Misconfigured }
}
