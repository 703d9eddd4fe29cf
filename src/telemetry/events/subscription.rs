//! The subscriptions of a sidecar: which there are, and whether they have begun.

use std::fmt::Display;

use crate::telemetry::event::Event;
use crate::telemetry::log::{Level, Log};

const RUNTIME: &str = "dapr.runtime";
const SUBSCRIPTION: &str = "dapr.runtime.processor.subscription";

/// The app subscribes to these topics of a component.
pub struct AppSubscribed<'a> {
    /// The component.
    pub pubsub: &'a str,
    /// The topics, without namespace prefix.
    pub topics: &'a [&'a str],
}

impl Event for AppSubscribed<'_> {
    fn log(&self, log: &Log) {
        let (pubsub, topics) = (self.pubsub, self.topics.join(" "));
        log.write(
            Level::Info,
            RUNTIME,
            format_args!("app is subscribed to the following topics: [[{topics}]] through pubsub={pubsub}"),
            &[],
        );
    }
}

/// The app subscribes to a component that does not exist.
pub struct PubsubNotLoaded<'a> {
    /// The topics concerned, and what to do.
    pub advice: &'a str,
}

impl Event for PubsubNotLoaded<'_> {
    fn log(&self, log: &Log) {
        log.write(Level::Warn, SUBSCRIPTION, format_args!("{}", self.advice), &[]);
    }
}

/// A subscription has no topic.
pub struct SubscriptionWithoutTopic<'a> {
    /// The component.
    pub pubsub: &'a str,
}

impl Event for SubscriptionWithoutTopic<'_> {
    fn log(&self, log: &Log) {
        let pubsub = self.pubsub;
        log.write(
            Level::Warn,
            SUBSCRIPTION,
            format_args!("a subscription for pubsub {pubsub} names no topic and is not started"),
            &[("pubsub", &pubsub)],
        );
    }
}

/// A subscription did not start.
pub struct SubscriptionFailed<'a> {
    /// The component.
    pub pubsub: &'a str,
    /// The topic, without namespace prefix.
    pub topic: &'a str,
    /// The reason.
    pub error: &'a dyn Display,
}

impl Event for SubscriptionFailed<'_> {
    fn log(&self, log: &Log) {
        let Self { pubsub, topic, error } = self;
        log.write(
            Level::Error,
            SUBSCRIPTION,
            format_args!("Failed to start subscription for pubsub {pubsub}, topic {topic}: {error}"),
            &[("pubsub", pubsub), ("topic", topic)],
        );
    }
}

/// The subscriptions of a component cannot start, because its broker is unreachable; reported for the first of them.
pub struct SubscriptionsWaiting<'a> {
    /// The component.
    pub pubsub: &'a str,
    /// The reason.
    pub error: &'a dyn Display,
}

impl Event for SubscriptionsWaiting<'_> {
    fn log(&self, log: &Log) {
        let Self { pubsub, error } = self;
        log.write(
            Level::Error,
            SUBSCRIPTION,
            format_args!("Failed to start the subscriptions of pubsub {pubsub}, trying again until it works: {error}"),
            &[("pubsub", pubsub)],
        );
    }
}

/// All subscriptions of a component whose broker was unreachable have started.
pub struct SubscriptionsStarted<'a> {
    /// The component.
    pub pubsub: &'a str,
}

impl Event for SubscriptionsStarted<'_> {
    fn log(&self, log: &Log) {
        let pubsub = self.pubsub;
        log.write(
            Level::Info,
            SUBSCRIPTION,
            format_args!("Successfully started all subscriptions of pubsub {pubsub} after retry: reading again"),
            &[("pubsub", &pubsub)],
        );
    }
}

/// A subscription started after failed attempts.
pub struct SubscriptionStartedLate<'a> {
    /// The component.
    pub pubsub: &'a str,
    /// The topic, without namespace prefix.
    pub topic: &'a str,
}

impl Event for SubscriptionStartedLate<'_> {
    fn log(&self, log: &Log) {
        let Self { pubsub, topic } = self;
        log.write(
            Level::Info,
            SUBSCRIPTION,
            format_args!(
                "Successfully started subscription after retry for pubsub {pubsub}, topic {topic}: reading again"
            ),
            &[("pubsub", pubsub), ("topic", topic)],
        );
    }
}

/// A rule asks for a variable that does not exist. The subscription starts all the same: the rule may never be reached,
/// or not need the value.
pub struct RuleVariableUnknown<'a> {
    /// The subscription in words.
    pub subscription: &'a str,
    /// The rule and the variable.
    pub problem: &'a str,
}

impl Event for RuleVariableUnknown<'_> {
    fn log(&self, log: &Log) {
        let Self { subscription, problem } = self;
        log.write(Level::Warn, SUBSCRIPTION, format_args!("{subscription}: {problem}; an event for which the rule needs the value cannot be routed and fails, and later rules are not tried"), &[]);
    }
}

/// Subscriptions have a dead-letter topic and no retry policy (D25).
pub struct FirstFailureDeadLetters<'a> {
    /// Their topics.
    pub topics: &'a [&'a str],
}

impl Event for FirstFailureDeadLetters<'_> {
    fn log(&self, log: &Log) {
        log.write(Level::Info, SUBSCRIPTION, format_args!("the first failure moves an event to the dead-letter topic for topics [{}], as there is no retry policy; to retry before, write a Resiliency with spec.policies.retries and name the policy in spec.targets.components.<pubsub>.inbound.retry", self.topics.join(" ")), &[]);
    }
}

/// `rawPayload` of a subscription is no boolean, so that its events fail.
pub struct RawFlagInvalid<'a> {
    /// The component.
    pub pubsub: &'a str,
    /// The topic, without namespace prefix.
    pub topic: &'a str,
    /// The value and what it should be.
    pub error: &'a dyn Display,
}

impl Event for RawFlagInvalid<'_> {
    fn log(&self, log: &Log) {
        log.write(Level::Error, SUBSCRIPTION, format_args!("error deserializing pubsub metadata: {}", self.error), &[]);
    }
}
