//! Named pub/subs: a broker with the rules of its component around it, and the catalog of all of them.
//!
//! Both paths send through [`Pubsub::send`], so that a dead letter obeys the same scopes and namespace as a publish.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use parking_lot::{Mutex, RwLock};

use crate::broker::{Broker, BrokerError, Sink, SubscribeRequest};
use crate::message::{Metadata, Outgoing};
use crate::metadata::Properties;
use crate::resiliency::{Failure, Interruption, Policy};
use crate::scopes::Scopes;
use crate::shutdown::Stop;

/// One pub/sub component at work.
pub struct Pubsub {
    /// The component's name.
    pub name: String,
    /// `spec.type` as written.
    pub kind: String,
    /// `spec.version` as written.
    pub version: String,
    broker: Arc<dyn Broker>,
    scopes: Scopes,
    app_id: String,
    /// Put before every topic on the broker (tests/spec/resources-cli.md, "13.4 Namespace summary"); empty if the
    /// component is not namespace scoped.
    topic_prefix: String,
    /// What every publish goes through; `None` is one attempt without limit.
    policy: Option<Policy>,
}

/// Why an event could not be sent.
#[derive(Debug, thiserror::Error)]
pub enum SendError {
    /// The scopes of the component forbid it.
    #[error("topic {topic} is not allowed for app id {app_id}")]
    Forbidden {
        /// The topic without prefix.
        topic: String,
        /// This sidecar's app id.
        app_id: String,
    },
    /// The broker did not take it.
    #[error(transparent)]
    Broker(#[from] BrokerError),
    /// The broker was not asked, or had no time to answer.
    #[error(transparent)]
    Policy(Interruption),
}

/// Why a topic could not be subscribed.
#[derive(Debug, thiserror::Error)]
pub enum SubscribeError {
    /// The scopes of the component forbid it; trying again does not help.
    #[error("subscription to topic '{topic}' on pubsub '{pubsub}' is not allowed")]
    Forbidden {
        /// The topic without prefix.
        topic: String,
        /// The component.
        pubsub: String,
    },
    /// The broker could not.
    #[error(transparent)]
    Broker(#[from] BrokerError),
}

impl Pubsub {
    /// A pub/sub around a broker. `topic_prefix` is empty unless the component is namespace scoped.
    pub fn new(
        identity: Identity,
        broker: Arc<dyn Broker>,
        properties: &Properties,
        app_id: &str,
        topic_prefix: &str,
    ) -> Self {
        Self {
            name: identity.name,
            kind: identity.kind,
            version: identity.version,
            scopes: Scopes::of(properties, app_id),
            broker,
            app_id: app_id.to_owned(),
            topic_prefix: topic_prefix.to_owned(),
            policy: None,
        }
    }

    /// The same with an outbound policy for what is sent.
    #[must_use]
    pub fn under(self, policy: Option<Policy>) -> Self {
        Self { policy, ..self }
    }

    /// The same broker and rules under another outbound policy.
    #[must_use]
    pub fn repoliced(&self, policy: Option<Policy>) -> Self {
        Self {
            name: self.name.clone(),
            kind: self.kind.clone(),
            version: self.version.clone(),
            broker: self.broker.clone(),
            scopes: self.scopes.clone(),
            app_id: self.app_id.clone(),
            topic_prefix: self.topic_prefix.clone(),
            policy,
        }
    }

    /// The app id of this sidecar.
    pub fn app_id(&self) -> &str {
        &self.app_id
    }

    /// What the metadata API lists as capabilities.
    pub fn capabilities(&self) -> &'static [&'static str] {
        self.broker.capabilities()
    }

    /// Is this app allowed to publish to the topic?
    ///
    /// # Errors
    /// [`SendError::Forbidden`] if not.
    pub fn check_publish(&self, topic: &str) -> Result<(), SendError> {
        if self.scopes.may_publish(topic) {
            Ok(())
        } else {
            Err(SendError::Forbidden { topic: topic.to_owned(), app_id: self.app_id.clone() })
        }
    }

