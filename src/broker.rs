//! What a broker is: the seam between the two paths and the place where messages are stored.
//!
//! A broker knows topics, bytes and metadata. It knows no CloudEvents, no HTTP, no app and no policy. To add one: a file
//! `broker/<name>.rs`, a row in [`kinds`], a component file in `components/`, a line in `tests/it/brokers.rs`, which runs the
//! conformance suite.

pub mod ack;
mod dispatch;
pub mod kinds;
pub mod memory;
pub mod options;
pub mod redis;
pub mod start_from;
pub mod warning;

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use futures_util::future::BoxFuture;
use futures_util::stream::{self, StreamExt};

use self::options::{OptionNames, SubscribeOptions};
use crate::message::{Incoming, Metadata, Outgoing, Position, Settlement};
use crate::shutdown::Stop;

/// How many messages of one request are on their way to a broker at once (tests/spec/redis.md, "15. Bulk").
pub const AT_ONCE: usize = 100;

/// One configured broker: the instance behind a pub/sub component.
#[async_trait]
pub trait Broker: Send + Sync {
    /// What the metadata API lists as capabilities of the component, for example `SUBSCRIBE_WILDCARDS`.
    fn capabilities(&self) -> &'static [&'static str];

    /// What this broker reads in the metadata of a subscription.
    fn options(&self) -> &'static OptionNames;

    /// Reach the server once, to tell a wrong setting from a server that is away.
    ///
    /// # Errors
    /// [`BrokerError::is_transient`] tells whether it is worth trying again (D12).
    async fn connect(&self) -> Result<(), BrokerError>;

    /// Store a message. `Ok` only after the server has confirmed it: where it is kept, or `None` if the broker gives no positions.
    async fn publish(&self, message: Outgoing) -> Result<Option<Position>, BrokerError>;

    /// Store many messages of one topic: as many outcomes in the same order, and none stops the others
    /// (tests/spec/http-api.md, "6.4 Execution and response"). A broker that can send them together says how; this
    /// sends them one by one, [`AT_ONCE`] at a time.
    async fn publish_all(&self, messages: Vec<Outgoing>) -> Vec<Result<Option<Position>, BrokerError>> {
        let storing: Vec<_> = messages.into_iter().map(|message| self.publish(message)).collect();
        stream::iter(storing).buffered(AT_ONCE).collect().await
    }

    /// Begin to hand the messages of a topic to `sink`. What must exist (a consumer group) exists when this returns.
    ///
    /// The future is the life of the subscription; the caller runs it. After `stop` it takes no new message, lets the sink finish
    /// what it holds, settles that, hands back what was not begun, and ends.
    async fn subscribe(
        &self,
        request: SubscribeRequest,
        sink: Arc<dyn Sink>,
        stop: Stop,
    ) -> Result<BoxFuture<'static, ()>, BrokerError>;

    /// Let go of all connections. Subscriptions have ended before; publishing afterwards fails.
    async fn close(&self);
}

/// Where a broker's messages go. The return value is the acknowledgement.
#[async_trait]
pub trait Sink: Send + Sync {
    /// Handle one message to its end.
    async fn accept(&self, message: Incoming) -> Settlement;

    /// How many messages this sink may hold at a time, beside what the component hands to its other sinks; `None`: it
    /// shares their places. A sink that gathers messages answers with what it gathers (D18).
    fn max_in_flight(&self) -> Option<usize> {
        None
    }

    /// Called with the reason when the broker may not be read for this sink, and with `Ok` when reading works again; perhaps repeatedly
    /// with the same state. A server that is away for a while is not reported: that passes.
    fn reading(&self, _reading: Result<(), &str>) {}
}

/// What to subscribe to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SubscribeRequest {
    /// The topic as the broker knows it, namespace prefix included.
    pub topic: String,
    /// What the subscription's metadata asks for.
    pub options: SubscribeOptions,
}

impl SubscribeRequest {
    /// A subscription to a topic with this metadata, as a broker with these options reads it.
    ///
    /// # Errors
    /// [`BrokerErrorKind::Misconfigured`] if a value cannot be read.
    pub fn new(topic: String, metadata: &Metadata, options: &OptionNames) -> Result<Self, BrokerError> {
        let options = SubscribeOptions::read(metadata, options);
        let options = options.map_err(|error| BrokerError::new(BrokerErrorKind::Misconfigured, error))?;
        Ok(Self { topic, options })
    }
}

/// Why a broker could not do what it was asked. The text is what the API shows after its own prefix.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct BrokerError {
    /// What kind of failure it is.
    pub kind: BrokerErrorKind,
    /// The whole text, for clients and logs.
    pub message: String,
}

/// Kinds of broker failure, by what one can do about them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BrokerErrorKind {
    /// The server cannot be reached or cannot answer now.
    Unavailable,
    /// The server refused this operation; asking again the same way does not help.
    Rejected,
    /// The settings or credentials are wrong; only a change of the component helps.
    Misconfigured,
    /// The broker has been closed.
    Closed,
}

impl BrokerError {
    /// An error of this kind with this text.
    pub fn new(kind: BrokerErrorKind, message: impl fmt::Display) -> Self {
        Self { kind, message: message.to_string() }
    }

    /// The broker has been closed.
    pub fn closed() -> Self {
        Self::new(BrokerErrorKind::Closed, "component is closed")
    }

    /// Is it worth trying the same again later?
    pub fn is_transient(&self) -> bool {
        self.kind == BrokerErrorKind::Unavailable
    }
}
