//! Attributes of an event whose publisher gives no other.

/// `specversion`.
pub(super) const SPEC_VERSION: &str = "1.0";

/// `type`.
pub(super) const TYPE: &str = "com.dapr.event.sent";

/// `source` where no app id is known.
pub(super) const SOURCE: &str = "Dapr";
