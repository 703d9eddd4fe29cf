//! "Message time-to-live": a message that has expired before its subscriber starts is not delivered.

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use serde_json::Value;

use super::{Desk, prints, prints_json, publish, ready, redis};
use crate::support::eventually;
use crate::support::port::free_port;
use crate::support::redis::RedisServer;

const APP: &str = r#"
import json
from serving import serve

def subscribe(event, headers):
    return [{"pubsubname": "pubsub", "topic": "TOPIC_A", "route": "/a"}]

def a(event, headers):
    print("event", json.dumps(event), flush=True)
    return 200

serve({"GET /dapr/subscribe": subscribe, "POST /a": a})
"#;

fn expiration(event: &Value) -> DateTime<Utc> {
    event["expiration"].as_str().unwrap().parse().unwrap()
}

#[tokio::test]
async fn a_message_whose_time_is_over_is_not_delivered() {
    let server = RedisServer::start().await;
    let desk = Desk::new().file("app.py", APP).file("components/pubsub.yaml", &redis("pubsub", server.port, &[], ""));
    let publisher = free_port();
    let line = format!("--app-id publisher --dapr-http-port {publisher} --resources-path components");
    let _publisher = desk.daprd(&[], &line);
    ready(publisher).await;
    for (query, number) in [("?metadata.ttlInSeconds=1", 1), ("?metadata.ttlInSeconds=120", 2), ("", 3)] {
        let order = format!(r#"{{"order-number": {number}}}"#);
        publish(publisher, &format!("pubsub/TOPIC_A{query}"), &order).await;
    }
    // Programs without a sidecar find the expiry time in the event.
    let entries: Vec<(String, HashMap<String, String>)> = server.call(&["XRANGE", "TOPIC_A", "-", "+"]).await;
    let first: Value = serde_json::from_str(&entries[0].1["data"]).unwrap();
    eventually("the first is too old", || async { expiration(&first) < Utc::now() }).await;

    let (app, http) = (free_port(), free_port());
    let run = desk.run(&format!(
        "--app-id app1 --app-port {app} --dapr-http-port {http} --resources-path components -- python3 app.py"
    ));
    let mut events = prints_json(&run, "event ", 2).await;
    server.settled("TOPIC_A", "app1").await;
    events.sort_by_key(|event| event["data"]["order-number"].as_u64());
    let numbers: Vec<&Value> = events.iter().map(|event| &event["data"]["order-number"]).collect();
    assert_eq!(numbers, [2, 3]);
    let left = expiration(&events[0]) - Utc::now();
    assert!(left.num_seconds() > 30 && left.num_seconds() <= 120, "{left}");
    assert_eq!(events[1].get("expiration"), None);
    assert_eq!(prints(&run, "event ", 2).await.len(), 2);
    let id = first["id"].as_str().unwrap();
    run.says(&format!("dropping expired pub/sub event {id} as of ")).await;
}
