//! Which app may publish to and subscribe to which topic (spec resources-cli.md 13, http-api.md 5.5).

use crate::metadata::Properties;

/// The topics of one component, as far as they matter to one app.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Scopes {}

impl Scopes {
    /// From `allowedTopics`, `protectedTopics`, `publishingScopes` and `subscriptionScopes`.
    pub fn of(_properties: &Properties, _app_id: &str) -> Self {
        Self::default()
    }

    /// May this app publish to the topic?
    pub fn may_publish(&self, _topic: &str) -> bool {
        true
    }

    /// May this app subscribe to the topic?
    pub fn may_subscribe(&self, _topic: &str) -> bool {
        true
    }
}
