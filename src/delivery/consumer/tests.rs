use std::sync::atomic::Ordering;

use super::*;
use crate::delivery::supervisor::Origin;
use crate::delivery::testing::{App, RecordingBroker, message, targets, telemetry, until};
use crate::health::Health;
use crate::resources::kinds::policies::Direction;
use crate::resources::kinds::subscription::{RuleSpec, SubscriptionSpec};
use crate::shutdown::Tasks;

const EVENT: &str = r#"{"id":"1","data":{"n":1}}"#;
const EXPIRED: &str = r#"{"id":"1","expiration":"2020-01-01T00:00:00Z"}"#;

struct Stage {
    broker: Arc<RecordingBroker>,
    app: App,
    consumer: Consumer,
}

async fn stage(spec: SubscriptionSpec, answers: &[(&'static str, u16, &str)]) -> Stage {
    let broker = Arc::new(RecordingBroker::default());
    let app = App::start(answers).await;
    let consumer = Consumer {
        subscription: Subscription::compile(spec, Origin::Programmatic).unwrap(),
        pubsub: broker.pubsub(),
        channel: app.channel.clone(),
        tracing: Tracing::PassOn,
        app_is_gone: Arc::default(),
        health: None,
        policy: None,
        stop: Stop::new(),
        report: Health::default().subscription("pubsub", "t"),
        telemetry: telemetry(),
    };
    Stage { broker, app, consumer }
}

fn spec(rules: &[(&str, &str)], dead: &str) -> SubscriptionSpec {
    SubscriptionSpec {
        pubsub: "pubsub".to_owned(),
        topic: "orders".to_owned(),
        dead_letter_topic: dead.to_owned(),
        rules: rules
            .iter()
            .map(|(text, path)| RuleSpec { match_: (*text).to_owned(), path: (*path).to_owned() })
            .collect(),
        ..SubscriptionSpec::default()
    }
}

impl Stage {
    /// `ack` or `retry`, and the reason of the dead letter.
    async fn hand(&self, message: Incoming) -> String {
        let (data, before) = (message.data.clone(), self.broker.sent.lock().len());
        let settled = match self.consumer.accept(message).await {
            Settlement::Ack => "ack",
            Settlement::Retry => "retry",
        };
        let sent = self.broker.sent.lock();
        match sent.get(before) {
            None => settled.to_owned(),
            Some(letter) => {
                assert_eq!((letter.topic.as_str(), &letter.data), ("dead", &data));
                let metadata = letter.metadata.as_ref().unwrap();
                assert_eq!(metadata["pubsubName"], "pubsub");
                format!("{settled}, letter: {}", metadata["deadletterreason"])
            }
        }
    }
}

async fn check(rules: &[(&str, &str)], answer: (u16, &str), data: &str, without: &str, with: &str) {
    for (dead, expected) in [("", without), ("dead", with)] {
        let stage = stage(spec(rules, dead), &[("/x", answer.0, answer.1)]).await;
        let got = stage.hand(message("orders", data.as_bytes(), &[])).await;
        assert_eq!(got, expected, "{data} {answer:?} {dead}");
    }
}

#[tokio::test]
async fn each_end_without_and_with_dead_letter_topic() {
    let always = [("", "/x")];
    check(&always, (200, ""), EVENT, "ack", "ack").await;
    check(&always, (200, r#"{"status":"DROP"}"#), EVENT, "ack", "ack, letter: dropped").await;
    check(&always, (404, ""), EVENT, "ack", "ack, letter: http-status").await;
    check(&always, (200, r#"{"status":"RETRY"}"#), EVENT, "retry", "ack, letter: retry").await;
    check(&always, (200, r#"{"status":"what"}"#), EVENT, "retry", "ack, letter: unknown-status").await;
    check(&always, (500, ""), EVENT, "retry", "ack, letter: http-status").await;
    check(&always, (200, ""), EXPIRED, "ack", "ack, letter: expired").await;
    check(&always, (200, ""), "not json", "retry", "ack, letter: undecodable").await;
    check(&always, (200, ""), "[1]", "retry", "ack, letter: undecodable").await;
    check(&[], (200, ""), EVENT, "ack", "ack, letter: no-route").await;
    check(&[("event.data.n == 2", "/x")], (200, ""), EVENT, "ack", "ack, letter: no-route").await;
    check(&[("event.data.m == 2", "/x")], (200, ""), EVENT, "retry", "ack, letter: rule-error").await;
}

#[tokio::test]
async fn nothing_is_acknowledged_before_its_letter_is_written() {
    let always = [("", "/x")];
    for (answer, data) in [((404, ""), EVENT), ((500, ""), EVENT), ((200, ""), EXPIRED), ((200, ""), "not json")] {
        let stage = stage(spec(&always, "dead"), &[("/x", answer.0, answer.1)]).await;
        stage.broker.refuses.store(true, Ordering::SeqCst);
        assert_eq!(stage.hand(message("orders", data.as_bytes(), &[])).await, "retry", "{answer:?} {data}");
        stage.broker.refuses.store(false, Ordering::SeqCst);
        assert!(stage.hand(message("orders", data.as_bytes(), &[])).await.starts_with("ack, letter"));
    }
}

#[tokio::test]
async fn a_flag_that_is_no_boolean_is_a_failure() {
    let mut wrong = spec(&[("", "/x")], "dead");
    wrong.metadata.insert("rawPayload".to_owned(), "yes".to_owned());
    let stage = stage(wrong, &[("/x", 200, "")]).await;
    assert_eq!(stage.hand(message("orders", EVENT.as_bytes(), &[])).await, "ack, letter: raw-flag");
    assert!(stage.app.events().is_empty());
}

/// A retry policy of two retries, the answer to each call (the last one repeats), how it ended, and the calls.
#[tokio::test]
async fn the_policy_comes_before_the_dead_letter() {
    for (answers, expected, calls) in [
        (&[(500, ""), (200, "")][..], "ack", 2),
        (&[(500, "")], "ack, letter: http-status", 3),
        (&[(429, "")], "ack, letter: http-status", 1),
        (&[(500, ""), (200, r#"{"status":"DROP"}"#)], "ack, letter: dropped", 2),
        (&[(404, "")], "ack, letter: http-status", 1),
        (&[(200, r#"{"status":"RETRY"}"#)], "ack, letter: retry", 3),
    ] {
        let mut stage = stage(spec(&[("", "/x")], "dead"), &[]).await;
        stage.consumer.policy = targets(
            "retries: {r: {duration: 1ms, maxRetries: 2, matching: {httpStatusCodes: 500-599}}}",
        )
        .policy("pubsub", Direction::Inbound, stage.consumer.stop.clone());
        stage.app.answer_in_turn("/x", answers);
        let got = stage.hand(message("orders", EVENT.as_bytes(), &[])).await;
        assert_eq!((got.as_str(), stage.app.events().len()), (expected, calls), "{answers:?}");
    }
}

#[tokio::test]
async fn an_open_breaker_leaves_the_app_alone() {
    let mut stage = stage(spec(&[("", "/x")], "dead"), &[("/x", 500, "")]).await;
    stage.consumer.policy = targets("circuitBreakers: {b: {trip: consecutiveFailures > 0}}").policy(
        "pubsub",
        Direction::Inbound,
        stage.consumer.stop.clone(),
    );
    for reason in ["http-status", "circuit-open"] {
        let got = stage.hand(message("orders", EVENT.as_bytes(), &[])).await;
        assert_eq!(got, format!("ack, letter: {reason}"));
    }
    assert_eq!(stage.app.events().len(), 1);
}

#[tokio::test]
async fn retries_end_with_the_subscription_and_move_nothing() {
    let mut stage = stage(spec(&[("", "/x")], "dead"), &[("/x", 500, "")]).await;
    let stop = stage.consumer.stop.clone();
    stage.consumer.policy = targets("retries: {r: {duration: 1h}}").policy("pubsub", Direction::Inbound, stop.clone());
    let order = async {
        until("asked", || stage.app.events().len() == 1).await;
        stop.trigger();
    };
    let (got, ()) = tokio::join!(stage.hand(message("orders", EVENT.as_bytes(), &[])), order);
    assert_eq!(got, "retry");
}

#[tokio::test]
async fn a_stopping_subscription_takes_nothing_and_moves_nothing() {
    let stage = stage(spec(&[("", "/x")], "dead"), &[("/x", 500, "")]).await;
    stage.consumer.stop.trigger();
    assert_eq!(stage.hand(message("orders", EVENT.as_bytes(), &[])).await, "retry");
    assert!(stage.app.events().is_empty());
    let reason = DeadLetterReason::new("retry", "");
    let failed = Outcome::Failed(reason);
    let settled = stage.consumer.settle(message("orders", b"", &[]), EventRef::default(), failed).await;
    assert_eq!(settled, Settlement::Retry);
    assert!(stage.broker.sent.lock().is_empty());
    // What would not come again is delivered all the same, and its letter written.
    let once = Incoming { only_once: true, ..message("orders", EVENT.as_bytes(), &[]) };
    assert_eq!(stage.hand(once).await, "ack, letter: http-status");
}

#[tokio::test]
async fn an_app_that_is_gone_is_reported() {
    let stage = stage(spec(&[("", "/x")], ""), &[]).await;
    stage.app.go().await;
    assert_eq!(stage.hand(message("orders", EVENT.as_bytes(), &[])).await, "retry");
    stage.consumer.app_is_gone.notified().await;
}

/// What the app gets: path, trace, body.
async fn delivered(spec: SubscriptionSpec, data: &[u8], metadata: &[(&str, &str)]) -> Vec<String> {
    let stage = stage(spec, &[("/x", 200, ""), ("/y", 200, "")]).await;
    assert_eq!(stage.hand(message("orders", data, metadata)).await, "ack");
    stage.app.events()
}

#[tokio::test]
async fn the_body_is_delivered_as_it_was_stored() {
    let always = spec(&[("", "/x")], "");
    for data in [" {\"data\": 1.0,\n \"z\":12345678901234567890}\n", "{}", "null", r#"{"orderId":1}"#] {
        assert_eq!(delivered(always.clone(), data.as_bytes(), &[]).await, [format!("POST /x - {data}")]);
    }
    let binary = [("content-type", "application/octet-stream; x"), ("CE_Type", "y")];
    let ruled = spec(&[("event.type == 'y'", "/y"), ("", "/x")], "");
    assert_eq!(delivered(ruled, b"\x01binary", &binary).await, ["POST /y - \x01binary"]);
}

#[tokio::test]
async fn a_raw_subscription_gets_the_wrapper() {
    let mut raw = spec(&[("event.source == 'Dapr' && has(event.data_base64)", "/y")], "");
    raw.metadata.insert("rawPayload".to_owned(), "true".to_owned());
    let events = delivered(raw, b"plain", &[]).await;
    assert!(events[0].starts_with("POST /y - {"), "{events:?}");
    assert!(events[0].contains(r#""data_base64":"cGxhaW4=""#), "{events:?}");
}

#[tokio::test]
async fn nothing_is_given_to_an_unhealthy_app() {
    let mut stage = stage(spec(&[("", "/x")], "dead"), &[("/x", 200, "")]).await;
    let (tasks, stop) = (Tasks::new(), Stop::new());
    let health = stage.app.watched(&tasks, &stop);
    stage.consumer.health = Some(health.clone());
    let event = || message("orders", EVENT.as_bytes(), &[]);
    assert_eq!(stage.hand(event()).await, "retry");
    assert!(stage.app.events().is_empty());
    stage.app.answer("/healthz", 200, "");
    health.healthy().await;
    assert_eq!(stage.hand(event()).await, "ack");
    stop.trigger();
    tasks.ended().await;
}
