//! Where in-memory brokers outlive the components that use them, and where several sidecars of one process share them.
//!
//! A sidecar that stands alone has a hub of its own ([`Hub::own`]): the component of one name is the same broker, in whatever file it
//! stands, also when it was gone for a while. `run` with a run file makes one shared [`Hub`] for all its sidecars, so that what one app
//! publishes reaches the other ones: there the component of the same name in the same file is the same broker.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::Mutex;

use super::{MemoryBroker, Store};
use crate::telemetry::Telemetry;

/// The brokers that exist so far. Clones are handles to the same. By default it is one that sidecars share.
#[derive(Clone, Default)]
pub struct Hub(Arc<Inner>);

#[derive(Default)]
struct Inner {
    is_of_one_sidecar: bool,
    known: Mutex<Known>,
}

#[derive(Default)]
struct Known {
    stores: HashMap<Key, Arc<Store>>,
    /// Where an app's component of a name stood last, and its store.
    last: HashMap<(String, String), (PathBuf, Arc<Store>)>,
}

/// What makes two components the same broker.
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

impl Hub {
    /// The hub of one sidecar.
    pub fn own() -> Self {
        Self(Arc::new(Inner { is_of_one_sidecar: true, known: Mutex::default() }))
    }

    /// A sidecar's share of the broker behind the component of this name in this file. The app id is its consumer group: what another
    /// app takes, or has not taken, makes no difference to it.
    pub fn join(&self, name: &str, file: &Path, app_id: &str, telemetry: Telemetry) -> MemoryBroker {
        let mut known = self.0.known.lock();
        if self.0.is_of_one_sidecar {
            let store = known.stores.entry(Key::new(name, Path::new("")));
            return MemoryBroker::on(store.or_default().clone(), "", telemetry);
        }
        let store = known.shared(name, file, app_id);
        MemoryBroker::on(store, app_id, telemetry)
    }
}

impl Known {
    /// The store of a file as it is named, or as it is without links: the links of a mounted folder lead to another place after each
    /// change. The component of a file that has been moved is the one it was.
    fn shared(&mut self, name: &str, file: &Path, app_id: &str) -> Arc<Store> {
        let named = Key::new(name, file);
        // A file that is gone meanwhile is still the one it was.
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
