//! The messages that the publish and delivery paths exchange with brokers.
//!
//! A message is bytes and a string map. The envelope knows what the bytes mean (CloudEvents, JSON), the broker how they
//! are stored.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use bytes::Bytes;

/// String metadata beside a payload. Keys keep their case, and are sorted by bytes.
pub type Metadata = BTreeMap<String, String>;

/// The value of a name: in its exact spelling first, else in any case.
pub fn value<'a>(metadata: &'a Metadata, name: &str) -> Option<&'a str> {
    let in_any_case = || metadata.iter().find_map(|(known, value)| known.eq_ignore_ascii_case(name).then_some(value));
    metadata.get(name).or_else(in_any_case).map(String::as_str)
}

/// The place of a stored message. It is unique within the topic, and grows in the order of storing (within a partition,
/// if the broker has partitions).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Position {
    /// The id of a Redis Stream entry, for example `1717171717171-0`.
    Entry {
        /// Milliseconds since 1970, by the server's clock.
        millis: u64,
        /// The number within this millisecond.
        sequence: u64,
    },
    /// The number of a message in its broker, counted from 1.
    Sequence(u64),
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Entry { millis, sequence } => write!(f, "{millis}-{sequence}"),
            Self::Sequence(number) => write!(f, "{number}"),
        }
    }
}

/// Identifies an event in a report. Facts that are not known at that point are `None`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct EventRef<'a> {
    /// The name of the pub/sub component.
    pub pubsub: &'a str,
    /// The topic as the app names it, without namespace prefix.
    pub topic: &'a str,
    /// The attribute `id` of the CloudEvent.
    pub id: Option<&'a str>,
    /// Its place at the broker.
    pub position: Option<Position>,
    /// The app id of the subscriber.
    pub subscriber: Option<&'a str>,
    /// The number of this delivery by this process, from 1; 0 on the way to the broker.
    pub attempt: u32,
    /// The trace context in W3C form (`traceparent`).
    pub trace: Option<&'a str>,
}

/// A message to be stored by a broker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outgoing {
    /// The topic as the broker knows it, namespace prefix included.
    pub topic: String,
    /// The bytes to store.
    pub data: Bytes,
    /// `None` is not the same as empty: a stream entry then has no `metadata` field (tests/spec/redis.md, "7.1
    /// Writer").
    pub metadata: Option<Metadata>,
}

/// A message that a broker delivers to a [`Sink`](crate::broker::Sink).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Incoming {
    /// The subscription's topic as the broker knows it (of a wildcard: the pattern), namespace prefix included.
    pub topic: Arc<str>,
    /// Where the broker keeps it; `None` if the broker gives no positions.
    pub position: Option<Position>,
    /// The bytes as they were stored.
    pub data: Bytes,
    /// The stored metadata; empty if there was none.
    pub metadata: Metadata,
    /// Whether metadata was stored at all, even if empty. Bulk delivery shows the difference (tests/spec/delivery.md,
    /// "B15. Bulk subscribe").
    pub has_metadata: bool,
    /// The number of this delivery by this process, from 1.
    pub attempt: u32,
    /// The message is acknowledged already (`ack: none`): it is not delivered again, whatever the settlement.
    pub only_once: bool,
}

/// The outcome of a delivery. As a return value, it cannot be given twice or forgotten. A future that is dropped before
/// it returns one counts as [`Settlement::Retry`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Settlement {
    /// Done: the broker acknowledges the message.
    Ack,
    /// Not done: the broker delivers it again later, with a growing delay (D1).
    Retry,
}
