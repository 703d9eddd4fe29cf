//! A service with all that a port needs to serve it.

use std::convert::Infallible;

use axum::body::Body;
use axum::response::Response;
use http::Request;

use super::limits::{Limit, Limits};
use super::transport::Transport;
use crate::shutdown::{Stop, Tasks};
use crate::telemetry::Telemetry;

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
