//! Starts and stops the subscriptions of a sidecar, and knows what they are.

use std::sync::Arc;

use crate::app::Channel;
use crate::pubsub::Catalog;
use crate::resources::subscription::SubscriptionSpec;
use crate::shutdown::{Stop, Tasks};
use crate::telemetry::Telemetry;
use crate::telemetry::trace::Tracing;

/// All subscriptions of one sidecar. Clones are handles to the same.
#[derive(Clone)]
pub struct Supervisor {}

/// What a supervisor works with.
pub struct Parts {
    /// The pub/subs.
    pub catalog: Catalog,
    /// What the resource files declare for this app, in order.
    pub declared: Vec<SubscriptionSpec>,
    /// Trace contexts.
    pub tracing: Tracing,
    /// `--disable-init-endpoints subscribe`: the app is not asked.
    pub skip_discovery: bool,
    /// Where loops run.
    pub tasks: Tasks,
    /// Ends all subscriptions.
    pub stop: Stop,
    /// Log and metrics.
    pub telemetry: Telemetry,
}

/// A `match` expression that does not compile, with the subscription and the position.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct RuleError(pub String);

impl Supervisor {
    /// Compile what is declared.
    ///
    /// # Errors
    /// If a rule of a declared subscription does not compile.
    pub fn new(_parts: Parts) -> Result<Self, RuleError> {
        Ok(Self {})
    }

    /// Ask the app for its subscriptions and start all. Returns after the first round; what failed is tried again in the
    /// background (design.md D14, spec delivery.md B6).
    pub async fn activate(&self, _channel: Arc<dyn Channel>) {}

    /// What is subscribed, in the order of the metadata API (spec http-api.md 7.1).
    pub fn listed(&self) -> Vec<Listed> {
        Vec::new()
    }

    /// End all subscriptions: no new messages, what the app has in hand is finished and settled.
    pub async fn stop(&self) {}
}

/// One subscription as the metadata API shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    /// What was declared.
    pub spec: SubscriptionSpec,
    /// Who declared it.
    pub origin: Origin,
}

/// Who declared a subscription.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// A resource file.
    Declarative,
    /// The app.
    Programmatic,
    /// A gRPC stream.
    Streaming,
}
