//! The app as a whole: its port, its health, its protocol, and its answers about subscriptions.

use std::fmt::Display;

use crate::telemetry::event::Event;
use crate::telemetry::log::{Level, Log};

const RUNTIME: &str = "dapr.runtime";
const HEALTH: &str = "dapr.apphealth";
const HTTP: &str = "dapr.runtime.processor.pubsub.subscription.http";

/// The wait for the app's port begins.
pub struct WaitingForApp<'a> {
    /// The name of `--app-protocol`.
    pub protocol: &'a str,
    /// The app's port.
    pub port: i32,
}

impl Event for WaitingForApp<'_> {
    fn log(&self, log: &Log) {
        let Self { protocol, port } = self;
        log.write(Level::Info, RUNTIME, format_args!("application protocol: {protocol}. waiting on port {port}.  This will block until the app is listening on that port."), &[]);
    }
}

/// The app still does not listen.
pub struct StillWaitingForApp {
    /// The app's port.
    pub port: i32,
}

impl Event for StillWaitingForApp {
    fn log(&self, log: &Log) {
        let port = self.port;
        log.write(Level::Info, RUNTIME, format_args!("waiting for application to listen on port {port}"), &[]);
    }
}

/// The app listens.
pub struct AppDiscovered {
    /// The app's port.
    pub port: i32,
}

impl Event for AppDiscovered {
    fn log(&self, log: &Log) {
        let port = self.port;
        log.write(Level::Info, RUNTIME, format_args!("application discovered on port {port}"), &[]);
    }
}

/// `--app-max-concurrency` applies.
pub struct AppConcurrencyLimited {
    /// Requests to the app at a time.
    pub limit: usize,
}

impl Event for AppConcurrencyLimited {
    fn log(&self, log: &Log) {
        log.write(Level::Info, RUNTIME, format_args!("app max concurrency set to {}", self.limit), &[]);
    }
}

/// The app has answered `GET /dapr/config`, with whatever status.
pub struct AppConfigurationLoaded;

impl Event for AppConfigurationLoaded {
    fn log(&self, log: &Log) {
        log.write(Level::Info, RUNTIME, format_args!("Application configuration loaded"), &[]);
    }
}

/// The app speaks another protocol than `--app-protocol` says. Reported again while this lasts.
pub struct AppProtocolMismatch<'a> {
    /// The app's port.
    pub port: i32,
    /// What it seems to speak, and what to do.
    pub advice: &'a str,
}

impl Event for AppProtocolMismatch<'_> {
    fn log(&self, log: &Log) {
        let Self { port, advice } = self;
        log.write(Level::Warn, RUNTIME, format_args!("the app on port {port} cannot be understood: {advice}"), &[]);
    }
}

/// The probes of the app begin.
pub struct AppProbesStarted;

impl Event for AppProbesStarted {
    fn log(&self, log: &Log) {
        log.write(Level::Info, HEALTH, format_args!("App health probes starting"), &[]);
    }
}

/// The app turned healthy.
pub struct AppHealthy;

impl Event for AppHealthy {
    fn log(&self, log: &Log) {
        log.write(Level::Info, HEALTH, format_args!("App entered healthy status"), &[]);
    }
}

/// The app turned unhealthy.
pub struct AppUnhealthy<'a> {
    /// The result of the last probe.
    pub reason: &'a dyn Display,
}

impl Event for AppUnhealthy<'_> {
    fn log(&self, log: &Log) {
        log.write(Level::Warn, HEALTH, format_args!("App entered un-healthy status: {}", self.reason), &[]);
    }
}

/// The app answered an event with a success whose body is no answer to an event (D26). Reported once for each route.
pub struct AnswerNotUnderstood<'a> {
    /// The route of the app.
    pub route: &'a str,
    /// What the body is, in words that follow "the body".
    pub problem: &'a str,
}

impl Event for AnswerNotUnderstood<'_> {
    fn log(&self, log: &Log) {
        let Self { route, problem } = self;
        log.write(Level::Warn, HTTP, format_args!("the app answers events on route {route} with a success whose body {problem}; this counts as SUCCESS and is not said again for this route. An app that wants an event again, or not at all, answers {{\"status\":\"RETRY\"}} or {{\"status\":\"DROP\"}} in UTF-8, or a status that is no 2xx"), &[]);
    }
}

/// Metadata of an event cannot be a header of its delivery (D24). Reported once for each name.
pub struct MetadataLeftOut<'a> {
    /// The key of the metadata.
    pub name: &'a str,
}

impl Event for MetadataLeftOut<'_> {
    fn log(&self, log: &Log) {
        let name = self.name;
        log.write(
            Level::Warn,
            HTTP,
            format_args!(
                "metadata {name:?} of an event cannot be an HTTP header; such events are delivered without it"
            ),
            &[],
        );
    }
}

/// The app's answer to several events mentions an entry that was not in the request.
pub struct BulkEntryIdUnknown<'a> {
    /// The id in the answer.
    pub id: &'a str,
}

impl Event for BulkEntryIdUnknown<'_> {
    fn log(&self, log: &Log) {
        let id = self.id;
        log.write(
            Level::Warn,
            HTTP,
            format_args!("Invalid entry id received from app while processing pub/sub event {id}"),
            &[],
        );
    }
}

/// The app is not asked for its subscriptions.
pub struct DiscoverySkipped;

impl Event for DiscoverySkipped {
    fn log(&self, log: &Log) {
        log.write(
            Level::Warn,
            RUNTIME,
            format_args!("Skipping programmatic subscription loading (see 'disable-init-endpoints' flag/annotation)"),
            &[],
        );
    }
}

/// The app answered the question for its subscriptions with nothing, which counts as none.
pub struct DiscoveryAnswerEmpty<'a> {
    /// A description of the answer, in brackets.
    pub answer: &'a str,
}

impl Event for DiscoveryAnswerEmpty<'_> {
    fn log(&self, log: &Log) {
        let answer = self.answer;
        log.write(
            Level::Warn,
            RUNTIME,
            format_args!("the app's answer has no list of subscriptions and counts as none{answer}"),
            &[],
        );
    }
}

/// The app's answer is of no use; it will be asked again.
pub struct DiscoveryFailed<'a> {
    /// The error, with a description of the answer.
    pub error: &'a dyn Display,
}

impl Event for DiscoveryFailed<'_> {
    fn log(&self, log: &Log) {
        log.write(Level::Error, RUNTIME, format_args!("{}", self.error), &[]);
    }
}

/// The app's subscriptions are not known; it will be asked again.
pub struct SubscribingFailed<'a> {
    /// The reason.
    pub error: &'a dyn Display,
}

impl Event for SubscribingFailed<'_> {
    fn log(&self, log: &Log) {
        log.write(Level::Warn, RUNTIME, format_args!("failed to subscribe to topics: {}", self.error), &[]);
    }
}

/// The app's list of subscriptions is empty.
pub struct AppSubscribesToNothing;

impl Event for AppSubscribesToNothing {
    fn log(&self, log: &Log) {
        log.write(Level::Debug, RUNTIME, format_args!("user app did not subscribe to any topic"), &[]);
    }
}

/// An entry of the app's list has no route.
pub struct SubscriptionWithoutRoute<'a> {
    /// The topic of the entry.
    pub topic: &'a str,
}

impl Event for SubscriptionWithoutRoute<'_> {
    fn log(&self, log: &Log) {
        let topic = self.topic;
        log.write(
            Level::Warn,
            RUNTIME,
            format_args!("topic {topic} has an empty routes. removing from subscriptions list"),
            &[],
        );
    }
}
