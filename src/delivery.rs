//! The delivery path: from a broker's message to the app's verdict and its settlement (tests/spec/delivery.md, "Part B. Delivery side").
//!
//! `supervisor` decides what is subscribed; `running` keeps each subscription at its broker. For each subscription a `consumer` is the sink of a broker: it reads the
//! event, lets `router` choose the path, gives the event to the app, and settles it by the verdict; with `bulkSubscribe`, `bulk` does so for
//! many at a time; `dead_letter` moves on what has come to its end. Nothing here knows how a broker stores messages or how the app is reached.

mod bulk;
mod consumer;
mod dead_letter;
mod outcome;
mod prepare;
mod router;
mod running;
mod subscriptions;
pub mod supervisor;
#[cfg(test)]
mod testing;

pub use self::router::RULE_VARIABLES;
