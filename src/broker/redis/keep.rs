//! The clock of a component: redeliveries that are due, entries kept alive, take-overs. One loop, whatever the number of entries. It does nothing while the signs of life of this instance ([`super::signs`]) do not come through: others may take
//! it for dead then, and what it has in hand for theirs.

use std::sync::Arc;
use std::time::Duration;

use deadpool_redis::redis::{RedisError, pipe};
use futures_util::future::join_all;
use tokio::time::Instant;

use super::claim::{Claiming, Listed};
use super::conn::error;
use super::entry::EntryId;
use super::instance::SIGN;
use super::stream::MAX_CLAIM;
use super::{Shared, claim, read, takeover, work};
use crate::shutdown::Stop;

/// How long until a redelivery is tried again for which there was no room.
const NO_ROOM: Duration = Duration::from_millis(20);
/// How long until the rest is taken over for which there was no room.
const MORE: Duration = Duration::from_millis(5);
/// How long until a topic is looked at again that Redis refused.
const REFUSED: Duration = Duration::from_secs(2);
/// Entries in hand are kept alive this often where `processingTimeout` does not say.
const KEEP_ALIVE: Duration = Duration::from_secs(20);
/// How long until it is looked again whether our signs of life come through.
const UNSURE: Duration = Duration::from_millis(100);
/// After signs of life have failed for a while, the others count as alive for so long.
const LATE: Duration = Duration::from_secs(3);

/// Do what is due, until `stop`.
pub(super) async fn run(shared: Arc<Shared>, stop: Stop) {
    let mut clock = Clock::new(&shared, Instant::now());
    while !stop.is_triggered() {
        let wake = clock.next(shared.board.next_due(), shared.board.room() == 0);
        tokio::select! {
            () = stop.triggered() => break,
            () = tokio::time::sleep_until(wake) => {}
            () = shared.board.keeper.notified() => {}
        }
        if let Some(Err(error)) = stop.run_until_triggered(clock.tick(&shared, Instant::now())).await {
            clock.failed(&shared, &error);
        }
    }
}

/// When what is to be done next.
struct Clock {
    /// Before it nothing is done.
    resting: Instant,
    sweep: Instant,
    keep_alive: Instant,
    reclaim: Option<Instant>,
    refused: Instant,
    failing: bool,
    tally: takeover::Tally,
}

/// What became of the steps of a round.
struct Outcome {
    /// After a failure the round goes on.
    goes_on: bool,
    failed: Option<RedisError>,
}

impl Outcome {
    fn add(&mut self, step: Result<(), RedisError>) -> Result<(), RedisError> {
        match step {
            Err(error) if self.goes_on => drop(self.failed.get_or_insert(error)),
            other => return other,
        }
        Ok(())
    }
}

impl Clock {
    fn new(shared: &Shared, now: Instant) -> Self {
        Self {
            resting: now,
            sweep: now,
            keep_alive: now + keep_alive_period(shared),
            reclaim: shared.settings.redeliver_interval.map(|_| now),
            refused: now,
            failing: false,
            tally: takeover::Tally::default(),
        }
    }

    fn next(&self, due: Option<Instant>, no_room: bool) -> Instant {
        let due = due.map(|due| if no_room { due.max(Instant::now() + NO_ROOM) } else { due });
        let first = [Some(self.sweep), Some(self.keep_alive), self.reclaim, due].into_iter().flatten().min();
        first.unwrap_or(self.sweep).max(self.resting)
    }

