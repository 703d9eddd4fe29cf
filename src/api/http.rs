//! The HTTP API: routes, layers, listeners.

use axum::Router;
use tokio::net::TcpListener;

use crate::api::Context;
use crate::shutdown::{Stop, Tasks};

/// The routes of the API server.
pub fn router(_context: Context) -> Router {
    Router::new()
}

/// Serve one listener until `stop`, then finish the running requests. Connections are tasks of `tasks`.
pub async fn serve(
    _listener: TcpListener,
    _router: Router,
    _read_buffer: usize,
    _stop: Stop,
    _tasks: Tasks,
) {
}
