//! Redis is out of memory: it refuses commands that need more, and no others.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use super::{GROUP, Whole, publish, slow_sink};
use crate::support::app::Answer;
use crate::support::eventually;
use crate::support::redis::RedisServer;
use crate::support::sink::Recorder;
use crate::support::subscribed::subscribe;

async fn limit(redis: &RedisServer, most: &str) {
    let _: () = redis.call(&["CONFIG", "SET", "maxmemory", most]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_redis_refuses_publishes_with_advice_and_goes_on_delivering() {
    let redis = RedisServer::start().await;
    let works = Arc::new(AtomicBool::new(false));
    let app_works = works.clone();
    let whole = Whole::start(redis.port, &[], move |_| {
        Answer::status(if app_works.load(Ordering::Relaxed) { 200 } else { 503 })
    })
    .await;
    whole.publish_all(0..20).await;
    eventually("all were tried", || async { whole.app.distinct_data("/orders") == 20 }).await;
    limit(&redis, "1").await;
    let refused = whole.publish(20).await;
    assert_eq!(refused.status, 500);
    assert!(
        refused.body.contains("redis streams: error from publish: OOM command not allowed when used memory \\u003e 'maxmemory'. (Redis is full: raise its maxmemory"),
        "{}",
        refused.body
    );
    let before = whole.app.seen().len();
    works.store(true, Ordering::Relaxed);
    redis.settled("orders", GROUP).await;
    assert!(whole.app.seen().len() >= before + 20, "delivered while full");
    limit(&redis, "0").await;
    whole.publish_all(21..25).await;
    eventually("what came after", || async { whole.app.distinct_data("/orders") == 24 }).await;
    redis.settled("orders", GROUP).await;
    assert_eq!(whole.complaints(), Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_takes_a_living_replica_for_dead_because_redis_is_full() {
    let redis = RedisServer::start().await;
    let (one, two) = (redis.broker(GROUP, &[]), redis.broker(GROUP, &[]));
    let slow = slow_sink(Duration::from_secs(10));
    let first = subscribe(&*one, "orders", slow.clone()).await;
    for number in 0..5 {
        publish(&one, number).await.unwrap();
    }
    eventually("in hand", || async { slow.count() == 5 }).await;
    let other = Recorder::acking();
    let second = subscribe(&*two, "orders", other.clone()).await;
    limit(&redis, "1").await;
    // Longer than a heartbeat lasts.
    redis.settled("orders", GROUP).await;
    assert_eq!((slow.count(), other.count()), (5, 0));
    limit(&redis, "0").await;
    publish(&two, 5).await.unwrap();
    eventually("what came after", || async { slow.count() + other.count() == 6 }).await;
    second.end().await;
    drop(first);
}
