//! One sidecar from its [`Plan`] to its end: [`Runtime::build`] makes everything in order, [`Runtime::run`] serves
//! until it is stopped, and stops in reverse order.
//!
//! Nothing in a [`Runtime`] is global: many can run in one process. `main`, `run` and `demo` handle the signals; a
//! runtime is given a [`Stop`](crate::shutdown::Stop). The order is that of tests/spec/resources-cli.md, "11.
//! Lifecycle".

mod broker_connect;
mod build;
mod components;
mod handles;
mod load;
mod metrics_server;
mod plan;
mod reload;
mod run;
mod start_error;
mod stop;

pub use self::plan::{LogTarget, Plan};
pub use self::run::{Outcome, Runtime};
pub use self::start_error::StartError;
