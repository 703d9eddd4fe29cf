//! At most once (`ack: none`): an entry is acknowledged before its sink gets it. The broker confirms that to one caller only, so neither a
//! takeover nor a lost reply makes a second delivery; and until then the entry is as safe as any other.

use super::driver::Driver;
use super::subscription_id::SubscriptionId;

/// The outcome of acknowledging an entry before its delivery.
pub(super) enum Claim {
    /// It is acknowledged, and to be delivered.
    Granted,
    /// Another consumer has acknowledged it.
    Taken,
    /// The broker did not answer: it is tried again later, as after a failed delivery.
    Unknown,
}

/// Acknowledge an entry that is about to be delivered.
pub(super) async fn claim<D: Driver>(driver: &D, subscription: &SubscriptionId, id: D::Id) -> Claim {
    match driver.ack_first(subscription, id).await {
        Ok(true) => Claim::Granted,
        Ok(false) => Claim::Taken,
        Err(_) => Claim::Unknown,
    }
}
