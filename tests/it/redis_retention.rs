//! Settings that daprd does not have: `startFrom`, `maxLen`, `ack: none`, `consumerGroup`, `fanOut`.

use std::sync::Arc;

use bytes::Bytes;
use chrono::{SecondsFormat, TimeDelta, Utc};
use deadpool_redis::redis::Value;
use futures_util::future::pending;
use sidestream::broker::redis::RedisBroker;
use sidestream::broker::{Broker, BrokerErrorKind};
use sidestream::message::{Outgoing, Settlement};
use sidestream::shutdown::Stop;
use tokio::sync::Semaphore;

use crate::support::app::{Answer, App};
use crate::support::eventually;
use crate::support::redis::RedisServer;
use crate::support::redis_cluster::RedisCluster;
use crate::support::sidecar::{Sidecar, redis_component};
use crate::support::sink::Recorder;
use crate::support::subscribed::{request, subscribe, subscribe_with};

type Pairs<'a> = &'a [(&'a str, &'a str)];

async fn publish(broker: &RedisBroker, texts: &[&str]) {
    for text in texts {
        let message =
            Outgoing { topic: "orders".to_owned(), data: Bytes::copy_from_slice(text.as_bytes()), metadata: None };
        broker.publish(message).await.unwrap();
    }
}

/// The messages received, sorted.
fn sorted(sink: &Recorder) -> Vec<String> {
    let mut texts = sink.texts();
    texts.sort();
    texts
}

