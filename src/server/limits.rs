//! Limits of a server (D32): connections and requests in flight for each listener, and the memory of request bodies.
//!
//! Connections and requests beyond a limit are refused at once and counted, so that a flood costs no memory. This is
//! the place for limits that depend on the memory of the container; deadlines belong to
//! [`Deadlines`](super::transport::Deadlines).

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};

use crate::telemetry::Telemetry;
use crate::telemetry::events::server::Refused;

/// Connections beyond the limit that are answered at a time. Further ones are closed without an answer.
const MAX_REFUSALS: usize = 64;

/// How often, and after which pauses, a connection beyond the limit looks for a place before it is refused.
const ATTEMPTS: usize = 8;
const ATTEMPT: Duration = Duration::from_millis(25);

/// How many connections are looked at for an idle one, for each attempt.
const MAX_LOOKED_AT: usize = 64;

/// How often a connection is looked at before it has to make room: since it began, and since its last request. Those
/// that never had a request go first.
const GRACE_OF_NEW: usize = 1;
const GRACE_OF_USED: usize = 4;

/// The limits of a listener.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// `--max-connections`: connections at a time.
    pub connections: usize,
    /// `--max-requests`: requests in flight, on all connections.
    pub requests: usize,
}

/// A limit that was reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Limit {
    /// Connections of a listener.
    Connections,
    /// Requests in flight of a listener.
    Requests,
    /// Memory of the bodies of requests.
    BodyMemory,
}

impl Limit {
    /// The value of the label `limit` in the metrics.
    pub fn label(self) -> &'static str {
        match self {
            Self::Connections => "connections",
            Self::Requests => "requests",
            Self::BodyMemory => "body_memory",
        }
    }
}

impl fmt::Display for Limit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Connections => "too many connections (--max-connections)",
            Self::Requests => "too many requests in flight (--max-requests)",
            Self::BodyMemory => "the bodies of requests need too much memory (--max-body-memory)",
        })
    }
}

/// The connections of a listener.
pub(super) struct ConnectionSlots {
    free: Arc<Semaphore>,
    refusals: Arc<Semaphore>,
    open: Mutex<Open>,
    reported: AtomicBool,
}

/// The connections that are served, by age, and the one that is to be looked at next for an idle one.
#[derive(Default)]
struct Open {
    connections: BTreeMap<u64, Arc<Activity>>,
    newest: u64,
    next: u64,
}

/// The right to have a connection, until it is dropped.
pub(super) struct ConnectionSlot {
    slots: Arc<ConnectionSlots>,
    _permit: OwnedSemaphorePermit,
    /// Key among the open connections; `None` for a connection beyond the limit, which is to be answered with a refusal
    /// only.
    id: Option<u64>,
    pub(super) activity: Arc<Activity>,
}

/// The recent requests of a connection.
#[derive(Debug)]
pub(super) struct Activity {
    /// Has a request come since this was last reset?
    pub(super) has_request: AtomicBool,
    /// How often the connection may still be looked at before it has to make room.
    grace: AtomicUsize,
    running: AtomicUsize,
    /// Another connection needs the place of this one.
    is_wanted: Notify,
}

impl ConnectionSlots {
    pub(super) fn new(max: usize) -> Arc<Self> {
        Arc::new(Self {
            free: Arc::new(Semaphore::new(max.min(Semaphore::MAX_PERMITS))),
            refusals: Arc::new(Semaphore::new(MAX_REFUSALS)),
            open: Mutex::default(),
            reported: AtomicBool::new(false),
        })
    }

    /// A slot, beyond the limit one for a refusal; `None` if there are too many of these, too.
    pub(super) fn begin(self: &Arc<Self>, telemetry: &Telemetry) -> Option<ConnectionSlot> {
        if let Ok(permit) = self.free.clone().try_acquire_owned() {
            return Some(self.slot(permit));
        }
        match self.refusals.clone().try_acquire_owned() {
            Ok(permit) => {
                let activity = Arc::new(Activity::new());
                Some(ConnectionSlot { slots: self.clone(), _permit: permit, id: None, activity })
            }
            Err(_) => {
                self.refused(telemetry);
                None
            }
        }
    }

