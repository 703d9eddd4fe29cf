//! Acks of brokers that only know the offset below which all is done, while entries are finished in any order.

use std::collections::BTreeSet;

/// The entries of a subscription that no ack covers yet.
pub(super) struct Offsets<I> {
    unfinished: BTreeSet<I>,
    /// Finished, but after an unfinished one.
    finished: BTreeSet<I>,
}

impl<I: Copy + Ord> Offsets<I> {
    pub(super) fn new() -> Self {
        Self { unfinished: BTreeSet::new(), finished: BTreeSet::new() }
    }

    /// Count an entry as unfinished.
    pub(super) fn begin(&mut self, id: I) {
        self.unfinished.insert(id);
    }

    /// Count an entry as finished. Returns the offset to acknowledge, if it has grown: the last entry with no unfinished one before it.
    pub(super) fn finish(&mut self, id: I) -> Option<I> {
        self.unfinished.remove(&id);
        self.finished.insert(id);
        let covered = match self.unfinished.first() {
            Some(first) => {
                let later = self.finished.split_off(first);
                std::mem::replace(&mut self.finished, later)
            }
            None => std::mem::take(&mut self.finished),
        };
        covered.last().copied()
    }

    /// Forget an entry that leaves without being finished.
    pub(super) fn forget(&mut self, id: I) {
        self.unfinished.remove(&id);
    }
}
