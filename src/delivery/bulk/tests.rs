use std::sync::atomic::Ordering;

use super::*;
use crate::app::health::AppHealth;
use crate::delivery::subscriptions::Subscription;
use crate::delivery::supervisor::Origin;
use crate::delivery::testing::{App, RecordingBroker, message, targets, telemetry, until};
use crate::health::Health;
use crate::resources::kinds::policies::Direction;
use crate::resources::kinds::subscription::{RuleSpec, SubscriptionSpec};
use crate::shutdown::Tasks;
use crate::telemetry::trace::Tracing;

const EXPIRED: &str = r#"{"id":"1","expiration":"2020-01-01T00:00:00Z"}"#;

struct Stage {
    broker: Arc<RecordingBroker>,
    app: App,
    sink: Arc<dyn Sink>,
    consumer: Arc<Consumer>,
    tasks: Tasks,
}

fn spec(rules: &[(&str, &str)], dead: &str, raw: &str) -> SubscriptionSpec {
    SubscriptionSpec {
        pubsub: "pubsub".to_owned(),
        topic: "orders".to_owned(),
        dead_letter_topic: dead.to_owned(),
        metadata: [("rawPayload".to_owned(), raw.to_owned())].into(),
        rules: rules
            .iter()
            .map(|(text, path)| RuleSpec { match_: (*text).to_owned(), path: (*path).to_owned() })
            .collect(),
        ..SubscriptionSpec::default()
    }
}

async fn stage(spec: SubscriptionSpec, limits: (i32, i32)) -> Stage {
    stage_under("", spec, limits).await
}

async fn stage_under(policies: &str, spec: SubscriptionSpec, limits: (i32, i32)) -> Stage {
    stage_with(App::start(&[]).await, None, policies, spec, limits)
}

fn stage_with(
    app: App,
    health: Option<AppHealth>,
    policies: &str,
    spec: SubscriptionSpec,
    limits: (i32, i32),
) -> Stage {
    let broker = Arc::new(RecordingBroker::default());
    let stop = Stop::new();
    let consumer = Arc::new(Consumer {
        subscription: Subscription::compile(spec, Origin::Programmatic).unwrap(),
        pubsub: broker.pubsub(),
        channel: app.channel.clone(),
        tracing: Tracing::PassOn,
        app_is_gone: Arc::default(),
        health,
        policy: targets(policies).policy("pubsub", Direction::Inbound, stop.clone()),
        stop,
        report: Health::default().subscription("pubsub", "t"),
        telemetry: telemetry(),
    });
    let spec = BulkSpec { enabled: true, max_messages_count: limits.0, max_await_duration_ms: limits.1 };
    let (sink, delivering) = open(consumer.clone(), spec);
    let tasks = Tasks::new();
    tasks.spawn("bulk", delivering);
    Stage { broker, app, sink, consumer, tasks }
}

impl Stage {
    /// How many events each request had.
    fn entries_asked(&self) -> Vec<usize> {
        let count = |event: &String| event.matches("entryId").count();
        self.app.events().iter().map(count).collect()
    }

    /// Hand messages over together: `a` for ack, `r` for retry; then payload and reason of each dead letter.
    async fn hand(&self, payloads: &[&str]) -> (String, Vec<String>) {
        self.hand_with(&[("source", "us")], payloads).await
    }

    /// The same with this metadata in each; `-` is the reason of a letter without metadata.
    async fn hand_with(&self, metadata: &[(&str, &str)], payloads: &[&str]) -> (String, Vec<String>) {
        let accepting = payloads.iter().map(|data| self.sink.accept(message("orders", data.as_bytes(), metadata)));
        let settled = futures_util::future::join_all(accepting).await;
        let settled = settled.into_iter().map(|settlement| match settlement {
            Settlement::Ack => 'a',
            Settlement::Retry => 'r',
        });
        let sent = self.broker.sent.lock();
        let letter = |letter: &crate::message::Outgoing| {
            assert_eq!(letter.topic, "dead");
            let reason = letter.metadata.as_ref();
            let reason = reason.map_or("-", |metadata| &metadata["deadletterreason"]);
            format!("{} {reason}", String::from_utf8_lossy(&letter.data))
        };
        (settled.collect(), sent.iter().map(letter).collect())
    }
}