    /// A full slot in place of one for a refusal, if a connection that is idle makes room in time.
    pub(super) async fn wait(self: &Arc<Self>, slot: ConnectionSlot, telemetry: &Telemetry) -> ConnectionSlot {
        for _ in 0..ATTEMPTS {
            self.ask_one_to_close();
            if let Ok(Ok(permit)) = tokio::time::timeout(ATTEMPT, self.free.clone().acquire_owned()).await {
                return self.slot(permit);
            }
        }
        self.refused(telemetry);
        slot
    }

    fn slot(self: &Arc<Self>, permit: OwnedSemaphorePermit) -> ConnectionSlot {
        let activity = Arc::new(Activity::new());
        let mut open = self.open.lock();
        open.newest += 1;
        let id = open.newest;
        open.connections.insert(id, activity.clone());
        ConnectionSlot { slots: self.clone(), _permit: permit, id: Some(id), activity }
    }

    /// Asks a connection to close that is idle and has no grace left. They are looked at in turn, so that those that
    /// are used stay.
    fn ask_one_to_close(&self) {
        let mut open = self.open.lock();
        let Open { connections, next, .. } = &mut *open;
        let in_turn = connections.range(*next..).chain(connections.range(..*next));
        for (id, activity) in in_turn.take(MAX_LOOKED_AT) {
            *next = id + 1;
            let grace = activity.grace.load(Ordering::Relaxed);
            if grace > 0 {
                activity.grace.store(grace - 1, Ordering::Relaxed);
            } else if activity.is_idle() {
                activity.is_wanted.notify_one();
                return;
            }
        }
    }

    fn refused(&self, telemetry: &Telemetry) {
        telemetry.emit(Refused::new(Limit::Connections.label(), &self.reported));
    }
}

impl ConnectionSlot {
    /// Is this connection beyond the limit?
    pub(super) fn is_refused(&self) -> bool {
        self.id.is_none()
    }
}

impl Drop for ConnectionSlot {
    fn drop(&mut self) {
        if let Some(id) = self.id {
            self.slots.open.lock().connections.remove(&id);
        }
    }
}

impl Activity {
    fn new() -> Self {
        Self {
            has_request: AtomicBool::new(false),
            grace: AtomicUsize::new(GRACE_OF_NEW),
            running: AtomicUsize::new(0),
            is_wanted: Notify::new(),
        }
    }

    /// A request runs on the connection until the value is dropped.
    pub(super) fn request(&self) -> impl Drop {
        self.has_request.store(true, Ordering::Relaxed);
        self.grace.store(GRACE_OF_USED, Ordering::Relaxed);
        self.running.fetch_add(1, Ordering::Relaxed);
        Counted(&self.running)
    }

    /// Resolves when the connection is idle and has to make room for another one.
    pub(super) async fn evicted(&self) {
        loop {
            self.is_wanted.notified().await;
            if self.is_idle() {
                return;
            }
        }
    }

    fn is_idle(&self) -> bool {
        self.running.load(Ordering::Relaxed) == 0
    }
}

/// The requests in flight of a listener.
pub(super) struct RequestSlots {
    max: usize,
    running: AtomicUsize,
    reported: AtomicBool,
}

impl RequestSlots {
    pub(super) fn new(max: usize) -> Self {
        Self { max, running: AtomicUsize::new(0), reported: AtomicBool::new(false) }
    }

    /// The right to have a request in flight until the value is dropped; `None` if there are too many.
    pub(super) fn begin(&self, telemetry: &Telemetry) -> Option<impl Drop> {
        let before = self.running.fetch_add(1, Ordering::Relaxed);
        let counted = Counted(&self.running);
        if before < self.max {
            return Some(counted);
        }
        telemetry.emit(Refused::new(Limit::Requests.label(), &self.reported));
        None
    }
}

/// One more in a count, until it is dropped.
struct Counted<'a>(&'a AtomicUsize);

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// The memory that the bodies of all requests may have together. Clones share it.
#[derive(Clone)]
pub struct BodyMemory(Arc<Memory>);

