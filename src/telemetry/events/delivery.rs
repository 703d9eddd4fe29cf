//! Events of delivery.
