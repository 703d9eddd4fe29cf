//! The clock of a group: redeliveries that are due, keeping entries alive, takeovers. One loop, whatever the number of entries. It does
//! nothing while the heartbeats of this instance ([`super::heartbeat`]) do not get through: others may declare it dead then, and claim
//! what it has in flight.

use std::sync::Arc;
use std::time::Duration;

use deadpool_redis::redis::{RedisError, pipe};
use tokio::time::Instant;

use super::super::settings::Settings;
use super::super::stream::MAX_CLAIM;
use super::client::GroupClient;
use super::liveness::PERIOD;
use super::lost_replies::LostReplies;
use super::{takeover, topic_check};
use crate::broker::dispatch::Workers;
use crate::shutdown::Stop;
use crate::telemetry::events::broker::UpkeepFailed;

/// The pause before a redelivery is tried again for which there was no space.
const NO_SPACE: Duration = Duration::from_millis(20);
/// The pause before the rest is taken over for which there was no space.
const MORE: Duration = Duration::from_millis(5);
/// The time between checks of topics that Redis refuses.
const REFUSED: Duration = Duration::from_secs(2);
/// The time between keep-alives of entries in flight, where `processingTimeout` does not ask for more.
const KEEP_ALIVE: Duration = Duration::from_secs(20);
/// The time between checks whether heartbeats get through again.
const UNSURE: Duration = Duration::from_millis(100);
/// After our heartbeats lapsed, the other instances count as alive for this long.
const LENIENCE: Duration = Duration::from_secs(3);

/// Do what is due, until `stop`.
pub(super) async fn run(workers: Arc<Workers<GroupClient>>, lost_replies: Arc<LostReplies>, stop: Stop) {
    let inflight = workers.inflight();
    let mut upkeep = Upkeep::new(workers.clone(), lost_replies);
    while !stop.is_triggered() {
        let wake = upkeep.schedule.next(inflight.next_due(), inflight.space() == 0);
        tokio::select! {
            () = stop.triggered() => break,
            () = tokio::time::sleep_until(wake) => {}
            () = inflight.upkeep.notified() => {}
        }
        if let Some(Err(error)) = stop.run_until_triggered(upkeep.tick(Instant::now())).await {
            upkeep.failed(&error);
        }
    }
}

struct Upkeep {
    workers: Arc<Workers<GroupClient>>,
    lost_replies: Arc<LostReplies>,
    schedule: Schedule,
    is_failing: bool,
    tally: takeover::Tally,
}

/// When each step is due.
struct Schedule {
    /// Before it nothing is done.
    resting: Instant,
    sweep: Instant,
    keep_alive: Instant,
    take_over_idle: Option<Instant>,
    refused: Instant,
}

/// The outcome of the steps of a round.
struct RoundOutcome {
    /// After a failure the round goes on.
    goes_on: bool,
    failed: Option<RedisError>,
}

impl RoundOutcome {
    fn add(&mut self, step: Result<(), RedisError>) -> Result<(), RedisError> {
        match step {
            Err(error) if self.goes_on => drop(self.failed.get_or_insert(error)),
            other => return other,
        }
        Ok(())
    }
}

impl Schedule {
    fn new(settings: &Settings, now: Instant) -> Self {
        Self {
            resting: now,
            sweep: now,
            keep_alive: now + keep_alive_period(settings),
            take_over_idle: settings.redeliver_interval.map(|_| now),
            refused: now,
        }
    }

    fn next(&self, due: Option<Instant>, has_no_space: bool) -> Instant {
        let due = due.map(|due| if has_no_space { due.max(Instant::now() + NO_SPACE) } else { due });
        let first = [Some(self.sweep), Some(self.keep_alive), self.take_over_idle, due].into_iter().flatten().min();
        first.unwrap_or(self.sweep).max(self.resting)
    }
}

impl Upkeep {
    fn new(workers: Arc<Workers<GroupClient>>, lost_replies: Arc<LostReplies>) -> Self {
        let schedule = Schedule::new(&workers.driver().settings, Instant::now());
        Self { workers, lost_replies, schedule, is_failing: false, tally: takeover::Tally::default() }
    }

