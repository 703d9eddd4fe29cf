//! Ways to a Redis server: TLS, and a user with few rights.

use bytes::Bytes;
use sidestream::broker::{Broker, BrokerErrorKind};
use sidestream::message::Outgoing;

use crate::support::eventually;
use crate::support::redis::RedisServer;
use crate::support::sink::Recorder;
use crate::support::subscribed::subscribe;
use crate::support::tls::self_signed;

/// An event goes through this broker, there and back.
async fn works(broker: &dyn Broker) {
    broker.connect().await.unwrap();
    let sink = Recorder::acking();
    let subscribed = subscribe(broker, "orders", sink.clone()).await;
    let message = Outgoing {
        topic: "orders".to_owned(),
        data: Bytes::from_static(b"x"),
        metadata: None,
    };
    broker.publish(message).await.unwrap();
    eventually("the event", || async { sink.count() == 1 }).await;
    subscribed.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn tls_works_and_an_unknown_certificate_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let (certificate, key) = self_signed(folder.path());
    let redis = RedisServer::start_with_tls(&certificate, &key).await;
    works(&*redis.tls_broker(&[("enableTLS", "true"), ("insecureSkipTLSVerify", "true")])).await;
    let error = redis
        .tls_broker(&[("enableTLS", "true")])
        .connect()
        .await
        .unwrap_err();
    assert!(
        error
            .to_string()
            .starts_with("redis streams: error connecting to redis at "),
        "{error}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_user_with_few_rights_is_enough() {
    let redis = RedisServer::start().await;
    let rights = [
        "on",
        ">secret",
        "~*",
        "-@all",
        "+xadd",
        "+xgroup",
        "+xreadgroup",
        "+xack",
        "+xpending",
        "+xclaim",
        "+ping",
        "+select",
    ];
    let _: String = redis
        .call(&[&["ACL", "SETUSER", "few"][..], &rights[..]].concat())
        .await;
    works(&*redis.broker(
        "app",
        &[("redisUsername", "few"), ("redisPassword", "secret")],
    ))
    .await;
    let error = redis
        .broker(
            "app",
            &[("redisUsername", "few"), ("redisPassword", "wrong")],
        )
        .connect()
        .await
        .unwrap_err();
    assert_eq!(error.kind, BrokerErrorKind::Misconfigured);
    assert!(
        error
            .to_string()
            .ends_with("WRONGPASS invalid username-password pair or user is disabled."),
        "{error}"
    );
}
