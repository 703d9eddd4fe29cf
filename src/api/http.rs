//! The HTTP API: an axum app, and the steps around it for each request (tests/spec/http-api.md, "2. Processing order
//! (API server)").
//!
//! [`routes`] is the table of all routes, [`handlers`] has their handlers, [`service`] the order of the steps around a
//! call. A [`crate::server::Server`] serves [`service::api`] and [`service::public`].

mod extract;
mod handlers;
mod operation;
mod response;
pub mod routes;
pub mod service;
mod steps;

#[cfg(test)]
mod properties;
#[cfg(test)]
mod tests;
