//! What hot reload does to subscriptions (tests/spec/resources-cli.md, "10. Hot reload and SIGHUP"; D16). Those that
//! nobody changed go on undisturbed.

use std::sync::Arc;

use tokio::time::timeout;

use super::{DRAIN, Inner, Origin, RuleError, SubscriptionSet, Supervisor};
use crate::delivery::running::Running;
use crate::delivery::subscriptions::Subscription;
use crate::resiliency::Targets;
use crate::resources::difference::Resource;
use crate::resources::kinds::subscription::SubscriptionSpec;

/// A declared subscription that cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("{error}")]
pub struct DeclareError {
    /// Its `metadata.name`.
    pub name: String,
    /// What is wrong with it.
    pub error: RuleError,
}

impl Supervisor {
    /// From now on the files declare this, in this order. It takes effect with [`Supervisor::resume`].
    ///
    /// # Errors
    /// If a rule does not compile. Then nothing has changed.
    pub fn declare(&self, specs: Vec<SubscriptionSpec>) -> Result<(), DeclareError> {
        let known = self.0.declared();
        let declared = specs
            .into_iter()
            .map(|spec| {
                let same = |known: &&Arc<Subscription>| known.spec.means_the_same(&spec);
                if let Some(same) = known.iter().find(same) {
                    return Ok(same.clone());
                }
                let name = spec.name.clone();
                Subscription::compile(spec, Origin::Declarative).map_err(|error| DeclareError { name, error })
            })
            .collect::<Result<Vec<_>, _>>()?;
        self.0.update(|known: &mut SubscriptionSet| known.declared = declared);
        Ok(())
    }

    /// From now on deliveries go through these policies. Subscriptions that run keep theirs until they are released.
    pub fn set_targets(&self, targets: Targets) {
        let mut current = self.0.targets.write();
        *current = targets;
    }

    /// End what runs over a component, because it changes: nothing new is taken, what the app has in hand is finished, for 30 s at most.
    pub async fn stop_component(&self, pubsub: &str) {
        let mut running = self.0.running.lock().await;
        let of_it = |known: &mut Running| known.subscription.spec.pubsub == pubsub;
        let ending = Running::end_all(running.extract_if(.., of_it).collect());
        // Those that take longer go on ending without anybody waiting for it.
        let _ = timeout(DRAIN, ending).await;
    }

    /// Make what runs equal to what is declared and asked for, with the components there are now. Nothing happens while the app is not
    /// there yet, or unhealthy: then it happens when it is.
    pub async fn resume(&self) {
        let inner = &self.0;
        let Some(channel) = inner.channel.get() else {
            return;
        };
        inner.reconcile(channel).await;
        if inner.must_ask() {
            let asking = inner.clone().ask_late(channel.clone());
            inner.config.tasks.spawn("discovery", asking);
        }
    }
}

impl Inner {
    fn declared(&self) -> Vec<Arc<Subscription>> {
        let known = self.subscriptions.read();
        known.declared.clone()
    }
}
