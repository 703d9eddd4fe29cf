//! The publish path: check, wrap, send.
//!
//! Two steps, because the component is looked up before the body is read: [`Publisher::pubsub`], then
//! [`Publisher::publish`] or [`Publisher::publish_bulk`]. The order of checks is that of tests/spec/http-api.md, "5.1
//! Order of checks".

pub mod bulk;
mod error;
mod publisher;

pub use self::error::PublishError;
pub use self::publisher::{Publisher, Request};