/// The consumer groups of a topic.
async fn groups(redis: &RedisServer, topic: &str) -> Vec<String> {
    let groups: Vec<Value> = redis.call(&["XINFO", "GROUPS", topic]).await;
    let name = |group: &Value| match group {
        Value::Array(fields) => match &fields[1] {
            Value::BulkString(name) => String::from_utf8(name.clone()).unwrap(),
            other => panic!("no name: {other:?}"),
        },
        other => panic!("no group: {other:?}"),
    };
    groups.iter().map(name).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_group_begins_where_component_or_subscription_say() {
    let redis = RedisServer::start().await;
    let now = Utc::now();
    let [old, mid] = [120, 30].map(|ago| now - TimeDelta::minutes(ago));
    for (time, text) in [(old, "1 old"), (mid, "2 mid"), (now, "3 now")] {
        let id = format!("{}-0", time.timestamp_millis());
        let _: String = redis.call(&["XADD", "orders", &id, "data", text]).await;
    }
    let (millis, time) = (mid.timestamp_millis().to_string(), mid.to_rfc3339_opts(SecondsFormat::Millis, true));
    let id = format!("{millis}-0");
    let all: &[&str] = &["1 old", "2 mid", "3 now"];
    let mut later = Vec::new();
    let rows: &[(Pairs<'_>, Pairs<'_>, &[&str])] = &[
        (&[], &[], all),
        (&[("startFrom", "oldest")], &[], all),
        (&[("startFrom", "new")], &[], &[]),
        (&[], &[("startFrom", "new")], &[]),
        (&[("startFrom", "new")], &[("startFrom", "oldest")], all),
        (&[("startFrom", &id)], &[], &all[1..]),
        (&[], &[("startFrom", &millis)], &all[1..]),
        (&[], &[("startFrom", &time)], &all[1..]),
        (&[("startFrom", "1h")], &[], &all[1..]),
        (&[], &[("startFrom", "5m")], &all[2..]),
    ];
    for (number, (component, subscription, expected)) in rows.iter().enumerate() {
        let broker = redis.broker(&format!("group{number}"), component);
        let sink = Recorder::acking();
        let subscribed = subscribe_with(&*broker, "orders", subscription, sink.clone()).await;
        let text = format!("4 later {number:02}");
        publish(&broker, &[&text]).await;
        let mut wanted: Vec<String> = expected.iter().map(|text| (*text).to_owned()).collect();
        // Only groups that begin in the past receive what earlier rows have published.
        if !wanted.is_empty() {
            wanted.extend(later.iter().cloned());
        }
        later.push(text.clone());
        wanted.push(text);
        eventually("all has come", || async { sink.count() >= wanted.len() }).await;
        subscribed.end().await;
        assert_eq!(sorted(&sink), wanted, "{component:?} {subscription:?}");
        broker.close().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_group_that_exists_goes_on_where_it_was_and_a_lost_one_from_the_beginning() {
    let redis = RedisServer::start().await;
    let broker = redis.broker("app", &[("startFrom", "new")]);
    publish(&broker, &["before"]).await;
    let first = Recorder::acking();
    let subscribed = subscribe(&*broker, "orders", first.clone()).await;
    subscribed.end().await;
    publish(&broker, &["meanwhile"]).await;
    let second = Recorder::acking();
    let _subscribed = subscribe(&*broker, "orders", second.clone()).await;
    eventually("what came meanwhile", || async { second.count() == 1 }).await;
    assert_eq!(first.count(), 0);
    let _: i64 = redis.call(&["XGROUP", "DESTROY", "orders", "app"]).await;
    eventually("everything", || async { second.count() == 3 }).await;
    assert_eq!(sorted(&second), ["before", "meanwhile", "meanwhile"]);
}

#[tokio::test]
async fn a_stream_is_kept_at_its_exact_length() {
    let redis = RedisServer::start().await;
    let broker = redis.broker("app", &[("maxLen", "10"), ("maxLenApprox", "100000")]);
    for number in 0..50 {
        publish(&broker, &[&number.to_string()]).await;
    }
    let length: i64 = redis.call(&["XLEN", "orders"]).await;
    assert_eq!(length, 10);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_acks_an_event_comes_once_whatever_becomes_of_it() {
    let redis = RedisServer::start().await;
    for (number, (component, subscription)) in
        [(&[("ack", "none")] as Pairs<'_>, &[] as Pairs<'_>), (&[], &[("ack", "none")])].into_iter().enumerate()
    {
        let group = format!("group{number}");
        let broker = redis.broker(&group, component);
        let gate = Arc::new(Semaphore::new(0));
        let opening = gate.clone();
        let sink = Recorder::waiting(move |message| {
            let gate = opening.clone();
            Box::pin(async move {
                gate.acquire().await.unwrap().forget();
                assert!(message.only_once);
                assert_ne!(message.data, "panics", "as it should");
                Settlement::Retry
            })
        });
        let metadata = [subscription, &[("startFrom", "new")]].concat();
        let subscribed = subscribe_with(&*broker, "orders", &metadata, sink.clone()).await;
        publish(&broker, &["fails", "panics", "fails too"]).await;
        eventually("all are in hand", || async { sink.count() == 3 }).await;
        // They are not pending while the app has them, so no other instance can take them over.
        assert_eq!(redis.pending("orders", &group).await, 0);
        gate.add_permits(3);
        // Ends when nothing is in flight or waits for redelivery.
        subscribed.end().await;
        let after = Recorder::acking();
        let subscribed = subscribe(&*broker, "orders", after.clone()).await;
        publish(&broker, &["next"]).await;
        eventually("the next one", || async { after.count() > 0 }).await;
        subscribed.end().await;
        assert_eq!((sink.count(), after.texts()), (3, vec!["next".to_owned()]));
        broker.close().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_orderly_stop_without_acks_finishes_what_is_in_hand_and_hands_back_the_rest() {
    let redis = RedisServer::start().await;
    let broker = redis.broker("app", &[("ack", "none"), ("concurrency", "1")]);
    let gate = Arc::new(Semaphore::new(0));
    let opening = gate.clone();
    let first = Recorder::waiting(move |_| {
        let gate = opening.clone();
        Box::pin(async move {
            gate.acquire().await.unwrap().forget();
            Settlement::Ack
        })
    });
    publish(&broker, &["0", "1", "2", "3", "4"]).await;
    let subscribed = subscribe(&*broker, "orders", first.clone()).await;
    eventually("one is in hand", || async { first.count() == 1 }).await;
    let other = redis.broker("app", &[("ack", "none")]);
    let second = Recorder::acking();
    let _others = subscribe(&*other, "orders", second.clone()).await;
    let ending = tokio::spawn(async move {
        subscribed.end().await;
        broker.close().await;
    });
    eventually("the rest is elsewhere", || async { second.count() == 4 }).await;
    assert!(!ending.is_finished());
    gate.add_permits(1);
    ending.await.unwrap();
    assert_eq!(first.count(), 1);
    assert_eq!(redis.pending("orders", "app").await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn subscriptions_of_one_component_can_have_groups_of_their_own() {
    let redis = RedisServer::start().await;
    let broker = redis.broker("app", &[]);
    let sinks = [(); 3].map(|()| Recorder::acking());
    let mut subscribed = Vec::new();
    for (sink, metadata) in sinks.iter().zip([
        &[] as Pairs<'_>,
        &[("consumerGroup", "audit")],
        &[("consumerGroup", "late"), ("startFrom", "new")],
    ]) {
        publish(&broker, &["x"]).await;
        subscribed.push(subscribe_with(&*broker, "orders", metadata, sink.clone()).await);
    }
    let _more = subscribe_with(&*broker, "bills", &[("consumerGroup", "audit")], Recorder::acking()).await;
    publish(&broker, &["y"]).await;
    for (sink, expected) in sinks.iter().zip([4, 4, 1]) {
        eventually("all has come", || async { sink.count() >= expected }).await;
    }
    // One reading connection per group, for any number of topics.
    eventually("all groups wait", || async {
        let clients: String = redis.call(&["CLIENT", "LIST"]).await;
        clients.matches("cmd=xreadgroup").count() == 3
    })
    .await;
    let again = request(&*broker, "orders", &[("consumerGroup", "audit")]).unwrap();
    let again = broker.subscribe(again, Recorder::acking(), Stop::new()).await;
    assert!(again.is_err(), "one subscription to a topic in each group");
    for subscribed in subscribed {
        subscribed.end().await;
    }
    assert_eq!(sinks.map(|sink| sink.count()), [4, 4, 1]);
    assert_eq!(groups(&redis, "orders").await, ["app", "audit", "late"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn every_instance_gets_its_own_copy_until_it_stops() {
    let redis = RedisServer::start().await;
    let brokers = [redis.broker("app", &[("fanOut", "true")]), redis.broker("app", &[])];
    publish(&brokers[0], &["before"]).await;
    let sinks = [(); 2].map(|()| Recorder::acking());
    let mut subscribed = Vec::new();
    for (broker, sink) in brokers.iter().zip(&sinks) {
        let metadata = [("fanOut", "true")];
        subscribed.push(subscribe_with(&**broker, "orders", &metadata, sink.clone()).await);
    }
    publish(&brokers[0], &["1", "2", "3"]).await;
    for sink in &sinks {
        eventually("each has its copy", || async { sink.count() >= 3 }).await;
        assert_eq!(sorted(sink), ["1", "2", "3"]);
    }
    let names = groups(&redis, "orders").await;
    assert_eq!(names.len(), 2);
    assert!(names.iter().all(|name| name.starts_with("app-")), "{names:?}");
    // A paused subscription misses nothing: its group lives as long as its instance.
    subscribed.remove(0).end().await;
    publish(&brokers[1], &["4"]).await;
    let _again = subscribe(&*brokers[0], "orders", sinks[0].clone()).await;
    eventually("what came meanwhile", || async { sinks[0].count() == 4 }).await;
    brokers[0].close().await;
    assert_eq!(groups(&redis, "orders").await.len(), 1);
    brokers[1].close().await;
    assert_eq!(groups(&redis, "orders").await.len(), 0);
    let keys: Vec<String> = redis.call(&["KEYS", "sidestream:*"]).await;
    assert!(keys.is_empty(), "{keys:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_group_of_an_instance_that_died_is_removed_when_it_expires() {
    let redis = RedisServer::start().await;
    let settings = [("fanOut", "true"), ("fanOutExpiry", "4s"), ("startFrom", "oldest")];
    let dying = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let (broker, ready) = (redis.broker("app", &settings), std::sync::mpsc::channel());
    dying.spawn(async move {
        for topic in ["orders", "bills"] {
            let _subscribed = subscribe(&*broker, topic, Recorder::acking()).await;
        }
        ready.0.send(()).unwrap();
        pending::<()>().await;
    });
    ready.1.recv().unwrap();
    let survivor = redis.broker("app", &settings);
    let sink = Recorder::acking();
    let _subscribed = subscribe(&*survivor, "orders", sink.clone()).await;
    assert_eq!(groups(&redis, "orders").await.len(), 2);
    dying.shutdown_background();
    eventually("the dead one's groups are gone", || async {
        groups(&redis, "bills").await.is_empty() && groups(&redis, "orders").await.len() == 1
    })
    .await;
    publish(&survivor, &["x"]).await;
    eventually("the survivor reads on", || async { sink.count() == 1 }).await;
    eventually("it is forgotten", || async { redis.call::<i64>(&["HLEN", "sidestream:{app}:fan-out"]).await == 1 })
        .await;
}

#[tokio::test]
async fn a_subscription_that_asks_for_the_impossible_is_refused() {
    let redis = RedisServer::start().await;
    let broker = redis.broker("app", &[]);
    for (name, value, expected) in [
        ("startFrom", "nwe", "did you mean \"new\"?"),
        ("ack", "all", "ack \"all\" is neither \"explicit\" nor \"none\""),
        ("fanOut", "perhaps", "fanOut: invalid bool \"perhaps\""),
    ] {
        let error = request(&*broker, "orders", &[(name, value)]).unwrap_err();
        assert_eq!(error.kind, BrokerErrorKind::Misconfigured);
        assert!(error.message.ends_with(expected), "{error}");
    }
    let exists: i64 = redis.call(&["EXISTS", "orders"]).await;
    assert_eq!(exists, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_other_subscriptions_run_beside_one_that_asks_for_the_impossible() {
    let redis = RedisServer::start().await;
    let app = App::start(
        r#"[{"pubsubname":"pubsub","topic":"bad","route":"/bad","metadata":{"startFrom":"soon"}},{"pubsubname":"pubsub","topic":"orders","route":"/orders","metadata":{"consumerGroup":"mine"}}]"#,
        |_| Answer::success(),
    )
    .await;
    let sidecar = Sidecar::start(&redis_component(redis.port), app.port, &[]).await;
    sidecar.publish("1".to_owned()).await;
    eventually("delivered", || async { app.distinct_data("/orders") == 1 }).await;
    assert_eq!(groups(&redis, "orders").await, ["mine"]);
    let exists: i64 = redis.call(&["EXISTS", "bad"]).await;
    assert_eq!(exists, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn copies_for_each_instance_and_no_acks_work_in_a_cluster() {
    let cluster = RedisCluster::start().await;
    let mut topics = Vec::new();
    for at in 0..3 {
        topics.push(cluster.topic_at(at).await);
    }
    let settings = [("fanOut", "true"), ("ack", "none")];
    let brokers = [(); 2].map(|()| cluster.broker("app", &settings));
    let sinks = [(); 2].map(|()| Recorder::answering(|_| Settlement::Retry));
    let mut subscribed = Vec::new();
    for (broker, sink) in brokers.iter().zip(&sinks) {
        for topic in &topics {
            subscribed.push(subscribe(&**broker, topic, sink.clone()).await);
        }
    }
    for topic in &topics {
        let message = Outgoing { topic: topic.clone(), data: Bytes::copy_from_slice(topic.as_bytes()), metadata: None };
        brokers[0].publish(message).await.unwrap();
    }
    let mut wanted = topics.clone();
    wanted.sort();
    for sink in &sinks {
        eventually("one from each master", || async { sink.count() >= 3 }).await;
    }
    for subscribed in subscribed {
        subscribed.end().await;
    }
    assert!(sinks.iter().all(|sink| sorted(sink) == wanted));
    for (broker, left) in brokers.iter().zip([1, 0]) {
        broker.close().await;
        for topic in &topics {
            assert_eq!(groups(cluster.of(topic).await, topic).await.len(), left);
        }
    }
}
