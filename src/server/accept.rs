//! The accept loop, the only one.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::response::Response;
use http::Request;

use super::connection::Acceptor;
use super::limits::{Limit, Limits};
use super::listen::Listener;
use super::transport::Transport;
use crate::shutdown::{Stop, Tasks};
use crate::telemetry::Telemetry;
use crate::telemetry::events::server::{AcceptFailed, AcceptRecovered};

/// The pause after an accept that failed, so that a lack of file descriptors does not become a busy loop.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// A `tower` service of requests that is always ready, as an axum app is.
pub trait Service:
    tower::Service<Request<Body>, Response = Response, Error = Infallible, Future: Send> + Clone + Send + Sync + 'static
{
}

impl<S> Service for S where
    S: tower::Service<Request<Body>, Response = Response, Error = Infallible, Future: Send>
        + Clone
        + Send
        + Sync
        + 'static
{
}

/// A service, and how it is served. Clones serve the same on another listener.
#[derive(Clone)]
pub struct Server<S> {
    /// The name of its connections among the tasks: `http connection`.
    pub name: &'static str,
    /// Answers the requests.
    pub service: S,
    /// How HTTP is spoken.
    pub transport: Transport,
    /// How much is served at a time.
    pub limits: Limits,
    /// The answer to a connection or request beyond a limit.
    pub overloaded: fn(Limit) -> Response,
    /// Ends accepting; running requests are finished.
    pub stop: Stop,
    /// Gets a task for each connection.
    pub tasks: Tasks,
    /// Reports failing accepts and refusals.
    pub telemetry: Telemetry,
}

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
