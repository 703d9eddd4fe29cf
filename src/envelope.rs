//! CloudEvents: the attributes of an event, how one is made and read. Knows nothing of brokers or HTTP.
//!
//! The publish path makes events with [`wrap()`]; the delivery path reads them back as [`Event`]
//! (tests/spec/delivery.md, "Part A. Publish side", "B7. Inbound handling of one message"). JSON that an app published
//! is checked and copied, never rebuilt (D6).

mod clock;
mod content;
mod defaults;
mod event;
mod lifetime;
mod options;
mod protobuf;
mod raw;
mod wrap;

pub use self::clock::{Clock, Moment};
pub use self::event::{Event, EventError};
pub use self::options::{NotABoolean, PublishOptions, is_raw};
pub use self::raw::raw_event;
pub use self::wrap::{EventId, Publication, Trace, WrapError, Wrapped, push_base64, wrap};

#[cfg(test)]
mod properties;
