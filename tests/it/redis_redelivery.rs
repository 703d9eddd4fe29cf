//! Redelivery and takeover while Redis or a replica fails: no event is lost, or delivered twice without need (D1, D8,
//! D9, D13, D16, D17).

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::{join_all, pending, ready};
use sidestream::broker::Broker;
use sidestream::broker::redis::RedisBroker;
use sidestream::message::{Outgoing, Settlement};
use tokio::time::Instant;

use crate::support::proxy::{Proxy, Way};
use crate::support::redis::{A_WHILE, RedisServer, broker_on};
use crate::support::sink::Recorder;
use crate::support::subscribed::{Subscribed, subscribe};
use crate::support::{Lines, eventually};

/// Ids and fields of entries.
type Entries = Vec<(String, Vec<String>)>;

async fn publish(broker: &RedisBroker, numbers: std::ops::Range<u32>) {
    for number in numbers {
        broker.publish(message(number)).await.unwrap();
    }
}

fn message(number: u32) -> Outgoing {
    Outgoing { topic: "orders".to_owned(), data: Bytes::from(number.to_string()), metadata: None }
}

/// The distinct messages that have arrived.
fn distinct(sinks: &[&Recorder]) -> usize {
    let mut texts: Vec<_> = sinks.iter().flat_map(|sink| sink.texts()).collect();
    texts.sort();
    texts.dedup();
    texts.len()
}

/// Idle entries are taken over after an hour, so a takeover within seconds is that of a dead instance.
const LONG_IDLE: [(&str, &str); 1] = [("processingTimeout", "2m")];

/// A replica in a tokio runtime of its own, which can end as abruptly as a killed process.
struct Replica {
    runtime: Option<tokio::runtime::Runtime>,
}

