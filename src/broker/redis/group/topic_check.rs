//! Finds out which topics a refused read is about. Each is examined by itself: a group that is gone is created again (D17), and a topic that
//! Redis refuses is left out, so that the others are read, until Redis accepts it.

use deadpool_redis::redis::{ErrorKind, RedisError, Value, pipe};

use super::super::conn::{SendError, error};
use super::client::GroupClient;
use crate::broker::dispatch::{SubscriptionId, Workers};
use crate::telemetry::events::broker::{GroupRecreated, TopicAdmitted, TopicRefused};

/// Where a lost group begins again: with the oldest entry (D17).
const OLDEST: &str = "0";

/// The outcome of examining the topics of a refused read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Examined {
    /// A group was created again, or a topic is left out from now on: the next read may succeed.
    Changed,
    /// Each topic can be read by itself.
    AllFine,
    /// Redis did not answer for at least one, and nothing has changed.
    Unknown,
}

/// The outcome for one topic.
#[derive(Debug)]
enum TopicState {
    Fine,
    /// Its group was gone, and has been created again.
    Restored,
    Refused(RedisError),
    Unknown,
}

/// May the cause of this error be one topic, or that there are several? Not if the server is away or busy, or refuses everything.
pub(super) fn may_concern_one(error: &RedisError) -> bool {
    !error::is_transient(error)
        && error.kind() != ErrorKind::AuthenticationFailed
        && !matches!(error.code(), Some("NOAUTH" | "WRONGPASS" | "MISCONF" | "OOM" | "BUSY"))
}

/// Examine each of these topics, and leave out those that Redis refuses.
pub(super) async fn examine(workers: &Workers<GroupClient>, subscriptions: &[SubscriptionId]) -> Examined {
    let client = workers.driver();
    let mut examined = Examined::AllFine;
    for (subscription, state) in subscriptions.iter().zip(states(client, subscriptions).await) {
        let topic = &subscription.topic;
        match state {
            TopicState::Fine => {}
            TopicState::Restored => {
                client.telemetry.emit(GroupRecreated { topic, group: &client.stream.group });
                examined = Examined::Changed;
            }
            TopicState::Refused(error) => {
                let error = client.advised_text(&error);
                if workers.inflight().refuse(subscription, &error) {
                    client.telemetry.emit(TopicRefused { topic, error: &error });
                    examined = Examined::Changed;
                }
            }
            TopicState::Unknown if examined == Examined::AllFine => examined = Examined::Unknown,
            TopicState::Unknown => {}
        }
    }
    examined
}

/// Examine the topics that are left out, and read those that Redis accepts now.
pub(super) async fn admit_refused(workers: &Workers<GroupClient>) {
    let (client, inflight) = (workers.driver(), workers.inflight());
    let refused = inflight.refused();
    for (subscription, state) in refused.iter().zip(states(client, &refused).await) {
        match state {
            TopicState::Fine | TopicState::Restored => {
                if inflight.admit(subscription) {
                    client.telemetry.emit(TopicAdmitted { topic: &subscription.topic });
                }
            }
            TopicState::Refused(error) => drop(inflight.refuse(subscription, &client.advised_text(&error))),
            TopicState::Unknown => {}
        }
    }
}

async fn states(client: &GroupClient, subscriptions: &[SubscriptionId]) -> Vec<TopicState> {
    let mut commands = pipe();
    for subscription in subscriptions {
        commands.add_command(client.stream.group_creation(&subscription.topic, OLDEST));
        commands.add_command(client.stream.trial_read(&subscription.topic));
    }
    if commands.is_empty() {
        return Vec::new();
    }
    let is_cluster = client.settings.is_cluster();
    let mut replies = client.connections.each(&commands).await.into_iter();
    let mut next = || {
        let reply = replies.next().unwrap_or(Ok(Value::Nil));
        reply.map_err(SendError::into_error).and_then(Value::extract_error)
    };
    let mut states = Vec::with_capacity(subscriptions.len());
    for _ in subscriptions {
        let created = next();
        states.push(state(created, next(), is_cluster));
    }
    states
}

/// From the replies to XGROUP CREATE and to the trial read.
fn state(created: Result<Value, RedisError>, tried: Result<Value, RedisError>, is_cluster: bool) -> TopicState {
    let Err(error) = tried else {
        return match created {
            Ok(_) => TopicState::Restored,
            Err(_) => TopicState::Fine,
        };
    };
    // In a cluster the slot is moving. Behind a single address another server has it for good.
    if error::is_transient(&error) || (is_cluster && error.redirect_node().is_some()) {
        return TopicState::Unknown;
    }
    match (error.code(), created) {
        // The group could not be created; otherwise it has been deleted again in this moment.
        (Some("NOGROUP"), Err(error)) if error.code() != Some("BUSYGROUP") => {
            if error::is_transient(&error) {
                TopicState::Unknown
            } else {
                TopicState::Refused(error)
            }
        }
        (Some("NOGROUP"), _) => TopicState::Unknown,
        _ => TopicState::Refused(error),
    }
}

#[cfg(test)]
mod tests {
    use deadpool_redis::redis::parse_redis_value;

    use super::*;

    fn answer(text: &str) -> Result<Value, RedisError> {
        parse_redis_value(format!("{text}\r\n").as_bytes()).unwrap().extract_error()
    }

    #[test]
    fn a_topic_is_fine_restored_refused_or_unknown() {
        let check = |created: &str, tried: &str, expected: &str| {
            let state = state(answer(created), answer(tried), false);
            let text = match state {
                TopicState::Refused(error) => format!("refused {}", error.code().unwrap_or("?")),
                other => format!("{other:?}"),
            };
            assert_eq!(text, expected, "{created} {tried}");
        };
        let busy = "-BUSYGROUP Consumer Group name already exists";
        check("+OK", "*0", "Restored");
        check(busy, "*0", "Fine");
        check("-NOPERM no xgroup", "*0", "Fine");
        check(busy, "-NOPERM no xreadgroup", "refused NOPERM");
        check("-NOPERM x", "-NOGROUP x", "refused NOPERM");
        check("-LOADING x", "-NOGROUP x", "Unknown");
        check(busy, "-NOGROUP x", "Unknown");
        check("-WRONGTYPE x", "-WRONGTYPE x", "refused WRONGTYPE");
        check("+OK", "-LOADING x", "Unknown");
        check("-MOVED 1 h:1", "-MOVED 1 h:1", "refused MOVED");
        check("-ERR x", "-ERR unknown command 'XREADGROUP'", "refused ERR");
    }

    #[test]
    fn errors_that_may_be_about_one_topic() {
        let check = |text: &str, expected: bool| {
            let error = answer(text).unwrap_err();
            assert_eq!(may_concern_one(&error), expected, "{text}");
        };
        check("-CROSSSLOT Keys in request don't hash to the same slot", true);
        check("-ERR CROSSSLOT: one key a request", true);
        check("-ERR invalid request", true);
        check("-ERR unsupported command 'xreadgroup'", true);
        check("-NOGROUP x", true);
        check("-NOPERM x", true);
        check("-WRONGTYPE x", true);
        check("-MOVED 1 h:1", true);
        check("-NOAUTH x", false);
        check("-WRONGPASS x", false);
        check("-MISCONF x", false);
        check("-LOADING x", false);
        check("-CLUSTERDOWN x", false);
        check("-READONLY x", false);
    }
}
