//! Pub/sub components at work: a broker with the rules of its component around it, and the catalog of all of them.
//!
//! Both paths send through [`Pubsub::publishing`], so that a dead letter obeys the same scopes and namespace as a
//! publish.

mod catalog;
mod component;
mod send;

pub use self::catalog::Catalog;
pub use self::component::{Identity, Pubsub, SubscribeError};
pub use self::send::{Forbidden, Message, Permitted, SendError};
