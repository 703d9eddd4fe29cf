//! One pub/sub component: its broker, scopes, namespace prefix and outbound policy.

use std::sync::Arc;

use futures_util::future::BoxFuture;

use crate::broker::{Broker, BrokerError, Sink, SubscribeRequest};
use crate::message::Metadata;
use crate::metadata::ComponentMetadata;
use crate::resiliency::Policy;
use crate::scopes::Scopes;
use crate::shutdown::Stop;

/// A pub/sub component at work. A clone uses the same broker.
#[derive(Clone)]
pub struct Pubsub {
    /// The component's name.
    pub name: String,
    /// `spec.type` as written.
    pub kind: String,
    /// `spec.version` as written.
    pub version: String,
    pub(super) broker: Arc<dyn Broker>,
    /// The outbound policy of every publish; `None`: one attempt without a time limit.
    pub(super) policy: Option<Arc<Policy>>,
    pub(super) scopes: Scopes,
    pub(super) app_id: String,
    /// Put before every topic on the broker (tests/spec/resources-cli.md, "13.4 Namespace summary"); empty if the
    /// component is not namespace scoped.
    topic_prefix: String,
}

/// Name, type and version of a component.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// `metadata.name`.
    pub name: String,
    /// `spec.type` as written.
    pub kind: String,
    /// `spec.version` as written.
    pub version: String,
}

/// A failed [`Pubsub::subscribe`].
#[derive(Debug, thiserror::Error)]
pub enum SubscribeError {
    /// The scopes of the component forbid the topic; another attempt does not help.
    #[error("subscription to topic '{topic}' on pubsub '{pubsub}' is not allowed")]
    Forbidden {
        /// The topic without prefix.
        topic: String,
        /// The component.
        pubsub: String,
    },
    /// The broker failed.
    #[error(transparent)]
    Broker(#[from] BrokerError),
}

impl Pubsub {
    /// A component around a broker. `topic_prefix` is empty unless the component is namespace scoped.
    pub fn new(
        identity: Identity,
        broker: Arc<dyn Broker>,
        properties: &ComponentMetadata,
        app_id: &str,
        topic_prefix: &str,
    ) -> Self {
        Self {
            name: identity.name,
            kind: identity.kind,
            version: identity.version,
            broker,
            policy: None,
            scopes: Scopes::of(properties, app_id),
            app_id: app_id.to_owned(),
            topic_prefix: topic_prefix.to_owned(),
        }
    }

    /// This component with another outbound policy.
    #[must_use]
    pub fn with_policy(self, policy: Option<Policy>) -> Self {
        Self { policy: policy.map(Arc::new), ..self }
    }

    /// The app id of this sidecar.
    pub fn app_id(&self) -> &str {
        &self.app_id
    }

    /// The capabilities that the metadata API lists.
    pub fn capabilities(&self) -> &'static [&'static str] {
        self.broker.capabilities()
    }

    /// Begin a subscription to a topic (without prefix); see [`Broker::subscribe`].
    ///
    /// # Errors
    /// If the scopes forbid the topic, or the broker fails.
    pub async fn subscribe(
        &self,
        topic: &str,
        metadata: Metadata,
        sink: Arc<dyn Sink>,
        stop: Stop,
    ) -> Result<BoxFuture<'static, ()>, SubscribeError> {
        if !self.scopes.may_subscribe(topic) {
            return Err(SubscribeError::Forbidden { topic: topic.to_owned(), pubsub: self.name.clone() });
        }
        let request = SubscribeRequest::new(self.with_prefix(topic), &metadata, self.broker.options())?;
        Ok(self.broker.subscribe(request, sink, stop).await?)
    }

    /// Reach the broker once.
    ///
    /// # Errors
    /// As [`Broker::connect`].
    pub async fn connect(&self) -> Result<(), BrokerError> {
        self.broker.connect().await
    }

    /// Close the broker's connections.
    pub async fn close(&self) {
        self.broker.close().await;
    }

    /// A topic as the broker names it: with the namespace prefix.
    pub(super) fn with_prefix(&self, topic: &str) -> String {
        if self.topic_prefix.is_empty() { topic.to_owned() } else { format!("{}{topic}", self.topic_prefix) }
    }
}
