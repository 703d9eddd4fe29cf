//! The orders of the demo. The app answers by the content of an order, so the user's own orders can have the same
//! outcomes.

/// One order of the script.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Order {
    /// Counted from 1.
    pub(super) number: u64,
    kind: Kind,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// Topic `orders`, succeeds at once.
    Order,
    /// Topic `orders`, succeeds at the second delivery.
    BusyOrder,
    /// Topic `payments`, succeeds at once.
    Payment,
    /// Topic `payments`, dropped by the app: dead letter.
    ExpiredPayment,
}

/// The kinds take turns: four orders show them all.
const KINDS: [Kind; 5] = [Kind::Order, Kind::BusyOrder, Kind::Payment, Kind::ExpiredPayment, Kind::Order];

const ITEMS: [&str; 7] = ["tea", "coffee", "bread", "apples", "honey", "rice", "figs"];

impl Order {
    /// The order of this number, always the same.
    pub(super) fn nth(number: u64) -> Self {
        Self { number, kind: pick(&KINDS, number) }
    }

    /// Its topic.
    pub(super) fn topic(&self) -> &'static str {
        match self.kind {
            Kind::Order | Kind::BusyOrder => "orders",
            Kind::Payment | Kind::ExpiredPayment => "payments",
        }
    }

    /// Its payload, as JSON.
    pub(super) fn body(&self) -> String {
        let number = self.number;
        match self.kind {
            Kind::Order => format!(r#"{{"orderId":{number},"item":"{}"}}"#, self.item()),
            Kind::BusyOrder => format!(r#"{{"orderId":{number},"item":"{}","warehouse":"busy"}}"#, self.item()),
            Kind::Payment => format!(r#"{{"orderId":{number},"amount":{}}}"#, self.amount()),
            Kind::ExpiredPayment => format!(r#"{{"orderId":{number},"amount":{},"card":"expired"}}"#, self.amount()),
        }
    }

    fn item(&self) -> &'static str {
        pick(&ITEMS, self.number)
    }

    fn amount(&self) -> u64 {
        5 + self.number * 7 % 40
    }
}

/// The element for this number, counted from 1.
fn pick<T: Copy, const N: usize>(all: &[T; N], number: u64) -> T {
    let turn = number.saturating_sub(1) % N as u64;
    all[usize::try_from(turn).unwrap_or_default()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_has_its_turn_within_the_first_orders() {
        let check = |number, topic, body| {
            let order = Order::nth(number);
            assert_eq!((order.topic(), order.body().as_str()), (topic, body));
        };
        check(1, "orders", r#"{"orderId":1,"item":"tea"}"#);
        check(2, "orders", r#"{"orderId":2,"item":"coffee","warehouse":"busy"}"#);
        check(3, "payments", r#"{"orderId":3,"amount":26}"#);
        check(4, "payments", r#"{"orderId":4,"amount":33,"card":"expired"}"#);
        check(6, "orders", r#"{"orderId":6,"item":"rice"}"#);
    }
}
