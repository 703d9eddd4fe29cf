//! The requirements for every broker, tested through the trait alone. A new broker runs this suite by one line in
//! `brokers.rs`.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use bytes::Bytes;
use sidestream::broker::{Broker, BrokerErrorKind, SubscribeRequest};
use sidestream::message::{Incoming, Metadata, Outgoing, Settlement};
use sidestream::shutdown::Stop;

use super::eventually;
use super::sink::Recorder;
use super::subscribed::subscribe;

/// The suite. Every case has its own topics, so that one broker serves all.
pub(crate) async fn all(broker: Arc<dyn Broker>) {
    broker.connect().await.unwrap();
    a_message_arrives_as_it_was_published(&*broker).await;
    many_messages_at_once_arrive(&*broker).await;
    a_retry_comes_again_with_the_same_bytes(&*broker).await;
    a_failing_message_does_not_hold_up_the_others(&*broker).await;
    a_panic_in_a_sink_counts_as_a_retry(&*broker).await;
    a_sink_that_gathers_has_places_of_its_own(&*broker).await;
    topics_do_not_mix(&*broker).await;
    stopping_finishes_what_is_in_hand_and_takes_no_more(&*broker).await;
    stopping_one_subscription_leaves_the_others(&*broker).await;
    a_subscription_that_begins_again_misses_nothing(&*broker).await;
    a_sink_may_publish_to_its_own_topic(&broker).await;
    a_closed_broker_refuses(&*broker).await;
}

async fn publish(broker: &dyn Broker, topic: &str, text: &str) {
    let message = Outgoing { topic: topic.to_owned(), data: Bytes::copy_from_slice(text.as_bytes()), metadata: None };
    broker.publish(message).await.unwrap();
}

async fn seen(sink: &Recorder, count: usize) {
    eventually(&format!("{count} messages, got {:?}", sink.texts()), || async { sink.count() >= count }).await;
}

async fn a_message_arrives_as_it_was_published(broker: &dyn Broker) {
    let sink = Recorder::acking();
    let subscribed = subscribe(broker, "bytes", sink.clone()).await;
    let mut positions = Vec::new();
    let metadata: Metadata =
        [("Mixed-Case".to_owned(), "a<b&\"å\"".to_owned()), ("empty".to_owned(), String::new())].into();
    for (data, metadata) in
        [(&b"\x00\xff\n"[..], None), (b"", Some(Metadata::new())), (b"{\"a\": 1.0}", Some(metadata.clone()))]
    {
        let message = Outgoing { topic: "bytes".to_owned(), data: Bytes::copy_from_slice(data), metadata };
        positions.push(broker.publish(message).await.unwrap());
        seen(&sink, 1).await;
    }
    seen(&sink, 3).await;
    let mut arrived: Vec<_> = sink.seen().iter().map(|message| message.position).collect();
    arrived.sort();
    assert_eq!(arrived, positions, "what is stored keeps its position");
    let mut got: Vec<_> = sink
        .seen()
        .into_iter()
        .map(|message| (message.data, message.metadata, &*message.topic == "bytes", message.attempt))
        .collect();
    got.sort();
    let expected = [
        (Bytes::new(), Metadata::new()),
        (Bytes::from_static(b"\x00\xff\n"), Metadata::new()),
        (Bytes::from_static(b"{\"a\": 1.0}"), metadata),
    ];
    assert_eq!(got, expected.map(|(data, metadata)| (data, metadata, true, 1)));
    subscribed.end().await;
}

async fn many_messages_at_once_arrive(broker: &dyn Broker) {
    let sink = Recorder::acking();
    let subscribed = subscribe(broker, "many", sink.clone()).await;
    let texts: Vec<String> = (0..250).map(|number| number.to_string()).collect();
    let messages =
        texts.iter().map(|text| Outgoing { topic: "many".to_owned(), data: Bytes::from(text.clone()), metadata: None });
    let outcomes = broker.publish_all(messages.collect()).await;
    assert!(outcomes.len() == 250 && outcomes.iter().all(Result::is_ok));
    assert!(broker.publish_all(Vec::new()).await.is_empty());
    seen(&sink, 250).await;
    let mut got = sink.texts();
    // Several messages are handled at once, so that neighbours may change places.
    got.sort_by_key(|text| text.parse::<u32>().unwrap());
    assert_eq!(got, texts);
    subscribed.end().await;
}

async fn a_retry_comes_again_with_the_same_bytes(broker: &dyn Broker) {
    let sink =
        Recorder::answering(|message: &Incoming| if message.attempt < 3 { Settlement::Retry } else { Settlement::Ack });
    let subscribed = subscribe(broker, "retry", sink.clone()).await;
    publish(broker, "retry", "again").await;
    seen(&sink, 3).await;
    assert_eq!(sink.texts(), ["again"; 3]);
    assert_eq!(sink.seen().iter().map(|message| message.attempt).collect::<Vec<_>>(), [1, 2, 3]);
    subscribed.end().await;
}

async fn a_failing_message_does_not_hold_up_the_others(broker: &dyn Broker) {
    let sink = Recorder::answering(
        |message: &Incoming| {
            if message.data.starts_with(b"bad") { Settlement::Retry } else { Settlement::Ack }
        },
    );
    let subscribed = subscribe(broker, "poison", sink.clone()).await;
    for number in 0..50 {
        publish(broker, "poison", &format!("bad {number}")).await;
    }
    publish(broker, "poison", "good").await;
    eventually("the good one", || async { sink.texts().contains(&"good".to_owned()) }).await;
    subscribed.end().await;
}

