//! The handles that the readers of a group share.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::client::GroupClient;
use super::lost_replies::LostReplies;
use super::read_barrier::ReadBarrier;
use crate::broker::dispatch::Workers;
use crate::shutdown::Tasks;

/// Handles of the readers of a group; clones are handles to the same.
#[derive(Clone)]
pub(super) struct ReaderContext {
    pub(super) workers: Arc<Workers<GroupClient>>,
    pub(super) barrier: Arc<ReadBarrier>,
    pub(super) lost_replies: Arc<LostReplies>,
    /// The address refuses one read of several topics; known to all groups of the component.
    pub(super) one_by_one: Arc<AtomicBool>,
    pub(super) tasks: Tasks,
}

impl ReaderContext {
    /// Look for entries that may have been assigned to this consumer and did not arrive.
    pub(super) fn suspect_lost_replies(&self) {
        self.lost_replies.suspect(self.workers.inflight());
    }

    pub(super) fn reads_one_by_one(&self) -> bool {
        self.one_by_one.load(Ordering::Relaxed)
    }

    /// Read each topic by itself from now on. Returns whether that is new.
    pub(super) fn read_one_by_one(&self) -> bool {
        !self.one_by_one.swap(true, Ordering::Relaxed)
    }
}
