//! The steps around a call, in the order of [`service`](super::service).

pub(super) mod access;
pub(super) mod access_log;
pub(super) mod cors;
pub(super) mod token;
pub(super) mod trace_context;