async fn a_panic_in_a_sink_counts_as_a_retry(broker: &dyn Broker) {
    let sink = Recorder::answering(|message: &Incoming| {
        assert!(message.attempt > 1, "this panic belongs to the test");
        Settlement::Ack
    });
    let subscribed = subscribe(broker, "panic", sink.clone()).await;
    publish(broker, "panic", "x").await;
    seen(&sink, 2).await;
    publish(broker, "panic", "y").await;
    seen(&sink, 4).await;
    subscribed.end().await;
}

async fn a_sink_that_gathers_has_places_of_its_own(broker: &dyn Broker) {
    let sink = Recorder::gathering(50);
    let subscribed = subscribe(broker, "gather", sink.clone()).await;
    for number in 0..100 {
        publish(broker, "gather", &number.to_string()).await;
    }
    seen(&sink, 100).await;
    let expected: Vec<_> = (0..100).map(|number: u32| number.to_string()).collect();
    assert_eq!(sink.texts(), expected, "not in order");
    subscribed.end().await;
}

async fn topics_do_not_mix(broker: &dyn Broker) {
    let (one, two) = (Recorder::acking(), Recorder::acking());
    let (first, second) =
        (subscribe(broker, "mix/1", one.clone()).await, subscribe(broker, "mix/2", two.clone()).await);
    for number in 0..20 {
        publish(broker, "mix/1", &format!("1.{number}")).await;
        publish(broker, "mix/2", &format!("2.{number}")).await;
    }
    seen(&one, 20).await;
    seen(&two, 20).await;
    assert!(
        one.texts().iter().all(|text| text.starts_with("1.")) && two.texts().iter().all(|text| text.starts_with("2."))
    );
    first.end().await;
    second.end().await;
}

async fn stopping_finishes_what_is_in_hand_and_takes_no_more(broker: &dyn Broker) {
    let finished = Arc::new(AtomicU32::new(0));
    let count = finished.clone();
    let sink = Recorder::waiting(move |_| {
        let count = count.clone();
        Box::pin(async move {
            tokio::time::sleep(Duration::from_millis(200)).await;
            count.fetch_add(1, Ordering::Relaxed);
            Settlement::Ack
        })
    });
    let subscribed = subscribe(broker, "stop", sink.clone()).await;
    publish(broker, "stop", "in hand").await;
    seen(&sink, 1).await;
    subscribed.end().await;
    assert_eq!(finished.load(Ordering::Relaxed), 1, "the sink was not waited for");
    publish(broker, "stop", "too late").await;
    tokio::time::sleep(super::redis::A_WHILE).await;
    assert_eq!(sink.texts(), ["in hand"]);
}

async fn a_subscription_that_begins_again_misses_nothing(broker: &dyn Broker) {
    let sink = Recorder::waiting(|_| {
        Box::pin(async move {
            tokio::time::sleep(Duration::from_millis(2)).await;
            Settlement::Ack
        })
    });
    let mut published = 0;
    for _ in 0..3 {
        let subscribed = subscribe(broker, "again", sink.clone()).await;
        for _ in 0..40 {
            publish(broker, "again", &published.to_string()).await;
            published += 1;
        }
        subscribed.end().await;
        publish(broker, "again", &published.to_string()).await;
        published += 1;
    }
    let subscribed = subscribe(broker, "again", sink.clone()).await;
    let distinct = || sink.texts().into_iter().collect::<std::collections::BTreeSet<_>>();
    eventually("all of them", || async { distinct().len() == published }).await;
    subscribed.end().await;
}

async fn stopping_one_subscription_leaves_the_others(broker: &dyn Broker) {
    let (going, staying) = (Recorder::acking(), Recorder::acking());
    let (first, second) =
        (subscribe(broker, "going", going.clone()).await, subscribe(broker, "staying", staying.clone()).await);
    first.end().await;
    publish(broker, "staying", "x").await;
    seen(&staying, 1).await;
    second.end().await;
}

async fn a_sink_may_publish_to_its_own_topic(broker: &Arc<dyn Broker>) {
    let publisher = broker.clone();
    let sink = Recorder::waiting(move |message| {
        let publisher = publisher.clone();
        Box::pin(async move {
            if message.data.len() < 5 {
                publish(&*publisher, "echo", &format!("{}x", String::from_utf8_lossy(&message.data))).await;
            }
            Settlement::Ack
        })
    });
    let subscribed = subscribe(&**broker, "echo", sink.clone()).await;
    publish(&**broker, "echo", "x").await;
    seen(&sink, 5).await;
    subscribed.end().await;
}

async fn a_closed_broker_refuses(broker: &dyn Broker) {
    broker.close().await;
    let message = Outgoing { topic: "closed".to_owned(), data: Bytes::new(), metadata: None };
    let error = broker.publish(message).await.unwrap_err();
    assert_eq!((error.kind, error.to_string().as_str()), (BrokerErrorKind::Closed, "component is closed"));
    let message = Outgoing { topic: "closed".to_owned(), data: Bytes::new(), metadata: None };
    let outcomes = broker.publish_all(vec![message.clone(), message]).await;
    let kinds: Vec<_> = outcomes.iter().map(|outcome| outcome.as_ref().map_err(|error| error.kind)).collect();
    assert_eq!(kinds, [Err(BrokerErrorKind::Closed); 2]);
    let again = broker.subscribe(SubscribeRequest::default(), Recorder::acking(), Stop::new()).await;
    assert_eq!(again.err().map(|error| error.kind), Some(BrokerErrorKind::Closed));
}
