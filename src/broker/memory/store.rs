//! The queues of all subscriptions of a broker, also of those that have ended.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::{Mutex, MutexGuard, RwLock, RwLockReadGuard, RwLockWriteGuard};
use tokio::sync::mpsc;
use tokio::sync::mpsc::OwnedPermit;
use tokio::time::Instant;

use super::entry::{KEPT, MAX_QUEUED, QueuedEntry, Sequence, entry};
use super::pattern::matches;
use super::recent::RecentMessages;
use crate::broker::error::{BrokerError, BrokerErrorKind};
use crate::message::{Outgoing, Position};
use crate::telemetry::Telemetry;
use crate::telemetry::events::broker::{IdleQueueDropped, IdleQueueFull};

/// How long a publish waits for space before it fails.
const PATIENCE: Duration = Duration::from_secs(5);

/// The queues of a broker, those of other sidecars included.
#[derive(Default)]
pub(super) struct Store {
    subscriptions: RwLock<Vec<QueueSender>>,
    idle: Mutex<Vec<Queue>>,
    /// The groups whose component is gone for now: their queues are kept without limit of time. Locked after `subscriptions`.
    closed: Mutex<BTreeSet<Arc<str>>>,
    last_number: AtomicU64,
    last_sequence: AtomicU64,
    /// Messages that were published lately; only where the store is shared.
    recent: Option<Mutex<RecentMessages>>,
}

/// The sending side of a queue.
#[derive(Clone)]
struct QueueSender {
    number: u64,
    group: Arc<str>,
    pattern: Arc<str>,
    queue: mpsc::Sender<QueuedEntry>,
    /// Since when nothing is taken out of the queue.
    idle_since: Option<Instant>,
    /// The queue is idle and full, and that has been logged.
    is_overflow_logged: Arc<AtomicBool>,
    /// For the consumer: messages that the one before it had given to the app, and when they are due again.
    returned: mpsc::UnboundedSender<(Instant, QueuedEntry)>,
}

/// The receiving side of a queue: with its consumer, or kept for the next one.
pub(super) struct Queue {
    pub(super) number: u64,
    pub(super) messages: mpsc::Receiver<QueuedEntry>,
    pub(super) returned: mpsc::UnboundedReceiver<(Instant, QueuedEntry)>,
    /// Messages that wait for their redelivery while there is no consumer, by the time they are due.
    waiting: BTreeMap<(Instant, Sequence), QueuedEntry>,
}

impl QueueSender {
    fn is_over(&self) -> bool {
        self.idle_since.is_some_and(|since| since.elapsed() > KEPT)
    }

    /// Reserve space for one message; `None` if the queue takes none.
    async fn reserve(&self, telemetry: &Telemetry) -> Result<Option<OwnedPermit<QueuedEntry>>, BrokerError> {
        if self.idle_since.is_some() {
            // No publish waits for a subscription that may never come back.
            let permit = self.queue.clone().try_reserve_owned().ok();
            if permit.is_none() && !self.is_overflow_logged.swap(true, Ordering::Relaxed) {
                telemetry.emit(IdleQueueFull { topic: &self.pattern, limit: MAX_QUEUED });
            }
            return Ok(permit);
        }
        let reserving = self.queue.clone().reserve_owned();
        match tokio::time::timeout(PATIENCE, reserving).await {
            // An error: it ended in this moment.
            Ok(permit) => Ok(permit.ok()),
            Err(_) => Err(BrokerError::new(
                BrokerErrorKind::Unavailable,
                format_args!(
                    "the queue of topic {} is full: {MAX_QUEUED} messages wait for the app; publish more slowly or make the subscriber faster",
                    self.pattern
                ),
            )),
        }
    }
}

impl Queue {
    /// Deliver a message again at this time.
    pub(super) fn wait(&mut self, due: Instant, entry: QueuedEntry) {
        self.waiting.insert((due, entry.id), entry);
    }

    /// The messages that wait for their redelivery.
    pub(super) fn take_waiting(&mut self) -> impl Iterator<Item = (Instant, QueuedEntry)> + use<> {
        std::mem::take(&mut self.waiting).into_iter().map(|((due, _), entry)| (due, entry))
    }

    fn len(&self) -> usize {
        self.messages.len() + self.waiting.len()
    }
}

impl Store {
    /// A store whose new subscriptions begin with what was published lately.
    pub(super) fn remembering() -> Self {
        Self { recent: Some(Mutex::default()), ..Self::default() }
    }

    /// Give a message to every subscription that matches. Either all get it or, with an error, none does.
    ///
    /// # Errors
    /// If a queue stays full.
    pub(super) async fn publish(&self, message: &Outgoing, telemetry: &Telemetry) -> Result<Position, BrokerError> {
        if self.has_over() {
            self.forget_idle(telemetry);
        }
        let sequence = Sequence(self.last_sequence.fetch_add(1, Ordering::Relaxed) + 1);
        let mut permits = Vec::new();
        for subscription in self.receivers(sequence, message) {
            permits.extend(subscription.reserve(telemetry).await?);
        }
        for permit in permits {
            permit.send(entry(sequence, message));
        }
        Ok(sequence.into())
    }

