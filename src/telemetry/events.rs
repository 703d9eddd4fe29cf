//! The types of notable events, in a file for each part of the sidecar.

pub mod api;
pub mod app;
pub mod broker;
pub mod delivery;
pub mod input;
pub mod lifecycle;
pub mod publish;
pub mod reload;
pub mod resiliency;
pub mod server;
pub mod subscription;
