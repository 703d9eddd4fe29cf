//! Events of delivery: the app, its subscriptions, and each event on its way to it (scopes: tests/spec/delivery.md, "B21. Logger
//! scopes").

use std::fmt::Display;

use crate::telemetry::Telemetry;
use crate::telemetry::log::Level;
use crate::telemetry::metrics::Ingress;

const RUNTIME: &str = "dapr.runtime";
const SUBSCRIPTION: &str = "dapr.runtime.processor.subscription";
const HEALTH: &str = "dapr.apphealth";
const HTTP: &str = "dapr.runtime.processor.pubsub.subscription.http";

/// The app.
impl Telemetry {
    /// An event was given to the app once, or could not be.
    pub fn attempt_ended(&self, pubsub: &str, topic: &str, ingress: Ingress) {
        self.0.metrics.delivered(pubsub, topic, ingress);
    }

    /// An event that could not be delivered stands in the dead-letter topic, or comes again.
    pub fn failure_ended(&self, pubsub: &str, topic: &str, ingress: Ingress) {
        self.0.metrics.delivered(pubsub, topic, ingress);
    }

    /// The wait for the app's port begins.
    pub fn waiting_for_app(&self, protocol: &str, port: i32) {
        self.0.log.write(Level::Info, RUNTIME, format_args!("application protocol: {protocol}. waiting on port {port}.  This will block until the app is listening on that port."), &[]);
    }

    /// The app still does not listen.
    pub fn still_waiting_for_app(&self, port: i32) {
        self.0.log.write(Level::Info, RUNTIME, format_args!("waiting for application to listen on port {port}"), &[]);
    }

    /// The app listens.
    pub fn app_discovered(&self, port: i32) {
        self.0.log.write(Level::Info, RUNTIME, format_args!("application discovered on port {port}"), &[]);
    }

    /// The app subscribes to a pub/sub that is not there.
    pub fn pubsub_not_loaded(&self, text: &str) {
        self.0.log.write(Level::Warn, SUBSCRIPTION, format_args!("{text}"), &[]);
    }

    /// `--app-max-concurrency` applies.
    pub fn app_concurrency_limited(&self, limit: usize) {
        self.0.log.write(Level::Info, RUNTIME, format_args!("app max concurrency set to {limit}"), &[]);
    }

    /// The app has answered to `/dapr/config`, whatever.
    pub fn app_configuration_loaded(&self) {
        self.0.log.write(Level::Info, RUNTIME, format_args!("Application configuration loaded"), &[]);
    }

    /// The app speaks another protocol than `--app-protocol` says. Told again while it lasts.
    pub fn app_protocol_misfit(&self, port: i32, advice: &str) {
        self.0.log.write(
            Level::Warn,
            RUNTIME,
            format_args!("the app on port {port} cannot be understood: {advice}"),
            &[],
        );
    }

    /// The probes of the app begin.
    pub fn app_probes_started(&self) {
        self.0.log.write(Level::Info, HEALTH, format_args!("App health probes starting"), &[]);
    }

    /// The app turned healthy.
    pub fn app_healthy(&self) {
        self.0.log.write(Level::Info, HEALTH, format_args!("App entered healthy status"), &[]);
    }

    /// The app turned unhealthy.
    pub fn app_unhealthy(&self, reason: &dyn Display) {
        self.0.log.write(Level::Warn, HEALTH, format_args!("App entered un-healthy status: {reason}"), &[]);
    }

    /// The app answered a success to an event, with a body that is no answer to one (D26). Told once for each route.
    pub fn answer_not_understood(&self, route: &str, what: &str) {
        self.0.log.write(Level::Warn, HTTP, format_args!("the app answers events on route {route} with a success whose body {what}; this counts as SUCCESS and is not said again for this route. An app that wants an event again, or not at all, answers {{\"status\":\"RETRY\"}} or {{\"status\":\"DROP\"}} in UTF-8, or a status that is no 2xx"), &[]);
    }

    /// Metadata of an event cannot be a header of its delivery (D24).
    pub fn metadata_left_out(&self, name: &str) {
        self.0.log.write(
            Level::Warn,
            HTTP,
            format_args!(
                "metadata {name:?} of an event cannot be an HTTP header; such events are delivered without it"
            ),
            &[],
        );
    }
}

