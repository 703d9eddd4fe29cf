//! Entries written by other programs, and entries that are deleted while pending.

use std::sync::Arc;

use sidestream::message::Settlement;
use tokio::sync::Semaphore;

use super::{GROUP, Whole, distinct, length, publish};
use crate::support::app::Answer;
use crate::support::redis::{A_WHILE, RedisServer, broker_on};
use crate::support::sink::Recorder;
use crate::support::subscribed::subscribe;
use crate::support::{Lines, eventually};

#[tokio::test(flavor = "multi_thread")]
async fn an_entry_without_data_does_not_stop_the_others_and_is_not_told_in_a_loop() {
    let redis = RedisServer::start().await;
    let whole = Whole::start(redis.port, &[], |_| Answer::success()).await;
    let begun = tokio::time::Instant::now();
    for _ in 0..3 {
        let _: String = redis.call(&["XADD", "orders", "*", "foo", "bar"]).await;
    }
    whole.publish_all(0..30).await;
    eventually("all events", || async { whole.app.distinct_data("/orders") == 30 }).await;
    let told = || whole.lines("error deserializing cloud event in pubsub pubsub and topic orders");
    eventually("only the foreign ones are left, and told", || async {
        redis.pending("orders", GROUP).await == 3 && told() >= 3
    })
    .await;
    tokio::time::sleep(4 * A_WHILE).await;
    // Delivered at once, after one second, after two more, and so on: an entry that was not delivered is not
    // acknowledged (D1).
    let told = told();
    let attempts = 1 + begun.elapsed().as_secs_f64().log2().max(0.0) as usize + 1;
    assert!(told <= 3 * attempts, "{told} times");
    assert_eq!(whole.complaints(), Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn entries_that_are_trimmed_away_while_they_wait_are_told_once() {
    let redis = RedisServer::start().await;
    let lines = Lines::default();
    let broker = broker_on(redis.port, GROUP, &[], lines.telemetry());
    let gate = Arc::new(Semaphore::new(0));
    let sink = Recorder::behind(&gate, |message| match message.attempt {
        1 if message.data.len() == 1 => Settlement::Retry,
        _ => Settlement::Ack,
    });
    let subscribed = subscribe(&*broker, "orders", sink.clone()).await;
    for number in 0..5 {
        publish(&broker, number).await.unwrap();
    }
    eventually("each once", || async { sink.count() == 5 }).await;
    let _: i64 = redis.call(&["XTRIM", "orders", "MAXLEN", "0"]).await;
    gate.add_permits(100);
    for number in 10..20 {
        publish(&broker, number).await.unwrap();
    }
    eventually("the others", || async { sink.count() == 15 }).await;
    redis.settled("orders", GROUP).await;
    eventually("all is told", || async { gone(&lines) == 5 }).await;
    tokio::time::sleep(4 * A_WHILE).await;
    assert_eq!((sink.count(), gone(&lines)), (15, 5), "{}", lines.text());
    assert_eq!(length(&redis).await, 10);
    subscribed.end().await;
}

/// The number of deleted entries that the log reports.
fn gone(lines: &Lines) -> usize {
    let text = lines.text();
    let counts = text.lines().filter_map(|line| -> Option<usize> {
        let (before, _) = line.split_once(" entries are no longer in stream orders")?;
        before.rsplit(' ').next()?.parse().ok()
    });
    counts.sum()
}

#[tokio::test(flavor = "multi_thread")]
async fn entries_that_are_deleted_while_the_app_has_them_settle() {
    let redis = RedisServer::start().await;
    let lines = Lines::default();
    let broker = broker_on(redis.port, GROUP, &[], lines.telemetry());
    let gate = Arc::new(Semaphore::new(0));
    let sink = Recorder::behind(&gate, |_| Settlement::Ack);
    let subscribed = subscribe(&*broker, "orders", sink.clone()).await;
    for number in 0..5 {
        publish(&broker, number).await.unwrap();
    }
    eventually("in hand", || async { sink.count() == 5 }).await;
    let _: i64 = redis.call(&["XTRIM", "orders", "MAXLEN", "0"]).await;
    publish(&broker, 5).await.unwrap();
    eventually("the next one", || async { distinct(&sink) == 6 }).await;
    gate.add_permits(100);
    redis.settled("orders", GROUP).await;
    tokio::time::sleep(A_WHILE).await;
    assert_eq!(sink.count(), 6);
    assert_eq!(lines.text(), "");
    subscribed.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_dead_consumer_had_and_was_trimmed_is_struck_and_the_rest_taken_over() {
    let redis = RedisServer::start().await;
    let settings = [("processingTimeout", "500"), ("redeliverInterval", "100")];
    let broker = broker_on(redis.port, GROUP, &settings, crate::support::quiet());
    for number in 0..5 {
        publish(&broker, number).await.unwrap();
    }
    let _: () = redis.call(&["XGROUP", "CREATE", "orders", GROUP, "0"]).await;
    let read = ["XREADGROUP", "GROUP", GROUP, "dead", "STREAMS", "orders", ">"];
    let _: deadpool_redis::redis::Value = redis.call(&read).await;
    let _: i64 = redis.call(&["XTRIM", "orders", "MAXLEN", "2"]).await;
    let sink = Recorder::acking();
    let subscribed = subscribe(&*broker, "orders", sink.clone()).await;
    eventually("the two that are left", || async { sink.count() == 2 }).await;
    redis.settled("orders", GROUP).await;
    subscribed.end().await;
}
