//! Runs the conformance suite against every broker, and tests what is special about the in-memory one.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use sidestream::broker::ack::Ack;
use sidestream::broker::memory::MemoryBroker;
use sidestream::broker::memory::shared::SharedBrokers;
use sidestream::broker::{Broker, BrokerErrorKind};
use sidestream::message::{Outgoing, Settlement};
use sidestream::shutdown::Stop;
use tokio::sync::Semaphore;

use crate::support::redis::RedisServer;
use crate::support::redis_cluster::RedisCluster;
use crate::support::redis_sentinel::RedisSentinel;
use crate::support::sink::Recorder;
use crate::support::subscribed::{request, subscribe, subscribe_with};
use crate::support::{Lines, conformance, eventually, quiet};

#[tokio::test(flavor = "multi_thread")]
async fn memory_does_what_every_broker_must_do() {
    conformance::all(Arc::new(MemoryBroker::new("pubsub", quiet()))).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn redis_does_what_every_broker_must_do() {
    let redis = RedisServer::start().await;
    conformance::all(redis.broker("group", &[])).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn redis_that_shards_by_key_behind_one_address_does_what_every_broker_must_do() {
    let redis = RedisServer::start_sharded().await;
    let broker = redis.broker("group", &[]);
    // A second topic in another slot, so that every case of the suite needs one read per topic.
    let _beside = subscribe(&*broker, "beside", Recorder::acking()).await;
    conformance::all(broker).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redis_cluster_does_what_every_broker_must_do() {
    let cluster = RedisCluster::start().await;
    conformance::all(cluster.broker("group", &[])).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn redis_behind_sentinels_does_what_every_broker_must_do() {
    let redis = RedisSentinel::start().await;
    conformance::all(redis.broker("group", &[])).await;
}

/// The in-memory broker of the component `pubsub` in `file`, as one sidecar of a process sees it.
fn share(hub: &SharedBrokers, file: &Path, app_id: &str) -> MemoryBroker {
    hub.join("pubsub", file, app_id, quiet())
}

async fn publish(broker: &MemoryBroker, text: &'static str) {
    let message = Outgoing { topic: "orders".to_owned(), data: Bytes::from_static(text.as_bytes()), metadata: None };
    broker.publish(message).await.unwrap();
}

async fn has(sink: &Recorder, texts: &[&str]) {
    eventually(&format!("{texts:?}, got {:?}", sink.texts()), || async { sink.texts() == texts }).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_share_of_a_memory_broker_does_what_every_broker_must_do() {
    conformance::all(Arc::new(share(&SharedBrokers::default(), Path::new(""), "app"))).await;
}

#[tokio::test]
async fn sidecars_share_a_memory_broker_of_the_same_file_each_as_a_group_of_its_own() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("pubsub.yaml");
    std::fs::write(&file, "").unwrap();
    let link = folder.path().join("link.yaml");
    std::os::unix::fs::symlink(&file, &link).unwrap();
    let hub = SharedBrokers::default();
    let (shop, kitchen, bar) = (share(&hub, &file, "shop"), share(&hub, &link, "kitchen"), share(&hub, &file, "bar"));
    let elsewhere = share(&hub, &folder.path().join("other.yaml"), "kitchen");

    let (for_kitchen, for_bar, for_nobody) = (Recorder::acking(), Recorder::acking(), Recorder::acking());
    let in_kitchen = subscribe(&kitchen, "orders", for_kitchen.clone()).await;
    let in_bar = subscribe(&bar, "orders", for_bar.clone()).await;
    let _elsewhere = subscribe(&elsewhere, "orders", for_nobody.clone()).await;
    publish(&shop, "1").await;
    has(&for_kitchen, &["1"]).await;
    has(&for_bar, &["1"]).await;

    // Events left over by the kitchen are not delivered to the bar.
    in_kitchen.end().await;
    publish(&shop, "2").await;
    has(&for_bar, &["1", "2"]).await;
    in_bar.end().await;
    let again = Recorder::acking();
    let _in_bar = subscribe(&bar, "orders", again.clone()).await;
    publish(&shop, "3").await;
    has(&again, &["3"]).await;

    // A subscription that ends does not end those of other apps; its events are not theirs.
    kitchen.close().await;
    assert!(
        kitchen.publish(Outgoing { topic: "orders".to_owned(), data: Bytes::new(), metadata: None }).await.is_err()
    );
    publish(&shop, "4").await;
    has(&again, &["3", "4"]).await;
    assert_eq!(for_kitchen.texts(), ["1"]);
    assert_eq!(for_nobody.count(), 0);
}

#[tokio::test]
async fn who_subscribes_late_to_a_shared_memory_broker_misses_nothing() {
    let hub = SharedBrokers::default();
    let shop = share(&hub, Path::new(""), "shop");
    publish(&shop, "1").await;
    publish(&shop, "2").await;
    let kitchen = share(&hub, Path::new(""), "kitchen");
    let late = Recorder::acking();
    let in_kitchen = subscribe(&kitchen, "orders", late.clone()).await;
    publish(&shop, "3").await;
    has(&late, &["1", "2", "3"]).await;
    // The same subscription, begun again, continues where it stopped.
    in_kitchen.end().await;
    publish(&shop, "4").await;
    let _in_kitchen = subscribe(&kitchen, "orders", late.clone()).await;
    has(&late, &["1", "2", "3", "4"]).await;
}

#[tokio::test]
async fn memory_hands_over_once_where_nothing_is_acknowledged() {
    /// How many deliveries a message gets whose first one fails.
    async fn check(component: Ack, subscription: &[(&str, &str)], expected: usize) {
        let broker = MemoryBroker::new("pubsub", quiet()).acknowledging(component);
        let sink = Recorder::answering(|message| {
            if message.data == "first" && message.attempt == 1 { Settlement::Retry } else { Settlement::Ack }
        });
        let subscribed = subscribe_with(&broker, "t", subscription, sink.clone()).await;
        for data in ["first", "last"] {
            let message = Outgoing { topic: "t".to_owned(), data: Bytes::from_static(data.as_bytes()), metadata: None };
            broker.publish(message).await.unwrap();
        }
        eventually("the last one has come", || async { sink.count() >= expected }).await;
        subscribed.end().await;
        assert_eq!(sink.count(), expected, "{component:?} {subscription:?}");
        let once = expected == 2;
        assert!(sink.seen().iter().all(|message| message.only_once == once));
    }
    check(Ack::Explicit, &[], 3).await;
    check(Ack::None, &[], 2).await;
    check(Ack::Explicit, &[("ack", "none")], 2).await;
    check(Ack::None, &[("ack", "explicit")], 3).await;
    let error = request(&MemoryBroker::new("pubsub", quiet()), "t", &[("ack", "all")]).unwrap_err();
    assert_eq!(error.kind, BrokerErrorKind::Misconfigured);
}

/// The component `pubsub` in this file, of a sidecar with a process of its own.
fn component(hub: &SharedBrokers, file: &str) -> MemoryBroker {
    hub.join("pubsub", Path::new(file), "app", quiet())
}

#[tokio::test]
async fn what_a_memory_broker_held_comes_back_with_its_component() {
    let hub = SharedBrokers::of_one_sidecar();
    let first = component(&hub, "a.yaml");
    let gate = Arc::new(Semaphore::new(1));
    let failing = Recorder::behind(&gate, |_| Settlement::Retry);
    let subscribed = subscribe(&first, "orders", failing.clone()).await;
    for text in ["in redelivery", "with the app", "waiting"] {
        publish(&first, text).await;
    }
    // The first event has failed; the app has the second one in hand.
    eventually("two were handed over", || async { failing.count() == 2 }).await;
    let ending = tokio::spawn(subscribed.end());
    // The test has one thread: yield so that the worker sees the stop.
    for _ in 0..20 {
        tokio::task::yield_now().await;
    }
    first.close().await;
    drop(first);

    let second = component(&hub, "b.yaml");
    let sink = Recorder::acking();
    let _subscribed = subscribe(&second, "orders", sink.clone()).await;
    has_all(&sink, &["in redelivery", "waiting"]).await;
    // The app answers now with RETRY: the event is redelivered through the component that was loaded again.
    gate.add_permits(1);
    ending.await.unwrap();
    has_all(&sink, &["in redelivery", "waiting", "with the app"]).await;
    publish(&second, "new").await;
    has_all(&sink, &["in redelivery", "waiting", "with the app", "new"]).await;
    assert_eq!(sink.count(), 4);
}

async fn has_all(sink: &Recorder, texts: &[&str]) {
    let expected: BTreeSet<_> = texts.iter().map(|&text| text.to_owned()).collect();
    eventually(&format!("{texts:?}"), || async { sink.texts().into_iter().collect::<BTreeSet<_>>() == expected }).await;
}

#[tokio::test]
async fn a_subscription_in_memory_that_is_dropped_loses_nothing() {
    let broker = MemoryBroker::new("pubsub", quiet());
    let never = Recorder::behind(&Arc::new(Semaphore::new(0)), |_| Settlement::Ack);
    let life = broker.subscribe(request(&broker, "orders", &[]).unwrap(), never.clone(), Stop::new()).await.unwrap();
    let life = tokio::spawn(life);
    publish(&broker, "with the app").await;
    publish(&broker, "waiting").await;
    eventually("one was handed over", || async { never.count() == 1 }).await;
    life.abort();
    life.await.unwrap_err();
    let sink = Recorder::acking();
    let _subscribed = subscribe(&broker, "orders", sink.clone()).await;
    has_all(&sink, &["with the app", "waiting"]).await;
    assert_eq!(sink.count(), 2);
}

#[tokio::test(start_paused = true)]
async fn time_does_not_count_while_a_memory_component_is_away_and_counts_when_it_is_there() {
    const LONG: Duration = Duration::from_secs(3600);
    let hub = SharedBrokers::of_one_sidecar();
    let lines = Lines::default();
    let join = || hub.join("pubsub", Path::new(""), "app", lines.telemetry());
    let first = join();
    let refusing = Recorder::answering(|_| Settlement::Retry);
    for topic in ["orders", "other"] {
        let subscribed = subscribe(&first, topic, refusing.clone()).await;
        subscribed.end().await;
    }
    publish(&first, "1").await;
    first.close().await;
    tokio::time::advance(LONG).await;
    let second = join();
    // Another subscription begins first: it must not drop the events that are kept for this one.
    let other = subscribe(&second, "other", Recorder::acking()).await;
    let sink = Recorder::acking();
    let subscribed = subscribe(&second, "orders", sink.clone()).await;
    has(&sink, &["1"]).await;
    subscribed.end().await;
    publish(&second, "2").await;
    tokio::time::advance(LONG).await;
    publish(&second, "3").await;
    assert_eq!(
        lines.with("1 events in memory are dropped: their subscription ended more than 300s ago"),
        1,
        "{}",
        lines.text()
    );
    other.end().await;
}

#[tokio::test]
async fn a_queue_in_memory_that_nobody_empties_says_when_it_is_full() {
    let lines = Lines::default();
    let broker = MemoryBroker::new("pubsub", lines.telemetry());
    subscribe(&broker, "orders", Recorder::acking()).await.end().await;
    for _ in 0..1_002 {
        publish(&broker, "x").await;
    }
    let said = "1000 events wait in memory for a subscription that has ended";
    assert_eq!(lines.with(said), 1, "{}", lines.text());
}

#[tokio::test]
async fn a_shared_memory_broker_is_the_same_after_its_file_was_moved_or_its_links_were_swapped() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let hub = SharedBrokers::default();
    std::fs::write(at("one.yaml"), "").unwrap();
    std::os::unix::fs::symlink(at("one.yaml"), at("pubsub.yaml")).unwrap();
    let first = share(&hub, &at("pubsub.yaml"), "app");
    let sink = Recorder::acking();
    let _subscribed = subscribe(&first, "orders", sink.clone()).await;
    std::fs::write(at("two.yaml"), "").unwrap();
    std::fs::remove_file(at("pubsub.yaml")).unwrap();
    std::os::unix::fs::symlink(at("two.yaml"), at("pubsub.yaml")).unwrap();
    publish(&share(&hub, &at("pubsub.yaml"), "app"), "swapped").await;
    std::fs::rename(at("pubsub.yaml"), at("moved.yaml")).unwrap();
    publish(&share(&hub, &at("moved.yaml"), "app"), "moved").await;
    has(&sink, &["swapped", "moved"]).await;
}
