//! Whole sidecars as processes while Redis, the app or the sidecar itself fails: every event answered with 2xx is
//! delivered.

use std::time::Duration;

use hyper::StatusCode;
use tokio::time::Instant;

use crate::support::app::{Answer, App};
use crate::support::eventually;
use crate::support::redis::RedisServer;
use crate::support::sidecar::{Sidecar, redis_component};

const ORDERS: &str = r#"[{"pubsubname":"pubsub","topic":"orders","route":"/orders"}]"#;

async fn publish(sidecar: &Sidecar, count: usize) {
    for number in 0..count {
        assert_eq!(sidecar.publish(number.to_string()).await, Some(StatusCode::NO_CONTENT));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn killing_a_sidecar_in_the_middle_loses_nothing() {
    let redis = RedisServer::start().await;
    let app = App::start(ORDERS, |_| Answer::success().after(Duration::from_millis(5))).await;
    // Idle entries are taken over after an hour, so a takeover within seconds is that of a dead instance.
    let component = redis_component(redis.port) + "  - {name: processingTimeout, value: 2m}\n";
    let mut dying = Sidecar::start(&component, app.port, &[]).await;
    let other = Sidecar::start(&component, app.port, &[]).await;
    publish(&other, 1500).await;
    let killed = Instant::now();
    dying.kill();
    eventually("all of 1500", || async { app.distinct_data("/orders") == 1500 }).await;
    redis.settled("orders", "app").await;
    assert!(killed.elapsed() < Duration::from_secs(30), "took {:?}", killed.elapsed());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_orderly_end_in_the_middle_repeats_nothing() {
    let redis = RedisServer::start().await;
    let app = App::start(ORDERS, |_| Answer::success().after(Duration::from_millis(10))).await;
    let mut first = Sidecar::start(&redis_component(redis.port), app.port, &[]).await;
    publish(&first, 600).await;
    assert_eq!(first.terminate().await.code(), Some(0));
    let _second = Sidecar::start(&redis_component(redis.port), app.port, &[]).await;
    eventually("all of 600", || async { app.distinct_data("/orders") == 600 }).await;
    redis.settled("orders", "app").await;
    assert_eq!(app.seen().len(), 600);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_app_that_fails_for_a_while_gets_everything_in_the_end() {
    let redis = RedisServer::start().await;
    let begun = Instant::now();
    let app = App::start(ORDERS, move |_| {
        if begun.elapsed() < Duration::from_secs(2) { Answer::status(503) } else { Answer::success() }
    })
    .await;
    let sidecar = Sidecar::start(&redis_component(redis.port), app.port, &[]).await;
    publish(&sidecar, 100).await;
    eventually("nothing is pending", || async {
        app.distinct_data("/orders") == 100 && redis.pending("orders", "app").await == 0
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redis_that_comes_late_is_waited_for() {
    let mut redis = RedisServer::start().await;
    redis.crash();
    let component = redis_component(redis.port);
    let (sidecar, ()) = tokio::join!(Sidecar::start(&component, 0, &[]), async {
        tokio::time::sleep(Duration::from_millis(700)).await;
        redis.restart().await;
    });
    assert_eq!(sidecar.publish("1".to_owned()).await, Some(StatusCode::NO_CONTENT));
}
