//! Clocks that jump. The sidecar never compares its clock with that of Redis, except for `streamTTL`, whose
//! documentation says so: waits use the monotonic clock, and entries are ordered by id, not by the time in it.

use std::time::Duration;

use sidestream::message::Settlement;

use super::{GROUP, distinct, publish, slow_sink};
use crate::support::redis::{A_WHILE, RedisServer, broker_on};
use crate::support::sink::Recorder;
use crate::support::subscribed::subscribe;
use crate::support::{Lines, eventually};

#[tokio::test(flavor = "multi_thread")]
async fn ids_from_the_future_are_delivered_and_redelivered_in_order() {
    let redis = RedisServer::start().await;
    let lines = Lines::default();
    // One event at a time, because concurrent deliveries have no order.
    let one = [("concurrency", "1")];
    let broker = broker_on(redis.port, GROUP, &one, lines.telemetry());
    let sink = Recorder::answering(|message| match message.attempt {
        1 => Settlement::Retry,
        _ => Settlement::Ack,
    });
    // First an id ten thousand years from now, then ids by the clock of Redis, which is far behind.
    let words = ["XADD", "orders", "317247840000000-5", "data", "future"];
    let _: String = redis.call(&words).await;
    let subscribed = subscribe(&*broker, "orders", sink.clone()).await;
    for number in 0..5 {
        publish(&broker, number).await.unwrap();
    }
    eventually("each twice", || async { sink.count() == 12 }).await;
    let mut first = sink.seen();
    first.retain(|message| message.attempt == 1);
    let order = first.iter().map(|message| &message.data[..]);
    assert!(order.eq([&b"future"[..], b"0", b"1", b"2", b"3", b"4"]), "{first:?}");
    redis.settled("orders", GROUP).await;
    assert_eq!(lines.text(), "");
    subscribed.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_id_after_which_there_is_none_is_an_error_and_the_rest_is_delivered() {
    let redis = RedisServer::start().await;
    let broker = redis.broker(GROUP, &[]);
    let last = "18446744073709551615-18446744073709551615";
    let _: String = redis.call(&["XADD", "orders", last, "data", "the last"]).await;
    let sink = Recorder::acking();
    let subscribed = subscribe(&*broker, "orders", sink.clone()).await;
    eventually("the last", || async { sink.count() == 1 }).await;
    redis.settled("orders", GROUP).await;
    let error = publish(&broker, 1).await.unwrap_err();
    assert!(error.to_string().contains("exhausted the last possible ID"), "{error}");
    subscribed.end().await;
}

/// When the clock of Redis jumps forward, all heartbeats expire at once, as after a long outage.
#[tokio::test(flavor = "multi_thread")]
async fn when_all_signs_of_life_expire_at_once_nobody_buries_the_living() {
    let redis = RedisServer::start().await;
    let lines = Lines::default();
    let brokers = [0, 1, 2].map(|_| broker_on(redis.port, GROUP, &[], lines.telemetry()));
    let (slow, others) = (slow_sink(Duration::from_secs(9)), Recorder::acking());
    let first = subscribe(&*brokers[0], "orders", slow.clone()).await;
    for number in 0..5 {
        publish(&brokers[0], number).await.unwrap();
    }
    eventually("in hand", || async { slow.count() == 5 }).await;
    let second = subscribe(&*brokers[1], "orders", others.clone()).await;
    let third = subscribe(&*brokers[2], "orders", others.clone()).await;
    for _ in 0..5 {
        tokio::time::sleep(5 * A_WHILE).await;
        let signs: Vec<String> = redis.call(&["KEYS", "sidestream:*:alive:*"]).await;
        let words: Vec<&str> = ["DEL"].into_iter().chain(signs.iter().map(String::as_str)).collect();
        let _: i64 = redis.call(&words).await;
    }
    redis.settled("orders", GROUP).await;
    assert_eq!((slow.count(), others.count()), (5, 0), "{}", lines.text());
    assert_eq!((distinct(&slow), lines.with("took over")), (5, 0));
    for subscribed in [first, second, third] {
        subscribed.end().await;
    }
}
