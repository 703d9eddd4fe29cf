//! Behaviour from outside: real brokers, real sockets, real processes. One binary, so that it links once.

#![expect(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "a test may end at the first surprise, and has tasks of its own beside those it tests"
)]

mod support;

mod app_protocols;
mod bad_days;
mod brokers;
mod check;
mod compose;
mod demo;
mod edge_cases;
mod fuzz;
mod guides;
mod hot_reload;
mod launcher;
mod layers;
mod limits;
mod openapi;
mod redis_access;
mod redis_cluster;
mod redis_failures;
mod redis_one_address;
mod redis_redelivery;
mod redis_retention;
mod redis_sentinel;
mod redis_tls;
mod redis_wire;
mod references;
mod run;
mod run_file;
mod start_and_stop;
