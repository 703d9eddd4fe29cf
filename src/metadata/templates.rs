//! Templates in the metadata of components and subscriptions: `{uuid}`, `{podName}`,
//! `{namespace}`, `{appID}` (tests/spec/redis.md, "2.2 Template tags").

use crate::environment::Environment;

/// The values of the templates in one sidecar.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Templates {
    app_id: String,
    pod_name: Option<String>,
    namespace: String,
}

/// A value contains `{podName}`, and `POD_NAME` is not set.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("refers to {{podName}} but podName is not set")]
pub struct NoPodName;

impl Templates {
    /// The values for an app in an environment.
    pub fn of(environment: &Environment, app_id: &str) -> Self {
        Self {
            app_id: app_id.to_owned(),
            pod_name: environment.non_empty("POD_NAME").map(str::to_owned),
            namespace: environment.get("NAMESPACE").unwrap_or("default").to_owned(),
        }
    }

    /// Replace the templates in a value, in daprd's order. Each `{uuid}` is a new one.
    ///
    /// # Errors
    /// The value contains `{podName}`, and `POD_NAME` is not set.
    pub fn fill(&self, value: &str) -> Result<String, NoPodName> {
        let mut value = value.to_owned();
        while value.contains("{uuid}") {
            value = value.replacen("{uuid}", &uuid::Uuid::new_v4().to_string(), 1);
        }
        if value.contains("{podName}") {
            let pod = self.pod_name.as_ref().ok_or(NoPodName)?;
            value = value.replace("{podName}", pod);
        }
        let namespace = format!("{}.{}", self.namespace, self.app_id);
        let value = value.replace("{namespace}", &namespace);
        Ok(value.replace("{appID}", &self.app_id))
    }
}
