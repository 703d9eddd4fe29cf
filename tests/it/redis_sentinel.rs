//! Redis Sentinel: the master fails over to a replica; every accepted event arrives, without a restart.

use std::collections::BTreeSet;
use std::time::Duration;

use bytes::Bytes;
use nix::sys::signal::Signal;
use sidestream::broker::redis::RedisBroker;
use sidestream::broker::{Broker, BrokerErrorKind};
use sidestream::message::{Outgoing, Settlement};

use crate::support::eventually;
use crate::support::redis_sentinel::RedisSentinel;
use crate::support::sink::Recorder;
use crate::support::subscribed::subscribe;
use crate::support::tls::self_signed;

async fn publish(broker: &RedisBroker, number: u32) -> bool {
    let message = Outgoing { topic: "orders".to_owned(), data: Bytes::from(number.to_string()), metadata: None };
    broker.publish(message).await.is_ok()
}

fn distinct(sink: &Recorder) -> BTreeSet<String> {
    sink.texts().into_iter().collect()
}

/// Waits until the replica has everything that the master has.
async fn replicated(redis: &RedisSentinel) {
    eventually("the replica has everything", || async {
        let [master, replica] = &redis.servers;
        let (ours, theirs): (i64, i64) =
            (master.call(&["XLEN", "orders"]).await, replica.call(&["XLEN", "orders"]).await);
        ours == theirs
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn publishing_and_delivery_follow_the_master() {
    let mut redis = RedisSentinel::start().await;
    let broker = redis.broker("app", &[]);
    let sink = Recorder::waiting(|_| {
        Box::pin(async {
            tokio::time::sleep(Duration::from_millis(10)).await;
            Settlement::Ack
        })
    });
    let subscribed = subscribe(&*broker, "orders", sink.clone()).await;
    for number in 0..300 {
        assert!(publish(&broker, number).await);
    }
    replicated(&redis).await;
    // In the middle of delivery, which takes 300 ms for 300 events.
    redis.servers[0].crash();
    let mut accepted: BTreeSet<_> = (0..300).map(|number: u32| number.to_string()).collect();
    let mut refused = 0;
    for number in 300..600 {
        if publish(&broker, number).await {
            accepted.insert(number.to_string());
        } else {
            refused += 1;
        }
    }
    eventually("the replica is the master", || redis.is_master(1)).await;
    eventually("publishing works again", || publish(&broker, 600)).await;
    eventually("all that was accepted arrives", || async { accepted.is_subset(&distinct(&sink)) }).await;
    redis.servers[1].settled("orders", "app").await;
    assert!(refused < 30, "a publish waits for the new master: {refused}");
    subscribed.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_master_that_hangs_is_left_and_a_demoted_one_too() {
    let redis = RedisSentinel::start().await;
    let broker = redis.broker("app", &[("readTimeout", "1s"), ("dialTimeout", "2s")]);
    let sink = Recorder::acking();
    let subscribed = subscribe(&*broker, "orders", sink.clone()).await;
    assert!(publish(&broker, 0).await);
    eventually("the first one", || async { sink.count() == 1 }).await;
    replicated(&redis).await;
    redis.servers[0].signal(Signal::SIGSTOP);
    eventually("the replica is the master", || redis.is_master(1)).await;
    eventually("publishing works again", || publish(&broker, 1)).await;
    eventually("and delivery", || async { distinct(&sink).contains("1") }).await;
    // The old master comes back, becomes a replica, and receives no writes of ours.
    redis.servers[0].signal(Signal::SIGCONT);
    eventually("the old one is a replica", || async {
        let said = redis.servers[0].try_call::<String>(&["INFO", "replication"]);
        said.await.is_ok_and(|said| said.contains("role:slave"))
    })
    .await;
    assert!(publish(&broker, 2).await);
    eventually("the last one", || async { distinct(&sink).contains("2") }).await;
    subscribed.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn tls_holds_for_sentinels_and_for_every_master_that_they_name() {
    let folder = tempfile::tempdir().unwrap();
    let (certificate, key) = self_signed(folder.path());
    let mut redis = RedisSentinel::start_tls(&certificate, &key).await;
    let tls = [("enableTLS", "true"), ("insecureSkipTLSVerify", "true")];
    let broker = redis.broker("app", &tls);
    broker.connect().await.unwrap();
    let sink = Recorder::acking();
    let subscribed = subscribe(&*broker, "orders", sink.clone()).await;
    assert!(publish(&broker, 0).await);
    eventually("the first one", || async { sink.count() == 1 }).await;
    let unverified = redis.broker("app", &[("enableTLS", "true")]);
    unverified.connect().await.unwrap_err();
    replicated(&redis).await;
    redis.servers[0].crash();
    eventually("the replica is the master", || redis.is_master(1)).await;
    eventually("publishing works again", || publish(&broker, 1)).await;
    eventually("and delivery", || async { distinct(&sink).contains("1") }).await;
    let plain = redis.broker("app", &[("dialTimeout", "1s")]);
    plain.connect().await.unwrap_err();
    subscribed.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_names_and_passwords_are_told_from_servers_that_are_away() {
    let redis = RedisSentinel::start().await;
    let host = redis.host();
    let mistakes: [(&[(&str, &str)], _, _); 4] = [
        (
            &[("redisHost", &host), ("sentinelMasterName", "orders-mastre")],
            BrokerErrorKind::Misconfigured,
            "the sentinels know no master of the name",
        ),
        (&[("redisHost", &host), ("sentinelPassword", "wrong")], BrokerErrorKind::Misconfigured, "WRONGPASS"),
        (
            &[("redisHost", &host), ("redisPassword", "x"), ("redisUsername", "nobody")],
            BrokerErrorKind::Misconfigured,
            "WRONGPASS",
        ),
        (&[("redisHost", "127.0.0.1:1,127.0.0.1:2")], BrokerErrorKind::Unavailable, "connection refused"),
    ];
    for (settings, kind, text) in mistakes {
        let error = redis.broker("app", settings).connect().await.unwrap_err();
        assert_eq!(error.kind, kind, "{error}");
        assert!(error.to_string().contains(text), "{settings:?}: {error}");
    }
    redis.broker("app", &[]).connect().await.unwrap();
}
