//! Sending to the broker of a component, under its outbound policy.

use bytes::Bytes;
use parking_lot::Mutex;

use crate::broker::BrokerError;
use crate::message::{Metadata, Outgoing, Position};
use crate::pubsub::component::Pubsub;
use crate::resiliency::{CallError, Interruption, Policy};

/// A topic that the scopes of a component allow to publish to.
#[derive(Clone, Copy)]
pub struct Permitted<'a> {
    pubsub: &'a Pubsub,
    topic: &'a str,
}

/// A message without its topic: the payload, and the metadata beside it.
pub type Message = (Bytes, Option<Metadata>);

/// A publish that the scopes of the component forbid.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("topic {topic} is not allowed for app id {app_id}")]
pub struct Forbidden {
    /// The component.
    pub pubsub: String,
    /// The topic without prefix.
    pub topic: String,
    /// This sidecar's app id.
    pub app_id: String,
}

/// A message that was not stored, or not confirmed.
#[derive(Debug, thiserror::Error)]
pub enum SendError {
    /// The broker refused or failed.
    #[error(transparent)]
    Broker(#[from] BrokerError),
    /// The policy did not let it through, or ended the wait for the answer.
    #[error(transparent)]
    Policy(Interruption),
}

impl Pubsub {
    /// The permission to publish to a topic (without prefix): the only way to send.
    ///
    /// # Errors
    /// If the scopes forbid the topic.
    pub fn publishing<'a>(&'a self, topic: &'a str) -> Result<Permitted<'a>, Forbidden> {
        if self.scopes.may_publish(topic) {
            Ok(Permitted { pubsub: self, topic })
        } else {
            Err(Forbidden { pubsub: self.name.clone(), topic: topic.to_owned(), app_id: self.app_id.clone() })
        }
    }
}

impl Permitted<'_> {
    /// Store a message. `Ok` once the broker has confirmed it: where it is kept, if the broker gives positions.
    ///
    /// # Errors
    /// If the broker did not take it, or the component's policy did not let it get that far.
    pub async fn send(self, data: Bytes, metadata: Option<Metadata>) -> Result<Option<Position>, SendError> {
        let outgoing = Outgoing { topic: self.pubsub.with_prefix(self.topic), data, metadata };
        match &self.pubsub.policy {
            None => Ok(self.pubsub.broker.publish(outgoing).await?),
            // Boxed, so that publishing without a policy does not carry the size of this future.
            Some(policy) => Box::pin(self.send_with_policy(policy, outgoing)).await,
        }
    }

    /// Store several messages: one outcome for each, in the same order. Under a policy only those that failed are sent
    /// again (tests/spec/resources-cli.md, "8.4 Execution").
    pub async fn send_all(self, messages: Vec<Message>) -> Vec<Result<Option<Position>, SendError>> {
        let topic = self.pubsub.with_prefix(self.topic);
        let outgoing =
            messages.into_iter().map(|(data, metadata)| Outgoing { topic: topic.clone(), data, metadata }).collect();
        match &self.pubsub.policy {
            None => {
                let sent = self.pubsub.broker.publish_all(outgoing).await.into_iter();
                sent.map(|sent| sent.map_err(Into::into)).collect()
            }
            Some(policy) => Box::pin(self.send_all_with_policy(policy, outgoing)).await,
        }
    }

    async fn send_with_policy(self, policy: &Policy, outgoing: Outgoing) -> Result<Option<Position>, SendError> {
        // No error of a broker has an HTTP status (tests/spec/resources-cli.md, "8.4 Execution"): all are retried.
        let sent = policy.run(|_| None, || self.pubsub.broker.publish(outgoing.clone()));
        sent.await.map_err(|failure| match failure {
            CallError::Failed(error) => SendError::Broker(error),
            CallError::Interrupted(interruption) => SendError::Policy(interruption),
        })
    }

