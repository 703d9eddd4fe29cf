//! Sidestream: a pub/sub sidecar that speaks the Dapr API.

pub mod api;
pub mod app;
pub mod backoff;
pub mod broker;
pub mod check;
pub mod cli;
pub mod config;
pub mod delivery;
pub mod duration;
pub mod envelope;
pub mod environment;
pub mod expr;
pub mod health;
pub mod json;
pub mod message;
pub mod metadata;
pub mod publish;
pub mod pubsub;
pub mod quantity;
pub mod resiliency;
pub mod resources;
pub mod runtime;
pub mod scopes;
pub mod shutdown;
pub mod telemetry;
pub mod wait;
