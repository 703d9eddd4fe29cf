//! Policies around the calls to brokers and to the app: retries, timeouts, circuit breakers (tests/spec/resources-cli.md,
//! "8. Resiliency").
//!
//! [`Targets`] knows which policy a component has; `Pubsub::send` and the consumers of `delivery` make their calls through it.
//! `resources::resiliency` reads the policies from files. Nothing here knows brokers, apps or events.

mod breaker;
mod error;
mod policy;
mod retry;
mod targets;

pub use self::breaker::TRIP_VARIABLES;
pub use self::error::{CallError, Interruption};
pub use self::policy::Policy;
pub use self::targets::Targets;

#[cfg(test)]
pub(crate) mod tests;
