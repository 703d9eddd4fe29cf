//! Redis refuses a command that a subscription needs: after 10 s the health endpoint says so, until it works (D30).

use super::Whole;
use crate::support::app::Answer;
use crate::support::eventually;
use crate::support::redis::RedisServer;

/// Waits until the health endpoint answers 500 with this text, while publishing works.
async fn is_unhealthy(whole: &Whole, parts: &[&str]) {
    eventually(&format!("unhealthy because of {parts:?}"), || async {
        let answer = whole.health().await;
        answer.status == 500 && parts.iter().all(|part| answer.body.contains(part))
    })
    .await;
}

async fn is_well(whole: &Whole) {
    eventually("healthy again", || async { whole.is_healthy().await }).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_topic_that_may_not_be_read_makes_the_sidecar_unhealthy_until_it_may() {
    const ALL_BUT_READING: &str = "+xadd +xgroup +xack +xpending +xclaim +ping +client|id \
        +client|unblock +set +pexpire +del +exists +hset +hget +hdel +hexists +hkeys";
    let redis = RedisServer::start().await;
    redis.allow(ALL_BUT_READING).await;
    let few = [("redisUsername", "few"), ("redisPassword", "secret")];
    let whole = Whole::start(redis.port, &few, |_| Answer::success()).await;
    is_unhealthy(&whole, &["pubsub: no events of topic orders: NOPERM", "grant"]).await;
    assert_eq!(whole.lines("error reading from stream orders: NOPERM"), 1);
    whole.publish_all(0..3).await;
    redis.allow(&format!("{ALL_BUT_READING} +xreadgroup")).await;
    is_well(&whole).await;
    eventually("delivered", || async { whole.app.distinct_data("/orders") == 3 }).await;
    assert_eq!(whole.lines("reading again from stream orders"), 1);

    let _: i64 = redis.call(&["DEL", "orders"]).await;
    let _: String = redis.call(&["SET", "orders", "no stream"]).await;
    is_unhealthy(&whole, &["topic orders: WRONGTYPE"]).await;
    let _: i64 = redis.call(&["DEL", "orders"]).await;
    is_well(&whole).await;
    whole.publish_all(3..6).await;
    eventually("delivered", || async { whole.app.distinct_data("/orders") == 6 }).await;
}

/// A sidecar whose Redis does not know these commands, once the log says so.
async fn without(commands: &[&str]) -> (RedisServer, Whole) {
    let options: Vec<_> = commands.iter().flat_map(|name| ["--rename-command", name, ""]).collect();
    let redis = RedisServer::start_with(&options, 0).await;
    let whole = Whole::start(redis.port, &[], |_| Answer::success()).await;
    is_unhealthy(&whole, &["topic orders: ", "streams need Redis 5"]).await;
    assert_eq!(whole.lines("streams need Redis 5"), 1, "{}", whole.sidecar.said());
    (redis, whole)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redis_without_streams_is_said_as_such() {
    let (_redis, whole) = without(&["XADD", "XGROUP", "XREADGROUP"]).await;
    let refused = whole.publish(1).await;
    assert_eq!(refused.status, 500);
    assert!(refused.body.contains("streams need Redis 5"), "{}", refused.body);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redis_without_reading_of_streams_is_said_as_such() {
    without(&["XREADGROUP"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redis_that_is_away_at_start_is_told_once_for_all_topics() {
    let mut redis = RedisServer::start().await;
    redis.crash();
    let topics: Vec<_> = (0..20).map(|number| format!("topic-{number}")).collect();
    let topics: Vec<_> = topics.iter().map(String::as_str).collect();
    let whole = Whole::begin(redis.port, &[], &topics, |_| Answer::success()).await;
    eventually("it is told", || async { whole.lines("Failed to start the subscriptions") > 0 }).await;
    // Long enough for a second attempt of each.
    tokio::time::sleep(std::time::Duration::from_secs(3)).await;
    assert_eq!(whole.lines("Failed to start"), 1, "{}", whole.sidecar.said());
    assert!(whole.lines("connection refused") <= 2, "{}", whole.sidecar.said());
    redis.restart().await;
    eventually("it is told", || async { whole.lines("reading again") > 0 }).await;
    assert_eq!(whole.lines("reading again"), 1, "{}", whole.sidecar.said());
    is_well(&whole).await;
}