impl Replica {
    fn start(redis: &RedisServer, sink: Arc<Recorder>) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let broker = redis.broker("app", &LONG_IDLE);
        let ready = std::sync::mpsc::channel();
        runtime.spawn(async move {
            let _subscribed = subscribe(&*broker, "orders", sink).await;
            ready.0.send(()).unwrap();
            pending::<()>().await;
        });
        ready.1.recv().unwrap();
        Self { runtime: Some(runtime) }
    }

    fn die(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

impl Drop for Replica {
    fn drop(&mut self) {
        self.die();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_entries_of_a_dead_replica_are_taken_over_long_before_they_look_idle() {
    let redis = RedisServer::start().await;
    let stuck = Recorder::waiting(|_| Box::pin(pending()));
    let mut dying = Replica::start(&redis, stuck.clone());
    let publisher = redis.broker("app", &LONG_IDLE);
    publish(&publisher, 0..50).await;
    eventually("the first replica has all, and some in hand", || async {
        stuck.count() == 10 && redis.pending("orders", "app").await == 50
    })
    .await;
    let survivor = Recorder::acking();
    let subscribed = subscribe(&*publisher, "orders", survivor.clone()).await;
    let killed = Instant::now();
    dying.die();
    eventually("all messages", || async { distinct(&[&survivor]) == 50 }).await;
    // Within ten seconds on an idle machine: the lifetime of a heartbeat.
    assert!(killed.elapsed() < Duration::from_secs(30), "took {:?}", killed.elapsed());
    redis.settled("orders", "app").await;
    assert!(survivor.seen().iter().all(|message| message.attempt == 2), "the dead replica's delivery counts");
    subscribed.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_sink_keeps_its_entries_while_another_replica_watches() {
    let redis = RedisServer::start().await;
    let settings = [("processingTimeout", "1500"), ("redeliverInterval", "200")];
    let slow = Recorder::waiting(|_| {
        Box::pin(async {
            tokio::time::sleep(Duration::from_millis(5000)).await;
            Settlement::Ack
        })
    });
    let (one, two) = (redis.broker("app", &settings), redis.broker("app", &settings));
    let first = subscribe(&*one, "orders", slow.clone()).await;
    publish(&one, 0..3).await;
    eventually("in hand", || async { slow.count() == 3 }).await;
    let other = Recorder::acking();
    let second = subscribe(&*two, "orders", other.clone()).await;
    redis.settled("orders", "app").await;
    assert_eq!((slow.count(), other.count()), (3, 0), "longer than processingTimeout, and delivered once all the same");
    first.end().await;
    second.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn entries_that_a_foreign_consumer_left_are_taken_over_when_idle() {
    let redis = RedisServer::start().await;
    let broker = redis.broker("app", &[("processingTimeout", "500"), ("redeliverInterval", "100")]);
    publish(&broker, 0..5).await;
    let _: String = redis.call(&["XGROUP", "CREATE", "orders", "app", "0"]).await;
    let _: deadpool_redis::redis::Value =
        redis.call(&["XREADGROUP", "GROUP", "app", "app", "STREAMS", "orders", ">"]).await;
    let sink = Recorder::acking();
    let subscribed = subscribe(&*broker, "orders", sink.clone()).await;
    eventually("all five", || async { sink.count() == 5 }).await;
    redis.settled("orders", "app").await;
    subscribed.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_long_list_that_a_foreign_consumer_left_is_taken_over_without_pauses() {
    let redis = RedisServer::start().await;
    let lines = Lines::default();
    let broker = broker_on(redis.port, "app", &[], lines.telemetry());
    let messages = (0..2000).map(message).collect();
    assert!(broker.publish_all(messages).await.iter().all(Result::is_ok));
    let _: () = redis.call(&["XGROUP", "CREATE", "orders", "app", "0"]).await;
    let mut read = vec!["XREADGROUP", "GROUP", "app", "dead", "COUNT", "2000"];
    read.extend(["STREAMS", "orders", ">"]);
    let streams: Vec<(String, Entries)> = redis.call(&read).await;
    let mut rested = vec!["XCLAIM", "orders", "app", "dead", "0"];
    rested.extend(streams[0].1.iter().map(|(id, _)| id.as_str()));
    rested.extend(["IDLE", "3600000", "JUSTID"]);
    let _: Vec<String> = redis.call(&rested).await;
    let sink = Recorder::acking();
    let subscribed = subscribe(&*broker, "orders", sink.clone()).await;
    // One batch per `redeliverInterval` of 15 s would take minutes.
    eventually("all are taken over", || async { sink.count() >= 2000 }).await;
    assert_eq!(distinct(&[&sink]), 2000);
    eventually("it is told", || async { lines.with("took over 2000 entries in 1 topic of consumers") == 1 }).await;
    assert_eq!(lines.with("taking over the entries of consumers"), 1);
    assert_eq!(lines.text().lines().count(), 2, "{}", lines.text());
    subscribed.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn signs_of_life_come_in_time_while_much_is_taken_over_from_a_slow_redis() {
    const TOPICS: usize = 24;
    let redis = RedisServer::start().await;
    let topics: Vec<_> = (0..TOPICS).map(|number| format!("topic-{number}")).collect();
    for topic in &topics {
        let _: String = redis.call(&["XADD", topic, "*", "data", "x"]).await;
        let _: () = redis.call(&["XGROUP", "CREATE", topic, "app", "0"]).await;
        let mut read = vec!["XREADGROUP", "GROUP", "app", "app-dead"];
        read.extend(["STREAMS", topic, ">"]);
        let _: deadpool_redis::redis::Value = redis.call(&read).await;
    }
    let registry = "sidestream:{app}:instances";
    let _: i64 = redis.call(&["HSET", registry, "app-dead", &topics.join("\n")]).await;
    // Longer than the idle time after which they may be taken over.
    tokio::time::sleep(4 * A_WHILE).await;
    let proxy = Proxy::start(redis.port).await;
    proxy.set(Way::Slow(Duration::from_millis(200)));
    let lines = Lines::default();
    let broker = broker_on(proxy.port, "app", &[], lines.telemetry());
    let sink = Recorder::acking();
    let subscribing = topics.iter().map(|topic| subscribe(&*broker, topic, sink.clone()));
    let subscribed = join_all(subscribing).await;
    // Two round trips per topic, one after the other: longer than a heartbeat lasts.
    eventually("all are taken over", || async {
        let alive: Vec<String> = redis.call(&["KEYS", "sidestream:*:alive:*"]).await;
        assert_eq!(alive.len(), 1, "after {} of {TOPICS}", sink.count());
        sink.count() == TOPICS
    })
    .await;
    proxy.set(Way::Open);
    let told = format!("took over {TOPICS} entries in {TOPICS} topics of app-dead");
    eventually("it is told", || async { lines.with(&told) == 1 }).await;
    assert_eq!(lines.text().lines().count(), 1, "{}", lines.text());
    join_all(subscribed.into_iter().map(Subscribed::end)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_orderly_stop_hands_back_what_was_not_begun() {
    let redis = RedisServer::start().await;
    let (one, two) = (redis.broker("app", &[]), redis.broker("app", &[]));
    let slow = Recorder::waiting(|_| {
        Box::pin(async {
            tokio::time::sleep(Duration::from_millis(400)).await;
            Settlement::Ack
        })
    });
    let first = subscribe(&*one, "orders", slow.clone()).await;
    publish(&one, 0..60).await;
    eventually("ten in hand", || async { slow.count() >= 10 }).await;
    first.end().await;
    one.close().await;
    let taken = slow.count();
    let other = Recorder::acking();
    let second = subscribe(&*two, "orders", other.clone()).await;
    let begun = Instant::now();
    eventually("the rest", || async { other.count() + taken == 60 }).await;
    assert!(begun.elapsed() < Duration::from_secs(10), "at once, not after processingTimeout: {:?}", begun.elapsed());
    redis.settled("orders", "app").await;
    assert_eq!(distinct(&[&slow, &other]), 60, "nothing twice because of an orderly stop");
    second.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_subscription_that_begins_again_gets_everything_once() {
    let redis = RedisServer::start().await;
    let broker = redis.broker("app", &[]);
    let sink = Recorder::acking();
    for round in 0..5 {
        let subscribed = subscribe(&*broker, "orders", sink.clone()).await;
        publish(&broker, round * 20..round * 20 + 10).await;
        subscribed.end().await;
        publish(&broker, round * 20 + 10..round * 20 + 20).await;
    }
    let subscribed = subscribe(&*broker, "orders", sink.clone()).await;
    eventually("a hundred", || async { sink.count() >= 100 }).await;
    tokio::time::sleep(A_WHILE).await;
    assert_eq!((sink.count(), distinct(&[&sink])), (100, 100));
    subscribed.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn redis_crashes_and_comes_back() {
    let mut redis = RedisServer::start().await;
    let broker = redis.broker("app", &[("redisMaxRetries", "-1")]);
    let sink = Recorder::waiting(|message| {
        if message.data.len() == 1 {
            Box::pin(ready(Settlement::Ack))
        } else {
            Box::pin(async {
                tokio::time::sleep(Duration::from_millis(20)).await;
                Settlement::Ack
            })
        }
    });
    let subscribed = subscribe(&*broker, "orders", sink.clone()).await;
    publish(&broker, 0..100).await;
    redis.crash();
    let error = broker.publish(message(100)).await.unwrap_err();
    assert!(error.is_transient() && error.to_string().starts_with("redis streams: error from publish: "), "{error}");
    redis.restart().await;
    eventually("publishing again", || async { broker.publish(message(101)).await.is_ok() }).await;
    eventually("everything that was accepted", || async { distinct(&[&sink]) >= 101 }).await;
    redis.settled("orders", "app").await;
    subscribed.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deleted_stream_is_read_again_from_its_beginning() {
    let redis = RedisServer::start().await;
    let broker = redis.broker("app", &[]);
    let sink = Recorder::acking();
    let subscribed = subscribe(&*broker, "orders", sink.clone()).await;
    publish(&broker, 0..10).await;
    eventually("ten", || async { sink.count() == 10 }).await;
    let _: i64 = redis.call(&["DEL", "orders"]).await;
    publish(&broker, 10..20).await;
    eventually("twenty", || async { sink.count() == 20 }).await;
    // Entries whose ack is still to be sent are not delivered again.
    redis.settled("orders", "app").await;
    let _: i64 = redis.call(&["XGROUP", "DESTROY", "orders", "app"]).await;
    eventually("what is still in the stream, again", || async { sink.count() == 30 }).await;
    let _: String = redis.call(&["FLUSHALL"]).await;
    publish(&broker, 20..30).await;
    eventually("forty", || async { sink.count() == 40 }).await;
    subscribed.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_topic_that_redis_refuses_does_not_stop_the_others() {
    let redis = RedisServer::start().await;
    let broker = redis.broker("app", &[]);
    let (sink, other) = (Recorder::acking(), Recorder::acking());
    let subscribed = subscribe(&*broker, "orders", sink.clone()).await;
    let refused = subscribe(&*broker, "other", other.clone()).await;
    let _: i64 = redis.call(&["DEL", "other"]).await;
    let _: String = redis.call(&["SET", "other", "no stream"]).await;
    publish(&broker, 0..10).await;
    eventually("ten", || async { sink.count() == 10 }).await;
    let _: i64 = redis.call(&["DEL", "other"]).await;
    broker.publish(Outgoing { topic: "other".to_owned(), ..message(1) }).await.unwrap();
    eventually("the topic is back", || async { other.count() == 1 }).await;
    refused.end().await;
    subscribed.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_topic_does_not_starve_a_fast_one() {
    let redis = RedisServer::start().await;
    let broker = redis.broker("app", &[]);
    let slow = Recorder::waiting(|_| {
        Box::pin(async {
            tokio::time::sleep(Duration::from_secs(60)).await;
            Settlement::Ack
        })
    });
    let subscribed = subscribe(&*broker, "orders", slow.clone()).await;
    let fast = Recorder::acking();
    let quick = subscribe(&*broker, "fast", fast.clone()).await;
    publish(&broker, 0..300).await;
    eventually("the slow topic is at work", || async { slow.count() == 9 }).await;
    for number in 0..200 {
        broker.publish(Outgoing { topic: "fast".to_owned(), ..message(number) }).await.unwrap();
    }
    eventually("all of the fast topic", || async { fast.count() == 200 }).await;
    assert_eq!(slow.count(), 9);
    quick.end().await;
    drop(subscribed);
}