    async fn send_all_with_policy(
        self,
        policy: &Policy,
        outgoing: Vec<Outgoing>,
    ) -> Vec<Result<Option<Position>, SendError>> {
        let unsent = Mutex::new(Unsent::new(outgoing));
        let attempt = || async {
            let messages = unsent.lock().messages();
            let sent = self.pubsub.broker.publish_all(messages).await;
            unsent.lock().record(sent)
        };
        let interruption = match policy.run(|_| None, attempt).await {
            Err(CallError::Interrupted(interruption)) => Some(interruption),
            Ok(()) | Err(CallError::Failed(_)) => None,
        };
        unsent.into_inner().outcomes(interruption)
    }
}

/// The messages of one request between attempts.
struct Unsent(Vec<State>);

/// One message of a request.
enum State {
    /// Not stored yet, with its last failure.
    Waiting(Outgoing, Option<BrokerError>),
    /// Stored, where the broker says.
    Stored(Option<Position>),
}

/// An attempt that did not store all messages.
#[derive(Debug, thiserror::Error)]
#[error("{count} of the events were not published, the first because of: {first}")]
struct SomeFailed {
    count: usize,
    first: String,
}

impl Unsent {
    fn new(messages: Vec<Outgoing>) -> Self {
        Self(messages.into_iter().map(|message| State::Waiting(message, None)).collect())
    }

    /// The messages of the next attempt.
    fn messages(&self) -> Vec<Outgoing> {
        let waiting = self.0.iter().filter_map(|state| match state {
            State::Waiting(message, _) => Some(message.clone()),
            State::Stored(_) => None,
        });
        waiting.collect()
    }

    /// Record the outcomes of an attempt, which are in the order of its messages.
    fn record(&mut self, sent: Vec<Result<Option<Position>, BrokerError>>) -> Result<(), SomeFailed> {
        let mut failed = SomeFailed { count: 0, first: String::new() };
        let waiting = self.0.iter_mut().filter(|state| matches!(state, State::Waiting(..)));
        for (state, sent) in waiting.zip(sent) {
            match (sent, &mut *state) {
                (Ok(position), _) => *state = State::Stored(position),
                (Err(error), State::Waiting(_, failure)) => {
                    if failed.count == 0 {
                        failed.first = error.to_string();
                    }
                    failed.count += 1;
                    *failure = Some(error);
                }
                (Err(_), State::Stored(_)) => {}
            }
        }
        if failed.count == 0 { Ok(()) } else { Err(failed) }
    }

    /// The outcome of each message. An interruption by the policy is the error of all that are not stored.
    fn outcomes(self, interruption: Option<Interruption>) -> Vec<Result<Option<Position>, SendError>> {
        let outcome = |state| match (state, interruption) {
            (State::Stored(position), _) => Ok(position),
            (State::Waiting(..), Some(interruption)) => Err(SendError::Policy(interruption)),
            (State::Waiting(_, Some(error)), None) => Err(SendError::Broker(error)),
            (State::Waiting(_, None), None) => Err(SendError::Policy(Interruption::Timeout)),
        };
        self.0.into_iter().map(outcome).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::broker::BrokerErrorKind;

    /// `attempts`: for each attempt, whether the broker takes each message. `expected`: `ok` or the error of each
    /// message.
    #[track_caller]
    fn check(attempts: &[&[bool]], interruption: Option<Interruption>, expected: &[&str]) {
        let messages = (0..expected.len()).map(|number| Outgoing {
            topic: "t".to_owned(),
            data: Bytes::from(number.to_string()),
            metadata: None,
        });
        let mut unsent = Unsent::new(messages.collect());
        for (number, attempt) in attempts.iter().enumerate() {
            assert_eq!(unsent.messages().len(), attempt.len(), "attempt {number}");
            let sent = attempt.iter().map(|&is_taken| {
                let error = || BrokerError::new(BrokerErrorKind::Rejected, number);
                if is_taken { Ok(None) } else { Err(error()) }
            });
            let recorded = unsent.record(sent.collect());
            assert_eq!(recorded.is_ok(), attempt.iter().all(|&is_taken| is_taken));
        }
        let text = |outcome: Result<_, SendError>| match outcome {
            Ok(_) => "ok".to_owned(),
            Err(error) => error.to_string(),
        };
        let got: Vec<_> = unsent.outcomes(interruption).into_iter().map(text).collect();
        assert_eq!(got, expected);
    }

    #[test]
    fn only_failed_messages_are_sent_again() {
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
