//! Redis Cluster: topics on several servers, moving slots, dying masters. Every accepted event arrives.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use bytes::Bytes;
use sidestream::broker::redis::RedisBroker;
use sidestream::broker::{Broker, BrokerErrorKind, SubscribeRequest};
use sidestream::message::{Outgoing, Settlement};
use sidestream::shutdown::{Stop, Tasks};
use tokio::time::Instant;

use crate::support::eventually;
use crate::support::redis::RedisServer;
use crate::support::redis_cluster::RedisCluster;
use crate::support::sidecar::{Sidecar, redis_component};
use crate::support::sink::Recorder;
use crate::support::subscribed::subscribe;
use crate::support::tls::self_signed;

async fn publish(broker: &RedisBroker, topic: &str, text: &str) -> bool {
    let message = Outgoing { topic: topic.to_owned(), data: Bytes::copy_from_slice(text.as_bytes()), metadata: None };
    broker.publish(message).await.is_ok()
}

fn distinct(sink: &Recorder) -> BTreeSet<String> {
    sink.texts().into_iter().collect()
}

/// Publishes until it is stopped, and remembers what was accepted.
struct Publisher {
    stop: Arc<AtomicBool>,
    begun: Arc<AtomicU32>,
    task: tokio::task::JoinHandle<(BTreeSet<u32>, u32)>,
}

impl Publisher {
    fn start(broker: Arc<RedisBroker>, topic: &str) -> Self {
        let (stop, begun) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU32::new(0)));
        let (topic, stopped, count) = (topic.to_owned(), stop.clone(), begun.clone());
        let task = tokio::spawn(async move {
            let (mut accepted, mut refused) = (BTreeSet::new(), 0);
            while !stopped.load(Ordering::Relaxed) {
                let number = count.fetch_add(1, Ordering::Relaxed);
                if publish(&broker, &topic, &number.to_string()).await {
                    accepted.insert(number);
                } else {
                    refused += 1;
                }
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            (accepted, refused)
        });
        Self { stop, begun, task }
    }

    fn begun(&self) -> u32 {
        self.begun.load(Ordering::Relaxed)
    }

    /// Waits until this many further publishes have begun.
    async fn goes_on(&self, more: u32) {
        let target = self.begun() + more;
        eventually("publishing goes on", || async { self.begun() >= target }).await;
    }

    /// Stops; returns the accepted numbers and the count of refused publishes.
    async fn end(self) -> (BTreeSet<u32>, u32) {
        self.stop.store(true, Ordering::Relaxed);
        self.task.await.unwrap()
    }
}

