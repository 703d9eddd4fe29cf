//! The outcome of each order, and the exit code.

use std::collections::BTreeMap;
use std::fmt;

/// The orders that have been sent, by number.
#[derive(Debug, Default)]
pub(super) struct Tally(BTreeMap<u64, Progress>);

/// The progress of an order.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Progress {
    /// Sent, and not at its end.
    Open {
        /// The number of deliveries.
        deliveries: u32,
    },
    /// The sidecar refused it.
    Refused,
    /// The app answered SUCCESS.
    Succeeded {
        /// Whether it took more than one delivery.
        late: bool,
    },
    /// It came out of the dead-letter topic.
    DeadLettered,
}

impl Tally {
    /// An order is about to be sent.
    pub(super) fn sent(&mut self, number: u64) {
        self.0.insert(number, Progress::Open { deliveries: 0 });
    }

    /// Whether this order has been sent.
    pub(super) fn knows(&self, number: u64) -> bool {
        self.0.contains_key(&number)
    }

    /// The sidecar refused it.
    pub(super) fn refused(&mut self, number: u64) {
        self.end(number, Progress::Refused);
    }

    /// It has been delivered.
    pub(super) fn delivered(&mut self, number: u64) {
        if let Some(Progress::Open { deliveries }) = self.0.get_mut(&number) {
            *deliveries += 1;
        }
    }

    /// The app answered SUCCESS.
    pub(super) fn succeeded(&mut self, number: u64) {
        let late = matches!(self.0.get(&number), Some(Progress::Open { deliveries }) if *deliveries > 1);
        self.end(number, Progress::Succeeded { late });
    }

    /// It came out of the dead-letter topic.
    pub(super) fn dead_lettered(&mut self, number: u64) {
        self.end(number, Progress::DeadLettered);
    }

    /// Whether no order is on its way any more.
    pub(super) fn is_settled(&self) -> bool {
        self.count(|progress| matches!(progress, Progress::Open { .. })) == 0
    }

    /// The exit code: 0 only if all planned orders were sent, and each succeeded or came out of the dead-letter topic.
    pub(super) fn exit_code(&self, planned: Option<u64>) -> u8 {
        let all_sent = planned.is_none_or(|planned| self.0.len() as u64 == planned);
        u8::from(!all_sent || self.unaccounted().next().is_some())
    }

    /// The first end counts: a later redelivery of the event is not a second order.
    fn end(&mut self, number: u64, end: Progress) {
        if let Some(progress @ Progress::Open { .. }) = self.0.get_mut(&number) {
            *progress = end;
        }
    }

    fn count(&self, is_meant: impl Fn(&Progress) -> bool) -> usize {
        self.0.values().filter(|progress| is_meant(progress)).count()
    }

    fn unaccounted(&self) -> impl Iterator<Item = u64> {
        self.0.iter().filter_map(|(number, progress)| {
            matches!(progress, Progress::Open { .. } | Progress::Refused).then_some(*number)
        })
    }
}

/// The summary in one line.
impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let at_once = self.count(|progress| *progress == Progress::Succeeded { late: false });
        let late = self.count(|progress| *progress == Progress::Succeeded { late: true });
        let dead = self.count(|progress| *progress == Progress::DeadLettered);
        let sent = self.0.len();
        let orders = if sent == 1 { "order" } else { "orders" };
        write!(
            f,
            "{sent} {orders}: {at_once} succeeded at once, {late} after redelivery, {dead} came out of the dead-letter topic. "
        )?;
        let missing: Vec<String> = self.unaccounted().map(|number| number.to_string()).collect();
        if missing.is_empty() {
            f.write_str("Every order is accounted for.")
        } else {
            write!(f, "NOT accounted for: {}.", missing.join(", "))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(steps: impl FnOnce(&mut Tally)) -> Tally {
        let mut tally = Tally::default();
        for number in 1..=3 {
            tally.sent(number);
        }
        tally.delivered(1);
        tally.succeeded(1);
        tally.delivered(2);
        steps(&mut tally);
        tally
    }

    #[test]
    fn every_order_must_succeed_or_come_out_of_the_dead_letter_topic() {
        let check = |steps: fn(&mut Tally), settled, code, summary: &str| {
            let tally = after(steps);
            assert_eq!(tally.is_settled(), settled, "{tally}");
            assert_eq!(tally.exit_code(Some(3)), code, "{tally}");
            assert_eq!(tally.exit_code(None), code, "{tally}");
            assert_eq!(tally.to_string(), format!("3 orders: {summary}"));
        };
        check(
            |tally| {
                tally.delivered(2);
                tally.succeeded(2);
                tally.dead_lettered(3);
            },
            true,
            0,
            "1 succeeded at once, 1 after redelivery, 1 came out of the dead-letter topic. Every order is accounted for.",
        );
        check(
            |tally| tally.succeeded(2),
            false,
            1,
            "2 succeeded at once, 0 after redelivery, 0 came out of the dead-letter topic. NOT accounted for: 3.",
        );
        check(
            |tally| {
                tally.refused(2);
                tally.refused(3);
                tally.refused(1);
            },
            true,
            1,
            "1 succeeded at once, 0 after redelivery, 0 came out of the dead-letter topic. NOT accounted for: 2, 3.",
        );
    }

    #[test]
    fn a_demo_that_ended_early_is_not_a_success() {
        let mut tally = after(|tally| {
            tally.succeeded(2);
            tally.succeeded(3);
        });
        assert_eq!(tally.exit_code(Some(4)), 1);
        assert_eq!(tally.exit_code(None), 0);
        tally.sent(4);
        assert_eq!(tally.exit_code(None), 1);
    }

    #[test]
    fn strangers_are_not_counted() {
        let mut tally = after(|_| {});
        tally.delivered(77);
        tally.succeeded(77);
        assert!(!tally.knows(77));
        assert_eq!(tally.0.len(), 3);
    }
}
