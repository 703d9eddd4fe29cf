//! Where in-memory brokers outlive the components that use them, and where several sidecars of one process share them.
//!
//! A sidecar that runs alone has a set of its own ([`SharedBrokers::of_one_sidecar`]): the component of one name is the same broker,
//! whichever file declares it, also after it was gone for a while. `run` with a run file makes one set for all its sidecars, so that
//! events that one app publishes reach the others: there the component of the same name in the same file is the same broker.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::Mutex;

use super::broker::MemoryBroker;
use super::store::Store;
use crate::telemetry::Telemetry;

/// The brokers that exist so far. Clones are handles to the same set. The default is a set that sidecars share.
#[derive(Clone, Default)]
pub struct SharedBrokers(Arc<BrokerSet>);

#[derive(Default)]
struct BrokerSet {
    is_of_one_sidecar: bool,
    known: Mutex<KnownStores>,
}

#[derive(Default)]
struct KnownStores {
    stores: HashMap<Key, Arc<Store>>,
    /// By name of the component and app, the last file of it, and its store.
    last: HashMap<(String, String), (PathBuf, Arc<Store>)>,
}

/// Components with the same key are the same broker.
#[derive(PartialEq, Eq, Hash)]
struct Key {
    name: String,
    /// Without links; empty for the component that no file names, and where files do not matter.
    file: PathBuf,
}

impl Key {
    fn new(name: &str, file: &Path) -> Self {
        Self { name: name.to_owned(), file: file.to_owned() }
    }
}

impl SharedBrokers {
    /// The set of one sidecar.
    pub fn of_one_sidecar() -> Self {
        Self(Arc::new(BrokerSet { is_of_one_sidecar: true, known: Mutex::default() }))
    }

    /// A sidecar's share of the broker behind the component of this name in this file. The app id is its consumer group: each app gets every
    /// event, whatever the others get.
    pub fn join(&self, name: &str, file: &Path, app_id: &str, telemetry: Telemetry) -> MemoryBroker {
        let mut known = self.0.known.lock();
        if self.0.is_of_one_sidecar {
            let store = known.stores.entry(Key::new(name, Path::new("")));
            return MemoryBroker::on(name, store.or_default().clone(), "", telemetry);
        }
        let store = known.shared(name, file, app_id);
        MemoryBroker::on(name, store, app_id, telemetry)
    }
}

impl KnownStores {
    /// The store of a file as it is named, or without links: the links of a mounted folder lead to another file after each change. The
    /// component of a file that has been moved is the same as before.
    fn shared(&mut self, name: &str, file: &Path, app_id: &str) -> Arc<Store> {
        let named = Key::new(name, file);
        // A file that is gone meanwhile is still the same.
        let real = file.canonicalize();
        let real = Key::new(name, real.as_deref().unwrap_or(file));
        let app = (name.to_owned(), app_id.to_owned());
        let moved = || {
            let (from, store) = self.last.get(&app)?;
            (!from.exists()).then(|| store.clone())
        };
        let store = self.stores.get(&named).or_else(|| self.stores.get(&real));
        let store = store.cloned().or_else(moved);
        let store = store.unwrap_or_else(|| Arc::new(Store::remembering()));
        self.stores.insert(named, store.clone());
        self.stores.insert(real, store.clone());
        self.last.insert(app, (file.to_owned(), store.clone()));
        store
    }
}
