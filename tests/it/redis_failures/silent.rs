//! Redis, or the network, accepts everything and answers nothing.

use std::time::Duration;

use futures_util::future::join_all;
use tokio::time::Instant;

use super::{GROUP, Whole, distinct, publish};
use crate::support::app::Answer;
use crate::support::proxy::{Proxy, Way};
use crate::support::redis::{RedisServer, broker_on};
use crate::support::sink::Recorder;
use crate::support::subscribed::subscribe;
use crate::support::{Lines, eventually};

/// Long enough for a working Redis on a busy machine.
const SHORT: [(&str, &str); 3] = [("readTimeout", "3s"), ("dialTimeout", "2s"), ("redisMaxRetries", "1")];

#[tokio::test(flavor = "multi_thread")]
async fn publishes_end_with_an_error_in_their_time_however_many_they_are() {
    let redis = RedisServer::start().await;
    let proxy = Proxy::start(redis.port).await;
    let lines = Lines::default();
    let broker = broker_on(proxy.port, GROUP, &SHORT, lines.telemetry());
    let sink = Recorder::acking();
    let subscribed = subscribe(&*broker, "orders", sink.clone()).await;
    publish(&broker, 100).await.unwrap();
    eventually("the first", || async { sink.count() == 1 }).await;
    // Wait for its ack: a lost one would be logged, too.
    redis.settled("orders", GROUP).await;
    proxy.set(Way::Silent);
    let begun = Instant::now();
    for round in 0..2 {
        let outcomes = join_all((0..40).map(|number| publish(&broker, number))).await;
        for outcome in outcomes {
            let error = outcome.unwrap_err();
            assert!(error.is_transient(), "{error}");
            assert!(error.to_string().ends_with("i/o timeout"), "{error}");
        }
        // One reply and two dials time out: seven seconds.
        let took = begun.elapsed();
        assert!(took < Duration::from_secs(30 * (round + 1)), "one after the other is more than a minute: {took:?}");
    }
    eventually("that is told", || async { lines.with("error reading") == 1 && lines.with("upkeep failed") == 1 }).await;
    proxy.set(Way::Open);
    eventually("publishing again", || async { publish(&broker, 101).await.is_ok() }).await;
    eventually("delivering again", || async { distinct(&sink) == 2 }).await;
    redis.settled("orders", GROUP).await;
    for part in ["error reading", "reading again", "upkeep failed"] {
        assert_eq!(lines.with(part), 1, "{part}:\n{}", lines.text());
    }
    // The last ack may have used a connection from the silent time, or the reply to the first came too late.
    let acks = lines.with("Error acknowledging");
    assert!(acks <= 2, "{}", lines.text());
    assert_eq!(lines.text().lines().count(), 3 + acks, "{}", lines.text());
    subscribed.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sidecar_stays_healthy_and_goes_on_when_redis_is_back() {
    let redis = RedisServer::start().await;
    let proxy = Proxy::start(redis.port).await;
    let whole = Whole::start(proxy.port, &SHORT, |_| Answer::success()).await;
    whole.publish_all(0..5).await;
    for way in [Way::Silent, Way::Refusing] {
        proxy.set(way);
        let refused = whole.publish(100).await;
        assert_eq!(refused.status, 500);
        assert!(refused.body.contains("redis streams: error from publish: "), "{}", refused.body);
        assert!(whole.is_healthy().await);
        proxy.set(Way::Open);
        eventually("publishing again", || async { whole.publish(5).await.status == 204 }).await;
    }
    eventually("delivering again", || async { whole.app.distinct_data("/orders") >= 6 }).await;
    redis.settled("orders", GROUP).await;
    assert!(whole.lines("error reading") <= 2, "{:#?}", whole.complaints());
}
