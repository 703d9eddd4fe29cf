//! The app behind the sidecar: the requests that the sidecar makes to it, over any protocol.

mod channel;
pub mod discovery;
pub mod health;
pub mod http;
pub mod verdict;

use std::sync::Arc;

pub use self::channel::{
    Answer, BulkAnswer, BulkDelivery, BulkEntry, BulkEvent, Channel, Delivery, DiscoveryError, FailureReason,
    MAX_EXCERPT, ProbeError, Verdict,
};
use crate::config::{AppProtocol, AppSettings};
use crate::telemetry::Telemetry;

/// The channel for these settings.
///
/// # Errors
/// If the protocol is not supported yet.
pub fn channel(
    settings: &AppSettings,
    app_id: &str,
    telemetry: Telemetry,
) -> Result<Arc<dyn Channel>, UnsupportedProtocol> {
    match settings.protocol {
        AppProtocol::Http | AppProtocol::Https | AppProtocol::H2c => {
            Ok(Arc::new(http::HttpChannel::new(settings, app_id, telemetry)))
        }
        protocol @ (AppProtocol::Grpc | AppProtocol::Grpcs) => Err(UnsupportedProtocol(protocol.name())),
    }
}

/// A protocol of `--app-protocol` that is not supported yet.
#[derive(Debug, thiserror::Error)]
#[error("app-protocol {0} is not supported yet, only http, https and h2c are")]
pub struct UnsupportedProtocol(&'static str);

#[cfg(test)]
mod properties;
