//! Entries that nobody will finish: of instances that died, of a daprd that died, and our own that got lost on the way to us.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use deadpool_redis::redis::{RedisError, Value, cmd, pipe};
use futures_util::future::join_all;

use super::claim::{Claiming, Listed};
use super::conn::error;
use super::entry::{self, EntryId, Pending};
use super::{Shared, claim, reply};

/// An entry of a dead instance must have rested this long: then no other instance has just taken it.
const RESTED: Duration = Duration::from_secs(1);
/// Whose entries are taken over for their idle time, in the log.
const RESTING: &str = "consumers that let them rest";
/// Rows of XPENDING in one answer.
const PAGE: usize = 1000;

/// What is being taken over: one line when it is over, and one before it if that takes more than a page. Both are of all topics.
#[derive(Default)]
pub(super) struct Tally(BTreeMap<String, Sum>);

#[derive(Default)]
struct Sum {
    entries: usize,
    topics: BTreeSet<String>,
    told: bool,
}

impl Tally {
    fn add(&mut self, from: &str, topic: &str, entries: usize) {
        if entries > 0 {
            let sum = self.0.entry(from.to_owned()).or_default();
            sum.entries += entries;
            if !sum.topics.contains(topic) {
                sum.topics.insert(topic.to_owned());
            }
        }
    }

    /// There is more than one page.
    fn goes_on(&mut self, shared: &Shared, from: &str) {
        if let Some(sum) = self.0.get_mut(from)
            && !std::mem::replace(&mut sum.told, true)
        {
            shared.telemetry.redis_taking_over(&shared.name, from);
        }
    }

    fn over(&mut self, shared: &Shared, from: &str) {
        if let Some(sum) = self.0.remove(from) {
            let topics = sum.topics.len();
            let telemetry = &shared.telemetry;
            telemetry.redis_taken_over(&shared.name, from, sum.entries, topics);
        }
    }

    /// What other instances than these had is over, whoever has done it.
    fn keep(&mut self, shared: &Shared, dead: &[String]) {
        let known: Vec<String> = self.0.keys().cloned().collect();
        for from in known {
            if from != RESTING && !dead.contains(&from) {
                self.over(shared, &from);
            }
        }
    }
}

/// Take over what dead instances of this group have in hand, as far as there is room. Tells whether there may be more.
///
/// # Errors
/// If Redis did not answer; of a cluster, after all topics on its other servers.
pub(super) async fn sweep(shared: &Arc<Shared>, tally: &mut Tally) -> Result<bool, RedisError> {
    let (mut more, mut failed) = (false, None);
    let dead = dead_instances(shared).await?;
    tally.keep(shared, &dead);
    for consumer in dead {
        let mut question = cmd("HGET");
        question.arg(&shared.instance.registry).arg(&consumer);
        let topics = reply::text(shared.connections.command(&question).await?).unwrap_or_default();
        let ours = shared.board.topics();
        let (mut remaining, mut is_over) = (Vec::new(), true);
        for topic in topics.split('\n').filter(|topic| !topic.is_empty()) {
            if !ours.iter().any(|our| **our == *topic) {
                remaining.push(topic);
                continue;
            }
            if !shared.instance.is_well() {
                // Nobody who may be taken for dead himself takes others for it.
                return Ok(false);
            }
            match bury(shared, topic, &consumer, tally).await {
                Ok(true) => continue,
                Ok(false) => more = true,
                Err(error) if shared.settings.is_cluster() => drop(failed.get_or_insert(error)),
                Err(error) => return Err(error),
            }
            is_over = false;
            remaining.push(topic);
        }
        if is_over {
            tally.over(shared, &consumer);
        }
        update_registry(shared, &consumer, &topics, &remaining.join("\n")).await?;
    }
    failed.map_or(Ok(more), Err)
}

async fn dead_instances(shared: &Shared) -> Result<Vec<String>, RedisError> {
    let mut question = cmd("HKEYS");
    question.arg(&shared.instance.registry);
    let Value::Array(consumers) = shared.connections.command(&question).await? else {
        return Ok(Vec::new());
    };
    let others: Vec<String> = consumers
        .into_iter()
        .filter_map(reply::text)
        .filter(|consumer| *consumer != shared.instance.consumer)
        .collect();
    let mut questions = pipe();
    for consumer in &others {
        questions.cmd("EXISTS").arg(shared.instance.alive_key(consumer));
    }
    let alive = shared.connections.pipeline(&questions).await?;
    Ok(others
        .into_iter()
        .zip(alive)
        .filter(|(_, alive)| *alive == Value::Int(0))
        .map(|(consumer, _)| consumer)
        .collect())
}

/// Take what one dead instance has of one topic. Tells whether nothing is left.
async fn bury(shared: &Arc<Shared>, topic: &str, consumer: &str, tally: &mut Tally) -> Result<bool, RedisError> {
    let page = shared.board.room().min(PAGE);
    if page == 0 {
        return Ok(false);
    }
    let pending = match shared.stream.pending(topic, "-", page, Some(consumer)).await {
        Ok(pending) => pending,
        // The stream or the group is gone, and what was pending with it.
        Err(error) if !error::is_transient(&error) => return Ok(true),
        Err(error) => return Err(error),
    };
    if pending.is_empty() {
        return Ok(true);
    }
    let taken = claim::take_over(shared, topic, &pending, RESTED, &shared.claiming.lock().await).await?;
    tally.add(consumer, topic, taken);
    if pending.len() == page {
        tally.goes_on(shared, consumer);
    }
    Ok(false)
}

