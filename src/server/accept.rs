//! The accept loop, the only one.

use std::sync::Arc;
use std::time::Duration;

use super::connection::Acceptor;
use super::listen::Listener;
use super::service::{Server, Service};
use crate::telemetry::events::server::{AcceptFailed, AcceptRecovered};

/// The pause after an accept that failed, so that a lack of file descriptors does not become a busy loop.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

impl<S: Service> Server<S> {
    /// Serves a listener until `stop`. Its connections finish their running requests as tasks of their own.
    pub async fn serve(self, listener: impl Into<Listener>) {
        let listener = listener.into();
        let acceptor = Arc::new(Acceptor::new(self));
        let Self { name, stop, telemetry, .. } = &acceptor.server;
        let mut is_failing = false;
        while let Some(accepted) = stop.run_until_triggered(listener.accept()).await {
            match accepted {
                Ok(stream) => {
                    if std::mem::take(&mut is_failing) {
                        telemetry.emit(AcceptRecovered { name });
                    }
                    acceptor.begin(stream);
                }
                Err(error) => {
                    if !std::mem::replace(&mut is_failing, true) {
                        telemetry.emit(AcceptFailed { name, error: &error });
                    }
                    stop.sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }
}
