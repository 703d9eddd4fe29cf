//! One server for every port: listens, accepts, serves a `tower` service of requests, and drains it when the sidecar stops.
//!
//! It knows no route. `api` and `runtime` make a [`Server`] for each kind of port (HTTP API, public API, gRPC, metrics) and call
//! [`Server::serve`] for each [`Listener`]. Where hyper answers or accepts otherwise than daprd's server, `quirks` makes up for it.

mod accept;
mod connection;
mod drain;
mod limits;
pub mod listen;
mod quirks;
mod service;
mod transport;

pub use axum::body::Body;
pub use axum::extract::Request;
pub use axum::response::Response;

pub use self::limits::{BodyMemory, BodyMemoryFull, BodyReservation, Limit, Limits};
pub use self::listen::Listener;
pub use self::quirks::refusals::is_well_escaped;
pub use self::service::{Server, Service};
pub use self::transport::{Deadlines, Transport, Versions};
