//! "Publish and subscribe to bulk messages".

use serde_json::{Value, json};

use super::{Desk, JSON, post, prints_json, ready, redis};
use crate::support::port::free_port;
use crate::support::process::Process;
use crate::support::redis::RedisServer;

const SUBSCRIPTION: &str = "
apiVersion: dapr.io/v2alpha1
kind: Subscription
metadata:
  name: order-pub-sub
spec:
  topic: orders
  routes:
    default: /checkout
  pubsubname: order-pub-sub
  bulkSubscribe:
    enabled: true
    maxMessagesCount: 100
    maxAwaitDurationMs: 40
scopes:
- orderprocessing
- checkout
";

/// Answers each event with the status in its data; RETRY only once.
const APP: &str = r#"
import json
from serving import serve

SUBSCRIPTIONS = []
seen = set()

def subscribe(event, headers):
    return SUBSCRIPTIONS

def status(entry):
    data = entry["event"]["data"]
    wanted = data.get("status", "SUCCESS") if isinstance(data, dict) else "SUCCESS"
    first = entry["event"]["id"] not in seen
    seen.add(entry["event"]["id"])
    return wanted if first or wanted == "DROP" else "SUCCESS"

def checkout(message, headers):
    print("bulk", json.dumps(message), flush=True)
    statuses = [{"entryId": entry["entryId"], "status": status(entry)} for entry in message["entries"]]
    return {"statuses": [s for s in statuses if s["status"] != "FORGOTTEN"]}

serve({"GET /dapr/subscribe": subscribe, "POST /checkout": checkout})
"#;

const PROGRAMMATIC: &str = r#"[{"pubsubname": "order-pub-sub", "topic": "orders", "route": "/checkout",
    "bulkSubscribe": {"enabled": True, "maxMessagesCount": 2, "maxAwaitDurationMs": 5000}}]"#;

const TWO: &str = r#"[
    {"entryId": "ae6bf7c6-4af2-11ed-b878-0242ac120002", "event": "first text message", "contentType": "text/plain"},
    {"entryId": "b1f40bd6-4af2-11ed-b878-0242ac120002", "event": {"message": "second JSON message"}, "contentType": "application/json"}
]"#;

fn desk(server: &RedisServer) -> Desk {
    Desk::new().file("app.py", APP).file("components/pubsub.yaml", &redis("order-pub-sub", server.port, &[], ""))
}

async fn run(desk: &Desk) -> (Process, u16) {
    let (app, http) = (free_port(), free_port());
    let run = desk.run(&format!(
        "--app-id checkout --app-port {app} --dapr-http-port {http} --resources-path ./components -- python3 app.py"
    ));
    ready(http).await;
    (run, http)
}

/// The data of all events, one list per request.
async fn batches(run: &Process, count: usize) -> Vec<Vec<Value>> {
    let messages = prints_json(run, "bulk ", count).await;
    let batches = messages.iter().map(|message| {
        let entries = message["entries"].as_array().unwrap();
        let data = entries.iter().map(|entry| entry["event"]["data"].clone());
        data.collect()
    });
    batches.collect()
}

/// The data of the first `count` events, as text, sorted.
async fn events(run: &Process, count: usize) -> Vec<String> {
    crate::support::eventually("events", || async {
        batches(run, 0).await.iter().map(Vec::len).sum::<usize>() >= count
    })
    .await;
    let all = batches(run, 0).await.concat();
    let mut texts: Vec<String> = all.iter().map(Value::to_string).collect();
    texts.sort_unstable();
    texts
}

#[tokio::test]
async fn many_messages_are_published_in_one_call_and_got_in_one_request() {
    let server = RedisServer::start().await;
    let desk = desk(&server).file("components/subscription.yaml", SUBSCRIPTION);
    let (run, http) = run(&desk).await;
    let paths = ["/v1.0-alpha1/publish/bulk/", "/v1.0/publish/bulk/"];
    for path in paths {
        let answer = post(http, &format!("{path}order-pub-sub/orders"), JSON, TWO).await;
        assert_eq!((answer.status, answer.body.as_str()), (204, ""));
    }
    let (text, json) = (r#""first text message""#, r#"{"message":"second JSON message"}"#);
    assert_eq!(events(&run, 4).await, [text, text, json, json]);
    let message = &prints_json(&run, "bulk ", 1).await[0];
    assert_eq!(message["type"], "com.dapr.event.sent.bulk");
    assert_eq!(message["topic"], "orders");
    server.settled("orders", "checkout").await;
}

#[tokio::test]
async fn each_message_has_its_own_status() {
    let server = RedisServer::start().await;
    let desk = desk(&server).file("components/subscription.yaml", SUBSCRIPTION);
    let (run, http) = run(&desk).await;
    let statuses = ["SUCCESS", "RETRY", "DROP", "FORGOTTEN"];
    let entries = statuses
        .map(|status| json!({"entryId": status, "contentType": "application/json", "event": {"status": status}}));
    let answer = post(http, "/v1.0-alpha1/publish/bulk/order-pub-sub/orders", JSON, &json!(entries).to_string()).await;
    assert_eq!(answer.status, 204);
    // Events with RETRY and events missing in the answer are redelivered; dropped ones are logged.
    let told = |status: &str| format!(r#"{{"status":"{status}"}}"#);
    let expected = ["DROP", "FORGOTTEN", "FORGOTTEN", "RETRY", "RETRY", "SUCCESS"].map(told);
    assert_eq!(events(&run, 6).await, expected);
    run.says("DROP status returned from app while processing pub/sub event ").await;
    server.settled("orders", "checkout").await;
    assert_eq!(events(&run, 6).await, expected);
}

#[tokio::test]
async fn an_app_says_how_many_it_wants_at_once() {
    let server = RedisServer::start().await;
    let app = APP.replace("SUBSCRIPTIONS = []", &format!("SUBSCRIPTIONS = {PROGRAMMATIC}"));
    let desk = desk(&server).file("app.py", &app);
    let (run, http) = run(&desk).await;
    for _ in 0..2 {
        let path = "/v1.0-alpha1/publish/bulk/order-pub-sub/orders";
        assert_eq!(post(http, path, JSON, TWO).await.status, 204);
    }
    let sizes: Vec<usize> = batches(&run, 2).await.iter().map(Vec::len).collect();
    assert_eq!(sizes, [2, 2]);
}

#[tokio::test]
async fn what_could_not_be_published_is_named() {
    let server = RedisServer::start().await;
    let desk = desk(&server);
    let http = free_port();
    let _sidecar = desk.daprd(&[], &format!("--app-id checkout --dapr-http-port {http} --resources-path components"));
    ready(http).await;
    let () = server.call(&["SET", "orders", "not a stream"]).await;
    let answer = post(http, "/v1.0-alpha1/publish/bulk/order-pub-sub/orders", JSON, TWO).await;
    assert_eq!(answer.status, 500, "{answer:?}");
    let body: Value = serde_json::from_str(&answer.body).unwrap();
    assert_eq!(body["errorCode"], "ERR_PUBSUB_PUBLISH_MESSAGE");
    let mut ids: Vec<&str> =
        body["failedEntries"].as_array().unwrap().iter().map(|entry| entry["entryId"].as_str().unwrap()).collect();
    ids.sort_unstable();
    assert_eq!(ids, ["ae6bf7c6-4af2-11ed-b878-0242ac120002", "b1f40bd6-4af2-11ed-b878-0242ac120002"]);
}
