//! Requests to the app and its answers, independent of the protocol.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;

use crate::message::Metadata;
use crate::resources::kinds::subscription::SubscriptionSpec;
use crate::shutdown::Stop;

/// How many bytes of an answer's body go into the log and the dead letter.
pub const MAX_EXCERPT: usize = 1024;

/// A way to talk to the app.
#[async_trait]
pub trait Channel: Send + Sync {
    /// Resolves when the app accepts connections; `false` if `stop` came first (tests/spec/delivery.md, "B1. Startup
    /// timeline", item 3).
    async fn listening(&self, stop: &Stop) -> bool;

    /// Ask the app for its configuration, as daprd does. The answer has no effect.
    async fn load_configuration(&self);

    /// Ask the app for its subscriptions (B2).
    ///
    /// # Errors
    /// If the app cannot be reached, or its answer is not a list of subscriptions.
    async fn subscriptions(&self) -> Result<Vec<SubscriptionSpec>, DiscoveryError>;

    /// Probe the app's health once (tests/spec/resources-cli.md, "11.5 App health checks"). The caller sets the time limit.
    ///
    /// # Errors
    /// If the app is not healthy, or does not answer.
    async fn probe(&self, path: &str) -> Result<(), ProbeError>;

    /// Deliver one event to the app, in one attempt (B10, B11).
    async fn deliver(&self, delivery: &Delivery) -> Answer;

    /// Deliver several events to the app in one request, in one attempt (B15).
    async fn deliver_bulk(&self, delivery: &BulkDelivery<'_>) -> BulkAnswer;
}

/// An event on its way to a route of the app.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Delivery {
    /// The path as the rule names it, before cleaning.
    pub path: Arc<str>,
    /// The request body.
    pub body: Bytes,
    /// The message's metadata with `pubsubName`. Its entries become headers.
    pub metadata: Metadata,
    /// The value of the `traceparent` header, if one is sent (B20).
    pub traceparent: Option<String>,
    /// If true, metadata that cannot be a header makes the delivery fail. If false, it is left out (D24).
    pub must_keep_headers: bool,
}

/// Several events on their way to a route of the app.
#[derive(Clone, Debug)]
pub struct BulkDelivery<'a> {
    /// The id of the request, a UUID. Repeated attempts keep it.
    pub id: String,
    /// The path as the rule names it, before cleaning.
    pub path: Arc<str>,
    /// The component.
    pub pubsub: &'a str,
    /// The topic, without namespace prefix.
    pub topic: &'a str,
    /// The events in order of their arrival.
    pub entries: Vec<BulkEntry<'a>>,
    /// The value of the `traceparent` header, if one is sent.
    pub traceparent: Option<String>,
}

/// One of several events.
#[derive(Clone, Debug)]
pub struct BulkEntry<'a> {
    /// The id that the app uses in its answer, a UUID. It stays the same if the event is delivered again.
    pub id: String,
    /// What to deliver.
    pub event: BulkEvent<'a>,
    /// The stored metadata, if any.
    pub metadata: Option<&'a Metadata>,
}

/// The content of one of several events.
#[derive(Clone, Copy, Debug)]
pub enum BulkEvent<'a> {
    /// The JSON of an event.
    Json(&'a [u8]),
    /// Any bytes, for a subscription with `rawPayload`.
    Raw(&'a [u8]),
}

/// The app's answer to an event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// What the answer means for the event.
    pub verdict: Verdict,
    /// The HTTP status; `None` without an answer.
    pub status: Option<u16>,
    /// The first [`MAX_EXCERPT`] bytes of the body.
    pub excerpt: Bytes,
}

impl Answer {
    /// There was no answer.
    pub fn missing(reason: FailureReason) -> Self {
        Self { verdict: Verdict::Retry(reason), status: None, excerpt: Bytes::new() }
    }
}

/// The app's answer to several events.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BulkAnswer {
    /// What the answer means for each entry of the request, in their order. [`Verdict::Drop`] with
    /// [`FailureReason::Code`] concerns the whole request: such events are acknowledged without a dead letter.
    pub verdicts: Vec<Verdict>,
    /// The HTTP status; `None` without an answer.
    pub status: Option<u16>,
}

impl BulkAnswer {
    /// The result for a request of `entries` events that got no answer.
    pub fn missing(reason: FailureReason, entries: usize) -> Self {
        Self { verdicts: vec![Verdict::Retry(reason); entries], status: None }
    }
}

/// The app's verdict on an event (B11).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The event was processed.
    Success,
    /// The app rejects the event: it becomes a dead letter, or is discarded.
    Drop(FailureReason),
    /// The event was not processed: it is delivered again later, or becomes a dead letter.
    Retry(FailureReason),
}

/// The reason for a verdict other than success.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FailureReason {
    /// The `status` in the answer: `RETRY`, `DROP`, or something unknown.
    Status(String),
    /// An HTTP status that is not a success, with the beginning of the body.
    Code {
        /// The HTTP status.
        code: u16,
        /// The beginning of the body.
        body: String,
    },
    /// No connection to the app.
    Unreachable(String),
    /// No answer, or one that cannot be read.
    Unanswered(String),
}

impl FailureReason {
    /// The reason of an answer with this status, and the beginning of its body.
    pub fn of_code(code: u16, body: &[u8]) -> Self {
        let shown = &body[..body.len().min(MAX_EXCERPT)];
        Self::Code { code, body: String::from_utf8_lossy(shown).into_owned() }
    }

    /// The HTTP status, if that is the reason (for `matching` of retry policies).
    pub fn code(&self) -> Option<u16> {
        match self {
            Self::Code { code, .. } => Some(*code),
            Self::Status(_) | Self::Unreachable(_) | Self::Unanswered(_) => None,
        }
    }
}

impl fmt::Display for FailureReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Status(status) => write!(f, "status {status}"),
            Self::Code { code, body } => write!(f, "{body}. status code returned: {code}"),
            Self::Unreachable(error) | Self::Unanswered(error) => f.write_str(error),
        }
    }
}

/// Why the app's subscriptions are not known.
#[derive(Debug, thiserror::Error)]
pub enum DiscoveryError {
    /// No answer.
    #[error("{0}")]
    Unreachable(String),
    /// An answer with a status that is neither 200 nor 404.
    #[error("app returned http status code {0} from subscription endpoint{1}")]
    Status(u16, String),
    /// An answer that is not a list of subscriptions.
    #[error("error getting topics from app: {0}")]
    Malformed(String),
}

/// Why a probe counts as failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProbeError {
    /// An answer whose status is not a success.
    #[error("Health check failed with status code: {0}")]
    Status(u16),
    /// No connection to the app.
    #[error("Network error: {0}")]
    Unreachable(String),
    /// No answer.
    #[error("Network error: {0}")]
    Unanswered(String),
    /// No answer in time.
    #[error("Network error: no answer within {} ms", .0.as_millis())]
    Timeout(Duration),
}
