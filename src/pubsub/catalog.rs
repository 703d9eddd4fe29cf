//! The pub/sub components of a sidecar by name.

use std::collections::BTreeMap;
use std::sync::Arc;

use parking_lot::RwLock;

use crate::pubsub::component::Pubsub;

/// All pub/sub components of a sidecar. Clones share them.
#[derive(Clone, Default)]
pub struct Catalog(Arc<RwLock<BTreeMap<String, Arc<Pubsub>>>>);

impl Catalog {
    /// The component of this name.
    pub fn get(&self, name: &str) -> Option<Arc<Pubsub>> {
        self.0.read().get(name).cloned()
    }

    /// Add a component, or replace the one of the same name.
    pub fn insert(&self, pubsub: Arc<Pubsub>) {
        self.0.write().insert(pubsub.name.clone(), pubsub);
    }

    /// Take a component out.
    pub fn remove(&self, name: &str) -> Option<Arc<Pubsub>> {
        self.0.write().remove(name)
    }

    /// All components, sorted by name.
    pub fn all(&self) -> Vec<Arc<Pubsub>> {
        self.0.read().values().cloned().collect()
    }

    /// Whether there is no component.
    pub fn is_empty(&self) -> bool {
        self.0.read().is_empty()
    }
}
