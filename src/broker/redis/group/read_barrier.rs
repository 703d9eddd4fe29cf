//! A barrier: unsubscribing waits for every read in progress that may still bring entries of the topic.

use std::collections::BTreeMap;

use tokio::sync::watch;

/// The reads of all readers of a group.
#[derive(Default)]
pub(super) struct ReadBarrier(watch::Sender<Turns>);

#[derive(Clone, Default)]
struct Turns {
    next: u64,
    /// By reader, how often it has entered or left a read: it is reading where the number is odd.
    turns: BTreeMap<u64, u64>,
}

/// One reader's entry in the barrier, until it is dropped.
pub(super) struct ReadTurn<'a> {
    barrier: &'a ReadBarrier,
    reader: u64,
}

impl ReadBarrier {
    /// Register a reader.
    pub(super) fn join(&self) -> ReadTurn<'_> {
        let mut reader = 0;
        self.0.send_modify(|readers| {
            reader = readers.next;
            readers.next += 1;
            readers.turns.insert(reader, 0);
        });
        ReadTurn { barrier: self, reader }
    }

    /// Resolves when every read that is in progress now has ended.
    pub(super) fn passed(&self) -> impl Future<Output = ()> + use<> {
        let mut watching = self.0.subscribe();
        let mut reading = watching.borrow_and_update().turns.clone();
        reading.retain(|_, turn| *turn % 2 == 1);
        async move {
            let is_passed = |readers: &Turns| {
                let is_same = |(reader, turn)| readers.turns.get(reader) == Some(turn);
                !reading.iter().any(is_same)
            };
            // An error means that there are no readers, and so no reads.
            let _ = watching.wait_for(is_passed).await;
        }
    }
}

impl ReadTurn<'_> {
    /// A read begins, with the decision what to read.
    pub(super) fn enter(&self) {
        self.count();
    }

    /// The read has ended, and its entries are in flight; or there was nothing to read.
    pub(super) fn leave(&self) {
        self.count();
    }

    fn count(&self) {
        self.barrier.0.send_modify(|readers| {
            *readers.turns.entry(self.reader).or_default() += 1;
        });
    }
}

impl Drop for ReadTurn<'_> {
    fn drop(&mut self) {
        self.barrier.0.send_modify(|readers| {
            readers.turns.remove(&self.reader);
        });
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    #[test]
    fn the_barrier_is_passed_when_each_read_has_ended_or_its_reader_is_gone() {
        let barrier = ReadBarrier::default();
        let (one, two) = (barrier.join(), barrier.join());
        assert!(barrier.passed().now_or_never().is_some(), "nobody reads");
        one.enter();
        two.enter();
        let mut passed = Box::pin(barrier.passed());
        one.leave();
        one.enter();
        assert!(passed.as_mut().now_or_never().is_none());
        two.leave();
        assert!(passed.now_or_never().is_some(), "a later read does not count");
        let mut passed = Box::pin(barrier.passed());
        assert!(passed.as_mut().now_or_never().is_none());
        drop(one);
        assert!(passed.now_or_never().is_some());
    }
}
