//! An event on its way to the app: prepared, attempted, settled (tests/spec/delivery.md, "B19. Metrics (Prometheus
//! names)", "B21. Logger scopes").

use std::borrow::Cow;
use std::fmt::{self, Display};
use std::time::Duration;

use crate::message::EventRef;
use crate::telemetry::event::Event;
use crate::telemetry::log::{Level, Log};
use crate::telemetry::metrics::{Ingress, Metrics};

const SUBSCRIPTION: &str = "dapr.runtime.processor.subscription";
const HTTP: &str = "dapr.runtime.processor.pubsub.subscription.http";

/// Whether each event goes to the app by itself, or several go in one request. Some log lines of daprd depend on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeliveryMode {
    /// One event in a request.
    Single,
    /// Several events in a request.
    Bulk,
}

/// A stored payload is no event.
pub struct Undecodable<'a> {
    /// The event, without id.
    pub event: EventRef<'a>,
    /// How events are delivered.
    pub mode: DeliveryMode,
    /// What is wrong with the payload.
    pub error: &'a dyn Display,
}

impl Event for Undecodable<'_> {
    fn log(&self, log: &Log) {
        let (EventRef { pubsub, topic, .. }, error) = (self.event, self.error);
        let what = match self.mode {
            DeliveryMode::Single => "cloud event",
            DeliveryMode::Bulk => "one of the messages in bulk cloud event",
        };
        log.write(
            Level::Error,
            SUBSCRIPTION,
            format_args!("error deserializing {what} in pubsub {pubsub} and topic {topic}: {error}"),
            &[],
        );
    }
}

/// An event is too old to be delivered.
pub struct Expired<'a> {
    /// The event.
    pub event: EventRef<'a>,
    /// Its attribute `expiration`.
    pub expiration: &'a str,
}

impl Event for Expired<'_> {
    fn log(&self, log: &Log) {
        let (EventRef { pubsub, topic, .. }, id, expiration) = (self.event, id(&self.event), self.expiration);
        log.write(
            Level::Warn,
            SUBSCRIPTION,
            format_args!("dropping expired pub/sub event {id} as of {expiration}"),
            &[("pubsub", &pubsub), ("topic", &topic)],
        );
    }

    fn count(&self, metrics: &Metrics) {
        metrics.delivered(self.event.pubsub, self.event.topic, Ingress::Drop);
    }
}

/// No rule takes an event, and there is no default route. In a bulk subscription that is not counted, as in daprd.
pub struct Unrouted<'a> {
    /// The event.
    pub event: EventRef<'a>,
    /// How events are delivered.
    pub mode: DeliveryMode,
}

impl Event for Unrouted<'_> {
    fn log(&self, log: &Log) {
        let (EventRef { pubsub, topic, .. }, id) = (self.event, id(&self.event));
        match self.mode {
            DeliveryMode::Single => log.write(
                Level::Debug,
                SUBSCRIPTION,
                format_args!("no matching route for event {id} in pubsub {pubsub} and topic {topic}; skipping"),
                &[],
            ),
            DeliveryMode::Bulk => log.write(
                Level::Warn,
                SUBSCRIPTION,
                format_args!("No matching route for event in pubsub {pubsub} and topic {topic}; skipping"),
                &[],
            ),
        }
    }

    fn count(&self, metrics: &Metrics) {
        if self.mode == DeliveryMode::Single {
            metrics.delivered(self.event.pubsub, self.event.topic, Ingress::DropWithSuccess);
        }
    }
}

/// A rule cannot be evaluated for an event.
pub struct RoutingFailed<'a> {
    /// The event.
    pub event: EventRef<'a>,
    /// The rule and the reason.
    pub error: &'a dyn Display,
}

impl Event for RoutingFailed<'_> {
    fn log(&self, log: &Log) {
        let (EventRef { pubsub, topic, .. }, id, error) = (self.event, id(&self.event), self.error);
        log.write(
            Level::Error,
            SUBSCRIPTION,
            format_args!("error finding matching route for event {id} in pubsub {pubsub} and topic {topic}: {error}"),
            &[],
        );
    }
}

/// An event was given to the app once, or could not be.
pub struct Attempted<'a> {
    /// The event.
    pub event: EventRef<'a>,
    /// What the attempt means for the event.
    pub verdict: AttemptVerdict<'a>,
    /// The HTTP status of the answer, if there was one.
    pub status: Option<u16>,
    /// The beginning of the body of the answer.
    pub excerpt: &'a [u8],
    /// From the request to its answer.
    pub duration: Duration,
}

