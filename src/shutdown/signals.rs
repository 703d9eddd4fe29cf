//! The signals that ask a process to stop.

use tokio::signal::unix::{Signal, SignalKind, signal};

/// What [`Signals::next`] calls SIGHUP.
pub const HANG_UP: &str = "hangup";

/// SIGINT and SIGTERM, from now on.
pub struct Signals {
    interrupt: Signal,
    terminate: Signal,
    hang_up: Option<Signal>,
}

impl Signals {
    /// Listen from now on; the process is no longer ended by these signals.
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

    /// SIGHUP as well: for those who must not leave a child behind when their terminal is closed.
    ///
    /// # Errors
    /// If the operating system refuses.
    pub fn listen_with_hang_up() -> std::io::Result<Self> {
        Ok(Self { hang_up: Some(signal(SignalKind::hangup())?), ..Self::listen()? })
    }

    /// The next signal, by the name that daprd's log gives it. Nothing is lost if the future is dropped.
    pub async fn next(&mut self) -> &'static str {
        tokio::select! {
            _ = self.interrupt.recv() => "interrupt",
            _ = self.terminate.recv() => "terminated",
            Some(_) = async { self.hang_up.as_mut()?.recv().await } => HANG_UP,
        }
    }
}
