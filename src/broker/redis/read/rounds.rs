//! Which reads are over. Who ends a subscription waits until no reader can bring entries of its topic any more.

use std::collections::BTreeMap;

use tokio::sync::watch;

/// The rounds of all readers of a component.
#[derive(Default)]
pub(in crate::broker::redis) struct Rounds(watch::Sender<Table>);

#[derive(Clone, Default)]
struct Table {
    next: u64,
    /// Of each reader how many reads have begun and ended: it is reading where that is odd.
    turns: BTreeMap<u64, u64>,
}

/// One reader's place in the table, until it is dropped.
pub(super) struct Rounder<'a> {
    rounds: &'a Rounds,
    reader: u64,
}

impl Rounds {
    /// A reader that is going to read.
    pub(super) fn join(&self) -> Rounder<'_> {
        let mut reader = 0;
        self.0.send_modify(|table| {
            reader = table.next;
            table.next += 1;
            table.turns.insert(reader, 0);
        });
        Rounder { rounds: self, reader }
    }

    /// Resolves when every read that may be under way now has ended.
    pub(in crate::broker::redis) fn over(&self) -> impl Future<Output = ()> + use<> {
        let mut watching = self.0.subscribe();
        let mut before = watching.borrow_and_update().turns.clone();
        before.retain(|_, turn| *turn % 2 == 1);
        async move {
            let over = |table: &Table| {
                let same = |(reader, turn)| table.turns.get(reader) == Some(turn);
                !before.iter().any(same)
            };
            // Without readers nothing can be under way.
            let _ = watching.wait_for(over).await;
        }
    }
}

impl Rounder<'_> {
    /// From here on it is decided what to read.
    pub(super) fn begun(&self) {
        self.turn();
    }

    /// The read has ended, and what it brought is on the board; or there was nothing to read.
    pub(super) fn ended(&self) {
        self.turn();
    }

    fn turn(&self) {
        self.rounds.0.send_modify(|table| {
            *table.turns.entry(self.reader).or_default() += 1;
        });
    }
}

impl Drop for Rounder<'_> {
    fn drop(&mut self) {
        self.rounds.0.send_modify(|table| {
            table.turns.remove(&self.reader);
        });
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    #[test]
    fn a_read_is_over_when_it_has_ended_or_its_reader_left() {
        let rounds = Rounds::default();
        let (one, two) = (rounds.join(), rounds.join());
        assert!(rounds.over().now_or_never().is_some(), "nobody reads");
        one.begun();
        two.begun();
        let mut over = Box::pin(rounds.over());
        one.ended();
        one.begun();
        assert!(over.as_mut().now_or_never().is_none());
        two.ended();
        assert!(over.now_or_never().is_some(), "a later read does not count");
        let mut over = Box::pin(rounds.over());
        assert!(over.as_mut().now_or_never().is_none());
        drop(one);
        assert!(over.now_or_never().is_some());
    }
}