    /// Store an event under a topic (without prefix). `Ok` once the broker has confirmed it.
    ///
    /// # Errors
    /// If the scopes forbid the topic, or the broker did not take it, or the component's policy did not let it get that far.
    pub async fn send(&self, topic: &str, data: Bytes, metadata: Option<Metadata>) -> Result<(), SendError> {
        self.check_publish(topic)?;
        let outgoing = Outgoing { topic: self.on_broker(topic), data, metadata };
        match &self.policy {
            None => Ok(self.broker.publish(outgoing).await?),
            // On the heap: those who publish without policy do not carry the room for it.
            Some(policy) => Box::pin(self.send_under(policy, outgoing)).await,
        }
    }

    /// Store several events under a topic (without prefix): as many outcomes in the same order. Under a policy only
    /// those that failed are sent again (tests/spec/resources-cli.md, "8.4 Execution").
    pub async fn send_all(&self, topic: &str, events: Vec<Event>) -> Vec<Result<(), SendError>> {
        if let Err(SendError::Forbidden { topic, app_id }) = self.check_publish(topic) {
            let forbidden = || SendError::Forbidden { topic: topic.clone(), app_id: app_id.clone() };
            return events.iter().map(|_| Err(forbidden())).collect();
        }
        let topic = self.on_broker(topic);
        let outgoing =
            events.into_iter().map(|(data, metadata)| Outgoing { topic: topic.clone(), data, metadata }).collect();
        match &self.policy {
            None => {
                let sent = self.broker.publish_all(outgoing).await.into_iter();
                sent.map(|sent| sent.map_err(Into::into)).collect()
            }
            Some(policy) => Box::pin(self.send_all_under(policy, outgoing)).await,
        }
    }

    async fn send_all_under(&self, policy: &Policy, outgoing: Vec<Outgoing>) -> Vec<Result<(), SendError>> {
        let left = Mutex::new(Left::of(outgoing));
        let lock = || left.lock();
        let attempt = || async {
            let messages = lock().messages();
            let sent = self.broker.publish_all(messages).await;
            lock().note(sent)
        };
        let interruption = match policy.run(|_| None, attempt).await {
            Err(Failure::Policy(interruption)) => Some(interruption),
            Ok(()) | Err(Failure::Call(_)) => None,
        };
        let left = left.into_inner();
        left.outcomes(interruption)
    }

    async fn send_under(&self, policy: &Policy, outgoing: Outgoing) -> Result<(), SendError> {
        // No error of a broker has an HTTP status (tests/spec/resources-cli.md, "8.4 Execution"): all are retried.
        let sent = policy.run(|_| None, || self.broker.publish(outgoing.clone()));
        sent.await.map_err(|failure| match failure {
            Failure::Call(error) => SendError::Broker(error),
            Failure::Policy(interruption) => SendError::Policy(interruption),
        })
    }

    /// Begin a subscription to a topic (without prefix); see [`Broker::subscribe`].
    ///
    /// # Errors
    /// If the scopes forbid the topic, or the broker could not.
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
        let request = SubscribeRequest { topic: self.on_broker(topic), metadata };
        Ok(self.broker.subscribe(request, sink, stop).await?)
    }

    /// A topic of the broker as apps know it: without the namespace prefix.
    pub fn off_broker<'a>(&self, topic: &'a str) -> &'a str {
        topic.strip_prefix(self.topic_prefix.as_str()).unwrap_or(topic)
    }

    /// Reach the broker once.
    ///
    /// # Errors
    /// As [`Broker::connect`].
    pub async fn connect(&self) -> Result<(), BrokerError> {
        self.broker.connect().await
    }

    /// Let go of the broker.
    pub async fn close(&self) {
        self.broker.close().await;
    }

    fn on_broker(&self, topic: &str) -> String {
        if self.topic_prefix.is_empty() { topic.to_owned() } else { format!("{}{topic}", self.topic_prefix) }
    }
}

/// The payload of an event and the metadata beside it.
pub type Event = (Bytes, Option<Metadata>);

/// The messages of one request, until the broker has all of them.
struct Left {
    /// `None`: the broker has it.
    messages: Vec<Option<Outgoing>>,
    /// What became of each in the last attempt.
    failures: Vec<Option<BrokerError>>,
}

/// Not all messages of an attempt were taken.
#[derive(Debug, thiserror::Error)]
#[error("{count} of the events were not published, the first because of: {first}")]
struct SomeFailed {
    count: usize,
    first: String,
}

impl Left {
    fn of(messages: Vec<Outgoing>) -> Self {
        Self { failures: messages.iter().map(|_| None).collect(), messages: messages.into_iter().map(Some).collect() }
    }

