//! Circuit breakers: a component whose calls keep failing is not called for a while (tests/spec/resources-cli.md, "8.2
//! Schema and defaults", "8.4 Execution").
//!
//! [`Machine`] is the state machine; it gets the time as an argument. [`Breaker`] is one machine shared by all calls of a
//! component.

use std::sync::{Arc, OnceLock};

use parking_lot::Mutex;
use tokio::time::Instant;

use super::error::Interruption;
use crate::expr::{Expression, Subject};
use crate::resources::kinds::policies::Breaker as Settings;
use crate::telemetry::Telemetry;
use crate::telemetry::events::resiliency::BreakerChanged;

/// A breaker without `trip` opens after more consecutive failures than this.
const MAX_CONSECUTIVE_FAILURES: i64 = 5;

/// The variables of a `trip` expression.
pub const TRIP_VARIABLES: &[&str] =
    &["requests", "totalSuccesses", "totalFailures", "consecutiveSuccesses", "consecutiveFailures"];

/// A breaker as it is declared, with its expression compiled.
pub(super) struct Template {
    pub(super) name: String,
    pub(super) settings: Settings,
    /// When to open; `None` is the default.
    pub(super) trip: Option<Expression>,
}

/// The breaker of one component.
pub(super) struct Breaker {
    /// For the log.
    name: String,
    template: Arc<Template>,
    machine: Mutex<Machine>,
    telemetry: Telemetry,
}

/// The breaker of one component. It is made at its first use, from the template of that use.
pub(super) type BreakerCell = Arc<OnceLock<Breaker>>;

/// The breaker of a component as a policy holds it.
pub(super) struct BreakerHandle {
    pub(super) component: Arc<str>,
    pub(super) template: Arc<Template>,
    pub(super) cell: BreakerCell,
    pub(super) telemetry: Telemetry,
}

/// Permission for one call. Dropping it counts as a failure, unless [`succeeded`](Permit::succeeded) was called.
pub(super) struct Permit<'a> {
    breaker: &'a Breaker,
    generation: u64,
    has_succeeded: bool,
}

impl Breaker {
    pub(super) fn new(template: Arc<Template>, component: &str, telemetry: Telemetry) -> Self {
        Self {
            name: format!("{}-{component}", template.name),
            machine: Mutex::new(Machine::new(&template.settings, Instant::now())),
            template,
            telemetry,
        }
    }

    /// Permission to call now.
    ///
    /// # Errors
    /// If the breaker is open, or half-open and full.
    pub(super) fn enter(&self) -> Result<Permit<'_>, Interruption> {
        let settings = &self.template.settings;
        let generation = self.change(|machine| machine.enter(settings, Instant::now()))?;
        Ok(Permit { breaker: self, generation, has_succeeded: false })
    }

    fn leave(&self, generation: u64, has_succeeded: bool) {
        self.change(|machine| {
            machine.leave(&self.template, generation, has_succeeded, Instant::now());
        });
    }

    fn change<T>(&self, change: impl FnOnce(&mut Machine) -> T) -> T {
        let mut machine = self.machine.lock();
        let before = machine.state;
        let result = change(&mut machine);
        let after = machine.state;
        drop(machine);
        if before != after {
            self.telemetry.emit(BreakerChanged { name: &self.name, from: before.word(), to: after.word() });
        }
        result
    }
}

impl BreakerHandle {
    pub(super) fn breaker(&self) -> &Breaker {
        let make = || Breaker::new(self.template.clone(), &self.component, self.telemetry.clone());
        self.cell.get_or_init(make)
    }
}

impl Permit<'_> {
    pub(super) fn succeeded(mut self) {
        self.has_succeeded = true;
    }
}

impl Drop for Permit<'_> {
    fn drop(&mut self) {
        self.breaker.leave(self.generation, self.has_succeeded);
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum BreakerState {
    Closed,
    HalfOpen,
    Open,
}

impl BreakerState {
    fn word(self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::HalfOpen => "half-open",
            Self::Open => "open",
        }
    }
}

