//! Events of broker.