/// What is subscribed.
impl Telemetry {
    /// The app is not asked.
    pub fn discovery_skipped(&self) {
        self.0.log.write(
            Level::Warn,
            RUNTIME,
            format_args!("Skipping programmatic subscription loading (see 'disable-init-endpoints' flag/annotation)"),
            &[],
        );
    }

    /// The app answered the question for its subscriptions with nothing, which counts as none.
    pub fn discovery_answer_empty(&self, seen: &str) {
        self.0.log.write(
            Level::Warn,
            RUNTIME,
            format_args!("the app's answer has no list of subscriptions and counts as none{seen}"),
            &[],
        );
    }

    /// The app's answer is of no use; it will be asked again.
    pub fn discovery_failed(&self, error: &dyn Display) {
        self.0.log.write(Level::Error, RUNTIME, format_args!("{error}"), &[]);
    }

    /// What the app subscribes to is not known; it will be asked again.
    pub fn subscribing_failed(&self, error: &dyn Display) {
        self.0.log.write(Level::Warn, RUNTIME, format_args!("failed to subscribe to topics: {error}"), &[]);
    }

    /// The app subscribes to nothing by itself.
    pub fn app_subscribes_to_nothing(&self) {
        self.0.log.write(Level::Debug, RUNTIME, format_args!("user app did not subscribe to any topic"), &[]);
    }

    /// The app subscribes to these topics of a component.
    pub fn app_subscribed(&self, pubsub: &str, topics: &[&str]) {
        self.0.log.write(
            Level::Info,
            RUNTIME,
            format_args!("app is subscribed to the following topics: [[{}]] through pubsub={pubsub}", topics.join(" ")),
            &[],
        );
    }

    /// An entry of the app's list says no route.
    pub fn subscription_without_route(&self, topic: &str) {
        self.0.log.write(
            Level::Warn,
            RUNTIME,
            format_args!("topic {topic} has an empty routes. removing from subscriptions list"),
            &[],
        );
    }

    /// A subscription names no topic.
    pub fn subscription_without_topic(&self, pubsub: &str) {
        self.0.log.write(
            Level::Warn,
            SUBSCRIPTION,
            format_args!("a subscription for pubsub {pubsub} names no topic and is not started"),
            &[("pubsub", &pubsub)],
        );
    }

    /// A subscription did not start at first.
    pub fn subscription_failed(&self, pubsub: &str, topic: &str, error: &dyn Display) {
        self.0.log.write(
            Level::Error,
            SUBSCRIPTION,
            format_args!("Failed to start subscription for pubsub {pubsub}, topic {topic}: {error}"),
            &[("pubsub", &pubsub), ("topic", &topic)],
        );
    }

    /// The subscriptions of a component cannot begin, because its broker is away; said for the first of them.
    pub fn subscriptions_wait(&self, pubsub: &str, error: &dyn Display) {
        self.0.log.write(
            Level::Error,
            SUBSCRIPTION,
            format_args!("Failed to start the subscriptions of pubsub {pubsub}, trying again until it works: {error}"),
            &[("pubsub", &pubsub)],
        );
    }

    /// All subscriptions of a component that was away have begun.
    pub fn subscriptions_begun(&self, pubsub: &str) {
        self.0.log.write(
            Level::Info,
            SUBSCRIPTION,
            format_args!("Successfully started all subscriptions of pubsub {pubsub} after retry: reading again"),
            &[("pubsub", &pubsub)],
        );
    }

    /// A subscription started, not at the first attempt.
    pub fn subscription_started_late(&self, pubsub: &str, topic: &str) {
        self.0.log.write(
            Level::Info,
            SUBSCRIPTION,
            format_args!(
                "Successfully started subscription after retry for pubsub {pubsub}, topic {topic}: reading again"
            ),
            &[("pubsub", &pubsub), ("topic", &topic)],
        );
    }

    /// A rule asks for a variable that does not exist. Its subscription runs: the rule may never be reached, or not need the value.
    pub fn rule_asks_for_nothing(&self, subscription: &str, said: &str) {
        self.0.log.write(Level::Warn, SUBSCRIPTION, format_args!("{subscription}: {said}; an event for which the rule needs the value cannot be routed and fails, and later rules are not tried"), &[]);
    }

