//! One function for each notable event, in a file for each room that has some.

pub mod api;
pub mod broker;
mod delivery;
pub mod input;
pub mod lifecycle;
pub mod publish;
pub mod reload;
pub mod resiliency;
pub mod server;