/// Waits until all numbers have arrived and nothing is pending.
async fn arrived(cluster: &RedisCluster, topic: &str, sink: &Recorder, numbers: &BTreeSet<u32>) {
    let expected: BTreeSet<_> = numbers.iter().map(u32::to_string).collect();
    eventually("all that was accepted arrives", || async { expected.is_subset(&distinct(sink)) }).await;
    cluster.of(topic).await.settled(topic, "app").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hundred_topics_on_three_servers_need_three_connections_each() {
    let cluster = RedisCluster::start().await;
    let broker = cluster.broker("app", &[]);
    broker.connect().await.unwrap();
    let (sink, stop, tasks) = (Recorder::acking(), Stop::new(), Tasks::new());
    for number in 0..100 {
        let request = SubscribeRequest { topic: format!("topic-{number}"), ..SubscribeRequest::default() };
        tasks.spawn("subscription", broker.subscribe(request, sink.clone(), stop.clone()).await.unwrap());
    }
    for number in 0..100 {
        assert!(publish(&broker, &format!("topic-{number}"), &number.to_string()).await);
    }
    eventually("one of each topic", || async { sink.count() == 100 }).await;
    for at in 0..3 {
        // Three connections of ours and the one that asks, once earlier ones are closed.
        eventually("three connections", || async {
            let clients: String = cluster.server(at).call(&["CLIENT", "LIST"]).await;
            let is_ours = |line: &&str| line.contains("flags=N") || line.contains("flags=t");
            (3..=4).contains(&clients.lines().filter(is_ours).count())
        })
        .await;
    }
    // An event of an idle topic is read at once.
    let mut took = Vec::new();
    for number in 0..50 {
        let begun = Instant::now();
        let before = sink.count();
        assert!(publish(&broker, &format!("topic-{number}"), "again").await);
        eventually("the event", || async { sink.count() > before }).await;
        took.push(begun.elapsed());
    }
    took.sort();
    assert!(took[25] < Duration::from_millis(500), "{took:?}");
    stop.trigger();
    tasks.ended().await;
    broker.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn events_follow_a_slot_that_moves() {
    let cluster = RedisCluster::start().await;
    let topic = cluster.topic_at(0).await;
    let broker = cluster.broker("app", &[]);
    let sink = Recorder::acking();
    let subscribed = subscribe(&*broker, &topic, sink.clone()).await;
    let publisher = Publisher::start(cluster.broker("app", &[]), &topic);
    publisher.goes_on(100).await;
    let (from, to) = (cluster.server(0), cluster.server(1));
    let slot: u32 = from.call(&["CLUSTER", "KEYSLOT", &topic]).await;
    let (slot, port) = (slot.to_string(), to.port.to_string());
    let (here, there) = (cluster.id(0).await, cluster.id(1).await);
    let _: String = to.call(&["CLUSTER", "SETSLOT", &slot, "IMPORTING", &here]).await;
    let _: String = from.call(&["CLUSTER", "SETSLOT", &slot, "MIGRATING", &there]).await;
    publisher.goes_on(100).await;
    let _: String = from.call(&["MIGRATE", "127.0.0.1", &port, &topic, "0", "5000"]).await;
    // From here the old server answers ASK.
    publisher.goes_on(100).await;
    let during = sink.count();
    eventually("delivery goes on meanwhile", || async { sink.count() > during }).await;
    for server in [to, from] {
        let _: String = server.call(&["CLUSTER", "SETSLOT", &slot, "NODE", &there]).await;
    }
    // From here it answers MOVED.
    publisher.goes_on(100).await;
    let (accepted, refused) = publisher.end().await;
    assert_eq!(refused, 0);
    assert_eq!(cluster.settled_holder(&topic).await, 1);
    arrived(&cluster, &topic, &sink, &accepted).await;
    assert_eq!(sink.count(), accepted.len(), "a slot that moves doubles nothing");
    subscribed.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replica_takes_the_place_of_a_master_that_dies() {
    let mut cluster = RedisCluster::start().await;
    let (dying, other) = (cluster.topic_at(0).await, cluster.topic_at(1).await);
    let broker = cluster.broker("app", &[]);
    let slow = || {
        Recorder::waiting(|_| {
            Box::pin(async {
                tokio::time::sleep(Duration::from_millis(5)).await;
                Settlement::Ack
            })
        })
    };
    let (sink, unharmed) = (slow(), slow());
    let subscribed = subscribe(&*broker, &dying, sink.clone()).await;
    let beside = subscribe(&*broker, &other, unharmed.clone()).await;
    let publisher = Publisher::start(cluster.broker("app", &[]), &dying);
    let steady = Publisher::start(cluster.broker("app", &[]), &other);
    publisher.goes_on(200).await;
    cluster.kill(0);
    // Only the former replica can accept what is published from now on.
    let after = publisher.begun();
    let delivered = unharmed.count();
    steady.goes_on(100).await;
    eventually("the other servers deliver meanwhile", || async { unharmed.count() > delivered }).await;
    cluster.settled_holder(&dying).await;
    publisher.goes_on(200).await;
    let (accepted, _) = publisher.end().await;
    let (steadily, refused) = steady.end().await;
    assert_eq!(refused, 0, "of the topic whose master lives");
    arrived(&cluster, &other, &unharmed, &steadily).await;
    let stream: Vec<(String, Vec<String>)> = cluster.of(&dying).await.call(&["XRANGE", &dying, "-", "+"]).await;
    let kept: BTreeSet<u32> = stream.iter().map(|(_, fields)| fields[1].parse().unwrap()).collect();
    let late: BTreeSet<u32> = accepted.range(after..).copied().collect();
    assert!(!late.is_empty());
    assert!(late.is_subset(&kept), "accepted is written");
    assert_eq!(kept.len(), stream.len(), "nothing is written twice");
    arrived(&cluster, &dying, &sink, &kept).await;
    subscribed.end().await;
    beside.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn tls_holds_for_every_server_of_a_cluster_and_for_the_replica_that_takes_over() {
    let folder = tempfile::tempdir().unwrap();
    let (certificate, key) = self_signed(folder.path());
    let mut cluster = RedisCluster::start_tls(&certificate, &key).await;
    let tls = [("enableTLS", "true"), ("insecureSkipTLSVerify", "true")];
    let broker = cluster.broker("app", &tls);
    broker.connect().await.unwrap();
    let (dying, other) = (cluster.topic_at(0).await, cluster.topic_at(1).await);
    let (sink, unharmed) = (Recorder::acking(), Recorder::acking());
    let subscribed = subscribe(&*broker, &dying, sink.clone()).await;
    let beside = subscribe(&*broker, &other, unharmed.clone()).await;
    let publisher = Publisher::start(cluster.broker("app", &tls), &dying);
    let steady = Publisher::start(cluster.broker("app", &tls), &other);
    publisher.goes_on(50).await;
    cluster.kill(0);
    let after = publisher.begun();
    cluster.settled_holder(&dying).await;
    publisher.goes_on(50).await;
    let (accepted, _) = publisher.end().await;
    let (steadily, refused) = steady.end().await;
    assert_eq!(refused, 0, "of the topic whose master lives");
    // Events that the master had not yet replicated are lost with it.
    let late: BTreeSet<u32> = accepted.range(after..).copied().collect();
    assert!(!late.is_empty());
    arrived(&cluster, &dying, &sink, &late).await;
    arrived(&cluster, &other, &unharmed, &steadily).await;
    for at in 1..6 {
        // The plain port is for this test's own commands only.
        let clients: String = cluster.server(at).call(&["CLIENT", "LIST"]).await;
        let tls_port = format!("laddr=127.0.0.1:{} ", cluster.server(at).tls_port);
        let is_ours = |line: &&str| line.contains("flags=N") || line.contains("flags=t");
        let plain = clients.lines().filter(is_ours);
        let plain = plain.filter(|line| !line.contains(&tls_port)).count();
        assert_eq!(plain, 1, "the one that asks:\n{clients}");
    }
    subscribed.end().await;
    beside.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn tls_certificates_of_a_cluster_are_verified() {
    let folder = tempfile::tempdir().unwrap();
    let (certificate, key) = self_signed(folder.path());
    let cluster = RedisCluster::start_tls(&certificate, &key).await;
    let unknown = cluster.broker("app", &[("enableTLS", "true")]);
    let error = unknown.connect().await.unwrap_err();
    let text = error.to_string();
    assert!(text.starts_with("redis streams: error connecting to redis at "), "{error}");
    let component = redis_component(cluster.server(0).tls_port).replace(
        "  metadata:\n",
        "  metadata:\n  - {name: enableTLS, value: 'true'}\n  - {name: redisType, value: cluster}\n",
    );
    let trusted = certificate.display().to_string();
    let sidecar = Sidecar::start_in(&component, 0, &[], &[("SSL_CERT_FILE", &trusted)]).await;
    let published = sidecar.publish("1".to_owned()).await;
    assert_eq!(published.map(|status| status.as_u16()), Some(204));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_user_who_may_not_be_told_is_served_in_turns() {
    let cluster = RedisCluster::start().await;
    let rights = "+xadd +xgroup +xreadgroup +xack +xpending +xclaim +ping \
                  +cluster|slots +cluster|info +asking";
    for at in 0..6 {
        cluster.server(at).allow(rights).await;
    }
    let broker = cluster.broker("app", &[("redisUsername", "few"), ("redisPassword", "secret")]);
    broker.connect().await.unwrap();
    let sink = Recorder::acking();
    let mut subscribed = Vec::new();
    for at in 0..3 {
        subscribed.push(subscribe(&*broker, &cluster.topic_at(at).await, sink.clone()).await);
    }
    for at in 0..3 {
        assert!(publish(&broker, &cluster.topic_at(at).await, "x").await);
    }
    eventually("all three", || async { sink.count() == 3 }).await;
    for subscribed in subscribed {
        subscribed.end().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_single_server_that_is_taken_for_a_cluster_says_so() {
    let redis = RedisServer::start().await;
    let error = redis.broker("app", &[("redisType", "cluster")]).connect().await.unwrap_err();
    assert_eq!(error.kind, BrokerErrorKind::Misconfigured);
    assert!(error.to_string().ends_with("ERR This instance has cluster support disabled"), "{error}");
}