    /// Subscriptions have a dead-letter topic and no retry policy (D25).
    pub fn first_failure_dead_letters(&self, topics: &[&str]) {
        self.0.log.write(Level::Info, SUBSCRIPTION, format_args!("the first failure moves an event to the dead-letter topic for topics [{}], as there is no retry policy; to retry before, write a Resiliency with spec.policies.retries and name the policy in spec.targets.components.<pubsub>.inbound.retry", topics.join(" ")), &[]);
    }
}

/// An event on its way.
impl Telemetry {
    /// `rawPayload` of a subscription is no boolean.
    pub fn raw_flag_invalid(&self, error: &dyn Display) {
        self.0.log.write(Level::Error, SUBSCRIPTION, format_args!("error deserializing pubsub metadata: {error}"), &[]);
    }

    /// A payload is no event.
    pub fn event_undecodable(&self, pubsub: &str, topic: &str, error: &dyn Display) {
        self.0.log.write(
            Level::Error,
            SUBSCRIPTION,
            format_args!("error deserializing cloud event in pubsub {pubsub} and topic {topic}: {error}"),
            &[],
        );
    }

    /// An event is too old.
    pub fn event_expired(&self, pubsub: &str, topic: &str, id: &str, expiration: &str) {
        self.0.metrics.delivered(pubsub, topic, Ingress::Drop);
        self.0.log.write(
            Level::Warn,
            SUBSCRIPTION,
            format_args!("dropping expired pub/sub event {id} as of {expiration}"),
            &[("pubsub", &pubsub), ("topic", &topic)],
        );
    }

    /// No rule takes an event.
    pub fn event_without_route(&self, pubsub: &str, topic: &str, id: &str) {
        self.0.metrics.delivered(pubsub, topic, Ingress::DropWithSuccess);
        self.0.log.write(
            Level::Debug,
            SUBSCRIPTION,
            format_args!("no matching route for event {id} in pubsub {pubsub} and topic {topic}; skipping"),
            &[],
        );
    }

    /// A rule has no answer for an event.
    pub fn routing_failed(&self, pubsub: &str, topic: &str, id: &str, error: &dyn Display) {
        self.0.log.write(
            Level::Error,
            SUBSCRIPTION,
            format_args!("error finding matching route for event {id} in pubsub {pubsub} and topic {topic}: {error}"),
            &[],
        );
    }

    /// The app answered `DROP`.
    pub fn event_dropped(&self, topic: &str, id: &str) {
        self.0.log.write(
            Level::Warn,
            HTTP,
            format_args!("DROP status returned from app while processing pub/sub event {id}"),
            &[("topic", &topic)],
        );
    }

    /// The app answered 404.
    pub fn event_refused(&self, topic: &str, id: &str, answer: &dyn Display) {
        self.0.log.write(
            Level::Error,
            HTTP,
            format_args!("non-retriable error returned from app while processing pub/sub event {id}: {answer}"),
            &[("topic", &topic)],
        );
    }

    /// The app answered `RETRY`.
    pub fn retry_wanted(&self, topic: &str, id: &str) {
        self.0.log.write(
            Level::Warn,
            SUBSCRIPTION,
            format_args!(
                "encountered a retriable error while publishing a subscribed message to topic {topic}, err: <nil>"
            ),
            &[("id", &id)],
        );
    }

    /// The app answered a status that does not exist.
    pub fn status_unknown(&self, topic: &str, id: &str, status: &str) {
        self.0.log.write(Level::Warn, SUBSCRIPTION, format_args!("encountered a retriable error while publishing a subscribed message to topic {topic}, err: unknown status returned from app while processing pub/sub event {id}, status: {status}, err: retriable error occurred"), &[]);
    }

    /// The app answered an HTTP status that is no success.
    pub fn delivery_refused(&self, topic: &str, id: &str, answer: &dyn Display) {
        self.0.log.write(
            Level::Warn,
            HTTP,
            format_args!(
                "retriable error returned from app while processing pub/sub event {id}, topic: {topic}, body: {answer}"
            ),
            &[],
        );
    }

