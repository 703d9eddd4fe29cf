//! The app over HTTP/1.1.

use async_trait::async_trait;

use crate::app::{Channel, Delivery, DiscoveryError, Verdict};
use crate::config::AppSettings;
use crate::resources::subscription::SubscriptionSpec;
use crate::shutdown::Stop;
use crate::telemetry::Telemetry;

/// A pooled HTTP client for one app.
pub struct HttpChannel {}

impl HttpChannel {
    /// A client for this app. Connects on first use.
    pub fn new(_settings: &AppSettings, _app_id: &str, _telemetry: Telemetry) -> Self {
        Self {}
    }
}

#[async_trait]
impl Channel for HttpChannel {
    async fn listening(&self, _stop: &Stop) -> bool {
        true
    }

    async fn load_configuration(&self) {}

    async fn subscriptions(&self) -> Result<Vec<SubscriptionSpec>, DiscoveryError> {
        Ok(Vec::new())
    }

    async fn deliver(&self, _delivery: &Delivery) -> Verdict {
        Verdict::Success
    }
}
