//! Brokers: where messages are stored, between the publish path and the delivery path.
//!
//! A broker knows topics, bytes and metadata. It knows no CloudEvents, no HTTP, no app and no policy. [`contract`] has the traits;
//! concurrency, redelivery and acks are done once for all brokers, in [`dispatch`]. To add a broker: a file `broker/<name>.rs` with a
//! `dispatch::Driver`, a row in [`kinds`], a component file in `components/`, and a line in `tests/it/brokers.rs`, which runs the
//! conformance suite.

pub mod ack;
mod contract;
mod dispatch;
mod error;
pub mod kinds;
pub mod memory;
pub mod options;
pub mod redis;
pub mod start_from;
pub mod warning;

pub use self::contract::{Broker, Sink, SubscribeRequest};
pub use self::error::{BrokerError, BrokerErrorKind};