    /// The app did not answer.
    pub fn delivery_unanswered(&self, topic: &str, id: &str, error: &str) {
        self.0.log.write(Level::Warn, SUBSCRIPTION, format_args!("encountered a retriable error while publishing a subscribed message to topic {topic}, err: error returned from app channel while sending pub/sub event to app: retriable error occurred: {error}"), &[("id", &id)]);
    }

    /// One of several payloads is no event.
    pub fn bulk_event_undecodable(&self, pubsub: &str, topic: &str, error: &dyn Display) {
        self.0.log.write(Level::Error, SUBSCRIPTION, format_args!("error deserializing one of the messages in bulk cloud event in pubsub {pubsub} and topic {topic}: {error}"), &[]);
    }

    /// No rule takes one of several events.
    pub fn bulk_event_without_route(&self, pubsub: &str, topic: &str) {
        self.0.log.write(
            Level::Warn,
            SUBSCRIPTION,
            format_args!("No matching route for event in pubsub {pubsub} and topic {topic}; skipping"),
            &[],
        );
    }

    /// The app's answer to several events mentions one that it was not given.
    pub fn bulk_entry_id_unknown(&self, id: &str) {
        self.0.log.write(
            Level::Warn,
            HTTP,
            format_args!("Invalid entry id received from app while processing pub/sub event {id}"),
            &[],
        );
    }

    /// The app answered 404 to several events.
    pub fn bulk_refused(&self, topic: &str) {
        self.0.log.write(
            Level::Error,
            HTTP,
            format_args!(
                "Non-retriable error returned from app while processing bulk pub/sub event. status code returned: 404"
            ),
            &[("topic", &topic)],
        );
    }

    /// The app answered an HTTP status to several events that is no success.
    pub fn bulk_delivery_refused(&self, topic: &str, code: u16) {
        self.0.log.write(Level::Warn, HTTP, format_args!("Retriable error returned from app while processing bulk pub/sub event, topic: {topic}. status code returned: {code}"), &[]);
    }

    /// Of several events these many were not delivered; `error` is that of the first.
    pub fn bulk_failed(&self, topic: &str, failed: usize, all: usize, error: &dyn Display) {
        self.0.log.write(Level::Warn, SUBSCRIPTION, format_args!("encountered a retriable error while publishing a subscribed message to topic {topic}, err: few message(s) have failed during bulk subscribe operation: {failed} of {all}, the first: {error}"), &[]);
    }

    /// An event is acknowledged without having been delivered, and there is no dead-letter topic for it (D4).
    pub fn event_given_up(&self, pubsub: &str, topic: &str, reason: &str) {
        self.0.log.write(
            Level::Info,
            SUBSCRIPTION,
            format_args!("event acknowledged without delivery: {reason}"),
            &[("pubsub", &pubsub), ("topic", &topic)],
        );
    }

    /// An event stands in the dead-letter topic.
    pub fn event_dead_lettered(&self, pubsub: &str, topic: &str, dead_letter_topic: &str, reason: &str) {
        self.0.log.write(
            Level::Debug,
            SUBSCRIPTION,
            format_args!("event moved to dead letter topic {dead_letter_topic}: {reason}"),
            &[("pubsub", &pubsub), ("topic", &topic)],
        );
    }

    /// The same of an event without metadata, whose letter has none either: only this line says why it was moved.
    pub fn bare_event_dead_lettered(
        &self,
        pubsub: &str,
        topic: &str,
        dead_letter_topic: &str,
        reason: &str,
        detail: &str,
    ) {
        self.0.log.write(
            Level::Info,
            SUBSCRIPTION,
            format_args!("event without metadata moved to dead letter topic {dead_letter_topic}: {reason}: {detail}"),
            &[("pubsub", &pubsub), ("topic", &topic)],
        );
    }

    /// The dead letter could not be written; the event comes again.
    pub fn dead_letter_failed(&self, topic: &str, dead_letter_topic: &str, error: &dyn Display) {
        self.0.log.write(Level::Error, SUBSCRIPTION, format_args!("error sending message to dead letter, origin topic: {topic} dead letter topic {dead_letter_topic} err: {error}"), &[]);
    }
}