    async fn tick(&mut self, now: Instant) -> Result<(), RedisError> {
        let workers = self.workers.clone();
        let client = workers.driver();
        if workers.inflight().is_idle() {
            // Nothing is read, so nothing can be in flight.
            self.schedule = Schedule { sweep: now + PERIOD, ..Schedule::new(&client.settings, now + PERIOD) };
            self.tally = takeover::Tally::default();
            return Ok(());
        }
        // One server of a cluster that fails does not hold up the others.
        let mut outcome = RoundOutcome { goes_on: client.settings.is_cluster(), failed: None };
        if now < self.schedule.resting {
            return Ok(());
        }
        if !outcome.goes_on && !client.liveness.is_current() {
            self.schedule.resting = now + UNSURE;
            return Ok(());
        }
        outcome.add(self.handle_lapse(now).await)?;
        self.redeliver(now).await;
        if now >= self.schedule.keep_alive {
            self.schedule.keep_alive = now + keep_alive_period(&client.settings);
            outcome.add(keep_alive(&workers).await)?;
        }
        if now >= self.schedule.sweep {
            self.schedule.sweep = now + PERIOD;
            // Without heartbeats the dead are known by the idle time of their entries only.
            if !client.liveness.is_denied() {
                let swept = takeover::take_over_dead(&workers, &self.lost_replies, &mut self.tally).await;
                if matches!(swept, Ok(true)) {
                    self.schedule.sweep = now + MORE;
                }
                outcome.add(swept.map(drop))?;
            }
            // Not before: a step that fails once in every round would be logged in every round.
            self.is_failing &= outcome.failed.is_some();
        }
        if let (Some(at), Some(period)) = (self.schedule.take_over_idle, client.settings.redeliver_interval)
            && now >= at
        {
            self.schedule.take_over_idle = Some(now + period);
            if let Some(idle) = client.settings.processing_timeout {
                let taken = takeover::take_over_idle(&workers, &self.lost_replies, idle, &mut self.tally).await;
                if matches!(taken, Ok(true)) {
                    self.schedule.take_over_idle = Some(now + MORE);
                }
                outcome.add(taken.map(drop))?;
            }
        }
        if now >= self.schedule.refused {
            self.schedule.refused = now + REFUSED;
            topic_check::admit_refused(&workers).await;
        }
        outcome.failed.map_or(Ok(()), Err)
    }

    /// Our heartbeat lapsed; those of the others may have, too: postpone takeover, and forget entries that others have claimed.
    async fn handle_lapse(&mut self, now: Instant) -> Result<(), RedisError> {
        let liveness = &self.workers.driver().liveness;
        if !liveness.take_lapse() {
            return Ok(());
        }
        self.schedule.sweep = now + LENIENCE;
        takeover::forget_claimed(&self.workers).await.inspect_err(|_| {
            liveness.keep_lapse();
            self.schedule.resting = now + UNSURE;
        })
    }

    async fn redeliver(&self, now: Instant) {
        if self.workers.inflight().next_due().is_some_and(|due| due <= now) {
            let _guard = self.lost_replies.claim().await;
            self.workers.redeliver_due(now).await;
        }
        self.workers.start();
    }

    /// Log one line when it begins to fail; the readers log when Redis answers again.
    fn failed(&mut self, error: &RedisError) {
        if !self.is_failing {
            self.is_failing = true;
            let client = self.workers.driver();
            let error = client.error_text(error);
            client.telemetry.emit(UpkeepFailed { component: &client.component, error: &error });
        }
    }
}

fn keep_alive_period(settings: &Settings) -> Duration {
    settings.processing_timeout.map_or(KEEP_ALIVE, |timeout| timeout / 3).clamp(Duration::from_millis(100), KEEP_ALIVE)
}

/// Reset the idle time of all entries in flight, so that no consumer takes them for abandoned (D8).
async fn keep_alive(workers: &Workers<GroupClient>) -> Result<(), RedisError> {
    let client = workers.driver();
    let mut commands = pipe();
    for (subscription, ids) in workers.inflight().held() {
        for ids in ids.chunks(MAX_CLAIM) {
            commands.add_command(client.stream.keep_alive(&subscription.topic, ids));
        }
    }
    client.connections.pipeline(&commands).await.map(drop)
}
