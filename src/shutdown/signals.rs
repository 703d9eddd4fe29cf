//! The signals that ask the process to end or to restart.

use tokio::signal::unix::{Signal, SignalKind, signal};

/// The name of SIGHUP in [`Signals::next`].
pub const HANG_UP: &str = "hangup";

/// A listener for SIGINT and SIGTERM.
pub struct Signals {
    interrupt: Signal,
    terminate: Signal,
    hang_up: Option<Signal>,
}

impl Signals {
    /// Listen from now on. The signals do not end the process by themselves any more.
    ///
    /// # Errors
    /// If the operating system refuses.
    pub fn listen() -> std::io::Result<Self> {
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
            hang_up: None,
        })
    }

    /// Listen for SIGHUP as well: for a restart, or so that no child is left behind when the terminal closes.
    ///
    /// # Errors
    /// If the operating system refuses.
    pub fn listen_with_hang_up() -> std::io::Result<Self> {
        Ok(Self { hang_up: Some(signal(SignalKind::hangup())?), ..Self::listen()? })
    }

    /// The next signal, by its name in daprd's log. No signal is lost if the future is dropped.
    pub async fn next(&mut self) -> &'static str {
        tokio::select! {
            _ = self.interrupt.recv() => "interrupt",
            _ = self.terminate.recv() => "terminated",
            Some(_) = async { self.hang_up.as_mut()?.recv().await } => HANG_UP,
        }
    }
}
