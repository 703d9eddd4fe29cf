//! Every broker runs the conformance suite.

use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use sidestream::broker::ack::Ack;
use sidestream::broker::memory::MemoryBroker;
use sidestream::broker::memory::hub::Hub;
use sidestream::broker::{Broker, BrokerErrorKind};
use sidestream::message::{Outgoing, Settlement};
use sidestream::shutdown::Stop;

use crate::support::redis::RedisServer;
use crate::support::redis_cluster::RedisCluster;
use crate::support::redis_sentinel::RedisSentinel;
use crate::support::sink::Recorder;
use crate::support::subscribed::{request, subscribe, subscribe_with};
use crate::support::{conformance, eventually, quiet};

#[tokio::test(flavor = "multi_thread")]
async fn memory_does_what_every_broker_must_do() {
    conformance::all(Arc::new(MemoryBroker::new(quiet()))).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn redis_does_what_every_broker_must_do() {
    let redis = RedisServer::start().await;
    conformance::all(redis.broker("group", &[])).await;
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

/// A sidecar's share of the broker of `pubsub` in `file`.
fn share(hub: &Hub, file: &Path, app_id: &str) -> MemoryBroker {
    hub.join("pubsub", file, app_id, quiet())
}

async fn publish(broker: &MemoryBroker, text: &'static str) {
    let message = Outgoing {
        topic: "orders".to_owned(),
        data: Bytes::from_static(text.as_bytes()),
        metadata: None,
    };
    broker.publish(message).await.unwrap();
}

async fn has(sink: &Recorder, texts: &[&str]) {
    eventually(&format!("{texts:?}, got {:?}", sink.texts()), || async {
        sink.texts() == texts
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_share_of_a_memory_broker_does_what_every_broker_must_do() {
    conformance::all(Arc::new(share(&Hub::default(), Path::new(""), "app"))).await;
}

#[tokio::test]
async fn sidecars_share_a_memory_broker_of_the_same_file_each_as_a_group_of_its_own() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("pubsub.yaml");
    std::fs::write(&file, "").unwrap();
    let link = folder.path().join("link.yaml");
    std::os::unix::fs::symlink(&file, &link).unwrap();
    let hub = Hub::default();
    let (shop, kitchen, bar) = (
        share(&hub, &file, "shop"),
        share(&hub, &link, "kitchen"),
        share(&hub, &file, "bar"),
    );
    let elsewhere = share(&hub, &folder.path().join("other.yaml"), "kitchen");

    let (for_kitchen, for_bar, for_nobody) =
        (Recorder::acking(), Recorder::acking(), Recorder::acking());
    let in_kitchen = subscribe(&kitchen, "orders", for_kitchen.clone()).await;
    let in_bar = subscribe(&bar, "orders", for_bar.clone()).await;
    let _elsewhere = subscribe(&elsewhere, "orders", for_nobody.clone()).await;
    publish(&shop, "1").await;
    has(&for_kitchen, &["1"]).await;
    has(&for_bar, &["1"]).await;

    // What the kitchen has left behind is not for the bar.
    in_kitchen.end().await;
    publish(&shop, "2").await;
    has(&for_bar, &["1", "2"]).await;
    in_bar.end().await;
    let again = Recorder::acking();
    let _in_bar = subscribe(&bar, "orders", again.clone()).await;
    publish(&shop, "3").await;
    has(&again, &["3"]).await;

    // One that ends does not end it for the others, and what it did not take is nobody's.
    kitchen.close().await;
    assert!(
        kitchen
            .publish(Outgoing {
                topic: "orders".to_owned(),
                data: Bytes::new(),
                metadata: None
            })
            .await
            .is_err()
    );
    publish(&shop, "4").await;
    has(&again, &["3", "4"]).await;
    assert_eq!(for_kitchen.texts(), ["1"]);
    assert_eq!(for_nobody.count(), 0);
}

#[tokio::test]
async fn who_subscribes_late_to_a_shared_memory_broker_misses_nothing() {
    let hub = Hub::default();
    let shop = share(&hub, Path::new(""), "shop");
    publish(&shop, "1").await;
    publish(&shop, "2").await;
    let kitchen = share(&hub, Path::new(""), "kitchen");
    let late = Recorder::acking();
    let in_kitchen = subscribe(&kitchen, "orders", late.clone()).await;
    publish(&shop, "3").await;
    has(&late, &["1", "2", "3"]).await;
    // The same subscription again goes on where it was.
    in_kitchen.end().await;
    publish(&shop, "4").await;
    let _in_kitchen = subscribe(&kitchen, "orders", late.clone()).await;
    has(&late, &["1", "2", "3", "4"]).await;
}

#[tokio::test]
async fn memory_hands_over_once_where_nothing_is_acknowledged() {
    /// How often a message is handed over that fails the first time.
    async fn check(component: Ack, subscription: &[(&str, &str)], expected: usize) {
        let broker = MemoryBroker::new(quiet()).acknowledging(component);
        let sink = Recorder::answering(|message| {
            if message.data == "first" && message.attempt == 1 {
                Settlement::Retry
            } else {
                Settlement::Ack
            }
        });
        let subscribed = subscribe_with(&broker, "t", subscription, sink.clone()).await;
        for data in ["first", "last"] {
            let message = Outgoing {
                topic: "t".to_owned(),
                data: Bytes::from_static(data.as_bytes()),
                metadata: None,
            };
            broker.publish(message).await.unwrap();
        }
        eventually("the last one has come", || async {
            sink.count() >= expected
        })
        .await;
        subscribed.end().await;
        assert_eq!(sink.count(), expected, "{component:?} {subscription:?}");
        let once = expected == 2;
        assert!(sink.seen().iter().all(|message| message.only_once == once));
    }
    check(Ack::Explicit, &[], 3).await;
    check(Ack::None, &[], 2).await;
    check(Ack::Explicit, &[("ack", "none")], 2).await;
    check(Ack::None, &[("ack", "explicit")], 3).await;
    let refused = MemoryBroker::new(quiet())
        .subscribe(
            request("t", &[("ack", "all")]),
            Recorder::acking(),
            Stop::new(),
        )
        .await;
    let Err(error) = refused else {
        panic!("subscribed");
    };
    assert_eq!(error.kind, BrokerErrorKind::Misconfigured);
}
