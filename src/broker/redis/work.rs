//! From the board to the sinks and back: as many entries at a time as `concurrency` allows, or as the sink has places for, each to its
//! end.

use std::sync::Arc;

use futures_util::FutureExt;
use futures_util::stream::{FuturesUnordered, StreamExt};
use tokio::time::Instant;

use super::Shared;
use super::board::Job;
use super::entry::{Entry, EntryId};
use super::release;
use crate::broker::ack::Ack;
use crate::message::{Incoming, Settlement};

/// Put what was read on the board and let work begin. What belongs to a topic that is not read any more is handed back.
pub(super) fn accept(shared: &Arc<Shared>, read: Vec<(String, Vec<Entry>)>) {
    for (topic, entries) in read {
        for entry in &entries {
            if let Some(oddity) = &entry.oddity {
                shared.telemetry.redis_odd_metadata(entry.id, oddity);
            }
        }
        let back = shared.board.accept(&topic, entries);
        if !back.is_empty() {
            release::hand_back_later(shared, &topic, back);
        }
    }
    begin(shared);
}

/// Start workers for what is ready, as many as there are free places.
pub(super) fn begin(shared: &Arc<Shared>) {
    while let Some(job) = shared.board.next() {
        shared.tasks.spawn("redis delivery", work(shared.clone(), job));
    }
    if shared.board.may_gather() {
        shared.tasks.spawn("redis bulk delivery", gather(shared.clone()));
    }
}

/// Give what is ready to sinks that hold many at a time, in order: therefore one task after the other does it.
async fn gather(shared: Arc<Shared>) {
    let mut in_hand = FuturesUnordered::new();
    {
        let _in_turn = shared.gathering.lock().await;
        let jobs = shared.board.gathered().into_iter();
        in_hand.extend(jobs.map(|job| handle(&shared, job)));
        // Polled once, each is with its sink.
        drain(&mut in_hand);
    }
    while in_hand.next().await.is_some() {
        // Those of one batch end together, and leave their places to the next batch together.
        drain(&mut in_hand);
        begin(&shared);
    }
}

/// Poll all, and let go of those that are done.
fn drain<F: Future<Output = ()>>(in_hand: &mut FuturesUnordered<F>) {
    while in_hand.next().now_or_never().flatten().is_some() {}
}

/// One place: handle an entry, then the next one, until nothing is ready for it.
async fn work(shared: Arc<Shared>, job: Job) {
    let mut next = Some(job);
    while let Some(job) = next {
        handle(&shared, job).await;
        next = shared.board.next();
    }
}

async fn handle(shared: &Arc<Shared>, job: Job) {
    let Job { topic, sink, ack, entry } = job;
    let mut place = Place {
        shared,
        topic: &topic,
        id: entry.id,
        attempt: entry.attempt,
        is_over: false,
        settlement: Settlement::Retry,
    };
    if ack == Ack::None {
        // Without an answer it is tried again later, as after a failed delivery.
        let Ok(is_ours) = shared.stream.ack_once(&topic, entry.id).await else {
            return;
        };
        place.is_over = true;
        if !is_ours {
            place.settlement = Settlement::Ack;
            return;
        }
    }
    let incoming = Incoming {
        topic: topic.clone(),
        position: Some(entry.id.into()),
        data: entry.data,
        has_metadata: entry.metadata.is_some(),
        metadata: entry.metadata.unwrap_or_default(),
        attempt: entry.attempt,
        only_once: place.is_over,
    };
    place.settlement = sink.accept(incoming).await;
}

/// A taken place. Leaving it settles the entry: also by a panic in the sink, which counts as a retry.
struct Place<'a> {
    shared: &'a Arc<Shared>,
    topic: &'a Arc<str>,
    id: EntryId,
    attempt: u32,
    /// The entry is acknowledged: whatever the settlement, it leaves the board.
    is_over: bool,
    settlement: Settlement,
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        let shared = self.shared;
        if self.is_over {
            self.leave_for_good();
            return;
        }
        let pause = shared.redelivery.after(self.attempt);
        let back = shared.board.finished(self.topic, self.id, self.settlement, Instant::now() + pause);
        match self.settlement {
            Settlement::Ack => shared.acks.add(self.topic, self.id),
            Settlement::Retry if back => release::hand_back_later(shared, self.topic, vec![self.id]),
            Settlement::Retry => shared.telemetry.redelivery_planned(self.topic, self.attempt, pause),
        }
        self.hand_on();
    }
}

impl Place<'_> {
    /// The end of an entry that was acknowledged before its delivery.
    fn leave_for_good(&self) {
        let (board, now) = (&self.shared.board, Instant::now());
        board.finished(self.topic, self.id, Settlement::Ack, now);
        board.acked(self.topic, &[self.id]);
        if self.settlement == Settlement::Retry {
            self.shared.telemetry.not_delivered_again(self.topic);
        }
        self.hand_on();
    }

    fn hand_on(&self) {
        if std::thread::panicking() {
            // This worker is lost with the panic; another one takes over its place.
            begin(self.shared);
        }
    }
}