/// The values of [`TRIP_VARIABLES`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Counts {
    requests: i64,
    total_successes: i64,
    total_failures: i64,
    consecutive_successes: i64,
    consecutive_failures: i64,
}

impl Counts {
    fn count(&mut self, has_succeeded: bool) {
        if has_succeeded {
            self.total_successes += 1;
            self.consecutive_successes += 1;
            self.consecutive_failures = 0;
        } else {
            self.total_failures += 1;
            self.consecutive_failures += 1;
            self.consecutive_successes = 0;
        }
    }

    fn subject(&self) -> Subject {
        Subject::of_numbers(&[
            ("requests", self.requests),
            ("totalSuccesses", self.total_successes),
            ("totalFailures", self.total_failures),
            ("consecutiveSuccesses", self.consecutive_successes),
            ("consecutiveFailures", self.consecutive_failures),
        ])
    }
}

impl Template {
    /// Should the breaker open? An expression that fails does not open it.
    fn trips(&self, counts: &Counts) -> bool {
        match &self.trip {
            None => counts.consecutive_failures > MAX_CONSECUTIVE_FAILURES,
            Some(trip) => trip.matches(&counts.subject()).unwrap_or(false),
        }
    }
}

#[derive(Debug)]
struct Machine {
    state: BreakerState,
    counts: Counts,
    /// How often the counts were reset. A call that began before the last reset is not counted.
    generation: u64,
    /// When closed: when the counts are reset. When open: when it becomes half-open.
    until: Option<Instant>,
}

impl Machine {
    fn new(settings: &Settings, now: Instant) -> Self {
        Self {
            state: BreakerState::Closed,
            counts: Counts::default(),
            generation: 0,
            until: settings.interval.and_then(|interval| now.checked_add(interval)),
        }
    }

    /// The generation of a call that may be made now.
    fn enter(&mut self, settings: &Settings, now: Instant) -> Result<u64, Interruption> {
        self.advance(settings, now);
        match self.state {
            BreakerState::Open => return Err(Interruption::Open),
            BreakerState::HalfOpen if self.counts.requests >= settings.max_requests.into() => {
                return Err(Interruption::Busy);
            }
            BreakerState::HalfOpen | BreakerState::Closed => {}
        }
        self.counts.requests += 1;
        Ok(self.generation)
    }

    fn leave(&mut self, template: &Template, generation: u64, has_succeeded: bool, now: Instant) {
        let settings = &template.settings;
        self.advance(settings, now);
        if self.generation != generation {
            return;
        }
        self.counts.count(has_succeeded);
        let is_enough = self.counts.consecutive_successes >= settings.max_requests.into();
        match (self.state, has_succeeded) {
            (BreakerState::Closed, false) if template.trips(&self.counts) => {
                self.turn(BreakerState::Open, settings, now);
            }
            (BreakerState::HalfOpen, false) => self.turn(BreakerState::Open, settings, now),
            (BreakerState::HalfOpen, true) if is_enough => self.turn(BreakerState::Closed, settings, now),
            (BreakerState::Closed | BreakerState::HalfOpen | BreakerState::Open, _) => {}
        }
    }

    /// Make the changes that are due by the time alone.
    fn advance(&mut self, settings: &Settings, now: Instant) {
        if self.until.is_none_or(|until| now <= until) {
            return;
        }
        match self.state {
            BreakerState::Closed => self.turn(BreakerState::Closed, settings, now),
            BreakerState::Open => self.turn(BreakerState::HalfOpen, settings, now),
            BreakerState::HalfOpen => {}
        }
    }

