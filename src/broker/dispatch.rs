//! Hands entries to sinks and settles them, the same for every broker: concurrency, turns, redelivery, at most once, batches of acks.
//!
//! One table, [`InFlight`], has the entries in flight; it does no I/O and reads no clock. A broker brings entries and supplies a [`Driver`]: how it
//! gets an entry again, how it hands entries back, how it acknowledges. Then there are three ways to use the table, of which a broker
//! takes what it needs: [`Dispatcher`] delivers one entry to its end, [`Workers`] do so in tasks, and [`acks`] sends acks in batches.

mod ack_queue;
pub(super) mod acks;
mod at_most_once;
mod dispatcher;
mod driver;
mod inflight;
mod offsets;
pub(super) mod redelivery;
mod subscription_id;
mod workers;

pub(super) use self::dispatcher::Dispatcher;
pub(super) use self::driver::{AckBatch, AckDriver, AckReply, DispatchEntry, Driver, Refetched, Returned, TaskNames};
pub(super) use self::inflight::{InFlight, ReadPlan};
pub(super) use self::subscription_id::SubscriptionId;
pub(super) use self::workers::Workers;