/// Forget a dead instance, or the topics of it that are done. Several survivors may do this at a time: they agree.
async fn update_registry(shared: &Shared, consumer: &str, before: &str, remaining: &str) -> Result<(), RedisError> {
    let mut command = if remaining.is_empty() {
        cmd("HDEL")
    } else if remaining == before {
        return Ok(());
    } else {
        cmd("HSET")
    };
    command.arg(&shared.instance.registry).arg(consumer);
    if !remaining.is_empty() {
        command.arg(remaining);
    }
    shared.connections.command(&command).await.map(drop)
}

/// Take over entries that have been idle for `processingTimeout`, whoever has them: consumers without sign of life, for example daprd.
/// The living keep theirs alive. Tells whether there may be more, for which there was no room.
///
/// # Errors
/// If Redis did not answer.
pub(super) async fn reclaim(shared: &Arc<Shared>, idle: Duration, tally: &mut Tally) -> Result<bool, RedisError> {
    let most = shared.board.room().min(PAGE);
    if most == 0 {
        return Ok(true);
    }
    let topics = shared.board.topics();
    let mut questions = pipe();
    for topic in &topics {
        questions.add_command(shared.stream.pending_idle(topic, idle, most));
    }
    let (mut more, mut failed) = (false, None);
    for (topic, answer) in topics.iter().zip(shared.connections.each(&questions).await) {
        let answer = match answer {
            Ok(answer) => answer,
            Err(failure) => {
                failed.get_or_insert(failure.into_error());
                continue;
            }
        };
        let rows = match answer.extract_error() {
            Ok(rows) => entry::of_pending(rows),
            // Servers before 6.2 cannot select by idle time.
            Err(_) => shared.stream.pending(topic, "-", PAGE, None).await.unwrap_or_default(),
        };
        let rows: Vec<Pending> =
            rows.into_iter().filter(|row| Duration::from_millis(row.idle_millis) >= idle).collect();
        let is_full = rows.len() >= most;
        let unknown = shared.board.unknown(topic, rows.iter().map(|row| row.id));
        let rows: Vec<Pending> = rows.into_iter().filter(|row| unknown.contains(&row.id)).collect();
        if !rows.is_empty() {
            let taken = claim::take_over(shared, topic, &rows, idle, &shared.claiming.lock().await).await?;
            // Whatever was not taken is no longer there, or no longer idle.
            more |= is_full;
            tally.add(RESTING, topic, taken);
        }
    }
    if more {
        tally.goes_on(shared, RESTING);
    } else {
        tally.over(shared, RESTING);
    }
    failed.map_or(Ok(more), Err)
}

/// Find entries of these topics that Redis has given to this consumer and that never arrived: their answer was lost with a connection.
///
/// # Errors
/// If Redis did not answer.
pub(super) async fn strays(shared: &Arc<Shared>, topics: &[Arc<str>]) -> Result<(), RedisError> {
    let claiming = shared.claiming.lock().await;
    let searches = topics.iter().map(|topic| strays_of(shared, topic, &claiming));
    join_all(searches).await.into_iter().collect()
}

async fn strays_of(shared: &Arc<Shared>, topic: &str, alone: &Claiming<'_>) -> Result<(), RedisError> {
    let own = Some(&*shared.instance.consumer);
    let mut from = "-".to_owned();
    loop {
        let page = match shared.stream.pending(topic, &from, PAGE, own).await {
            Ok(page) => page,
            // Redis refuses this topic for now: the reader sees to that.
            Err(error) if !error::is_transient(&error) => return Ok(()),
            Err(error) => return Err(error),
        };
        let ids = shared.board.unknown(topic, page.iter().map(|row| row.id));
        claim::fetch(shared, topic, &ids, Listed::Still, alone).await?;
        match page.last() {
            Some(last) if page.len() == PAGE => from = format!("({}", last.id),
            _ => return Ok(()),
        }
    }
}

/// After our sign of life had expired: let go of the entries that others have taken meanwhile, and perhaps finished.
///
/// # Errors
/// If Redis did not answer; of a cluster, after all topics on its other servers.
pub(super) async fn disown(shared: &Shared) -> Result<(), RedisError> {
    let mut failed = None;
    let held = shared.board.held().into_iter();
    let searches = held.map(|(topic, held)| disown_of(shared, topic, held));
    for disowned in join_all(searches).await {
        match disowned {
            // Redis refuses this topic for now: the reader sees to that.
            Err(error) if !error::is_transient(&error) => {}
            Err(error) if shared.settings.is_cluster() => drop(failed.get_or_insert(error)),
            other => other?,
        }
    }
    failed.map_or(Ok(()), Err)
}

/// What was held before and does not stand in our own list is no longer ours.
async fn disown_of(shared: &Shared, topic: Arc<str>, held: Vec<EntryId>) -> Result<(), RedisError> {
    let mut taken: BTreeSet<_> = held.into_iter().collect();
    let mut from = "-".to_owned();
    loop {
        let own = Some(&*shared.instance.consumer);
        let page = shared.stream.pending(&topic, &from, PAGE, own).await?;
        for row in &page {
            taken.remove(&row.id);
        }
        match page.last() {
            Some(last) if page.len() == PAGE => from = format!("({}", last.id),
            _ => break,
        }
    }
    let taken: Vec<_> = taken.into_iter().collect();
    shared.board.disown(&topic, &taken);
    Ok(())
}
