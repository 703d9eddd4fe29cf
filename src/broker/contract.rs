//! The traits between brokers and the rest: a broker stores messages and hands them to sinks.

use std::sync::Arc;

use async_trait::async_trait;
use futures_util::future::BoxFuture;
use futures_util::stream::{self, StreamExt};

use super::error::{BrokerError, BrokerErrorKind};
use super::options::{OptionNames, SubscribeOptions};
use crate::message::{Incoming, Metadata, Outgoing, Position, Settlement};
use crate::shutdown::Stop;

/// The most messages of one request on their way to a broker at a time (tests/spec/redis.md, "15. Bulk").
pub(super) const AT_ONCE: usize = 100;

/// One configured broker: the instance behind a pub/sub component.
#[async_trait]
pub trait Broker: Send + Sync {
    /// The capabilities of the component in the metadata API, for example `SUBSCRIBE_WILDCARDS`.
    fn capabilities(&self) -> &'static [&'static str];

    /// The options that this broker reads in the metadata of a subscription.
    fn options(&self) -> &'static OptionNames;

    /// Contact the server once, to distinguish wrong settings from a server that is away.
    ///
    /// # Errors
    /// With [`BrokerError::is_transient`] it may succeed later (D12).
    async fn connect(&self) -> Result<(), BrokerError>;

    /// Store a message. Returns its position after the server has confirmed it, or `None` if the broker has no positions.
    ///
    /// # Errors
    /// If it was not stored, or that is not certain.
    async fn publish(&self, message: Outgoing) -> Result<Option<Position>, BrokerError>;

    /// Store many messages of one topic. Returns as many outcomes, in the same order; a failure does not stop the others
    /// (tests/spec/http-api.md, "6.4 Execution and response"). The default stores them one by one, 100 at a time; a broker that can
    /// send them together overrides it.
    async fn publish_all(&self, messages: Vec<Outgoing>) -> Vec<Result<Option<Position>, BrokerError>> {
        let storing: Vec<_> = messages.into_iter().map(|message| self.publish(message)).collect();
        stream::iter(storing).buffered(AT_ONCE).collect().await
    }

    /// Begin a subscription of `sink` to a topic. Its requirements, such as a consumer group, exist when this returns.
    ///
    /// The caller runs the returned future as long as the subscription is to last. After `stop` it takes no new message, lets the sink
    /// finish what it has begun, settles that, hands back the rest, and ends. Subscriptions begin in bursts: one call for each topic.
    ///
    /// # Errors
    /// If the subscription could not begin.
    async fn subscribe(
        &self,
        request: SubscribeRequest,
        sink: Arc<dyn Sink>,
        stop: Stop,
    ) -> Result<BoxFuture<'static, ()>, BrokerError>;

    /// Close all connections. Subscriptions have ended before; publishing fails afterwards.
    async fn close(&self);
}

/// Receives the messages of a subscription. The return value is the acknowledgement.
#[async_trait]
pub trait Sink: Send + Sync {
    /// Handle one message to its end. A dropped future or a panic counts as [`Settlement::Retry`].
    async fn accept(&self, message: Incoming) -> Settlement;

    /// The most messages that this sink takes at a time, beside those that the component hands to its other sinks; `None`: it shares their
    /// limit. A sink that collects batches returns the size of its batches (D18).
    fn max_in_flight(&self) -> Option<usize> {
        None
    }

    /// Reports with `Err` and the reason that the broker refuses to be read for this sink, and with `Ok` that reading works again; perhaps
    /// repeatedly with the same state. A server that is away for a while is not reported: that is temporary.
    fn reading(&self, _reading: Result<(), &str>) {}
}

/// A topic to subscribe to, and how.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SubscribeRequest {
    /// The topic as the broker knows it, namespace prefix included.
    pub topic: String,
    /// The options in the metadata of the subscription.
    pub options: SubscribeOptions,
}

impl SubscribeRequest {
    /// A subscription to a topic with this metadata, read by a broker with these options.
    ///
    /// # Errors
    /// [`BrokerErrorKind::Misconfigured`] if a value cannot be read.
    pub fn new(topic: String, metadata: &Metadata, options: &OptionNames) -> Result<Self, BrokerError> {
        let options = SubscribeOptions::read(metadata, options);
        let options = options.map_err(|error| BrokerError::new(BrokerErrorKind::Misconfigured, error))?;
        Ok(Self { topic, options })
    }
}
