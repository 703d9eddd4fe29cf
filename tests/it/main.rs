//! Behaviour from outside: real brokers, real sockets, real processes. One binary, so that it links once.

mod support;

mod bad_days;
mod brokers;
mod openapi;
mod redis_redelivery;
mod redis_wire;