    /// The subscriptions that get a message. One that begins later finds it among the recent messages, if these are kept.
    fn receivers(&self, sequence: Sequence, message: &Outgoing) -> Vec<QueueSender> {
        let subscriptions = self.all();
        if let Some(recent) = &self.recent {
            // Under the lock of the subscriptions: a new one gets the message either here or from there, not twice.
            recent.lock().add(sequence, message);
        }
        subscriptions.iter().filter(|subscription| matches(&subscription.pattern, &message.topic)).cloned().collect()
    }

    /// Is there an idle queue whose time is over?
    fn has_over(&self) -> bool {
        let subscriptions = self.all();
        let mut over = subscriptions.iter().filter(|subscription| subscription.is_over());
        over.any(|over| !self.closed().contains(&over.group))
    }

    /// The queue of a subscription that begins: the one that an ended subscription of the same group to the same topic has left, or a new
    /// one.
    pub(super) fn open_queue(&self, group: &Arc<str>, pattern: &Arc<str>) -> Queue {
        self.resumed_queue(group, pattern).unwrap_or_else(|| self.new_queue(group, pattern))
    }

    fn new_queue(&self, group: &Arc<str>, pattern: &Arc<str>) -> Queue {
        let (queue, messages) = mpsc::channel(MAX_QUEUED);
        let (return_to, returned) = mpsc::unbounded_channel();
        let number = self.last_number.fetch_add(1, Ordering::Relaxed);
        let mut subscriptions = self.all_mut();
        if let Some(recent) = &self.recent {
            for entry in recent.lock().for_subscription(pattern) {
                // The queue is empty and has space for all recent messages.
                let _ = queue.try_send(entry);
            }
        }
        subscriptions.push(QueueSender {
            number,
            group: group.clone(),
            pattern: pattern.clone(),
            queue,
            idle_since: None,
            is_overflow_logged: Arc::default(),
            returned: return_to,
        });
        Queue { number, messages, returned, waiting: BTreeMap::new() }
    }

    fn resumed_queue(&self, group: &str, pattern: &str) -> Option<Queue> {
        let mut subscriptions = self.all_mut();
        let is_same = |known: &&mut QueueSender| {
            known.idle_since.is_some() && *known.group == *group && *known.pattern == *pattern
        };
        let subscription = subscriptions.iter_mut().find(is_same)?;
        let mut idle = self.idle();
        let at = idle.iter().position(|idle| idle.number == subscription.number)?;
        subscription.idle_since = None;
        subscription.is_overflow_logged = Arc::default();
        Some(idle.swap_remove(at))
    }

    /// Keep the queue of a subscription that has ended, for the next one of its group to this topic.
    pub(super) fn leave(&self, mut left: Queue) {
        let mut subscriptions = self.all_mut();
        let own = subscriptions.iter_mut().find(|subscription| subscription.number == left.number);
        if let Some(own) = own {
            while let Ok((due, entry)) = left.returned.try_recv() {
                left.wait(due, entry);
            }
            own.idle_since = Some(Instant::now());
            self.idle().push(left);
        }
    }

    /// Put a message back into a queue that its consumer has left: another consumer may have taken the queue since.
    pub(super) fn give_back(&self, number: u64, due: Instant, entry: QueuedEntry) {
        let subscriptions = self.all();
        let own = subscriptions.iter().find(|subscription| subscription.number == number);
        match own {
            Some(own) if own.idle_since.is_none() => {
                // Fails only if the consumer has just ended together with the process.
                let _ = own.returned.send((due, entry));
            }
            Some(_) => {
                let mut idle = self.idle();
                if let Some(queue) = idle.iter_mut().find(|queue| queue.number == number) {
                    queue.wait(due, entry);
                }
            }
            None => {}
        }
    }

    /// The component of this group exists (again): from now on its idle queues are dropped when their time is over.
    pub(super) fn open_group(&self, group: &str) {
        let mut subscriptions = self.all_mut();
        if !self.closed().remove(group) {
            return;
        }
        for subscription in subscriptions.iter_mut() {
            if *subscription.group == *group && subscription.idle_since.is_some() {
                subscription.idle_since = Some(Instant::now());
            }
        }
    }

    /// The component of this group is gone: its queues are kept until it comes back.
    pub(super) fn close_group(&self, group: &Arc<str>) {
        let _subscriptions = self.all_mut();
        self.closed().insert(group.clone());
    }

    /// Drop the idle queues whose time is over.
    pub(super) fn forget_idle(&self, telemetry: &Telemetry) {
        let mut subscriptions = self.all_mut();
        let (closed, mut idle) = (self.closed(), self.idle());
        subscriptions.retain(|subscription| {
            let is_kept = !subscription.is_over() || closed.contains(&subscription.group);
            if !is_kept && let Some(at) = idle.iter().position(|idle| idle.number == subscription.number) {
                let held = idle.swap_remove(at).len();
                if held > 0 {
                    telemetry.emit(IdleQueueDropped { topic: &subscription.pattern, held, kept: KEPT });
                }
            }
            is_kept
        });
    }

    fn all(&self) -> RwLockReadGuard<'_, Vec<QueueSender>> {
        self.subscriptions.read()
    }

    fn all_mut(&self) -> RwLockWriteGuard<'_, Vec<QueueSender>> {
        self.subscriptions.write()
    }

    fn idle(&self) -> MutexGuard<'_, Vec<Queue>> {
        self.idle.lock()
    }

    fn closed(&self) -> MutexGuard<'_, BTreeSet<Arc<str>>> {
        self.closed.lock()
    }
}
