//! Recovers entries that their consumers will not finish: of dead instances, and of consumers without heartbeat.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use deadpool_redis::redis::{RedisError, Value, cmd, pipe};
use futures_util::future::join_all;

use super::super::conn::error;
use super::super::entry::{self, EntryId, Pending};
use super::super::reply;
use super::super::stream::MAX_CLAIM;
use super::client::GroupClient;
use super::lost_replies::{ClaimGuard, LostReplies, PAGE};
use crate::broker::dispatch::{SubscriptionId, Workers};
use crate::telemetry::events::broker::{TakeoverBegun, TakeoverEnded};

/// An entry of a dead instance must have been idle for this long: then no other instance has just claimed it.
const MIN_IDLE: Duration = Duration::from_secs(1);
/// The owners of entries that are taken over for their idle time, in the log.
const IDLE_CONSUMERS: &str = "consumers that let them rest";

/// Totals of takeovers, by former owner: one log line at the end, and one before it if there is more than a page. Both are of all topics.
#[derive(Default)]
pub(super) struct Tally(BTreeMap<String, TakeoverTotals>);

#[derive(Default)]
struct TakeoverTotals {
    entries: usize,
    topics: BTreeSet<String>,
    is_begin_logged: bool,
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
    fn go_on(&mut self, client: &GroupClient, from: &str) {
        if let Some(sum) = self.0.get_mut(from)
            && !std::mem::replace(&mut sum.is_begin_logged, true)
        {
            client.telemetry.emit(TakeoverBegun { component: &client.component, from });
        }
    }

    fn end(&mut self, client: &GroupClient, from: &str) {
        if let Some(sum) = self.0.remove(from) {
            let (component, entries, topics) = (&client.component, sum.entries, sum.topics.len());
            client.telemetry.emit(TakeoverEnded { component, from, entries, topics });
        }
    }

    /// Log the totals of instances that are no longer listed as dead: another survivor has finished them.
    fn end_others(&mut self, client: &GroupClient, dead: &[String]) {
        let known: Vec<String> = self.0.keys().cloned().collect();
        for from in known {
            if from != IDLE_CONSUMERS && !dead.contains(&from) {
                self.end(client, &from);
            }
        }
    }
}

/// Take over entries of dead instances of this group, as far as there is space. Returns whether there may be more.
///
/// # Errors
/// If Redis did not answer; of a cluster, after all topics on its other servers.
pub(super) async fn take_over_dead(
    workers: &Arc<Workers<GroupClient>>,
    lost_replies: &LostReplies,
    tally: &mut Tally,
) -> Result<bool, RedisError> {
    let client = workers.driver();
    let (mut more, mut failed) = (false, None);
    let dead = dead_instances(client).await?;
    tally.end_others(client, &dead);
    for consumer in dead {
        let mut question = cmd("HGET");
        question.arg(&client.liveness.registry).arg(&consumer);
        let topics = reply::text(client.connections.command(&question).await?).unwrap_or_default();
        let ours = workers.inflight().subscriptions();
        let (mut remaining, mut is_over) = (Vec::new(), true);
        for topic in topics.split('\n').filter(|topic| !topic.is_empty()) {
            let Some(subscription) = ours.iter().find(|our| *our.topic == *topic) else {
                remaining.push(topic);
                continue;
            };
            if !client.liveness.is_well() {
                // An instance that others may have declared dead must not judge them.
                return Ok(false);
            }
            match take_over_instance(workers, lost_replies, subscription, &consumer, tally).await {
                Ok(true) => continue,
                Ok(false) => more = true,
                Err(error) if client.settings.is_cluster() => drop(failed.get_or_insert(error)),
                Err(error) => return Err(error),
            }
            is_over = false;
            remaining.push(topic);
        }
        if is_over {
            tally.end(client, &consumer);
        }
        update_registry(client, &consumer, &topics, &remaining.join("\n")).await?;
    }
    failed.map_or(Ok(more), Err)
}