    fn messages(&self) -> Vec<Outgoing> {
        self.messages.iter().flatten().cloned().collect()
    }

    /// What became of the messages of an attempt, in their order.
    fn note(&mut self, sent: Vec<Result<(), BrokerError>>) -> Result<(), SomeFailed> {
        let mut failed = SomeFailed { count: 0, first: String::new() };
        let places = self.messages.iter_mut().zip(&mut self.failures);
        for ((message, failure), sent) in places.filter(|(message, _)| message.is_some()).zip(sent) {
            match sent {
                Ok(()) => *message = None,
                Err(error) => {
                    if failed.count == 0 {
                        failed.first = error.to_string();
                    }
                    failed.count += 1;
                    *failure = Some(error);
                }
            }
        }
        if failed.count == 0 { Ok(()) } else { Err(failed) }
    }

    /// What became of all of them; a policy that interrupted it did so to all that were left.
    fn outcomes(self, interruption: Option<Interruption>) -> Vec<Result<(), SendError>> {
        let places = self.messages.into_iter().zip(self.failures);
        places
            .map(|(message, failure)| match (message, interruption, failure) {
                (None, _, _) => Ok(()),
                (Some(_), Some(interruption), _) => Err(SendError::Policy(interruption)),
                (Some(_), None, Some(error)) => Err(SendError::Broker(error)),
                (Some(_), None, None) => Err(SendError::Policy(Interruption::Timeout)),
            })
            .collect()
    }
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

/// All pub/subs of a sidecar by name. Clones are handles to the same.
#[derive(Clone, Default)]
pub struct Catalog(Arc<RwLock<BTreeMap<String, Arc<Pubsub>>>>);

impl Catalog {
    /// The pub/sub of this name.
    pub fn get(&self, name: &str) -> Option<Arc<Pubsub>> {
        self.0.read().get(name).cloned()
    }

    /// Add one, in place of one of the same name.
    pub fn insert(&self, pubsub: Arc<Pubsub>) {
        self.0.write().insert(pubsub.name.clone(), pubsub);
    }

    /// Take one out.
    pub fn remove(&self, name: &str) -> Option<Arc<Pubsub>> {
        self.0.write().remove(name)
    }

    /// All of them, by name.
    pub fn all(&self) -> Vec<Arc<Pubsub>> {
        self.0.read().values().cloned().collect()
    }

    /// Is there none?
    pub fn is_empty(&self) -> bool {
        self.0.read().is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::broker::BrokerErrorKind;

    /// What the broker says to each message of an attempt, attempt by attempt; then the outcomes: `ok`, or the error.
    #[track_caller]
    fn check(attempts: &[&[bool]], interruption: Option<Interruption>, expected: &[&str]) {
        let messages = (0..expected.len()).map(|number| Outgoing {
            topic: "t".to_owned(),
            data: Bytes::from(number.to_string()),
            metadata: None,
        });
        let mut left = Left::of(messages.collect());
        for (number, attempt) in attempts.iter().enumerate() {
            assert_eq!(left.messages().len(), attempt.len(), "attempt {number}");
            let sent = attempt.iter().map(|&is_taken| {
                let error = || BrokerError::new(BrokerErrorKind::Rejected, number);
                if is_taken { Ok(()) } else { Err(error()) }
            });
            let noted = left.note(sent.collect());
            assert_eq!(noted.is_ok(), attempt.iter().all(|&is_taken| is_taken));
        }
        let text = |outcome: Result<(), SendError>| match outcome {
            Ok(()) => "ok".to_owned(),
            Err(error) => error.to_string(),
        };
        let got: Vec<_> = left.outcomes(interruption).into_iter().map(text).collect();
        assert_eq!(got, expected);
    }

    #[test]
    fn only_what_failed_is_sent_again() {
        check(&[&[true, true]], None, &["ok", "ok"]);
        check(&[&[false, true, false], &[false, true]], None, &["1", "ok", "ok"]);
        check(&[&[false, true], &[true]], None, &["ok", "ok"]);
        check(&[], None, &[]);
    }

    #[test]
    fn an_interruption_is_that_of_all_that_are_left() {
        let timeout = "context deadline exceeded";
        check(&[&[false, true]], Some(Interruption::Timeout), &[timeout, "ok"]);
        check(&[], Some(Interruption::Open), &["circuit breaker is open"; 2]);
    }
}
