//! The identity of a subscription in the dispatcher.

use std::sync::Arc;

/// One subscription. Ids are ordered by topic, then by age: a topic may have several subscriptions.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::broker) struct SubscriptionId {
    /// The topic as the broker knows it.
    pub(in crate::broker) topic: Arc<str>,
    /// Counts the subscriptions of the dispatcher.
    pub(super) number: u64,
}
