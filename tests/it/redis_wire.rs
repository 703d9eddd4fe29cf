//! Commands and entries in Redis, as daprd writes and reads them (tests/spec/redis.md, "17. Byte-exact examples", "18.
//! Interop rules").

use bytes::Bytes;
use sidestream::broker::{Broker, SubscribeRequest};
use sidestream::message::{Metadata, Outgoing};
use sidestream::shutdown::{Stop, Tasks};

use crate::support::eventually;
use crate::support::redis::RedisServer;
use crate::support::sink::Recorder;
use crate::support::subscribed::subscribe;

async fn publish(broker: &dyn Broker, data: &'static [u8], metadata: Option<Metadata>) {
    broker.publish(Outgoing { topic: "orders".to_owned(), data: Bytes::from_static(data), metadata }).await.unwrap();
}

#[tokio::test]
async fn entries_have_data_then_metadata_and_no_metadata_where_there_is_none() {
    let redis = RedisServer::start().await;
    let broker = redis.broker("pub-app", &[]);
    publish(&*broker, b"\x00\xff\n", Some([("rawPayload".to_owned(), "true".to_owned())].into())).await;
    publish(&*broker, b"", Some(Metadata::new())).await;
    publish(&*broker, b"x", None).await;
    let entries: Vec<(String, Vec<Vec<u8>>)> = redis.call(&["XRANGE", "orders", "-", "+"]).await;
    let fields: Vec<_> = entries.into_iter().map(|(_, fields)| fields).collect();
    let expected: [&[&[u8]]; 3] = [
        &[b"data", b"\x00\xff\n", b"metadata", b"{\"rawPayload\":\"true\"}"],
        &[b"data", b"", b"metadata", b"{}"],
        &[b"data", b"x"],
    ];
    assert_eq!(fields, expected.map(|entry| entry.iter().map(|field| field.to_vec()).collect::<Vec<_>>()));
}

#[tokio::test]
async fn a_new_group_has_the_whole_stream_before_it_and_entries_of_others_are_read() {
    let redis = RedisServer::start().await;
    let _: String = redis.call(&["XADD", "orders", "*", "metadata", "{\"k\":\"v\"}", "data", "old"]).await;
    let broker = redis.broker("app", &[]);
    let sink = Recorder::acking();
    let subscribed = subscribe(&*broker, "orders", sink.clone()).await;
    eventually("the old entry", || async { sink.count() == 1 }).await;
    assert_eq!((sink.texts(), sink.seen()[0].metadata["k"].as_str()), (vec!["old".to_owned()], "v"));
    redis.settled("orders", "app").await;
    subscribed.end().await;
    let consumers: Vec<Vec<deadpool_redis::redis::Value>> = redis.call(&["XINFO", "CONSUMERS", "orders", "app"]).await;
    assert!(consumers.is_empty(), "an orderly stop leaves no consumer behind: {consumers:?}");
}

#[tokio::test]
async fn two_hundred_topics_need_three_connections() {
    let redis = RedisServer::start().await;
    let broker = redis.broker("app", &[]);
    let (sink, stop, tasks) = (Recorder::acking(), Stop::new(), Tasks::new());
    for number in 0..200 {
        let request = SubscribeRequest { topic: format!("topic-{number}"), ..SubscribeRequest::default() };
        tasks.spawn("subscription", broker.subscribe(request, sink.clone(), stop.clone()).await.unwrap());
    }
    for number in 0..200 {
        broker
            .publish(Outgoing { topic: format!("topic-{number}"), data: Bytes::from_static(b"x"), metadata: None })
            .await
            .unwrap();
    }
    eventually("one message of each topic", || async { sink.count() == 200 }).await;
    let clients: String = redis.call(&["CLIENT", "LIST"]).await;
    assert!(clients.lines().count() <= 4, "three of ours and the one that asks:\n{clients}");
    stop.trigger();
    tasks.ended().await;
}

fn many(count: usize, size: usize) -> Vec<Outgoing> {
    let numbered = |number: usize| Outgoing {
        topic: "orders".to_owned(),
        data: format!("{number:0size$}").into(),
        metadata: None,
    };
    (0..count).map(numbered).collect()
}

async fn info(redis: &RedisServer, name: &str) -> u64 {
    let info: String = redis.call(&["INFO"]).await;
    let value = info.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    value.unwrap().parse().unwrap()
}

#[tokio::test]
async fn many_entries_go_in_one_write() {
    let redis = RedisServer::start().await;
    let broker = redis.broker("pub-app", &[]);
    // The connection exists.
    publish(&*broker, b"x", None).await;
    let before = info(&redis, "total_reads_processed").await;
    let outcomes = broker.publish_all(many(100, 3)).await;
    assert!(outcomes.iter().all(Result::is_ok));
    let reads = info(&redis, "total_reads_processed").await - before;
    assert!(reads < 10, "{reads} reads for 100 entries");
}

#[tokio::test]
async fn of_many_entries_each_has_an_outcome_of_its_own() {
    let redis = RedisServer::start().await;
    let broker = redis.broker("pub-app", &[]);
    publish(&*broker, b"first", None).await;
    let most = info(&redis, "used_memory").await + (3 << 20);
    let _: () = redis.call(&["CONFIG", "SET", "maxmemory", &most.to_string()]).await;
    let messages = many(200, 50_000);
    let outcomes = broker.publish_all(messages.clone()).await;
    let _: () = redis.call(&["CONFIG", "SET", "maxmemory", "0"]).await;
    let entries: Vec<(String, Vec<Vec<u8>>)> = redis.call(&["XRANGE", "orders", "-", "+"]).await;
    let stored: Vec<_> = entries.into_iter().skip(1).map(|(_, fields)| fields[1].clone()).collect();
    let answered: Vec<_> = messages
        .iter()
        .zip(&outcomes)
        .filter(|(_, outcome)| outcome.is_ok())
        .map(|(message, _)| message.data.to_vec())
        .collect();
    assert!(stored == answered, "what was answered with success is what stands in the stream");
    assert!(!stored.is_empty() && stored.len() < 200, "{}", stored.len());
    let refused = outcomes.iter().find_map(|outcome| outcome.as_ref().err());
    let text = refused.unwrap().to_string();
    assert!(text.starts_with("redis streams: error from publish: OOM command not allowed"), "{text}");
}
