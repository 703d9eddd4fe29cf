//! A Redis that shards by key behind one address, without `redisType: cluster` (here a cluster of one server). It
//! answers CROSSSLOT to commands with keys of several slots; everything that a component does works all the same.

use std::future::pending;
use std::sync::Arc;

use bytes::Bytes;
use deadpool_redis::redis::Value;
use sidestream::broker::Broker;
use sidestream::broker::redis::RedisBroker;
use sidestream::message::{Outgoing, Settlement};
use tokio::sync::Semaphore;

use crate::support::app::{Answer, App};
use crate::support::redis::{RedisServer, broker_on};
use crate::support::sidecar::{Sidecar, redis_component};
use crate::support::sink::Recorder;
use crate::support::subscribed::{subscribe, subscribe_with};
use crate::support::{Lines, eventually};

/// Topics in different slots.
const TOPICS: [&str; 4] = ["orders", "bills", "parcels", "returns"];

async fn publish(broker: &RedisBroker, topic: &str, texts: &[String]) {
    let message = |text: &String| Outgoing { topic: topic.to_owned(), data: Bytes::from(text.clone()), metadata: None };
    let sent = broker.publish_all(texts.iter().map(message).collect()).await;
    assert!(sent.iter().all(Result::is_ok), "{sent:?}");
}

fn texts(topic: &str, count: usize) -> Vec<String> {
    (0..count).map(|number| format!("{topic}-{number}")).collect()
}

