//! Readiness of the sidecar. The parts report; the health endpoints and the shutdown read.
//!
//! There are two questions (tests/spec/http-api.md, "8. Health"). Outbound is ready once the APIs listen and the
//! brokers have been reached. The whole is ready once the app listens and its subscriptions run, too. A subscription
//! that fails for longer than [`PATIENCE`] makes the whole unready until it works again.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::RwLock;
use tokio::time::Instant;

/// Time that a subscription may fail before the sidecar becomes unready (D30).
const PATIENCE: Duration = Duration::from_secs(10);

/// The readiness of one sidecar. Clones share the state.
#[derive(Clone, Debug, Default)]
pub struct Health(Arc<RwLock<State>>);

#[derive(Debug, Default)]
struct State {
    outbound: bool,
    ready: bool,
    /// Parts that cannot work yet: name -> reason.
    waiting: BTreeMap<String, String>,
    /// Subscriptions by number.
    subscriptions: BTreeMap<u64, Subscription>,
    last_number: u64,
}

#[derive(Debug)]
struct Subscription {
    pubsub: String,
    topic: String,
    /// The time of the first failure in a row, and the latest reason.
    failing: Option<(Instant, String)>,
}

/// The reports of one subscription. Clones report for the same one.
#[derive(Clone, Debug)]
pub struct Report {
    health: Health,
    number: u64,
}

impl Report {
    /// The subscription cannot start or be read, with the reason.
    pub fn fails(&self, reason: &str) {
        self.health.change(|state| {
            if let Some(subscription) = state.subscriptions.get_mut(&self.number) {
                let since = subscription.failing.take().map(|(since, _)| since);
                let since = since.unwrap_or_else(Instant::now);
                subscription.failing = Some((since, reason.to_owned()));
            }
        });
    }

    /// The subscription runs.
    pub fn works(&self) {
        self.health.change(|state| {
            if let Some(subscription) = state.subscriptions.get_mut(&self.number) {
                subscription.failing = None;
            }
        });
    }

    /// Report whether the broker can be read for it.
    pub fn reads(&self, reading: Result<(), &str>) {
        match reading {
            Ok(()) => self.works(),
            Err(reason) => self.fails(reason),
        }
    }

    /// The subscription has ended. Later reports are ignored.
    pub fn over(&self) {
        self.health.change(|state| drop(state.subscriptions.remove(&self.number)));
    }
}

impl Health {
    /// The APIs listen and publishing can work.
    pub fn outbound_ready(&self) {
        self.change(|state| state.outbound = true);
    }

    /// The start-up is complete.
    pub fn ready(&self) {
        self.change(|state| state.ready = true);
    }

    /// The shutdown has begun.
    pub fn stopping(&self) {
        self.change(|state| state.ready = false);
    }

    /// A part, for example a broker, cannot work yet, with the reason.
    pub fn waits_for(&self, part: &str, reason: &str) {
        self.change(|state| drop(state.waiting.insert(part.to_owned(), reason.to_owned())));
    }

    /// This part works, or is not needed any more.
    pub fn has(&self, part: &str) {
        self.change(|state| drop(state.waiting.remove(part)));
    }

    /// A subscription begins. It reports until [`Report::over`].
    pub fn subscription(&self, pubsub: &str, topic: &str) -> Report {
        let mut number = 0;
        self.change(|state| {
            state.last_number += 1;
            number = state.last_number;
            let subscription = Subscription { pubsub: pubsub.to_owned(), topic: topic.to_owned(), failing: None };
            state.subscriptions.insert(number, subscription);
        });
        Report { health: self.clone(), number }
    }

    /// The parts that are not ready, as `part` or `part: reason`. Empty: the whole is ready.
    pub fn check(&self) -> Result<(), Vec<String>> {
        let state = self.0.read();
        let waiting = state.waiting.iter();
        let mut missing: Vec<_> = waiting.map(|(part, reason)| format!("{part}: {reason}")).collect();
        missing.extend(state.failing());
        if state.ready && missing.is_empty() {
            return Ok(());
        }
        if missing.is_empty() {
            missing.push("runtime".to_owned());
        }
        Err(missing)
    }

    /// Whether publishing can work.
    pub fn is_outbound_ready(&self) -> bool {
        let state = self.0.read();
        state.outbound && state.waiting.is_empty()
    }

    fn change(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.0.write());
    }
}

impl State {
    /// The subscriptions that have failed for too long: one text for all of a component with the same reason. A
    /// component that has not been reached is listed already, so its subscriptions are left out.
    fn failing(&self) -> impl Iterator<Item = String> {
        let mut topics = BTreeMap::<(&str, &str), Vec<&str>>::new();
        for subscription in self.subscriptions.values() {
            if let Some((since, reason)) = &subscription.failing
                && since.elapsed() > PATIENCE
                && !self.waiting.contains_key(&subscription.pubsub)
            {
                let key = (subscription.pubsub.as_str(), reason.as_str());
                topics.entry(key).or_default().push(&subscription.topic);
            }
        }
        topics
            .into_iter()
            .map(|((pubsub, reason), topics)| format!("{pubsub}: no events of topic {}: {reason}", topics.join(", ")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn missing(health: &Health) -> Vec<String> {
        health.check().err().unwrap_or_default()
    }

    #[tokio::test(start_paused = true)]
    async fn a_subscription_that_fails_for_long_shows_until_it_works_or_ends() {
        let health = Health::default();
        health.outbound_ready();
        health.ready();
        let [orders, bills, other] = ["orders", "bills", "other"].map(|topic| health.subscription("pubsub", topic));
        orders.fails("NOPERM");
        tokio::time::advance(PATIENCE).await;
        assert!(missing(&health).is_empty(), "not yet");
        // A further failure keeps the time of the first one.
        orders.fails("WRONGTYPE");
        tokio::time::advance(Duration::from_millis(1)).await;
        assert_eq!(missing(&health), ["pubsub: no events of topic orders: WRONGTYPE"]);
        assert!(health.is_outbound_ready(), "one can publish all the same");
        bills.fails("WRONGTYPE");
        other.fails("NOPERM");
        tokio::time::advance(2 * PATIENCE).await;
        let both = "pubsub: no events of topic orders, bills: WRONGTYPE";
        assert_eq!(missing(&health), ["pubsub: no events of topic other: NOPERM", both]);
        health.waits_for("pubsub", "connection refused");
        assert_eq!(missing(&health), ["pubsub: connection refused"]);
        health.has("pubsub");
        other.works();
        assert_eq!(missing(&health), [both]);
        orders.over();
        orders.fails("too late");
        bills.works();
        assert!(missing(&health).is_empty());
        bills.fails("again");
        assert!(missing(&health).is_empty(), "its time begins anew");
        tokio::time::advance(2 * PATIENCE).await;
        assert_eq!(missing(&health), ["pubsub: no events of topic bills: again"]);
    }
}
