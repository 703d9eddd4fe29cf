//! What the paths and the brokers hand to each other.
//!
//! A message is bytes and a string map. What the bytes mean (CloudEvents, JSON) is the envelope's business, how they are
//! stored is the broker's.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use bytes::Bytes;

/// String metadata that travels beside the payload, keys in their original case, sorted by bytes.
pub type Metadata = BTreeMap<String, String>;

/// The value of a name: in its exact spelling first, else in any case.
pub fn value<'a>(metadata: &'a Metadata, name: &str) -> Option<&'a str> {
    let in_any_case = || metadata.iter().find_map(|(known, value)| known.eq_ignore_ascii_case(name).then_some(value));
    metadata.get(name).or_else(in_any_case).map(String::as_str)
}

/// Where a broker keeps a message. It is unique within the topic and grows in the order of storing (within a partition, if there are any).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Position {
    /// The id of a Redis Stream entry, for example `1717171717171-0`.
    Entry {
        /// Milliseconds since 1970 by the clock of the server.
        millis: u64,
        /// Number within this millisecond.
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

/// Identifies one event where something is reported of it. What is not known at that point is `None`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct EventRef<'a> {
    /// Name of the pub/sub component.
    pub pubsub: &'a str,
    /// The topic as the app names it, without namespace prefix.
    pub topic: &'a str,
    /// The attribute `id` of the CloudEvent.
    pub id: Option<&'a str>,
    /// Where the broker keeps it.
    pub position: Option<Position>,
    /// The app id of the subscriber.
    pub subscriber: Option<&'a str>,
    /// How often this process has handed it to the subscriber, this time included; 0 on the way to the broker.
    pub attempt: u32,
    /// The trace context in W3C form (`traceparent`).
    pub trace: Option<&'a str>,
}

/// A message on its way to a broker.
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

/// A message that a broker hands to a [`Sink`](crate::broker::Sink).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Incoming {
    /// The topic of the subscription as the broker knows it (for a wildcard: the pattern), namespace prefix included.
    pub topic: Arc<str>,
    /// Where the broker keeps it; `None` if the broker gives no positions.
    pub position: Option<Position>,
    /// The bytes as they were stored.
    pub data: Bytes,
    /// The stored metadata; empty if there was none.
    pub metadata: Metadata,
    /// Was there any stored metadata, be it an empty map? Bulk delivery shows the difference (tests/spec/delivery.md,
    /// "B15. Bulk subscribe").
    pub has_metadata: bool,
    /// How often this message has been handed to a sink by this process, this time included; 1 at first.
    pub attempt: u32,
    /// The broker has forgotten this message already (`ack: none`): whatever the settlement, it does not come again.
    pub only_once: bool,
}

/// What a sink made of a message. The return value is the acknowledgement: it can be neither doubled nor forgotten.
/// A future that is dropped before it yields one counts as [`Settlement::Retry`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Settlement {
    /// Done for good: the broker forgets it.
    Ack,
    /// Not done: the broker hands it over again later, with a growing delay (D1).
    Retry,
}
