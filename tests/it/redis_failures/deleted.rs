//! Another client deletes the stream, the group or the consumer while entries are in flight.

use std::sync::Arc;

use deadpool_redis::redis::Value;
use sidestream::message::{Incoming, Settlement};
use tokio::sync::Semaphore;

use super::{GROUP, distinct, publish};
use crate::support::redis::{A_WHILE, RedisServer, broker_on};
use crate::support::sink::Recorder;
use crate::support::subscribed::subscribe;
use crate::support::{Lines, eventually};

/// Deletes every consumer of the group, as a clean-up script would.
async fn delete_consumers(redis: &RedisServer) {
    let consumers: Vec<Value> = redis.call(&["XINFO", "CONSUMERS", "orders", GROUP]).await;
    assert_eq!(consumers.len(), 1);
    let Value::Array(fields) = &consumers[0] else {
        panic!("no list: {consumers:?}");
    };
    let Value::BulkString(name) = &fields[1] else {
        panic!("no name: {fields:?}");
    };
    let name = std::str::from_utf8(name).unwrap();
    let _: i64 = redis.call(&["XGROUP", "DELCONSUMER", "orders", GROUP, name]).await;
}

#[derive(Clone, Copy, Debug)]
enum Deleted {
    Stream,
    Group,
    Consumer,
}

async fn delete(redis: &RedisServer, what: Deleted) {
    let words: &[&str] = match what {
        Deleted::Stream => &["DEL", "orders"],
        Deleted::Group => &["XGROUP", "DESTROY", "orders", GROUP],
        Deleted::Consumer => return delete_consumers(redis).await,
    };
    let _: i64 = redis.call(words).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_of_the_app_settle_whatever_was_deleted_meanwhile() {
    for what in [Deleted::Stream, Deleted::Group, Deleted::Consumer] {
        let redis = RedisServer::start().await;
        let lines = Lines::default();
        let broker = broker_on(redis.port, GROUP, &[], lines.telemetry());
        let gate = Arc::new(Semaphore::new(0));
        // Half of them answer RETRY.
        let sink = Recorder::behind(&gate, |message| match message.attempt {
            1 if message.data.len() == 1 => Settlement::Retry,
            _ => Settlement::Ack,
        });
        let subscribed = subscribe(&*broker, "orders", sink.clone()).await;
        for number in 6..14 {
            publish(&broker, number).await.unwrap();
        }
        eventually("in hand", || async { sink.count() == 8 }).await;
        delete(&redis, what).await;
        publish(&broker, 100).await.unwrap();
        eventually("what came after", || async { sink.texts().contains(&"100".to_owned()) }).await;
        gate.add_permits(100);
        if !matches!(what, Deleted::Stream) {
            eventually("those that asked for it, again", || async {
                let seen = sink.seen();
                (6..10).all(|number: u32| {
                    let again = |message: &&Incoming| message.data == number.to_string();
                    seen.iter().filter(again).count() >= 2
                })
            })
            .await;
        }
        redis.settled("orders", GROUP).await;
        assert_eq!(distinct(&sink), 9);
        let most = match what {
            // One line about the group, and one about the lost entries when their redelivery is due.
            Deleted::Stream => 5,
            Deleted::Group => 2,
            Deleted::Consumer => 0,
        };
        assert!(lines.text().lines().count() <= most, "{what:?}:\n{}", lines.text());
        subscribed.end().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_entry_that_waits_for_its_redelivery_survives_the_end_of_its_consumer() {
    let redis = RedisServer::start().await;
    let lines = Lines::default();
    let broker = broker_on(redis.port, GROUP, &[], lines.telemetry());
    let sink = Recorder::answering(|message| match message.attempt {
        1 => Settlement::Retry,
        _ => Settlement::Ack,
    });
    let subscribed = subscribe(&*broker, "orders", sink.clone()).await;
    for number in 0..20 {
        publish(&broker, number).await.unwrap();
    }
    eventually("each once", || async { distinct(&sink) == 20 }).await;
    delete_consumers(&redis).await;
    eventually("each twice", || async { sink.count() == 40 }).await;
    redis.settled("orders", GROUP).await;
    tokio::time::sleep(A_WHILE).await;
    assert_eq!(sink.count(), 40);
    assert_eq!(lines.text(), "", "nothing is gone");
    subscribed.end().await;
}
