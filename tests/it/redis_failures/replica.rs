//! The server becomes a replica: it refuses writes until it is promoted.

use std::sync::Arc;

use sidestream::message::Settlement;
use tokio::sync::Semaphore;

use super::{GROUP, distinct, publish};
use crate::support::redis::{A_WHILE, RedisServer, broker_on};
use crate::support::sink::Recorder;
use crate::support::subscribed::subscribe;
use crate::support::{Lines, eventually};

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_a_replica_for_a_while_loses_nothing() {
    let (redis, other) = (RedisServer::start().await, RedisServer::start().await);
    let lines = Lines::default();
    let broker = broker_on(redis.port, GROUP, &[], lines.telemetry());
    let gate = Arc::new(Semaphore::new(0));
    let sink = Recorder::behind(&gate, |_| Settlement::Ack);
    let subscribed = subscribe(&*broker, "orders", sink.clone()).await;
    for number in 0..5 {
        publish(&broker, number).await.unwrap();
    }
    eventually("in hand", || async { sink.count() == 5 }).await;
    // The other server copies everything and becomes the master; ours becomes its replica.
    follow(&other, redis.port).await;
    let _: () = other.call(&["REPLICAOF", "NO", "ONE"]).await;
    follow(&redis, other.port).await;
    let error = publish(&broker, 5).await.unwrap_err();
    assert!(error.is_transient());
    let text = error.to_string();
    assert!(
        text.starts_with("redis streams: error from publish: READONLY You can't write against a read only replica.")
            && text.ends_with("redisHost must name the master, or this one be promoted)"),
        "{text}"
    );
    // The app has handled the events: their acks must not be lost.
    gate.add_permits(1000);
    eventually("both readers and acks have met the replica", || async {
        let told = |part| lines.with(part) == 1;
        told("error reading") && told("Error acknowledging Redis messages")
    })
    .await;
    // Long enough for a second log line of each kind.
    tokio::time::sleep(3 * A_WHILE).await;
    let _: () = redis.call(&["REPLICAOF", "NO", "ONE"]).await;
    for number in 6..10 {
        publish(&broker, number).await.unwrap();
    }
    eventually("what came after", || async { distinct(&sink) == 9 }).await;
    redis.settled("orders", GROUP).await;
    tokio::time::sleep(A_WHILE).await;
    assert_eq!(sink.count(), 9, "nothing twice");
    for part in ["error reading", "reading again", "Error acknowledging Redis messages"] {
        assert_eq!(lines.with(part), 1, "{part}:\n{}", lines.text());
    }
    subscribed.end().await;
}

/// Makes a server the replica of another and waits until it has everything.
async fn follow(replica: &RedisServer, master: u16) {
    let port = master.to_string();
    let _: () = replica.call(&["REPLICAOF", "127.0.0.1", &port]).await;
    eventually("the replica has everything", || async {
        // It may close its connections when replication begins.
        let info = replica.try_call::<String>(&["INFO", "replication"]).await;
        info.is_ok_and(|info| info.contains("master_link_status:up"))
    })
    .await;
}
