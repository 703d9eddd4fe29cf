//! Extractors: parts of path and query, and the body.

pub(super) mod body;
pub(super) mod json;
pub(super) mod path;