    fn turn(&mut self, state: BreakerState, settings: &Settings, now: Instant) {
        self.state = state;
        self.counts = Counts::default();
        self.generation += 1;
        // `checked_add` fails for a time too far away to be represented: it never comes.
        self.until = match state {
            BreakerState::Closed => settings.interval.and_then(|interval| now.checked_add(interval)),
            BreakerState::Open => now.checked_add(settings.timeout),
            BreakerState::HalfOpen => None,
        };
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn template(max_requests: u32, interval: Option<u64>, trip: &str) -> Template {
        Template {
            name: "b".to_owned(),
            settings: Settings {
                max_requests,
                interval: interval.map(Duration::from_secs),
                timeout: Duration::from_secs(60),
                trip: None,
            },
            trip: (!trip.is_empty()).then(|| Expression::compile(trip).unwrap()),
        }
    }

    /// What happens: `+` a success, `-` a failure, `(` a call begins, `)` it succeeds, `]` it fails, `s` ten seconds go by. What
    /// comes of it: for each call that is begun `.`, `O` (open) or `B` (busy), then the state.
    fn check(template: &Template, script: &str, expected: &str) {
        let mut now = Instant::now();
        let mut machine = Machine::new(&template.settings, now);
        let mut open = Vec::new();
        let mut got = String::new();
        for step in script.chars() {
            if step == 's' {
                now += Duration::from_secs(10);
                continue;
            }
            if matches!(step, '+' | '-' | '(') {
                match machine.enter(&template.settings, now) {
                    Ok(generation) => {
                        open.push(generation);
                        got.push('.');
                    }
                    Err(refusal) => {
                        got.push(if refusal == Interruption::Open { 'O' } else { 'B' });
                        continue;
                    }
                }
            }
            if step != '(' {
                let generation = open.pop().unwrap();
                machine.leave(template, generation, matches!(step, '+' | ')'), now);
            }
        }
        machine.advance(&template.settings, now);
        got.push(' ');
        got.push_str(machine.state.word());
        assert_eq!(got, expected, "{script}");
    }

    #[test]
    fn it_trips_on_more_than_five_failures_in_a_row() {
        let template = template(1, None, "");
        check(&template, "-----", "..... closed");
        check(&template, "------", "...... open");
        check(&template, "-----+-----", "........... closed");
        check(&template, "------+-", "......OO open");
    }

    #[test]
    fn it_lets_a_call_through_when_its_time_is_over() {
        let template = template(1, None, "consecutiveFailures >= 1");
        check(&template, "-ssssss+", ".O open");
        check(&template, "-sssssss", ". half-open");
        check(&template, "-sssssss+", ".. closed");
        check(&template, "-sssssss-", ".. open");
        check(&template, "-sssssss-+", "..O open");
        check(&template, "-sssssss((", "..B half-open");
        check(&template, "-sssssss(+)+", "..B. closed");
    }

    #[test]
    fn half_open_it_wants_as_many_successes_as_it_lets_through() {
        let template = template(2, None, "consecutiveFailures >= 1");
        check(&template, "-sssssss+", ".. half-open");
        check(&template, "-sssssss++", "... closed");
        check(&template, "-sssssss(((", "...B half-open");
        check(&template, "-sssssss+-", "... open");
    }

    #[test]
    fn a_call_from_before_does_not_count() {
        let template = template(1, None, "consecutiveFailures >= 1");
        check(&template, "(-sssssss)", ".. half-open");
        check(&template, "(-sssssss(+", "...B half-open");
    }

    #[test]
    fn the_interval_clears_the_counts() {
        check(&template(1, Some(15), "totalFailures >= 2"), "-s-", ".. open");
        check(&template(1, Some(15), "totalFailures >= 2"), "-ss-", ".. closed");
        check(&template(1, None, "totalFailures >= 2"), "-sssss-", ".. open");
    }

    #[test]
    fn all_counts_can_be_asked_for() {
        for (trip, script, expected) in [
            ("requests >= 2", "+-", ".. open"),
            ("totalSuccesses == 2 && totalFailures == 2", "+-+-", ".... open"),
            ("consecutiveSuccesses == 0 && requests > 1", "--", ".. open"),
            ("double(totalFailures) / double(requests) > 0.5", "+--", "... open"),
            ("double(totalFailures) / double(requests) > 0.5", "+-", ".. closed"),
            ("true", "+", ". closed"),
        ] {
            check(&template(1, None, trip), script, expected);
        }
    }

    #[test]
    fn an_expression_without_a_boolean_answer_never_trips() {
        for trip in ["bogus > 1", "consecutiveFailures", "1", "totalFailures / 0 > 1", "event.id == 1"] {
            check(&template(1, None, trip), "----------", ".......... closed");
        }
    }
}
