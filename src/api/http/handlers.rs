//! The handlers of the routes: one file for each resource of the API.

pub(super) mod bulk;
pub(super) mod health;
pub(super) mod invocation;
pub(super) mod metadata;
pub(super) mod not_configured;
pub(super) mod openapi;
pub(super) mod publish;
pub(super) mod shutdown;
