//! Ports for servers that are started with them. The growth benchmark (benches/growth) has this file, too.

use std::collections::BTreeSet;
use std::net::TcpListener;

use parking_lot::Mutex;

/// A port that nobody listens on: below those that the system gives to outgoing connections, and never the same twice, so that it is still
/// free when a server that is started with it gets there. The 10,000 above are left to the buses of clusters.
pub(crate) fn free_port() -> u16 {
    static GIVEN: Mutex<BTreeSet<u16>> = Mutex::new(BTreeSet::new());
    loop {
        let port = fastrand::u16(12_000..22_000);
        let is_free = TcpListener::bind(("127.0.0.1", port)).is_ok();
        if is_free && GIVEN.lock().insert(port) {
            return port;
        }
    }
}