async fn has(sink: &Recorder, texts: &[String]) {
    let mut wanted = texts.to_vec();
    wanted.sort();
    let got = || {
        let mut got = sink.texts();
        got.sort();
        got.dedup();
        got
    };
    eventually(&format!("{} texts", wanted.len()), || async { got() == wanted }).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_topic_is_read_and_the_log_says_once_what_it_costs() {
    let redis = RedisServer::start_sharded().await;
    let lines = Lines::default();
    let broker = broker_on(redis.port, "app", &[], lines.telemetry());
    broker.connect().await.unwrap();
    let mut subscribed = Vec::new();
    for topic in TOPICS {
        // The first attempt of each fails, because redelivery names keys, too.
        let sink = Recorder::answering(|message| match message.attempt {
            1 => Settlement::Retry,
            _ => Settlement::Ack,
        });
        let one = subscribe(&*broker, topic, sink.clone()).await;
        subscribed.push((topic, sink, one));
    }
    // A consumer group of its own has another reader, which does not have to meet the error first.
    let other_group = Recorder::acking();
    let metadata = [("consumerGroup", "other")];
    let others = [
        subscribe_with(&*broker, "orders", &metadata, other_group.clone()).await,
        subscribe_with(&*broker, "bills", &metadata, other_group.clone()).await,
    ];
    for topic in TOPICS {
        publish(&broker, topic, &texts(topic, 300)).await;
    }
    for (topic, sink, _) in &subscribed {
        has(sink, &texts(topic, 300)).await;
        redis.settled(topic, "app").await;
        assert_eq!(sink.count(), 600, "each of {topic} twice");
    }
    let both = [texts("orders", 300), texts("bills", 300)].concat();
    has(&other_group, &both).await;
    assert_eq!(lines.with("refuses one read of several topics"), 1);
    assert_eq!(lines.with("redisType"), 1);
    assert_eq!(lines.text().lines().count(), 1, "{}", lines.text());
    for (_, _, one) in subscribed {
        one.end().await;
    }
    for one in others {
        one.end().await;
    }
    for topic in TOPICS {
        let consumers: Vec<Value> = redis.call(&["XINFO", "CONSUMERS", topic, "app"]).await;
        assert!(consumers.is_empty(), "{topic}: {consumers:?}");
    }
    broker.close().await;
    let keys: Vec<String> = redis.call(&["KEYS", "sidestream:*:alive:*"]).await;
    assert!(keys.is_empty(), "{keys:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_subscription_that_ends_takes_no_more_and_hands_back_what_it_has_not_begun() {
    let redis = RedisServer::start_sharded().await;
    let (broker, gate) = (redis.broker("app", &[]), Arc::new(Semaphore::new(0)));
    let (sink, other) = (Recorder::behind(&gate, |_| Settlement::Ack), Recorder::acking());
    let ending = subscribe(&*broker, "orders", sink.clone()).await;
    let staying = subscribe(&*broker, "bills", other.clone()).await;
    publish(&broker, "orders", &texts("orders", 200)).await;
    eventually("the sink is full", || async { sink.count() >= 9 }).await;
    let end = tokio::spawn(ending.end());
    // The other topic goes on while this one is unsubscribed, and afterwards.
    publish(&broker, "bills", &texts("bills", 50)).await;
    has(&other, &texts("bills", 50)).await;
    gate.add_permits(1000);
    end.await.unwrap();
    let begun = sink.count();
    assert!(begun < 200, "the rest was handed back");
    publish(&broker, "orders", &["late".to_owned()]).await;
    let rest = Recorder::acking();
    let again = subscribe(&*broker, "orders", rest.clone()).await;
    eventually("the rest", || async { rest.count() == 201 - begun }).await;
    redis.settled("orders", "app").await;
    assert_eq!((sink.count(), rest.count()), (begun, 201 - begun));
    again.end().await;
    staying.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_dead_instance_had_in_hand_is_taken_over() {
    let redis = RedisServer::start_sharded().await;
    let dying = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let (broker, held) = (redis.broker("app", &[]), Recorder::waiting(|_| Box::pin(pending())));
    let sink = held.clone();
    let (all, are_published) = tokio::sync::oneshot::channel();
    dying.spawn(async move {
        let mut subscribed = Vec::new();
        for topic in TOPICS {
            subscribed.push(subscribe(&*broker, topic, sink.clone()).await);
            publish(&broker, topic, &texts(topic, 20)).await;
        }
        all.send(()).unwrap();
        pending::<()>().await;
    });
    are_published.await.unwrap();
    eventually("something is in hand", || async { held.count() >= 4 }).await;
    let survivor = redis.broker("app", &[]);
    let sinks = TOPICS.map(|_| Recorder::acking());
    let mut subscribed = Vec::new();
    for (topic, sink) in TOPICS.iter().zip(&sinks) {
        subscribed.push(subscribe(&*survivor, topic, sink.clone()).await);
    }
    dying.shutdown_background();
    for (topic, sink) in TOPICS.iter().zip(&sinks) {
        has(sink, &texts(topic, 20)).await;
        redis.settled(topic, "app").await;
    }
    for one in subscribed {
        one.end().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_instance_gets_its_own_copy() {
    let redis = RedisServer::start_sharded().await;
    let settings = [("fanOut", "true"), ("fanOutExpiry", "4s")];
    let brokers = [(); 2].map(|()| redis.broker("app", &settings));
    let sinks = [(); 2].map(|()| Recorder::acking());
    let mut subscribed = Vec::new();
    for (broker, sink) in brokers.iter().zip(&sinks) {
        for topic in TOPICS {
            subscribed.push(subscribe(&**broker, topic, sink.clone()).await);
        }
    }
    let all: Vec<_> = TOPICS.iter().flat_map(|topic| texts(topic, 10)).collect();
    for topic in TOPICS {
        publish(&brokers[0], topic, &texts(topic, 10)).await;
    }
    for sink in &sinks {
        has(sink, &all).await;
    }
    for one in subscribed {
        one.end().await;
    }
    for broker in &brokers {
        broker.close().await;
    }
    let keys: Vec<String> = redis.call(&["KEYS", "sidestream:*"]).await;
    assert!(keys.is_empty(), "{keys:?}");
    for topic in TOPICS {
        let groups: Vec<Value> = redis.call(&["XINFO", "GROUPS", topic]).await;
        assert!(groups.is_empty(), "{topic}: {groups:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn entries_that_a_foreign_consumer_left_and_groups_that_are_deleted_are_seen_to() {
    let redis = RedisServer::start_sharded().await;
    let settings = [("processingTimeout", "1s"), ("redeliverInterval", "200")];
    let broker = redis.broker("app", &settings);
    for topic in TOPICS {
        publish(&broker, topic, &texts(topic, 5)).await;
        let _: String = redis.call(&["XGROUP", "CREATE", topic, "app", "0"]).await;
        let foreign = ["XREADGROUP", "GROUP", "app", "foreign", "STREAMS", topic, ">"];
        let _: Value = redis.call(&foreign).await;
    }
    let sinks = TOPICS.map(|_| Recorder::acking());
    let mut subscribed = Vec::new();
    for (topic, sink) in TOPICS.iter().zip(&sinks) {
        subscribed.push(subscribe(&*broker, topic, sink.clone()).await);
    }
    for (topic, sink) in TOPICS.iter().zip(&sinks) {
        has(sink, &texts(topic, 5)).await;
        redis.settled(topic, "app").await;
        let _: i64 = redis.call(&["DEL", topic]).await;
    }
    for (topic, sink) in TOPICS.iter().zip(&sinks) {
        publish(&broker, topic, &texts(topic, 6)).await;
        has(sink, &texts(topic, 6)).await;
    }
    for one in subscribed {
        one.end().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_topic_that_redis_refuses_does_not_stop_the_others() {
    let redis = RedisServer::start_sharded().await;
    let lines = Lines::default();
    let broker = broker_on(redis.port, "app", &[], lines.telemetry());
    let (sink, other, third) = (Recorder::acking(), Recorder::acking(), Recorder::acking());
    let subscribed = [
        subscribe(&*broker, "orders", sink.clone()).await,
        subscribe(&*broker, "bills", other.clone()).await,
        subscribe(&*broker, "parcels", third.clone()).await,
    ];
    publish(&broker, "parcels", &texts("parcels", 1)).await;
    has(&third, &texts("parcels", 1)).await;
    let _: i64 = redis.call(&["DEL", "bills"]).await;
    let _: String = redis.call(&["SET", "bills", "no stream"]).await;
    eventually("it is told", || async { lines.with("error reading from stream bills: WRONGTYPE") == 1 }).await;
    publish(&broker, "orders", &texts("orders", 10)).await;
    has(&sink, &texts("orders", 10)).await;
    let _: i64 = redis.call(&["DEL", "bills"]).await;
    publish(&broker, "bills", &texts("bills", 10)).await;
    has(&other, &texts("bills", 10)).await;
    assert_eq!(lines.with("reading again from stream bills"), 1);
    for one in subscribed {
        one.end().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_whole_sidecar_delivers_all_topics() {
    let redis = RedisServer::start_sharded().await;
    let subscription = |topic: &str| format!(r#"{{"pubsubname":"pubsub","topic":"{topic}","route":"/{topic}"}}"#);
    let subscriptions = format!("[{}]", TOPICS.map(subscription).join(","));
    // The entries are written to Redis without the attributes of an event.
    let app = App::start(&subscriptions, |_| Answer::success()).await.expecting_odd_events();
    let sidecar = Sidecar::start(&redis_component(redis.port), app.port, &[]).await;
    let broker = redis.broker("publisher", &[]);
    assert!(sidecar.publish("1".to_owned()).await.is_some_and(|status| status == 204));
    for topic in &TOPICS[1..] {
        publish(&broker, topic, &["{\"data\":1}".to_owned()]).await;
    }
    for topic in TOPICS {
        eventually(topic, || async { app.distinct_data(&format!("/{topic}")) == 1 }).await;
    }
}
