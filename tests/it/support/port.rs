//! Ports for servers that take a port as an argument. The growth benchmark (benches/growth) uses this file, too.

use std::collections::BTreeSet;
use std::net::TcpListener;

use parking_lot::Mutex;

/// A free port: below the range of outgoing connections, and never the same twice, so that it is still free when the
/// server binds it. The 10,000 ports above are left to cluster buses.
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
