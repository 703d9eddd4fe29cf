//! What handlers take from a request: parts of path and query, and the body.

pub(super) mod body;
pub(super) mod json;
pub(super) mod path;
