//! What a subscription says, whether it stands in a file (kind `Subscription`, both versions) or the app declares it.

use crate::message::Metadata;
use crate::resources::Place;

/// One declared subscription (spec delivery.md B2, B4).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SubscriptionSpec {
    /// `metadata.name` of a file's resource; empty for the app's.
    pub name: String,
    /// The component.
    pub pubsub: String,
    /// The topic, without namespace prefix.
    pub topic: String,
    /// The rules in order, the default route last as a rule without `match_`.
    pub rules: Vec<RuleSpec>,
    /// `deadLetterTopic`; empty if there is none.
    pub dead_letter_topic: String,
    /// Metadata for the broker and for the runtime (`rawPayload`).
    pub metadata: Metadata,
    /// `bulkSubscribe`.
    pub bulk: Option<BulkSpec>,
    /// Where it stands, if in a file.
    pub place: Option<Place>,
}

/// One routing rule, not compiled.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RuleSpec {
    /// The CEL expression, trimmed; empty always matches.
    pub match_: String,
    /// The path as written.
    pub path: String,
}

/// `bulkSubscribe` as written; values of 0 or less mean the defaults.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BulkSpec {
    /// Is bulk delivery on?
    pub enabled: bool,
    /// Events in one request.
    pub max_messages_count: i32,
    /// Longest wait for a batch to fill, in milliseconds.
    pub max_await_duration_ms: i32,
}
