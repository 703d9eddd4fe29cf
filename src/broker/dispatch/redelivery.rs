//! Redelivery of entries that were not acknowledged, after growing pauses (D1).

use std::time::Duration;

use tokio::time::Instant;

use super::dispatcher::Dispatcher;
use super::driver::{Driver, Returned};
use super::subscription_id::SubscriptionId;
use crate::backoff::Backoff;

/// The pause before the first redelivery.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
/// The longest pause, where the component does not set it.
pub(in crate::broker) const MAX_PAUSE: Duration = Duration::from_secs(60);

/// The pauses between deliveries of an entry: one second, doubling up to `longest`.
pub(in crate::broker) const fn backoff(longest: Duration) -> Backoff {
    Backoff::doubling(FIRST_PAUSE, longest)
}

impl<D: Driver> Dispatcher<D> {
    /// Fetch entries of [`InFlight::take_due`](super::inflight::InFlight::take_due) and take them in as Ready. What cannot be fetched waits a little
    /// longer. Returns entries to hand back, if the subscription has ended meanwhile.
    pub(in crate::broker) async fn fetch(&self, subscription: &SubscriptionId, ids: &[D::Id]) -> Vec<Returned<D::Id>> {
        let mut back = Vec::new();
        for ids in ids.chunks(D::MAX_REFETCH) {
            if let Ok(found) = self.driver.refetch(subscription, ids).await {
                back.extend(self.inflight.accept(subscription, found.entries));
                let gone = self.inflight.not_found(subscription, &found.gone);
                if gone > 0 {
                    self.driver.report_gone(subscription, gone);
                }
            }
            self.inflight.not_fetched(subscription, ids, Instant::now() + self.backoff.after(1));
        }
        back
    }
}