/// What one attempt means for its event (tests/spec/delivery.md, "B11. HTTP response mapping (single)").
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AttemptVerdict<'a> {
    /// The app has processed it.
    Success,
    /// The app answered `DROP`.
    Dropped,
    /// The app answered 404.
    Refused,
    /// The app answered `RETRY`.
    RetryWanted,
    /// The app answered a `status` that does not exist.
    StatusUnknown(&'a str),
    /// The app answered an HTTP status that is neither a success nor 404.
    Failed,
    /// There was no answer, for this reason.
    Unanswered(&'a str),
}

impl Event for Attempted<'_> {
    fn log(&self, log: &Log) {
        let (topic, id) = (self.event.topic, id(&self.event));
        let answer = Quoted { body: self.excerpt, status: self.status };
        match self.verdict {
            AttemptVerdict::Success => {}
            AttemptVerdict::Dropped => log_dropped(log, topic, id),
            AttemptVerdict::Refused => log.write(
                Level::Error,
                HTTP,
                format_args!("non-retriable error returned from app while processing pub/sub event {id}: {answer}"),
                &[("topic", &topic)],
            ),
            AttemptVerdict::RetryWanted => log_retriable(log, topic, id, format_args!("<nil>")),
            AttemptVerdict::StatusUnknown(status) => log_retriable(
                log,
                topic,
                id,
                format_args!("unknown status returned from app while processing pub/sub event {id}, status: {status}, err: retriable error occurred"),
            ),
            AttemptVerdict::Failed => log.write(
                Level::Warn,
                HTTP,
                format_args!(
                    "retriable error returned from app while processing pub/sub event {id}, topic: {topic}, body: {answer}"
                ),
                &[],
            ),
            AttemptVerdict::Unanswered(error) => log_unanswered(log, topic, id, &error),
        }
    }

    fn count(&self, metrics: &Metrics) {
        let ingress = match self.verdict {
            AttemptVerdict::Success => Ingress::Success,
            AttemptVerdict::Dropped => Ingress::DropWithSuccess,
            AttemptVerdict::Refused => Ingress::Drop,
            AttemptVerdict::RetryWanted
            | AttemptVerdict::StatusUnknown(_)
            | AttemptVerdict::Failed
            | AttemptVerdict::Unanswered(_) => Ingress::Retry,
        };
        metrics.delivered(self.event.pubsub, self.event.topic, ingress);
    }
}

/// A resiliency policy ended the last attempt, or did not let it through.
pub struct Interrupted<'a> {
    /// The event.
    pub event: EventRef<'a>,
    /// What the policy did.
    pub error: &'a dyn Display,
}

impl Event for Interrupted<'_> {
    fn log(&self, log: &Log) {
        log_unanswered(log, self.event.topic, id(&self.event), self.error);
    }
}

/// The attempts to deliver an event have failed, and it stands in the dead-letter topic or will be delivered again.
pub struct DeliveryFailed<'a> {
    /// The event.
    pub event: EventRef<'a>,
    /// The broker delivers it again later; else it stands in the dead-letter topic.
    pub is_redelivered: bool,
}

impl Event for DeliveryFailed<'_> {
    fn count(&self, metrics: &Metrics) {
        let ingress = if self.is_redelivered { Ingress::Retry } else { Ingress::Drop };
        metrics.delivered(self.event.pubsub, self.event.topic, ingress);
    }
}

/// Several events were given to the app in one request, or could not be. They are not counted, as in daprd.
pub struct BulkAttempted<'a> {
    /// The component.
    pub pubsub: &'a str,
    /// The topic, without namespace prefix.
    pub topic: &'a str,
    /// The number of events in the request.
    pub events: usize,
    /// What the attempt means for the request.
    pub verdict: BulkAttemptVerdict<'a>,
    /// The HTTP status of the answer, if there was one.
    pub status: Option<u16>,
    /// From the request to its answer.
    pub duration: Duration,
}

/// What one attempt means for a request with several events (tests/spec/delivery.md, "B15. Bulk subscribe").
#[derive(Clone, Copy)]
pub enum BulkAttemptVerdict<'a> {
    /// Each event has a verdict that is no failure.
    Success,
    /// The app answered 404.
    Refused,
    /// The app answered another HTTP status that is no success.
    Failed,
    /// Some events failed.
    PartlyFailed {
        /// The number of events that failed.
        failed: usize,
        /// The reason of the first of them.
        error: &'a dyn Display,
    },
}

impl Event for BulkAttempted<'_> {
    fn log(&self, log: &Log) {
        let (topic, code) = (self.topic, self.status.unwrap_or_default());
        match self.verdict {
            BulkAttemptVerdict::Success => {}
            BulkAttemptVerdict::Refused => log.write(
                Level::Error,
                HTTP,
                format_args!("Non-retriable error returned from app while processing bulk pub/sub event. status code returned: {code}"),
                &[("topic", &topic)],
            ),
            BulkAttemptVerdict::Failed => log.write(
                Level::Warn,
                HTTP,
                format_args!("Retriable error returned from app while processing bulk pub/sub event, topic: {topic}. status code returned: {code}"),
                &[],
            ),
            BulkAttemptVerdict::PartlyFailed { failed, error } => {
                log_partly_failed(log, topic, failed, self.events, error);
            }
        }
    }
}