#[track_caller]
fn expect(got: &(String, Vec<String>), settled: &str, letters: &[&str]) {
    assert_eq!(got.0, settled);
    assert_eq!(got.1, letters);
}

#[tokio::test]
async fn answers_to_all_without_and_with_dead_letter_topic() {
    let always = [("", "/x")];
    let events = [r#"{"id":"1"}"#, r#"{"id":"2"}"#];
    for (code, body, without, reason) in [
        (200, "", "rr", "no-answer"),
        (200, r#"{"statuses":[]}"#, "rr", "no-answer"),
        (500, "", "rr", "http-status"),
        (404, "", "aa", ""),
    ] {
        for dead in ["", "dead"] {
            let stage = stage(spec(&always, dead, ""), (2, 5000)).await;
            stage.app.answer("/x", code, body);
            let got = stage.hand(&events).await;
            let letters = events.map(|event| format!("{event} {reason}"));
            if dead.is_empty() || reason.is_empty() {
                expect(&got, without, &[]);
            } else {
                expect(&got, "aa", &[&letters[0], &letters[1]]);
            }
        }
    }
}

#[tokio::test]
async fn each_event_is_settled_by_its_own_status() {
    let events = [r#"{"id":"1"}"#, r#"{"id":"2"}"#, r#"{"id":"3"}"#];
    for (statuses, without, with) in [
        ("SUCCESS SUCCESS SUCCESS", "aaa", &[][..]),
        ("SUCCESS RETRY", "arr", &["2 retry", "3 no-answer"]),
        ("DROP SUCCESS what", "aar", &["1 dropped", "3 unknown-status"]),
    ] {
        for dead in ["", "dead"] {
            let stage = stage(spec(&[("", "/x")], dead, ""), (3, 5000)).await;
            stage.app.answer("/x", 200, &format!("statuses {statuses}"));
            let got = stage.hand(&events).await;
            if dead.is_empty() {
                expect(&got, without, &[]);
            } else {
                assert_eq!(got.0, "aaa", "{statuses}");
                let letters: Vec<_> =
                    got.1.iter().map(|letter| letter.replace(r#"{"id":""#, "").replace(r#""}"#, "")).collect();
                assert_eq!(letters, with, "{statuses}");
            }
        }
    }
}

/// D19: daprd takes another event's letter, or dies.
#[tokio::test]
async fn what_is_dropped_on_one_of_two_paths_leaves_its_own_letter() {
    let stage = stage(spec(&[("event.n == 1", "/x"), ("", "/y")], "dead", ""), (3, 5000)).await;
    stage.app.answer("/x", 200, "statuses SUCCESS");
    stage.app.answer("/y", 200, "statuses SUCCESS DROP");
    let got = stage.hand(&[r#"{"n":1}"#, r#"{"n":2}"#, r#"{"n":3}"#]).await;
    expect(&got, "aaa", &[r#"{"n":3} dropped"#]);
}

#[tokio::test]
async fn a_policy_asks_again_for_what_failed_only() {
    let events = [r#"{"id":"1"}"#, r#"{"id":"2"}"#, r#"{"id":"3"}"#];
    for (answers, letters, counts) in [
        (&["SUCCESS RETRY RETRY", "SUCCESS RETRY", "SUCCESS"][..], &[][..], &[3, 2, 1][..]),
        (&["RETRY SUCCESS RETRY", "DROP RETRY"], &["1 dropped", "3 retry"], &[3, 2, 1]),
        (&["SUCCESS DROP SUCCESS"], &["2 dropped"], &[3]),
    ] {
        let policies = "retries: {r: {duration: 1ms, maxRetries: 2}}";
        let stage = stage_under(policies, spec(&[("", "/x")], "dead", ""), (3, 5000)).await;
        let mut turns: Vec<_> = answers.iter().map(|statuses| format!("statuses {statuses}")).collect();
        turns.push("statuses RETRY".to_owned());
        let turns: Vec<_> = turns.iter().map(|body| (200, body.as_str())).collect();
        stage.app.answer_in_turn("/x", &turns);
        let (settled, sent) = stage.hand(&events).await;
        assert_eq!(settled, "aaa", "{answers:?}");
        let sent: Vec<_> = sent.iter().map(|letter| letter.replace(r#"{"id":""#, "").replace(r#""}"#, "")).collect();
        assert_eq!(sent, letters, "{answers:?}");
        assert_eq!(stage.entries_asked(), counts, "{answers:?}");
    }
}

#[tokio::test]
async fn an_open_breaker_fails_all_that_is_left() {
    let policies = "retries: {r: {duration: 1ms}}, circuitBreakers: {b: {trip: consecutiveFailures > 1}}";
    let stage = stage_under(policies, spec(&[("", "/x")], "dead", ""), (2, 5000)).await;
    stage.app.answer_in_turn("/x", &[(500, ""), (200, "statuses SUCCESS RETRY")]);
    let got = stage.hand(&[r#"{"id":"1"}"#, r#"{"id":"2"}"#]).await;
    expect(&got, "aa", &[r#"{"id":"2"} circuit-open"#]);
    assert_eq!(stage.entries_asked(), [2, 2]);
}

#[tokio::test]
async fn what_cannot_be_delivered_has_its_own_end_beside_the_others() {
    let rules = [("event.id == '1'", "/x"), ("event.n == 1", "/y")];
    let stage = stage(spec(&rules, "dead", ""), (5, 5000)).await;
    stage.app.answer("/x", 404, "");
    stage.app.answer("/y", 404, "");
    let no_route = r#"{"id":"2","n":2}"#;
    let payloads = ["not json", EXPIRED, r#"{"id":"1"}"#, no_route, r#"{"id":"3"}"#];
    let got = stage.hand(&payloads).await;
    let letters = [
        "not json undecodable".to_owned(),
        format!("{EXPIRED} expired"),
        format!("{no_route} no-route"),
        r#"{"id":"3"} rule-error"#.to_owned(),
    ];
    expect(&got, "aaaaa", &letters.each_ref().map(String::as_str));
    let events = stage.app.events();
    assert_eq!(events.len(), 1, "{events:?}");
    assert!(events[0].starts_with("POST /x"), "{events:?}");
}

#[tokio::test]
async fn nothing_is_acknowledged_before_its_letter_is_written() {
    let stage = stage(spec(&[("", "/x")], "dead", ""), (2, 5000)).await;
    stage.app.answer("/x", 500, "");
    stage.broker.refuses.store(true, Ordering::SeqCst);
    expect(&stage.hand(&[EXPIRED, "{}"]).await, "rr", &[]);
}

#[tokio::test]
async fn one_request_for_each_path_in_order_of_arrival() {
    let rules = [("event.n > 1", "/y"), ("", "/x")];
    let stage = stage(spec(&rules, "", ""), (4, 5000)).await;
    let trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    let traced = format!(r#"{{"n":2,"traceparent":"{trace}"}}"#);
    stage.hand(&[r#"{"n":2.0}"#, r#"{"n":1}"#, &traced, r#"{"n":3}"#]).await;
    let events = stage.app.events();
    assert_eq!(events.len(), 2, "{events:?}");
    assert!(events[0].starts_with(&format!("POST /y {trace} ")), "{events:?}");
    assert!(events[1].starts_with("POST /x - "), "{events:?}");
    let at = |text: &str| events[0].find(text).unwrap();
    assert!(at(r#""event":{"n":2.0}"#) < at(&traced));
    assert!(at(&traced) < at(r#""event":{"n":3}"#));
}

#[tokio::test]
async fn raw_payloads_are_text_for_rules_and_base64_for_the_app() {
    let rules = [("event == 'plain'", "/x"), ("", "/y")];
    let stage = stage(spec(&rules, "", "true"), (2, 5000)).await;
    stage.hand_with(&[], &["plain", "\u{e5}"]).await;
    let events = stage.app.events();
    assert!(events[0].starts_with("POST /x"), "{events:?}");
    assert!(
        events[0].contains(r#""event":"cGxhaW4=","metadata":null,"contentType":"application/octet-stream""#),
        "{events:?}"
    );
    assert!(events[1].contains(r#""event":"w6U=""#), "{events:?}");
}

#[tokio::test]
async fn a_flag_that_is_no_boolean_is_a_failure_of_all() {
    let stage = stage(spec(&[("", "/x")], "dead", "maybe"), (2, 5000)).await;
    expect(&stage.hand(&["{}", "1"]).await, "aa", &["{} raw-flag", "1 raw-flag"]);
    assert!(stage.app.events().is_empty());
}

#[tokio::test]
async fn a_batch_that_is_not_full_goes_after_its_wait() {
    let stage = stage(spec(&[("", "/x")], "", ""), (3, 30)).await;
    stage.hand(&["{}", "{}", "{}", "{}"]).await;
    assert_eq!(stage.entries_asked(), [3, 1]);
}

#[tokio::test]
async fn what_waits_at_the_stop_is_handed_back_and_no_letter_is_written() {
    let stage = stage(spec(&[("", "/x")], "dead", ""), (3, 60_000)).await;
    let order = async {
        until("taken", || stage.tasks.running() == ["bulk"]).await;
        stage.consumer.stop.trigger();
    };
    let (got, ()) = tokio::join!(stage.hand(&["{}", EXPIRED]), order);
    expect(&got, "rr", &[]);
    expect(&stage.hand(&["{}"]).await, "r", &[]);
    assert!(stage.app.events().is_empty());
}

#[tokio::test]
async fn what_would_not_come_again_is_delivered_during_the_stop() {
    let stage = stage(spec(&[("", "/x")], "", ""), (3, 60_000)).await;
    let once = Incoming { only_once: true, ..message("orders", b"{}", &[]) };
    let order = async {
        until("taken", || stage.tasks.running() == ["bulk"]).await;
        stage.consumer.stop.trigger();
    };
    let again = message("orders", b"{}", &[]);
    let both = async { tokio::join!(stage.sink.accept(once.clone()), stage.sink.accept(again)) };
    let (got, ()) = tokio::join!(both, order);
    assert_eq!(got.1, Settlement::Retry);
    stage.sink.accept(once).await;
    assert_eq!(stage.entries_asked(), [1, 1]);
}

#[tokio::test]
async fn an_app_that_is_gone_is_reported() {
    let stage = stage(spec(&[("", "/x")], "", ""), (1, 1)).await;
    stage.app.go().await;
    expect(&stage.hand(&["{}"]).await, "r", &[]);
    stage.consumer.app_is_gone.notified().await;
}

/// An entry that no sidecar wrote has no metadata, and neither has its letter.
#[tokio::test]
async fn what_came_without_metadata_leaves_a_letter_without() {
    let stage = stage(spec(&[("event.n < 3", "/x")], "dead", ""), (3, 5000)).await;
    stage.app.answer("/x", 200, "statuses RETRY");
    let got = stage.hand_with(&[], &[r#"{"n":1}"#, r#"{"n":3}"#, "not json"]).await;
    expect(&got, "aaa", &[r#"{"n":1} -"#, r#"{"n":3} -"#, "not json -"]);
}

#[tokio::test]
async fn an_unhealthy_app_is_not_asked_and_the_batch_is_handed_back() {
    let app = App::start(&[("/x", 200, "statuses SUCCESS SUCCESS")]).await;
    let (tasks, stop) = (Tasks::new(), Stop::new());
    let health = app.watched(&tasks, &stop);
    let orders = spec(&[("", "/x")], "dead", "");
    let policies = "retries: {r: {duration: 1ms, maxRetries: 2}}";
    let stage = stage_with(app, Some(health.clone()), policies, orders, (2, 5000));
    let batch = [r#"{"id":"1"}"#, r#"{"id":"2"}"#];
    expect(&stage.hand(&batch).await, "rr", &[]);
    assert!(stage.app.events().is_empty());
    stage.app.answer("/healthz", 200, "");
    health.healthy().await;
    expect(&stage.hand(&batch).await, "aa", &[]);
    assert_eq!(stage.entries_asked(), [2]);
    stop.trigger();
    tasks.ended().await;
}

#[test]
fn limits_have_defaults_and_a_bound() {
    for (count, wait, expected) in
        [(0, 0, (100, 1000)), (-1, -1, (100, 1000)), (7, 10, (7, 10)), (i32::MAX, i32::MAX, (10_000, 2_147_483_647))]
    {
        let limits =
            BatchLimits::of(BulkSpec { enabled: true, max_messages_count: count, max_await_duration_ms: wait });
        let got = (limits.count, limits.wait.as_millis());
        assert_eq!(got, expected, "{count} {wait}");
    }
}
