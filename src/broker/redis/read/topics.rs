//! Which topics a refused read is about. Each is examined by itself: a group that is gone is made again (D17), and a
//! topic that Redis refuses is left out, so that the others are read, until Redis accepts it.

use std::sync::Arc;

use deadpool_redis::redis::{ErrorKind, RedisError, Value, pipe};

use super::super::conn::{SendError, error};
use super::super::{Shared, advice};
use super::LOST;

/// What came of examining the topics of a refused read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Examined {
    /// A group was made again, or a topic is left out from now on: the next read may succeed.
    Changed,
    /// Each topic can be read by itself.
    AllFine,
    /// Redis did not answer for at least one, and nothing has changed.
    Unknown,
}

/// What Redis says of one topic.
#[derive(Debug)]
enum Verdict {
    Fine,
    /// Its group was gone and is there again.
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

/// The text of an error, with what to do about it.
pub(super) fn reason(shared: &Shared, error: &RedisError) -> String {
    let text = error::error_text(error, &shared.settings.host);
    format!("{text}{}", advice::on(error))
}

/// Look at each of these topics, and leave out those that Redis refuses.
pub(super) async fn examine(shared: &Shared, topics: &[Arc<str>]) -> Examined {
    let mut examined = Examined::AllFine;
    for (topic, verdict) in topics.iter().zip(verdicts(shared, topics).await) {
        match verdict {
            Verdict::Fine => {}
            Verdict::Restored => {
                shared.telemetry.redis_group_recreated(topic, &shared.settings.group);
                examined = Examined::Changed;
            }
            Verdict::Refused(error) => {
                let text = reason(shared, &error);
                if shared.board.refuse(topic, &text) {
                    shared.telemetry.redis_topic_refused(topic, &text);
                    examined = Examined::Changed;
                }
            }
            Verdict::Unknown if examined == Examined::AllFine => examined = Examined::Unknown,
            Verdict::Unknown => {}
        }
    }
    examined
}

/// Look again at the topics that are left out, and read those that Redis accepts now.
pub(in crate::broker::redis) async fn admit_refused(shared: &Shared) {
    let refused = shared.board.refused();
    for (topic, verdict) in refused.iter().zip(verdicts(shared, &refused).await) {
        match verdict {
            Verdict::Fine | Verdict::Restored => {
                if shared.board.admit(topic) {
                    shared.telemetry.redis_topic_admitted(topic);
                }
            }
            Verdict::Refused(error) => drop(shared.board.refuse(topic, &reason(shared, &error))),
            Verdict::Unknown => {}
        }
    }
}

async fn verdicts(shared: &Shared, topics: &[Arc<str>]) -> Vec<Verdict> {
    let mut commands = pipe();
    for topic in topics {
        commands.add_command(shared.stream.group_creation(topic, LOST));
        commands.add_command(shared.stream.trial_read(topic));
    }
    if commands.is_empty() {
        return Vec::new();
    }
    let is_cluster = shared.settings.is_cluster();
    let mut answers = shared.connections.each(&commands).await.into_iter();
    let mut next = || {
        let answer = answers.next().unwrap_or(Ok(Value::Nil));
        answer.map_err(SendError::into_error).and_then(Value::extract_error)
    };
    let mut verdicts = Vec::with_capacity(topics.len());
    for _ in topics {
        let created = next();
        verdicts.push(verdict(created, next(), is_cluster));
    }
    verdicts
}

/// From the answers to XGROUP CREATE and to the trial.
fn verdict(created: Result<Value, RedisError>, tried: Result<Value, RedisError>, is_cluster: bool) -> Verdict {
    let Err(error) = tried else {
        return match created {
            Ok(_) => Verdict::Restored,
            Err(_) => Verdict::Fine,
        };
    };
    // In a cluster the slot is on its way. Behind a single address another server has it for good.
    if error::is_transient(&error) || (is_cluster && error.redirect_node().is_some()) {
        return Verdict::Unknown;
    }
    match (error.code(), created) {
        // The group could not be made; otherwise it has been deleted again in this moment.
        (Some("NOGROUP"), Err(error)) if error.code() != Some("BUSYGROUP") => {
            if error::is_transient(&error) {
                Verdict::Unknown
            } else {
                Verdict::Refused(error)
            }
        }
        (Some("NOGROUP"), _) => Verdict::Unknown,
        _ => Verdict::Refused(error),
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
    fn what_redis_says_of_a_topic() {
        let check = |created: &str, tried: &str, expected: &str| {
            let verdict = verdict(answer(created), answer(tried), false);
            let text = match verdict {
                Verdict::Refused(error) => format!("refused {}", error.code().unwrap_or("?")),
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
