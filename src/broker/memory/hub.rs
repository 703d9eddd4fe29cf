//! In-memory brokers that several sidecars of one process share: the component of the same name in the same file is the same broker.
//!
//! `run` with a run file makes one [`Hub`] for all its sidecars, so that what one app publishes reaches the other ones. A sidecar
//! without a hub has in-memory brokers of its own.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use super::{MemoryBroker, Store};
use crate::telemetry::Telemetry;

/// The brokers that exist so far. Clones are handles to the same.
#[derive(Clone, Default)]
pub struct Hub(Arc<Mutex<HashMap<Key, Arc<Store>>>>);

/// What makes two components the same broker.
#[derive(PartialEq, Eq, Hash)]
struct Key {
    name: String,
    /// Without links; empty for the component that no file names.
    file: PathBuf,
}

impl Hub {
    /// A sidecar's share of the broker behind the component of this name in this file. The app id is its consumer group: what another
    /// app takes, or has not taken, makes no difference to it.
    pub fn join(
        &self,
        name: &str,
        file: &Path,
        app_id: &str,
        telemetry: Telemetry,
    ) -> MemoryBroker {
        let key = Key {
            name: name.to_owned(),
            // A file that is gone meanwhile is still the one it was.
            file: file.canonicalize().unwrap_or_else(|_| file.to_owned()),
        };
        let mut stores = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let store = stores
            .entry(key)
            .or_insert_with(|| Arc::new(Store::remembering()));
        MemoryBroker::on(store.clone(), app_id, telemetry)
    }
}