async fn dead_instances(client: &GroupClient) -> Result<Vec<String>, RedisError> {
    let mut question = cmd("HKEYS");
    question.arg(&client.liveness.registry);
    let Value::Array(consumers) = client.connections.command(&question).await? else {
        return Ok(Vec::new());
    };
    let others: Vec<String> =
        consumers.into_iter().filter_map(reply::text).filter(|consumer| *consumer != client.stream.consumer).collect();
    let mut questions = pipe();
    for consumer in &others {
        questions.cmd("EXISTS").arg(client.liveness.alive_key(consumer));
    }
    let alive = client.connections.pipeline(&questions).await?;
    Ok(others
        .into_iter()
        .zip(alive)
        .filter(|(_, alive)| *alive == Value::Int(0))
        .map(|(consumer, _)| consumer)
        .collect())
}

/// Take over entries of one topic from a dead instance. Returns whether none are left.
async fn take_over_instance(
    workers: &Arc<Workers<GroupClient>>,
    lost_replies: &LostReplies,
    subscription: &SubscriptionId,
    consumer: &str,
    tally: &mut Tally,
) -> Result<bool, RedisError> {
    let client = workers.driver();
    let page = workers.inflight().space().min(PAGE);
    if page == 0 {
        return Ok(false);
    }
    let pending = match client.stream.pending(&subscription.topic, "-", page, Some(consumer)).await {
        Ok(pending) => pending,
        // The stream or the group is gone, and what was pending with it.
        Err(error) if !error::is_transient(&error) => return Ok(true),
        Err(error) => return Err(error),
    };
    if pending.is_empty() {
        return Ok(true);
    }
    let guard = lost_replies.claim().await;
    let taken = claim(workers, lost_replies, subscription, &pending, MIN_IDLE, &guard).await?;
    tally.add(consumer, &subscription.topic, taken);
    if pending.len() == page {
        tally.go_on(client, consumer);
    }
    Ok(false)
}

/// Forget a dead instance, or the topics of it that are done. Several survivors may do this at a time: they agree.
async fn update_registry(
    client: &GroupClient,
    consumer: &str,
    before: &str,
    remaining: &str,
) -> Result<(), RedisError> {
    let mut command = if remaining.is_empty() {
        cmd("HDEL")
    } else if remaining == before {
        return Ok(());
    } else {
        cmd("HSET")
    };
    command.arg(&client.liveness.registry).arg(consumer);
    if !remaining.is_empty() {
        command.arg(remaining);
    }
    client.connections.command(&command).await.map(drop)
}

/// Take over entries that have been idle for `processingTimeout`, whichever consumer has them, for example daprd: consumers with heartbeat
/// keep theirs alive. Returns whether there may be more, for which there was no space.
///
/// # Errors
/// If Redis did not answer.
pub(super) async fn take_over_idle(
    workers: &Arc<Workers<GroupClient>>,
    lost_replies: &LostReplies,
    idle: Duration,
    tally: &mut Tally,
) -> Result<bool, RedisError> {
    let (client, inflight) = (workers.driver(), workers.inflight());
    let most = inflight.space().min(PAGE);
    if most == 0 {
        return Ok(true);
    }
    let subscriptions = inflight.subscriptions();
    let mut questions = pipe();
    for subscription in &subscriptions {
        questions.add_command(client.stream.pending_idle(&subscription.topic, idle, most));
    }
    let (mut more, mut failed) = (false, None);
    for (subscription, reply) in subscriptions.iter().zip(client.connections.each(&questions).await) {
        let topic = &subscription.topic;
        let reply = match reply {
            Ok(reply) => reply,
            Err(failure) => {
                failed.get_or_insert(failure.into_error());
                continue;
            }
        };
        let rows = match reply.extract_error() {
            Ok(rows) => entry::pending_entries(rows),
            // Servers before 6.2 cannot select by idle time.
            Err(_) => client.stream.pending(topic, "-", PAGE, None).await.unwrap_or_default(),
        };
        let rows: Vec<Pending> =
            rows.into_iter().filter(|row| Duration::from_millis(row.idle_millis) >= idle).collect();
        let is_full = rows.len() >= most;
        let unknown = inflight.unknown(subscription, rows.iter().map(|row| row.id));
        let rows: Vec<Pending> = rows.into_iter().filter(|row| unknown.contains(&row.id)).collect();
        if !rows.is_empty() {
            let guard = lost_replies.claim().await;
            let taken = claim(workers, lost_replies, subscription, &rows, idle, &guard).await?;
            // The others no longer exist, or are no longer idle.
            more |= is_full;
            tally.add(IDLE_CONSUMERS, topic, taken);
        }
    }
    if more {
        tally.go_on(client, IDLE_CONSUMERS);
    } else {
        tally.end(client, IDLE_CONSUMERS);
    }
    failed.map_or(Ok(more), Err)
}

