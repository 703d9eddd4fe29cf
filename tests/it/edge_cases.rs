//! Rows of "edge cases worth a test" (tests/spec/delivery.md; tests/spec/resources-cli.md, "14. Edge cases worth a
//! test") that no recorded case covers, because the recordings do not compare the words of the log, or because they
//! need a moment of their own.

use std::fmt::Write as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use nix::sys::signal::Signal;
use serde_json::Value;
use tokio::time::Instant;

use crate::support::app::{Answer, App};
use crate::support::http::{call, ready};
use crate::support::port::free_port;
use crate::support::process::{Process, sidestream};
use crate::support::redis::RedisServer;
use crate::support::sidecar::redis_component;
use crate::support::{PATIENCE, eventually};

const MEMORY: &str = "apiVersion: dapr.io/v1alpha1\nkind: Component\nmetadata: {name: pubsub}\nspec:\n  type: pubsub.in-memory\n  version: v1\n  metadata:\n  - {name: note, value: none}\n";
const EVENT: (&str, &str) = ("Content-Type", "application/cloudevents+json");
const JSON: (&str, &str) = ("Content-Type", "application/json");

/// A sidecar whose log the test reads.
struct Sidecar {
    process: Process,
    http: u16,
    folder: tempfile::TempDir,
}

impl Sidecar {
    /// Starts with these resource files and an app on this port, without waiting for anything.
    fn start(files: &[(&str, &str)], app_port: u16, more: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        for (name, text) in files {
            std::fs::write(folder.path().join(name), text).unwrap();
        }
        let http = free_port();
        let [http_port, grpc, app] = [http, free_port(), app_port].map(|port| port.to_string());
        let mut command = sidestream([
            "--app-id=app",
            "--dapr-listen-addresses=127.0.0.1",
            "--metrics-listen-address=127.0.0.1",
            "--log-as-json",
            "--log-level=debug",
            "--dapr-http-port",
            &http_port,
            "--dapr-grpc-port",
            &grpc,
            "--app-port",
            &app,
        ]);
        command.arg("--resources-path").arg(folder.path()).args(more);
        Self { process: Process::start(command), http, folder }
    }

    /// The log so far, each line as `level: message`.
    fn log(&self) -> Vec<String> {
        let said = self.process.said();
        let whole_lines = said.lines().filter(|line| line.ends_with('}'));
        let entries = whole_lines.map(|line| serde_json::from_str::<Value>(line).unwrap());
        let text = |entry: Value| {
            let [level, message] = ["level", "msg"].map(|name| entry[name].as_str().unwrap_or_default().to_owned());
            format!("{level}: {message}")
        };
        entries.map(text).collect()
    }

