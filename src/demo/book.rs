//! Records every step of every event, from the publisher and from the sample app: the narrator prints it, the tally
//! counts it.

use std::collections::HashMap;
use std::time::Duration;

use parking_lot::{Mutex, MutexGuard};
use tokio::sync::Notify;
use tokio::time::Instant;

use super::event::{Answer, Event};
use super::narrator::{Narrator, Step, Who};
use super::script::Order;
use super::tally::Tally;

/// The record of one demo.
pub(super) struct Book {
    pages: Mutex<Pages>,
    changed: Notify,
}

struct Pages {
    narrator: Narrator,
    tally: Tally,
    guests: u64,
    /// By the event's id: the number of deliveries, and the time of the last one.
    deliveries: HashMap<String, (u32, Instant)>,
}

impl Book {
    /// An empty record.
    pub(super) fn new(narrator: Narrator) -> Self {
        Self {
            pages: Mutex::new(Pages { narrator, tally: Tally::default(), guests: 0, deliveries: HashMap::new() }),
            changed: Notify::new(),
        }
    }

    /// Print text beside the steps.
    pub(super) fn narrate(&self, text: &str) {
        self.open().narrator.print(text);
    }

    /// An order is about to be sent.
    pub(super) fn sending(&self, order: &Order) {
        let mut pages = self.open();
        pages.tally.sent(order.number);
        pages.narrator.hold(order.number);
    }

    /// The sidecar has accepted it.
    pub(super) fn accepted(&self, order: &Order) {
        let mut pages = self.open();
        let (topic, body) = (order.topic(), order.body());
        pages.narrator.tell_now(
            Who::Order(order.number),
            Step::Published,
            format_args!("POST /v1.0/publish/pubsub/{topic} {body}"),
        );
        pages.narrator.release(order.number);
    }

    /// The sidecar has refused it.
    pub(super) fn refused(&self, order: &Order, reason: &str) {
        let mut pages = self.open();
        pages.tally.refused(order.number);
        pages.narrator.tell_now(Who::Order(order.number), Step::Refused, format_args!("{reason}"));
        pages.narrator.release(order.number);
        self.changed.notify_waiters();
    }

    /// An event of `orders` or `payments` has been delivered to the app. `answer` is the app's answer, by the number of
    /// this delivery.
    pub(super) fn delivered(&self, path: &str, event: &Event, answer: impl FnOnce(u32) -> Answer) -> Answer {
        let mut pages = self.open();
        let attempt = pages.note_delivery(path, event);
        let answer = answer(attempt);
        pages.note_answer(event, answer);
        self.changed.notify_waiters();
        answer
    }

    /// An event came out of the dead-letter topic.
    pub(super) fn dead_lettered(&self, path: &str, event: &Event, reason: Option<&str>) {
        let mut pages = self.open();
        let who = pages.who(event);
        if let Who::Order(number) = who {
            pages.tally.dead_lettered(number);
        }
        let because = reason.map(|reason| format!(", because: {reason}"));
        pages.narrator.tell(
            who,
            Step::DeadLettered,
            format_args!("came out of its dead-letter topic at POST {path}{}", because.unwrap_or_default()),
        );
        self.changed.notify_waiters();
    }

    /// Resolves when no order is on its way any more, or after `patience`.
    pub(super) async fn settled(&self, patience: Duration) {
        let all = async {
            loop {
                let changed = self.changed.notified();
                tokio::pin!(changed);
                // Enabled before the check, so that a change right after it is not missed.
                changed.as_mut().enable();
                if self.open().tally.is_settled() {
                    return;
                }
                changed.await;
            }
        };
        let _ = tokio::time::timeout(patience, all).await;
    }

    /// Write the summary. Returns the exit code.
    pub(super) fn close(&self, planned: Option<u64>) -> u8 {
        let mut pages = self.open();
        let guests = match pages.guests {
            0 => String::new(),
            guests => format!(" Deliveries of your own events: {guests}."),
        };
        let summary = format!("\n{}{guests}", pages.tally);
        pages.narrator.print(&summary);
        pages.tally.exit_code(planned)
    }

    fn open(&self) -> MutexGuard<'_, Pages> {
        self.pages.lock()
    }
}

impl Pages {
    fn who(&self, event: &Event) -> Who {
        match event.order {
            Some(number) if self.tally.knows(number) => Who::Order(number),
            Some(_) | None => Who::Guest,
        }
    }

    fn note_delivery(&mut self, path: &str, event: &Event) -> u32 {
        let now = Instant::now();
        let who = self.who(event);
        match who {
            Who::Order(number) => self.tally.delivered(number),
            Who::Guest => self.guests += 1,
        }
        let (attempt, before) = self.deliveries.get(&event.id).map_or((1, now), |(seen, before)| (seen + 1, *before));
        self.deliveries.insert(event.id.clone(), (attempt, now));
        if attempt == 1 {
            self.narrator.tell(who, Step::Wrapped, format_args!("CloudEvent {} of type {}", event.id, event.kind));
            self.narrator.tell(who, Step::Delivered, format_args!("POST {path}"));
        } else {
            let wait = (now - before).as_secs_f64();
            self.narrator.tell(
                who,
                Step::Redelivered,
                format_args!("POST {path}, attempt {attempt}, {wait:.1} s later"),
            );
        }
        attempt
    }

    fn note_answer(&mut self, event: &Event, answer: Answer) {
        let who = self.who(event);
        let (step, text) = match answer {
            Answer::Success => (Step::Success, "the app has taken it"),
            Answer::Retry => (Step::Retry, "the warehouse is busy: once more, please"),
            Answer::Drop => (Step::Drop, "the card has expired: the app does not want it"),
        };
        if let (Who::Order(number), Answer::Success) = (who, answer) {
            self.tally.succeeded(number);
        }
        self.narrator.tell(who, step, format_args!("{text}"));
    }
}
