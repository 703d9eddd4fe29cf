//! Ways to reach a Redis server: TLS, a Unix socket, another database, a user with few rights.

use std::time::Duration;

use bytes::Bytes;
use sidestream::broker::redis::{RedisBroker, Settings};
use sidestream::broker::{Broker, BrokerErrorKind};
use sidestream::message::Outgoing;
use sidestream::shutdown::Tasks;
use tokio::time::Instant;

use crate::support::redis::{A_WHILE, RedisServer, broker_on, broker_with};
use crate::support::sidecar::{Sidecar, redis_component};
use crate::support::sink::Recorder;
use crate::support::subscribed::subscribe;
use crate::support::tls::self_signed;
use crate::support::{Lines, eventually, quiet};

async fn publish(broker: &dyn Broker, topic: &str, number: u32) {
    let message = Outgoing { topic: topic.to_owned(), data: Bytes::from(number.to_string()), metadata: None };
    broker.publish(message).await.unwrap();
}

/// Publishes an event through this broker and receives it.
async fn works(broker: &dyn Broker) {
    broker.connect().await.unwrap();
    let sink = Recorder::acking();
    let subscribed = subscribe(broker, "orders", sink.clone()).await;
    publish(broker, "orders", 1).await;
    eventually("the event", || async { sink.count() == 1 }).await;
    subscribed.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn tls_works_and_an_unknown_certificate_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let (certificate, key) = self_signed(folder.path());
    let redis = RedisServer::start_with_tls(&certificate, &key).await;
    works(&*redis.tls_broker(&[("enableTLS", "true"), ("insecureSkipTLSVerify", "true")])).await;
    let error = redis.tls_broker(&[("enableTLS", "true")]).connect().await.unwrap_err();
    assert!(error.to_string().starts_with("redis streams: error connecting to redis at "), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_that_the_system_trusts_is_verified() {
    let folder = tempfile::tempdir().unwrap();
    let (certificate, key) = self_signed(folder.path());
    let redis = RedisServer::start_with_tls(&certificate, &key).await;
    let component =
        redis_component(redis.tls_port).replace("  metadata:\n", "  metadata:\n  - {name: enableTLS, value: 'true'}\n");
    let trusted = certificate.display().to_string();
    let sidecar = Sidecar::start_in(&component, 0, &[], &[("SSL_CERT_FILE", &trusted)]).await;
    let published = sidecar.publish("1".to_owned()).await;
    assert_eq!(published.map(|status| status.as_u16()), Some(204));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_wants_a_certificate_of_its_clients_gets_one() {
    let folder = tempfile::tempdir().unwrap();
    let (certificate, key) = self_signed(folder.path());
    let redis = RedisServer::start_with_client_tls(&certificate, &key).await;
    let [certificate, key] = [certificate, key].map(|path| std::fs::read_to_string(path).unwrap());
    let tls = [("enableTLS", "true"), ("insecureSkipTLSVerify", "true")];
    let with = [("clientCert", certificate.as_str()), ("clientKey", &key)];
    works(&*redis.tls_broker(&[tls, with].concat())).await;
    redis.tls_broker(&tls).connect().await.unwrap_err();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_unix_socket_is_a_way_too() {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("redis.sock").display().to_string();
    let _redis = RedisServer::start_with(&["--unixsocket", &socket], 0).await;
    works(&*broker_with("app", &[("redisHost", &socket)])).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn entries_stand_in_the_database_of_the_settings() {
    let redis = RedisServer::start().await;
    works(&*redis.broker("app", &[("redisDB", "3")])).await;
    assert_eq!(redis.call::<i64>(&["XLEN", "orders"]).await, 0);
    let keyspace: String = redis.call(&["INFO", "keyspace"]).await;
    assert!(keyspace.contains("db3:"), "{keyspace}");
    let error = redis.broker("app", &[("redisDB", "99")]).connect().await.unwrap_err();
    assert_eq!(error.kind, BrokerErrorKind::Misconfigured);
    assert!(error.to_string().ends_with("ERR DB index is out of range"), "{error}");
}

#[test]
fn several_servers_without_a_type_are_a_mistake() {
    let properties = [("redisHost", "a:1,b:2")].into_iter().collect();
    let settings = Settings::of(&properties, "app").0.unwrap();
    let error = RedisBroker::new("pubsub", settings, Tasks::new(), quiet()).err().unwrap();
    assert_eq!(error.kind, BrokerErrorKind::Misconfigured);
    assert!(error.to_string().contains("a:1,b:2: too many colons in address"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_user_with_few_rights_is_enough() {
    let redis = RedisServer::start().await;
    redis.allow("+xadd +xgroup +xreadgroup +xack +xpending +xclaim +ping +select").await;
    let few = [("redisUsername", "few"), ("redisPassword", "secret")];
    let lines = Lines::default();
    let broker = broker_on(redis.port, "app", &few, lines.telemetry());
    // Heartbeats are tried for as long as something is subscribed.
    let subscribed = subscribe(&*broker, "others", Recorder::acking()).await;
    works(&*broker).await;
    eventually("it is told", || async { lines.with("not permitted to write sidestream:* keys") == 1 }).await;
    subscribed.end().await;
    assert_eq!(lines.text().lines().count(), 1, "{}", lines.text());
    let error =
        redis.broker("app", &[("redisUsername", "few"), ("redisPassword", "wrong")]).connect().await.unwrap_err();
    assert_eq!(error.kind, BrokerErrorKind::Misconfigured);
    assert!(error.to_string().ends_with("WRONGPASS invalid username-password pair or user is disabled."), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_rights_that_the_readme_names_leave_nothing_to_complain_about() {
    let redis = RedisServer::start().await;
    let rights = "+xadd +xgroup +xreadgroup +xack +xpending +xclaim +ping +client|id +client|unblock \
                  +set +pexpire +del +exists +hset +hget +hdel +hexists +hkeys";
    redis.allow(rights).await;
    let lines = Lines::default();
    let settings = [("redisUsername", "few"), ("redisPassword", "secret")];
    let broker = broker_on(redis.port, "app", &settings, lines.telemetry());
    let subscribed = subscribe(&*broker, "others", Recorder::acking()).await;
    works(&*broker).await;
    eventually("a sign of life", || async {
        let signs: Vec<String> = redis.call(&["KEYS", "sidestream:*:alive:*"]).await;
        signs.len() == 1
    })
    .await;
    subscribed.end().await;
    assert_eq!(lines.text(), "");
}

/// The rights that the README names for subscribing, without XACK.
const ALL_BUT_XACK: &str = "+xadd +xgroup +xreadgroup +xpending +xclaim +ping +client|id \
    +client|unblock +set +pexpire +del +exists +hset +hget +hdel +hexists +hkeys";

#[tokio::test(flavor = "multi_thread")]
async fn acks_that_the_user_may_not_send_are_kept_until_he_may() {
    let redis = RedisServer::start().await;
    redis.allow(ALL_BUT_XACK).await;
    let impatient = [("processingTimeout", "3s"), ("redeliverInterval", "200")];
    let few = [("redisUsername", "few"), ("redisPassword", "secret")];
    let lines = Lines::default();
    let settings = [few, impatient].concat();
    let broker = broker_on(redis.port, "app", &settings, lines.telemetry());
    let (sink, other) = (Recorder::acking(), Recorder::acking());
    let subscribed = subscribe(&*broker, "orders", sink.clone()).await;
    for number in 0..20 {
        publish(&*broker, "orders", number).await;
    }
    eventually("all", || async { sink.count() == 20 }).await;
    // Another replica would take over entries that are idle for longer than `processingTimeout`.
    let beside = redis.broker("app", &impatient);
    let watching = subscribe(&*beside, "orders", other.clone()).await;
    tokio::time::sleep(8 * A_WHILE).await;
    assert_eq!(redis.pending("orders", "app").await, 20);
    assert_eq!((sink.count(), other.count()), (20, 0));
    let said = lines.text();
    assert_eq!(said.lines().count(), 1, "{said}");
    assert!(said.contains("acknowledging Redis messages of orders"), "{said}");
    assert!(said.contains("NOPERM") && said.contains("grant"), "{said}");
    assert!(said.contains("+xack"), "{said}");

    redis.allow(&format!("{ALL_BUT_XACK} +xack")).await;
    redis.settled("orders", "app").await;
    eventually("it is told", || async { lines.with("all acks are accepted again") == 1 }).await;
    publish(&*broker, "orders", 20).await;
    eventually("the next one", || async { sink.count() + other.count() == 21 }).await;
    redis.settled("orders", "app").await;
    assert_eq!(lines.text().lines().count(), 2, "{}", lines.text());
    subscribed.end().await;
    watching.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn refused_acks_of_one_topic_delay_neither_those_of_others_nor_the_end() {
    let redis = RedisServer::start().await;
    let info: String = redis.call(&["INFO", "server"]).await;
    if info.contains("redis_version:6.") {
        // Redis 6.2 cannot limit a single command to some keys.
        return;
    }
    redis.allow(&format!("{ALL_BUT_XACK} (+xack ~fine)")).await;
    let few = [("redisUsername", "few"), ("redisPassword", "secret")];
    let broker = redis.broker("app", &few);
    let (sink, other) = (Recorder::acking(), Recorder::acking());
    let refused = subscribe(&*broker, "orders", sink.clone()).await;
    let subscribed = subscribe(&*broker, "fine", other.clone()).await;
    for number in 0..50 {
        publish(&*broker, "orders", number).await;
        publish(&*broker, "fine", number).await;
    }
    eventually("all", || async { sink.count() + other.count() == 100 }).await;
    redis.settled("fine", "app").await;
    assert_eq!(redis.pending("orders", "app").await, 50);
    let begun = Instant::now();
    refused.end().await;
    subscribed.end().await;
    let took = begun.elapsed();
    assert!(took < Duration::from_secs(10), "{took:?}");
    assert_eq!(redis.pending("orders", "app").await, 50);
    assert_eq!((sink.count(), other.count()), (50, 50));
}
