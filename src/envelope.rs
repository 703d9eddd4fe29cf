//! CloudEvents: what is in an event, and how one is made and read. Knows nothing of brokers or HTTP.
//!
//! The publish path makes events with [`wrap()`]; the delivery path reads them back as [`Event`]
//! (tests/spec/delivery.md, "Part A. Publish side", "B7. Inbound handling of one message"). JSON that an app published is checked and copied, never rebuilt (D6).

mod clock;
mod content;
mod lifetime;
mod options;
mod protobuf;
mod unwrap;
mod wrap;

pub use self::clock::{Clock, Moment};
pub use self::options::{NotABoolean, PublishOptions, is_raw};
pub use self::unwrap::{Event, EventError, raw_event};
pub use self::wrap::{EventId, Publication, Trace, WrapError, Wrapped, push_base64, wrap};

/// The version of CloudEvents that new events say.
const SPEC_VERSION: &str = "1.0";

/// `type` of an event whose publisher names none.
const DEFAULT_TYPE: &str = "com.dapr.event.sent";

/// `source` of an event that has no publisher to name.
const DEFAULT_SOURCE: &str = "Dapr";

#[cfg(test)]
mod properties;
