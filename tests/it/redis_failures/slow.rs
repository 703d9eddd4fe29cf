//! Every reply of Redis takes 200 ms.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use sidestream::broker::Broker;
use sidestream::message::{Incoming, Settlement};
use tokio::time::Instant;

use super::{GROUP, distinct, message, publish};
use crate::support::proxy::{Proxy, Way};
use crate::support::redis::{RedisServer, broker_on};
use crate::support::sink::Recorder;
use crate::support::subscribed::subscribe;
use crate::support::{Lines, eventually};

const LATER: Duration = Duration::from_millis(200);

/// A sink that takes eight seconds for the first message, longer than a heartbeat lasts.
fn mostly_quick() -> Arc<Recorder> {
    Recorder::waiting(|message: Incoming| {
        Box::pin(async move {
            if &message.data[..] == b"0" {
                tokio::time::sleep(Duration::from_secs(8)).await;
            }
            Settlement::Ack
        })
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_redis_is_not_asked_one_thing_at_a_time() {
    let redis = RedisServer::start().await;
    let proxy = Proxy::start(redis.port).await;
    proxy.set(Way::Slow(LATER));
    let lines = Lines::default();
    let one = broker_on(proxy.port, GROUP, &[], lines.telemetry());
    let two = broker_on(proxy.port, GROUP, &[], lines.telemetry());
    let (sink, other) = (mostly_quick(), mostly_quick());
    let first = subscribe(&*one, "orders", sink.clone()).await;
    let second = subscribe(&*two, "orders", other.clone()).await;
    let begun = Instant::now();
    let published = join_all((0..300).map(|number| publish(&one, number))).await;
    assert!(published.iter().all(Result::is_ok));
    let took = begun.elapsed();
    assert!(took < Duration::from_secs(30), "one at a time is 60 s: {took:?}");
    eventually("all", || async { sink.count() + other.count() == 300 }).await;
    let took = begun.elapsed();
    assert!(took < Duration::from_secs(40), "one at a time is 60 s: {took:?}");
    redis.settled("orders", GROUP).await;
    assert_eq!(
        (sink.count() + other.count(), distinct(&sink) + distinct(&other)),
        (300, 300),
        "nothing twice, and nobody is taken for dead"
    );
    assert_eq!(lines.text(), "", "there is nothing to say");
    first.end().await;
    second.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn redeliveries_of_many_topics_share_their_round_trips() {
    const TOPICS: usize = 150;
    let redis = RedisServer::start().await;
    let proxy = Proxy::start(redis.port).await;
    let lines = Lines::default();
    let broker = broker_on(proxy.port, GROUP, &[], lines.telemetry());
    let sink = Recorder::answering(|message| match message.attempt {
        1 => Settlement::Retry,
        _ => Settlement::Ack,
    });
    let mut subscribed = Vec::new();
    for number in 0..TOPICS {
        subscribed.push(subscribe(&*broker, &format!("topic-{number}"), sink.clone()).await);
    }
    proxy.set(Way::Slow(LATER));
    for outcome in join_all((0..TOPICS).map(|number| broker.publish(message(&format!("topic-{number}"), number)))).await
    {
        outcome.unwrap();
    }
    eventually("each once", || async { distinct(&sink) == TOPICS }).await;
    let begun = Instant::now();
    eventually("each twice", || async { sink.count() == 2 * TOPICS }).await;
    let took = begun.elapsed();
    assert!(took < Duration::from_secs(20), "one at a time is 30 s: {took:?}");
    proxy.set(Way::Open);
    join_all(subscribed.into_iter().map(|one| one.end())).await;
    assert_eq!(lines.text(), "", "there is nothing to say");
}