struct Memory {
    max: usize,
    used: AtomicUsize,
    reported: AtomicBool,
    telemetry: Telemetry,
}

/// The memory of one body, given back when this is dropped.
pub struct BodyReservation {
    memory: Arc<Memory>,
    bytes: usize,
}

/// There is no memory for more bodies now.
#[derive(Debug, thiserror::Error)]
#[error("{}", Limit::BodyMemory)]
pub struct BodyMemoryFull;

impl BodyMemory {
    /// Memory of at most `max` bytes.
    pub fn new(max: usize, telemetry: Telemetry) -> Self {
        Self(Arc::new(Memory { max, used: AtomicUsize::new(0), reported: AtomicBool::new(false), telemetry }))
    }

    /// A reservation without memory.
    pub fn reservation(&self) -> BodyReservation {
        BodyReservation { memory: self.0.clone(), bytes: 0 }
    }
}

impl BodyReservation {
    /// Another reservation of the same memory, with nothing in it.
    pub fn empty(&self) -> Self {
        Self { memory: self.memory.clone(), bytes: 0 }
    }

    /// Reserves more memory, in bytes. A body that is alone always gets it: its size has a limit of its own.
    ///
    /// # Errors
    /// If all bodies together would need more than allowed.
    pub fn grow(&mut self, bytes: usize) -> Result<(), BodyMemoryFull> {
        let Memory { max, used, reported, telemetry } = &*self.memory;
        let before = used.fetch_add(bytes, Ordering::Relaxed);
        if before > self.bytes && before.saturating_add(bytes) > *max {
            used.fetch_sub(bytes, Ordering::Relaxed);
            telemetry.emit(Refused::new(Limit::BodyMemory.label(), reported));
            return Err(BodyMemoryFull);
        }
        self.bytes += bytes;
        Ok(())
    }
}

impl Drop for BodyReservation {
    fn drop(&mut self) {
        if self.bytes > 0 {
            self.memory.used.fetch_sub(self.bytes, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::log::{Level, Log};
    use crate::telemetry::metrics::Metrics;

    fn telemetry() -> Telemetry {
        Telemetry::new(Log::new(Level::Fatal, std::io::sink()), Metrics::default())
    }

    #[test]
    fn bodies_share_their_memory_and_a_single_one_always_fits() {
        let memory = BodyMemory::new(100, telemetry());
        let (mut first, mut second) = (memory.reservation(), memory.reservation());
        first.grow(60).unwrap();
        first.grow(60).unwrap();
        second.grow(1).unwrap_err();
        drop(first);
        second.grow(60).unwrap();
        let mut third = memory.reservation();
        third.grow(41).unwrap_err();
        third.grow(40).unwrap();
        assert!(
            memory
                .0
                .telemetry
                .render_metrics()
                .contains(r#"sidestream_refused_total{app_id="",limit="body_memory"} 2"#)
        );
    }

    #[test]
    fn requests_end_when_their_slot_is_dropped() {
        let (slots, telemetry) = (RequestSlots::new(1), telemetry());
        let first = slots.begin(&telemetry);
        assert!(first.is_some() && slots.begin(&telemetry).is_none());
        drop(first);
        assert!(slots.begin(&telemetry).is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn an_idle_connection_makes_room_and_a_busy_one_does_not() {
        let (slots, telemetry) = (ConnectionSlots::new(1), telemetry());
        let first = slots.begin(&telemetry).unwrap();
        let second = slots.begin(&telemetry).unwrap();
        assert!(!first.is_refused() && second.is_refused());
        let running = first.activity.request();
        let second = tokio::select! {
            slot = slots.wait(second, &telemetry) => slot,
            () = first.activity.evicted() => panic!("it is busy"),
        };
        assert!(second.is_refused());
        drop(running);
        let evicted = async {
            first.activity.evicted().await;
            drop(first);
        };
        let (second, ()) = tokio::join!(slots.wait(second, &telemetry), evicted);
        assert!(!second.is_refused());
        assert_eq!(slots.open.lock().connections.len(), 1);
    }
}