    /// Waits until the log has exactly this line.
    async fn logs(&self, expected: &str) {
        let waiting = async {
            while !self.log().iter().any(|line| line == expected) {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        if tokio::time::timeout(PATIENCE, waiting).await.is_err() {
            panic!("not logged: {expected}\nbut\n{}", self.log().join("\n"));
        }
    }

    async fn post(&self, path: &str, header: (&str, &str), body: &str) -> u16 {
        call("POST", self.http, path, &[header], body).await.unwrap().status
    }
}

/// The log lines about an app that answers `GET /dapr/subscribe` with this.
#[tokio::test]
async fn the_log_names_what_is_wrong_with_the_apps_list() {
    let check = async |status: u16, answer: &str, expected: &[&str]| {
        let app = App::start_answering(status, answer, |_| Answer::success()).await;
        let sidecar = Sidecar::start(&[("pubsub.yaml", MEMORY)], app.port, &["--enable-metrics=false"]);
        for line in expected {
            sidecar.logs(line).await;
        }
    };
    for status in [500, 403, 302] {
        let expected = format!(
            "error: app returned http status code {status} from subscription endpoint (GET /dapr/subscribe was answered with status {status}, no Content-Type and a body that begins \"[]\")"
        );
        check(status, "[]", &[&expected]).await;
    }
    check(404, "", &["debug: user app did not subscribe to any topic"]).await;
    check(
        200,
        "{}",
        &["error: error getting topics from app: list of subscriptions cannot be an object (GET /dapr/subscribe was answered with status 200, no Content-Type and a body that begins \"{}\")"],
    )
    .await;
    check(
        200,
        r#"[{"pubsubname":"pubsub","topic":"t","route":"/t","metadata":{"rawPayload":true}}]"#,
        &[r#"error: error getting topics from app: metadata.rawPayload cannot be a boolean (GET /dapr/subscribe was answered with status 200, no Content-Type and a body that begins "[{\"pubsubname\":\"pubsub\",\"topic\":\"t\",\"route\":\"/t\",\"metadata\":{\"ra")"#],
    )
    .await;
    check(
        200,
        r#"[{"pubsubname":"pubsub","topic":"t"},{"pubsubname":"pubsub","topic":"u","route":"/u"}]"#,
        &[
            "warning: topic t has an empty routes. removing from subscriptions list",
            "info: app is subscribed to the following topics: [[u]] through pubsub=pubsub",
        ],
    )
    .await;
    check(
        200,
        r#"[{"pubsubname":"pubsb","topic":"t","route":"/t"}]"#,
        &["warning: the app subscribes to t of the pub/sub pubsb, which is not loaded: nothing is delivered from it; did you mean pubsub? Loaded: pubsub"],
    )
    .await;
    check(
        200,
        r#"[{"pubsubname":"pubsub","topic":"t","routes":{"rules":[{"match":"event.type ==","path":"/t"}]}}]"#,
        &["warning: failed to subscribe to topics: subscription to topic t of pubsub pubsub: rule 1, match `event.type ==`: ERROR: <input>:1:14: Syntax error: mismatched input '<EOF>' expecting expression\n| event.type ==\n| .............^"],
    )
    .await;
}

#[tokio::test]
async fn an_app_that_is_asked_in_vain_again_and_again_is_told_about_once() {
    let app = App::start("{}", |_| Answer::success()).await;
    let sidecar = Sidecar::start(&[("pubsub.yaml", MEMORY)], app.port, &["--enable-metrics=false"]);
    eventually("asked for the third time", || async { app.asked() >= 3 }).await;
    let problem = "error getting topics from app: list of subscriptions cannot be an object (GET /dapr/subscribe was answered with status 200, no Content-Type and a body that begins \"{}\")";
    let told = sidecar.log().into_iter().filter(|line| line.contains(problem));
    assert_eq!(
        told.collect::<Vec<_>>(),
        [format!("error: {problem}"), format!("warning: failed to subscribe to topics: {problem}")]
    );
}

/// The log lines about one event with the id e1, for a subscription with these keys and an app that answers this.
#[tokio::test]
async fn the_log_says_what_became_of_an_event() {
    let check = async |subscription: &str, answer: (u16, &'static str), event: &str, expected: &[&str]| {
        let list = format!(r#"[{{"pubsubname":"pubsub","topic":"t",{subscription}}}]"#);
        let app = App::start(&list, move |_| Answer { body: answer.1, ..Answer::status(answer.0) }).await;
        let sidecar = Sidecar::start(&[("pubsub.yaml", MEMORY)], app.port, &["--enable-metrics=false"]);
        ready(sidecar.http).await;
        let raw = if event.starts_with('{') { "" } else { "?metadata.rawPayload=true" };
        let path = format!("/v1.0/publish/pubsub/t{raw}");
        assert_eq!(sidecar.post(&path, EVENT, event).await, 204);
        for line in expected {
            sidecar.logs(line).await;
        }
    };
    let route = r#""route":"/t""#;
    let event = r#"{"id":"e1","type":"order","data":{"n":1}}"#;
    let rule = |text: &str| {
        let mut json = String::new();
        write!(json, r#""routes":{{"rules":[{{"match":"{text}","path":"/t"}}]}}"#).unwrap();
        json
    };
    // Expired, undecodable.
    check(
        route,
        (200, ""),
        r#"{"id":"e1","expiration":"2020-01-01T00:00:00Z"}"#,
        &["warning: dropping expired pub/sub event e1 as of 2020-01-01T00:00:00Z"],
    )
    .await;
    check(
        route,
        (200, ""),
        "not json",
        &["error: error deserializing cloud event in pubsub pubsub and topic t: expected ident at line 1 column 2"],
    )
    .await;
    // Routing.
    for (text, problem) in [
        ("event.data.x == 1", "no such key: x"),
        ("event.data.n + 1 == 2", "no such overload"),
        ("event.type", "the result of match expression event.type was not a boolean"),
        ("foo == 1", "no such attribute(s): foo"),
    ] {
        let remedy = if problem.starts_with("no such key") {
            "; a field that may be missing is asked for with has(...) first, for example has(event.data.x) && event.data.x == 1"
        } else {
            ""
        };
        let expected = format!(
            "error: error finding matching route for event e1 in pubsub pubsub and topic t: {problem} (rule 1, match `{text}`; later rules and the default are not tried{remedy})"
        );
        check(&rule(text), (200, ""), event, &[&expected]).await;
    }
    check(
        &rule("event.data.n == 2"),
        (200, ""),
        event,
        &["debug: no matching route for event e1 in pubsub pubsub and topic t; skipping"],
    )
    .await;
    // The app's answer.
    let retriable = "warning: encountered a retriable error while publishing a subscribed message to topic t, err: ";
    for (answer, expected) in [
        ((200, r#"{"status":"RETRY"}"#), format!("{retriable}<nil>")),
        (
            (200, r#"{"status":"success"}"#),
            format!("{retriable}unknown status returned from app while processing pub/sub event e1, status: success, err: retriable error occurred"),
        ),
        (
            (200, r#"{"Status":"DROP"}"#),
            "warning: DROP status returned from app while processing pub/sub event e1".to_owned(),
        ),
        (
            (404, "gone"),
            "error: non-retriable error returned from app while processing pub/sub event e1: gone. status code returned: 404".to_owned(),
        ),
        (
            (503, "busy"),
            "warning: retriable error returned from app while processing pub/sub event e1, topic: t, body: busy. status code returned: 503".to_owned(),
        ),
        (
            (302, ""),
            "warning: retriable error returned from app while processing pub/sub event e1, topic: t, body: . status code returned: 302".to_owned(),
        ),
    ] {
        check(route, answer, event, &[&expected]).await;
    }
}

#[tokio::test]
async fn the_log_names_what_the_scopes_forbid() {
    let forbidden = format!("{MEMORY}  - {{name: subscriptionScopes, value: 'app=other'}}\n");
    let list = r#"[{"pubsubname":"pubsub","topic":"t","route":"/t"}]"#;
    let app = App::start(list, |_| Answer::success()).await;
    let sidecar = Sidecar::start(&[("pubsub.yaml", &forbidden)], app.port, &["--enable-metrics=false"]);
    sidecar
        .logs("error: Failed to start subscription for pubsub pubsub, topic t: subscription to topic 't' on pubsub 'pubsub' is not allowed")
        .await;

    // The app may not publish to the dead-letter topic: the event is kept, not lost.
    let forbidden = format!("{MEMORY}  - {{name: protectedTopics, value: dead}}\n");
    let list = r#"[{"pubsubname":"pubsub","topic":"t","route":"/t","deadLetterTopic":"dead"}]"#;
    let app = App::start(list, |_| Answer { body: r#"{"status":"DROP"}"#, ..Answer::success() }).await;
    let sidecar = Sidecar::start(&[("pubsub.yaml", &forbidden)], app.port, &["--enable-metrics=false"]);
    ready(sidecar.http).await;
    assert_eq!(sidecar.post("/v1.0/publish/pubsub/t", JSON, "1").await, 204);
    sidecar
        .logs("error: error sending message to dead letter, origin topic: t dead letter topic dead err: topic dead is not allowed for app id app")
        .await;
    eventually("the event comes again", || async { app.seen().len() >= 2 }).await;
}

#[tokio::test]
async fn a_bad_rule_in_a_file_ends_the_sidecar_with_its_reason() {
    let subscription = "apiVersion: dapr.io/v2alpha1\nkind: Subscription\nmetadata: {name: s}\nspec:\n  pubsubname: pubsub\n  topic: t\n  routes: {rules: [{match: event.type ==, path: /t}]}\n";
    let files = [("pubsub.yaml", MEMORY), ("s.yaml", subscription)];
    let mut sidecar = Sidecar::start(&files, 0, &["--enable-metrics=false"]);
    assert_eq!(sidecar.process.ended().await, 1);
    let file = sidecar.folder.path().join("s.yaml");
    let expected = format!(
        "fatal: Fatal error from runtime: failed to load declarative subscriptions: subscription s ({}:1): rule 1, match `event.type ==`: ERROR: <input>:1:14: Syntax error: mismatched input '<EOF>' expecting expression\n| event.type ==\n| .............^",
        file.display()
    );
    sidecar.logs(&expected).await;
}

/// The path that receives the events of topic `t`.
#[tokio::test]
async fn of_two_files_for_a_topic_the_first_counts_whatever_their_versions() {
    let old = |path: &str| {
        format!(
            "apiVersion: dapr.io/v1alpha1\nkind: Subscription\nmetadata: {{name: old}}\nspec: {{pubsubname: pubsub, topic: t, route: {path}}}\n"
        )
    };
    let new = |path: &str| {
        format!(
            "apiVersion: dapr.io/v2alpha1\nkind: Subscription\nmetadata: {{name: new}}\nspec: {{pubsubname: pubsub, topic: t, routes: {{default: {path}}}}}\n"
        )
    };
    for (first, second, list, expected) in [
        (old("/first"), new("/second"), "[]", "/first"),
        (new("/first"), old("/second"), "[]", "/first"),
        (old("/first"), new("/second"), r#"[{"pubsubname":"pubsub","topic":"t","route":"/app"}]"#, "/app"),
    ] {
        let app = App::start(list, |_| Answer::success()).await;
        let files = [("pubsub.yaml", MEMORY), ("a.yaml", &first), ("b.yaml", &second)];
        let sidecar = Sidecar::start(&files, app.port, &["--enable-metrics=false"]);
        ready(sidecar.http).await;
        assert_eq!(sidecar.post("/v1.0/publish/pubsub/t", JSON, "1").await, 204);
        eventually("the event arrives", || async { !app.seen().is_empty() }).await;
        assert_eq!(app.seen()[0].path, expected, "{first}{second}{list}");
    }
}

#[tokio::test]
async fn an_error_in_a_rule_counts_as_a_retry() {
    let list = r#"[{"pubsubname":"pubsub","topic":"t","routes":{"rules":[{"match":"event.data.x == 1","path":"/x"}],"default":"/t"}}]"#;
    let app = App::start(list, |_| Answer::success()).await;
    let metrics = free_port();
    let sidecar = Sidecar::start(&[("pubsub.yaml", MEMORY)], app.port, &["--metrics-port", &metrics.to_string()]);
    ready(sidecar.http).await;
    assert_eq!(sidecar.post("/v1.0/publish/pubsub/t", JSON, r#"{"n":1}"#).await, 204);
    let counted = r#"dapr_component_pubsub_ingress_count{app_id="app",component="pubsub",namespace="",process_status="retry",status="retry",topic="t"} "#;
    eventually("it is counted", || async {
        let page = call("GET", metrics, "/", &[], "").await;
        page.is_some_and(|page| page.body.contains(counted))
    })
    .await;
    assert!(app.seen().is_empty(), "the default is not tried");
}

/// In daprd a batch from the in-memory broker is always one event (tests/spec/delivery.md, "B15. Bulk subscribe"); D18 lets it fill.
#[tokio::test]
async fn in_memory_events_gather_until_the_wait_is_over() {
    let list = r#"[{"pubsubname":"pubsub","topic":"t","route":"/t","bulkSubscribe":{"enabled":true,"maxMessagesCount":10,"maxAwaitDurationMs":1000}}]"#;
    let app = App::start(list, |_| Answer::success()).await;
    let sidecar = Sidecar::start(&[("pubsub.yaml", MEMORY)], app.port, &["--enable-metrics=false"]);
    ready(sidecar.http).await;
    let begun = Instant::now();
    let two = r#"[{"entryId":"1","event":1,"contentType":"application/json"},{"entryId":"2","event":2,"contentType":"application/json"}]"#;
    assert_eq!(sidecar.post("/v1.0/publish/bulk/pubsub/t", JSON, two).await, 204);
    eventually("a batch", || async { !app.seen().is_empty() }).await;
    assert!(begun.elapsed() >= Duration::from_secs(1), "{:?}", begun.elapsed());
    let batch: Value = serde_json::from_slice(&app.seen()[0].body).unwrap();
    assert_eq!(batch["entries"].as_array().unwrap().len(), 2);
}

#[tokio::test]
async fn a_blocked_stop_finishes_what_the_app_has_and_leaves_the_rest() {
    let redis = RedisServer::start().await;
    let list = r#"[{"pubsubname":"pubsub","topic":"orders","route":"/orders"}]"#;
    let begun = Arc::new(AtomicUsize::new(0));
    let calls = begun.clone();
    let app = App::start(list, move |_| {
        calls.fetch_add(1, Ordering::SeqCst);
        Answer::success().after(Duration::from_millis(1500))
    })
    .await;
    let component = redis_component(redis.port);
    let more = ["--enable-metrics=false", "--dapr-block-shutdown-duration=10s"];
    let mut sidecar = Sidecar::start(&[("pubsub.yaml", &component)], app.port, &more);
    ready(sidecar.http).await;
    let publish = "/v1.0/publish/pubsub/orders";
    assert_eq!(sidecar.post(publish, JSON, "1").await, 204);
    let reads = async || {
        let clients: String = redis.call(&["CLIENT", "LIST"]).await;
        clients.lines().any(|client| client.contains("flags=b"))
    };
    eventually("the app has it, and the next one is waited for", || async {
        begun.load(Ordering::SeqCst) == 1 && reads().await
    })
    .await;
    sidecar.process.signal(Signal::SIGTERM);
    sidecar.logs("info: Blocking graceful shutdown for 10s or until app reports unhealthy...").await;
    // A read in progress would still bring the event and hand it back; this test is not about that, so wait for its
    // end.
    eventually("nothing more is read", || async { !reads().await }).await;
    assert_eq!(sidecar.post(publish, JSON, "2").await, 204);
    redis.settled("orders", "app").await;
    assert_eq!(app.seen().len(), 1, "the call was finished");
    assert_eq!(sidecar.post(publish, JSON, "3").await, 204);
    assert_eq!(sidecar.process.ended().await, 0);
    sidecar.logs("info: Block shutdown period expired, entering shutdown...").await;
    assert_eq!(begun.load(Ordering::SeqCst), 1, "and no other was begun");
    assert_eq!(redis.pending("orders", "app").await, 0, "what came later is not even read");
    let kept: i64 = redis.call(&["XLEN", "orders"]).await;
    assert_eq!(kept, 3);
}