    async fn tick(&mut self, shared: &Arc<Shared>, now: Instant) -> Result<(), RedisError> {
        if shared.board.topics().is_empty() {
            // Nothing is read: nothing can be in hand.
            *self = Self { sweep: now + SIGN, failing: self.failing, ..Self::new(shared, now + SIGN) };
            return Ok(());
        }
        // One server of a cluster that fails does not stop what the others are for.
        let mut outcome = Outcome { goes_on: shared.settings.is_cluster(), failed: None };
        if now < self.resting {
            return Ok(());
        }
        if !outcome.goes_on && !shared.instance.is_sure() {
            self.resting = now + UNSURE;
            return Ok(());
        }
        outcome.add(self.see_to_lateness(shared, now).await)?;
        redeliver(shared, now).await;
        if now >= self.keep_alive {
            self.keep_alive = now + keep_alive_period(shared);
            outcome.add(keep_alive(shared).await)?;
        }
        if now >= self.sweep {
            self.sweep = now + SIGN;
            // Without it the dead are known by the idle time of their entries only.
            if !shared.instance.is_denied() {
                let swept = takeover::sweep(shared, &mut self.tally).await;
                if matches!(swept, Ok(true)) {
                    self.sweep = now + MORE;
                }
                outcome.add(swept.map(drop))?;
            }
            // Not before, or what fails once in every round would be told in every round.
            self.failing &= outcome.failed.is_some();
        }
        if let (Some(at), Some(period)) = (self.reclaim, shared.settings.redeliver_interval)
            && now >= at
        {
            self.reclaim = Some(now + period);
            if let Some(idle) = shared.settings.processing_timeout {
                let reclaimed = takeover::reclaim(shared, idle, &mut self.tally).await;
                if matches!(reclaimed, Ok(true)) {
                    self.reclaim = Some(now + MORE);
                }
                outcome.add(reclaimed.map(drop))?;
            }
        }
        if now >= self.refused {
            self.refused = now + REFUSED;
            read::admit_refused(shared).await;
        }
        outcome.failed.map_or(Ok(()), Err)
    }

    /// If our sign of life could not be given for so long, then those of the others perhaps neither: they get time for it. What they have
    /// taken from us meanwhile is theirs.
    async fn see_to_lateness(&mut self, shared: &Shared, now: Instant) -> Result<(), RedisError> {
        if !shared.instance.take_late() {
            return Ok(());
        }
        self.sweep = now + LATE;
        takeover::disown(shared).await.inspect_err(|_| {
            shared.instance.still_late();
            self.resting = now + UNSURE;
        })
    }

    /// One line when it begins to fail; the reader says when Redis answers again.
    fn failed(&mut self, shared: &Shared, error: &RedisError) {
        if !self.failing {
            self.failing = true;
            shared.telemetry.redis_upkeep_failed(&shared.name, &error::error_text(error, &shared.settings.host));
        }
    }
}

fn keep_alive_period(shared: &Shared) -> Duration {
    shared
        .settings
        .processing_timeout
        .map_or(KEEP_ALIVE, |timeout| timeout / 3)
        .clamp(Duration::from_millis(100), KEEP_ALIVE)
}

/// Fetch what is due and give it to its sinks, all topics in common round trips. What cannot be fetched waits a little longer.
async fn redeliver(shared: &Arc<Shared>, now: Instant) {
    let due = shared.board.take_due(now);
    if !due.is_empty() {
        let claiming = shared.claiming.lock().await;
        let fetches = due.iter().map(|(topic, ids)| redeliver_of(shared, topic, ids, &claiming));
        join_all(fetches).await;
    }
    work::begin(shared);
}

async fn redeliver_of(shared: &Arc<Shared>, topic: &str, ids: &[EntryId], alone: &Claiming<'_>) {
    match claim::fetch(shared, topic, ids, Listed::OrAgain, alone).await {
        Ok(gone) => {
            let gone = shared.board.not_found(topic, &gone);
            if !gone.is_empty() {
                shared.telemetry.redis_entries_gone(topic, gone.len());
            }
        }
        Err(_) => shared.board.not_fetched(topic, ids, Instant::now() + shared.redelivery.after(1)),
    }
}

/// Nobody is to take what we have in hand for abandoned (D8). JUSTID leaves the count of deliveries alone.
async fn keep_alive(shared: &Shared) -> Result<(), RedisError> {
    let mut commands = pipe();
    for (topic, ids) in shared.board.held() {
        for ids in ids.chunks(MAX_CLAIM) {
            commands.add_command(shared.stream.keep_alive(&topic, ids));
        }
    }
    shared.connections.pipeline(&commands).await.map(drop)
}