/// Claim entries of other consumers that have been idle for at least `idle`, and take them in. Returns how many.
///
/// # Errors
/// If Redis did not answer. Some may belong to this consumer then all the same, as if their reply was lost.
async fn claim(
    workers: &Arc<Workers<GroupClient>>,
    lost_replies: &LostReplies,
    subscription: &SubscriptionId,
    pending: &[Pending],
    idle: Duration,
    _guard: &ClaimGuard<'_>,
) -> Result<usize, RedisError> {
    let suspect = || lost_replies.suspect(workers.inflight());
    let deliveries: HashMap<EntryId, u32> = pending.iter().map(|row| (row.id, row.deliveries)).collect();
    let ids: Vec<_> = pending.iter().map(|row| row.id).collect();
    let mut taken = 0;
    for ids in ids.chunks(MAX_CLAIM) {
        let stream = &workers.driver().stream;
        let claimed = stream.claim(&subscription.topic, idle, ids).await.inspect_err(|_| suspect())?;
        if claimed.has_deleted {
            // They belong to this consumer now, and are removed by the search for lost replies.
            suspect();
        }
        let mut entries = claimed.entries;
        for entry in &mut entries {
            entry.attempt = deliveries.get(&entry.id).copied().unwrap_or(0).saturating_add(1);
        }
        taken += entries.len();
        workers.accept_read(subscription, entries);
        workers.start();
    }
    Ok(taken)
}

/// Forget the entries that others have claimed, and perhaps finished, while our heartbeat had lapsed.
///
/// # Errors
/// If Redis did not answer; of a cluster, after all topics on its other servers.
pub(super) async fn forget_claimed(workers: &Workers<GroupClient>) -> Result<(), RedisError> {
    let mut failed = None;
    let held = workers.inflight().held().into_iter();
    let searches = held.map(|(subscription, held)| forget_claimed_of(workers, subscription, held));
    for forgotten in join_all(searches).await {
        match forgotten {
            // Redis refuses this topic for now: the reader finds that out, too.
            Err(error) if !error::is_transient(&error) => {}
            Err(error) if workers.driver().settings.is_cluster() => drop(failed.get_or_insert(error)),
            other => other?,
        }
    }
    failed.map_or(Ok(()), Err)
}

/// An entry that was in flight before and is not in our own list of pending entries belongs to another consumer.
async fn forget_claimed_of(
    workers: &Workers<GroupClient>,
    subscription: SubscriptionId,
    held: Vec<EntryId>,
) -> Result<(), RedisError> {
    let stream = &workers.driver().stream;
    let mut claimed: BTreeSet<_> = held.into_iter().collect();
    let mut from = "-".to_owned();
    loop {
        let page = stream.pending(&subscription.topic, &from, PAGE, Some(&stream.consumer)).await?;
        for row in &page {
            claimed.remove(&row.id);
        }
        match page.last() {
            Some(last) if page.len() == PAGE => from = format!("({}", last.id),
            _ => break,
        }
    }
    let claimed: Vec<_> = claimed.into_iter().collect();
    workers.inflight().forget_claimed(&subscription, &claimed);
    Ok(())
}