/// A resiliency policy ended the last attempt with several events, or did not let it through.
pub struct BulkInterrupted<'a> {
    /// The component.
    pub pubsub: &'a str,
    /// The topic, without namespace prefix.
    pub topic: &'a str,
    /// The number of events in the first request.
    pub events: usize,
    /// The number of events that no attempt delivered.
    pub failed: usize,
    /// What the policy did.
    pub error: &'a dyn Display,
}

impl Event for BulkInterrupted<'_> {
    fn log(&self, log: &Log) {
        log_partly_failed(log, self.topic, self.failed, self.events, self.error);
    }
}

/// The app answered `DROP` for one of several events.
pub struct BulkEventDropped<'a> {
    /// The event.
    pub event: EventRef<'a>,
}

impl Event for BulkEventDropped<'_> {
    fn log(&self, log: &Log) {
        log_dropped(log, self.event.topic, id(&self.event));
    }
}

/// An event is acknowledged without having been delivered, and no dead letter is written for it (D4).
pub struct Dropped<'a> {
    /// The event.
    pub event: EventRef<'a>,
    /// The reason in one word, as in the metadata of dead letters.
    pub reason: &'a str,
}

impl Event for Dropped<'_> {
    fn log(&self, log: &Log) {
        let (EventRef { pubsub, topic, .. }, reason) = (self.event, self.reason);
        log.write(
            Level::Info,
            SUBSCRIPTION,
            format_args!("event acknowledged without delivery: {reason}"),
            &[("pubsub", &pubsub), ("topic", &topic)],
        );
    }
}

/// An event stands in the dead-letter topic.
pub struct DeadLettered<'a> {
    /// The event.
    pub event: EventRef<'a>,
    /// The dead-letter topic.
    pub dead_letter_topic: &'a str,
    /// The reason in one word, as in the metadata of the dead letter.
    pub reason: &'a str,
    /// The rest of the reason.
    pub detail: &'a str,
    /// The dead letter has no metadata, as the event had none: only this log line says why it was moved.
    pub is_bare: bool,
}

impl Event for DeadLettered<'_> {
    fn log(&self, log: &Log) {
        let Self { event: EventRef { pubsub, topic, .. }, dead_letter_topic, reason, detail, .. } = self;
        if self.is_bare {
            log.write(
                Level::Info,
                SUBSCRIPTION,
                format_args!(
                    "event without metadata moved to dead letter topic {dead_letter_topic}: {reason}: {detail}"
                ),
                &[("pubsub", pubsub), ("topic", topic)],
            );
        } else {
            log.write(
                Level::Debug,
                SUBSCRIPTION,
                format_args!("event moved to dead letter topic {dead_letter_topic}: {reason}"),
                &[("pubsub", pubsub), ("topic", topic)],
            );
        }
    }
}

/// A dead letter could not be written; its event is delivered again.
pub struct DeadLetterFailed<'a> {
    /// The event.
    pub event: EventRef<'a>,
    /// The dead-letter topic.
    pub dead_letter_topic: &'a str,
    /// The reason.
    pub error: &'a dyn Display,
}

impl Event for DeadLetterFailed<'_> {
    fn log(&self, log: &Log) {
        let Self { event: EventRef { topic, .. }, dead_letter_topic, error } = self;
        log.write(Level::Error, SUBSCRIPTION, format_args!("error sending message to dead letter, origin topic: {topic} dead letter topic {dead_letter_topic} err: {error}"), &[]);
    }
}

/// The body of an answer with its HTTP status.
struct Quoted<'a> {
    body: &'a [u8],
    status: Option<u16>,
}

impl Display for Quoted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let body: Cow<'_, str> = String::from_utf8_lossy(self.body);
        write!(f, "{body}. status code returned: {}", self.status.unwrap_or_default())
    }
}

fn id<'a>(event: &EventRef<'a>) -> &'a str {
    event.id.unwrap_or_default()
}

fn log_dropped(log: &Log, topic: &str, id: &str) {
    log.write(
        Level::Warn,
        HTTP,
        format_args!("DROP status returned from app while processing pub/sub event {id}"),
        &[("topic", &topic)],
    );
}

fn log_unanswered(log: &Log, topic: &str, id: &str, error: &dyn Display) {
    log_retriable(
        log,
        topic,
        id,
        format_args!(
            "error returned from app channel while sending pub/sub event to app: retriable error occurred: {error}"
        ),
    );
}

fn log_retriable(log: &Log, topic: &str, id: &str, error: fmt::Arguments<'_>) {
    log.write(
        Level::Warn,
        SUBSCRIPTION,
        format_args!(
            "encountered a retriable error while publishing a subscribed message to topic {topic}, err: {error}"
        ),
        &[("id", &id)],
    );
}

fn log_partly_failed(log: &Log, topic: &str, failed: usize, all: usize, error: &dyn Display) {
    log.write(Level::Warn, SUBSCRIPTION, format_args!("encountered a retriable error while publishing a subscribed message to topic {topic}, err: few message(s) have failed during bulk subscribe operation: {failed} of {all}, the first: {error}"), &[]);
}
