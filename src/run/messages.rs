//! Messages that `run` prints for one app and for several.

use super::console::Console;
use super::{launch, ready};
use crate::cli::Flags;

/// The message about a start without resources.
pub(super) const EMBEDDED: &str = "embedded in-memory broker. Events do not survive this process.";

/// Printed once everything runs, with at least one app.
pub(super) const UP: &str = "You're up and running! Both Dapr and your app logs will appear here.\n";

/// Warn if another program listens on the app's port already: it would receive the app's events.
pub(super) async fn warn_of_another_app(console: &Console, flags: &Flags) {
    let Some(port) = launch::app_port(flags) else {
        return;
    };
    let host = &flags.app_channel_address;
    if ready::accepts(host, port).await {
        console.warning(&format!(
            "another program listens on {host}:{port} already. Events go there unless it is stopped: is it an app that was left running?"
        ));
    }
}
