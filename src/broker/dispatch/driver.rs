//! The traits that a broker implements to have its entries dispatched, and the types that it exchanges with the dispatcher.

use std::collections::BTreeMap;
use std::hash::Hash;

use bytes::Bytes;
use tokio::time::Instant;

use super::subscription_id::SubscriptionId;
use crate::message::{Metadata, Position};

/// The id of an entry: unique within a subscription, growing in the order of the stream.
pub(in crate::broker) trait Id: Copy + Ord + Hash + Into<Position> + Send + Sync + 'static {}

impl<T: Copy + Ord + Hash + Into<Position> + Send + Sync + 'static> Id for T {}

/// An entry as it was read.
#[derive(Clone)]
pub(in crate::broker) struct DispatchEntry<I> {
    pub(in crate::broker) id: I,
    pub(in crate::broker) data: Bytes,
    /// `None`: the entry has no metadata, which is not the same as an empty map.
    pub(in crate::broker) metadata: Option<Metadata>,
    /// Which delivery this is, counted from 1. An entry that is fetched again gets the next number of its attempts instead.
    pub(in crate::broker) attempt: u32,
}

/// An entry that leaves the dispatcher without being done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::broker) struct Returned<I> {
    pub(in crate::broker) id: I,
    /// How often it was delivered.
    pub(in crate::broker) attempts: u32,
    /// When its next delivery is due; `None`: at once.
    pub(in crate::broker) due: Option<Instant>,
}

/// The outcome of fetching entries again.
pub(in crate::broker) struct Refetched<I> {
    pub(in crate::broker) entries: Vec<DispatchEntry<I>>,
    /// Entries that no longer exist.
    pub(in crate::broker) gone: Vec<I>,
}

/// Which side delivers a failed entry again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::broker) enum Redelivery {
    /// The dispatcher, when its time has come.
    #[default]
    Planned,
    /// The broker, which gets the entry back together with the time when it is due.
    Native,
}

/// The entries that an ack of the broker covers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::broker) enum AckOrder {
    /// One entry, in any order.
    #[default]
    Any,
    /// An entry and all before it: an ack waits for these.
    Offset,
}

/// How a broker wants its entries treated.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::broker) struct DispatchPolicy {
    pub(in crate::broker) redelivery: Redelivery,
    pub(in crate::broker) ack_order: AckOrder,
}

/// The broker as its dispatcher uses it.
pub(in crate::broker) trait Driver: Send + Sync + 'static {
    type Id: Id;
    /// Why the broker did not do something.
    type Error: Send;

    /// The most ids in one [`Driver::refetch`].
    const MAX_REFETCH: usize;
    /// Redelivery planned by the dispatcher and acks in any order, unless a broker says otherwise.
    const POLICY: DispatchPolicy = DispatchPolicy { redelivery: Redelivery::Planned, ack_order: AckOrder::Any };

    /// Get entries again whose redelivery is due.
    ///
    /// # Errors
    /// If that is not known of any of them: it is tried again.
    fn refetch(
        &self,
        subscription: &SubscriptionId,
        ids: &[Self::Id],
    ) -> impl Future<Output = Result<Refetched<Self::Id>, Self::Error>> + Send;

    /// Return entries to the broker, which delivers them again: to another consumer, or by itself when they are due.
    fn hand_back(
        &self,
        subscription: &SubscriptionId,
        entries: &[Returned<Self::Id>],
    ) -> impl Future<Output = ()> + Send;

    /// Acknowledge an entry before its delivery. Returns whether it was still unacknowledged: `true` for one of all callers.
    ///
    /// # Errors
    /// If the broker did not answer. The entry may be acknowledged all the same.
    fn ack_first(
        &self,
        subscription: &SubscriptionId,
        id: Self::Id,
    ) -> impl Future<Output = Result<bool, Self::Error>> + Send;

    /// Acknowledge a finished entry at once, if that takes no I/O. Returns `false` if acks go in batches: see [`AckDriver`].
    fn ack_now(&self, _subscription: &SubscriptionId, _id: Self::Id) -> bool {
        false
    }

    /// Report entries that no longer existed when their redelivery was due.
    fn report_gone(&self, _subscription: &SubscriptionId, _count: usize) {}
}

/// Names of the tasks of a broker, for the warning about tasks that do not end.
pub(in crate::broker) struct TaskNames {
    pub(in crate::broker) delivery: &'static str,
    pub(in crate::broker) batch_delivery: &'static str,
    pub(in crate::broker) hand_back: &'static str,
}

/// Acks to send.
pub(in crate::broker) type AckBatch<I> = BTreeMap<SubscriptionId, Vec<I>>;

/// The answer to the acks of one subscription.
pub(in crate::broker) enum AckReply<E> {
    /// Done, or there is nothing left to acknowledge.
    Confirmed,
    /// Not answered: to be sent again soon.
    Failed(E),
    /// Answered with a refusal, for example for want of the right: to be sent again later.
    Refused(E),
}

/// A broker whose acks go in batches, as its dispatcher uses it.
pub(in crate::broker) trait AckDriver: Driver {
    /// Send acks; a reply for each subscription, in the order of the batch.
    fn ack(&self, batch: &AckBatch<Self::Id>) -> impl Future<Output = Vec<AckReply<Self::Error>>> + Send;

    /// Report that acks cannot be sent for now.
    fn report_delayed(&self, error: &Self::Error);

    /// Report that acks are refused, for the first of these subscriptions.
    fn report_refused(&self, subscription: &SubscriptionId, error: &Self::Error);

    /// Report that all acks that were refused are accepted.
    fn report_accepted(&self);
}
