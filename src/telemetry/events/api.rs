//! Events of api.
