//! Events of lifecycle.
