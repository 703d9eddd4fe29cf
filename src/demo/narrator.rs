//! Prints one readable line for each step of an event.
//!
//! An order may be delivered before its publisher has the answer of the sidecar. The lines of an order are held back
//! until then, so that a reader sees cause before effect.

use std::collections::BTreeMap;
use std::fmt;
use std::io::Write;

use tokio::time::Instant;

use crate::shutdown::Stop;

/// Prints the steps.
pub(super) struct Narrator {
    out: Box<dyn Write + Send>,
    colour: bool,
    started: Instant,
    held: BTreeMap<u64, Vec<String>>,
    /// Triggered when the output cannot be written any more, as in `sidestream demo | head`.
    halt: Stop,
}

/// The subject of a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Who {
    /// An order of the script.
    Order(u64),
    /// An event that the user has published.
    Guest,
}

/// A step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    Published,
    Refused,
    Wrapped,
    Delivered,
    Redelivered,
    Success,
    Retry,
    Drop,
    DeadLettered,
}

impl Step {
    fn word(self) -> &'static str {
        match self {
            Self::Published => "published",
            Self::Refused => "refused",
            Self::Wrapped => "wrapped",
            Self::Delivered => "delivered",
            Self::Redelivered => "redelivered",
            Self::Success => "SUCCESS",
            Self::Retry => "RETRY",
            Self::Drop => "DROP",
            Self::DeadLettered => "dead-lettered",
        }
    }

    /// The colour code for terminals.
    fn colour(self) -> u8 {
        match self {
            Self::Published => 34,
            Self::Wrapped | Self::Delivered => 36,
            Self::Success => 32,
            Self::Retry | Self::Redelivered => 33,
            Self::Refused | Self::Drop => 31,
            Self::DeadLettered => 35,
        }
    }
}

impl Narrator {
    /// A narrator that writes to `out`, and triggers `halt` when that fails.
    pub(super) fn new(out: Box<dyn Write + Send>, colour: bool, halt: Stop) -> Self {
        Self { out, colour, started: Instant::now(), held: BTreeMap::new(), halt }
    }

    /// Hold back the steps of this order.
    pub(super) fn hold(&mut self, number: u64) {
        self.held.insert(number, Vec::new());
    }

    /// Print the steps that were held back.
    pub(super) fn release(&mut self, number: u64) {
        for line in self.held.remove(&number).unwrap_or_default() {
            self.print(&line);
        }
    }

    /// Print one step at once, even if the order is held back.
    pub(super) fn tell_now(&mut self, who: Who, step: Step, text: fmt::Arguments<'_>) {
        let line = self.line(who, step, text);
        self.print(&line);
    }

    /// Print one step, or hold it back.
    pub(super) fn tell(&mut self, who: Who, step: Step, text: fmt::Arguments<'_>) {
        let line = self.line(who, step, text);
        match who {
            Who::Order(number) if self.held.contains_key(&number) => {
                self.held.entry(number).or_default().push(line);
            }
            Who::Order(_) | Who::Guest => self.print(&line),
        }
    }

    /// Print a text as it is.
    pub(super) fn print(&mut self, line: &str) {
        let written = self.out.write_all(format!("{line}\n").as_bytes()).and_then(|()| self.out.flush());
        if written.is_err() {
            self.halt.trigger();
        }
    }

    fn line(&self, who: Who, step: Step, text: fmt::Arguments<'_>) -> String {
        let seconds = self.started.elapsed().as_secs_f64();
        let who = match who {
            Who::Order(number) => format!("order {number}"),
            Who::Guest => "yours".to_owned(),
        };
        let word = step.word();
        if self.colour {
            let colour = step.colour();
            format!("{seconds:6.1}s  {who:<9}  \x1b[{colour}m{word:<13}\x1b[0m  {text}")
        } else {
            format!("{seconds:6.1}s  {who:<9}  {word:<13}  {text}")
        }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use std::sync::Arc;

    use parking_lot::Mutex;

    use super::*;

    /// A destination that tests can read.
    #[derive(Clone, Default)]
    pub(in crate::demo) struct Paper(Arc<Mutex<Vec<u8>>>);

    impl Paper {
        pub(in crate::demo) fn text(&self) -> String {
            String::from_utf8(self.0.lock().clone()).unwrap()
        }
    }

    impl Write for Paper {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().write(bytes)
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    fn told(colour: bool, steps: impl FnOnce(&mut Narrator)) -> String {
        let paper = Paper::default();
        steps(&mut Narrator::new(Box::new(paper.clone()), colour, Stop::new()));
        // Without the time, which differs in every run.
        let text = paper.text();
        text.lines().map(|line| format!("{}\n", &line[9..])).collect()
    }

    #[test]
    fn what_comes_before_its_cause_is_held_back() {
        let text = told(false, |narrator| {
            narrator.hold(1);
            narrator.tell(Who::Order(1), Step::Delivered, format_args!("POST /orders"));
            narrator.tell(Who::Guest, Step::Success, format_args!("taken"));
            narrator.tell_now(Who::Order(1), Step::Published, format_args!("POST"));
            narrator.release(1);
            narrator.tell(Who::Order(1), Step::Success, format_args!("taken"));
        });
        assert_eq!(
            text,
            "yours      SUCCESS        taken\norder 1    published      POST\norder 1    delivered      POST /orders\norder 1    SUCCESS        taken\n"
        );
    }

    #[test]
    fn colour_is_around_the_step_only() {
        let text = told(true, |narrator| {
            narrator.tell(Who::Order(12), Step::Retry, format_args!("busy"));
        });
        assert_eq!(text, "order 12   \x1b[33mRETRY        \x1b[0m  busy\n");
    }

    #[test]
    fn a_reader_who_has_left_ends_the_demo() {
        struct Closed;
        impl Write for Closed {
            fn write(&mut self, _: &[u8]) -> std::io::Result<usize> {
                Err(std::io::ErrorKind::BrokenPipe.into())
            }
            fn flush(&mut self) -> std::io::Result<()> {
                Ok(())
            }
        }
        let halt = Stop::new();
        Narrator::new(Box::new(Closed), false, halt.clone()).print("x");
        assert!(halt.is_triggered());
    }
}
