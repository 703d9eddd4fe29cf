//! The connection ends within a reply: Redis has executed the command, and the sidecar does not know.

use sidestream::broker::Broker;
use sidestream::message::Settlement;

use super::{GROUP, distinct, length, publish};
use crate::support::proxy::Proxy;
use crate::support::redis::{A_WHILE, RedisServer, broker_on};
use crate::support::sink::Recorder;
use crate::support::subscribed::subscribe;
use crate::support::{eventually, quiet};

#[tokio::test(flavor = "multi_thread")]
async fn a_publish_whose_answer_was_cut_is_an_error_and_not_doubled() {
    let redis = RedisServer::start().await;
    let proxy = Proxy::start(redis.port).await;
    let broker = broker_on(proxy.port, GROUP, &[], quiet());
    for number in 0..5 {
        publish(&broker, number).await.unwrap();
        proxy.cut_reply_to("XADD");
        let error = publish(&broker, 100).await.unwrap_err();
        assert!(error.is_transient(), "{error}");
        assert_eq!(proxy.cuts(), number + 1);
    }
    assert_eq!(length(&redis).await, 10, "each stands there once");
    proxy.cut_reply_to("XADD");
    let messages = (0..10).map(|number| super::message("orders", number));
    let outcomes = broker.publish_all(messages.collect()).await;
    assert!(outcomes.iter().any(Result::is_err), "what is unknown is no success");
    eventually("Redis has got through them", || async { length(&redis).await >= 20 }).await;
    assert_eq!(length(&redis).await, 20, "nothing is sent again");
}

#[tokio::test(flavor = "multi_thread")]
async fn entries_whose_reading_was_cut_are_found_again() {
    let redis = RedisServer::start().await;
    let proxy = Proxy::start(redis.port).await;
    let broker = broker_on(proxy.port, GROUP, &[], quiet());
    let sink = Recorder::acking();
    let subscribed = subscribe(&*broker, "orders", sink.clone()).await;
    for number in 0..5 {
        proxy.cut_reply_to("XREADGROUP");
        publish(&broker, number).await.unwrap();
        eventually("the reply is cut", || async { proxy.cuts() == number + 1 }).await;
        eventually("found again", || async { sink.count() == number + 1 }).await;
    }
    redis.settled("orders", GROUP).await;
    tokio::time::sleep(A_WHILE).await;
    assert_eq!((sink.count(), distinct(&sink)), (5, 5));
    subscribed.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn acks_whose_answer_was_cut_are_sent_again() {
    let redis = RedisServer::start().await;
    let proxy = Proxy::start(redis.port).await;
    let broker = broker_on(proxy.port, GROUP, &[], quiet());
    let sink = Recorder::acking();
    let subscribed = subscribe(&*broker, "orders", sink.clone()).await;
    // Not through the proxy, which is to cut acks only.
    let add = async |number: usize| {
        let data = number.to_string();
        let _: String = redis.call(&["XADD", "orders", "*", "data", &data]).await;
    };
    for number in 0..5 {
        proxy.cut_reply_to("XACK");
        add(number).await;
        eventually("the reply is cut", || async { proxy.cuts() == number + 1 }).await;
    }
    add(5).await;
    eventually("all", || async { distinct(&sink) == 6 }).await;
    redis.settled("orders", GROUP).await;
    tokio::time::sleep(A_WHILE).await;
    assert_eq!(sink.count(), 6, "nothing twice");
    subscribed.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn redeliveries_whose_answer_was_cut_come_all_the_same() {
    let redis = RedisServer::start().await;
    let proxy = Proxy::start(redis.port).await;
    let broker = broker_on(proxy.port, GROUP, &[], quiet());
    let sink = Recorder::answering(|message| match message.attempt {
        1 => Settlement::Retry,
        _ => Settlement::Ack,
    });
    let subscribed = subscribe(&*broker, "orders", sink.clone()).await;
    proxy.cut_reply_to("XCLAIM");
    publish(&broker, 1).await.unwrap();
    eventually("the second attempt", || async { sink.count() == 2 }).await;
    assert_eq!(proxy.cuts(), 1);
    redis.settled("orders", GROUP).await;
    subscribed.end().await;
}
