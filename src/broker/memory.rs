//! The embedded broker: messages live in this process and end with it (tests/spec/redis.md, "19. pubsub.in-memory"; D2).
//!
//! Every subscription whose topic matches gets every message, in order, from a bounded queue of its own: one at a time, or as many as its
//! sink takes. A message that was not acknowledged is delivered again later. The queue of a subscription that ends is kept for a while, in
//! case that it begins again: files change, and apps recover. While the component itself is gone (its file was deleted, or the sidecar
//! restarts after SIGHUP), nothing of it is forgotten: [`shared`] holds the messages as long as the process lives. Sidecars of one process
//! may share the messages; each takes them as a consumer group of its own. With `ack: none` no message is delivered again.

mod broker;
mod consumer;
mod entry;
mod pattern;
mod recent;
pub mod shared;
mod store;

pub use self::broker::MemoryBroker;
pub(super) use self::broker::OPTIONS;
use super::ack;

/// The settings that have an effect on an in-memory component.
pub(super) const SETTINGS: &[&str] =
    &[ack::ACK, "allowedTopics", "consumerID", "protectedTopics", "publishingScopes", "subscriptionScopes"];
