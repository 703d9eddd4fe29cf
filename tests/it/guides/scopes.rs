//! "Scope pub/sub topic access": the tables of the guide, for each of its apps and topics.

use std::collections::HashMap;

use serde_json::{Value, json};

use super::{Desk, JSON, curl, post, ready, redis};
use crate::support::eventually;
use crate::support::port::free_port;
use crate::support::redis::RedisServer;

const APP: &str = r#"
import os
from serving import serve

TOPICS = os.environ["TOPICS"].split(",")

def subscribe(event, headers):
    return [{"pubsubname": "pubsub", "topic": topic, "route": "/" + topic} for topic in TOPICS]

serve({"GET /dapr/subscribe": subscribe, **{"POST /" + topic: lambda event, headers: 200 for topic in TOPICS}})
"#;

/// A row of the guide's tables: the topics an app may publish to, and those it may subscribe to.
type Row<'a> = (&'a str, &'a [&'a str], &'a [&'a str]);

async fn check(settings: &[(&str, &str)], topics: &[&str], rows: &[Row<'_>]) {
    let server = RedisServer::start().await;
    let component = redis("pubsub", server.port, settings, "");
    // The component of the guide is in the namespace `default`.
    let component = component.replace("name: pubsub\n", "name: pubsub\n  namespace: default\n");
    let desk = Desk::new().file("app.py", APP).file("components/pubsub.yaml", &component);
    for (app_id, publishing, subscribing) in rows {
        let (app, http) = (free_port(), free_port());
        let _run = desk.run_with(
            &[("TOPICS", &topics.join(","))],
            &format!("--app-id {app_id} --app-port {app} --dapr-http-port {http} --resources-path components -- python3 app.py"),
        );
        ready(http).await;
        for topic in topics {
            let path = format!("/v1.0/publish/pubsub/{topic}");
            let answer = post(http, &path, JSON, "{}").await;
            let expected = if publishing.contains(topic) { 204 } else { 403 };
            assert_eq!(answer.status, expected, "{app_id} {topic}: {answer:?}");
            if expected == 403 {
                let body: Value = serde_json::from_str(&answer.body).unwrap();
                assert_eq!(
                    (&body["errorCode"], &body["message"]),
                    (
                        &json!("ERR_PUBSUB_FORBIDDEN"),
                        &json!(format!("topic {topic} is not allowed for app id {app_id}"))
                    )
                );
            }
        }
        eventually(&format!("the subscriptions of {app_id}"), || async {
            groups(&server, app_id, topics).await == *subscribing
        })
        .await;
    }
}

/// The topics that a sidecar of this app has subscribed to.
async fn groups<'a>(server: &RedisServer, app_id: &str, topics: &[&'a str]) -> Vec<&'a str> {
    let mut found = Vec::new();
    for topic in topics {
        let exists: i64 = server.call(&["EXISTS", topic]).await;
        if exists == 0 {
            continue;
        }
        let groups: Vec<HashMap<String, deadpool_redis::redis::Value>> = server.call(&["XINFO", "GROUPS", topic]).await;
        let names = groups.iter().map(|group| {
            let name = group["name"].clone();
            deadpool_redis::redis::from_redis_value::<String>(name).unwrap()
        });
        if names.into_iter().any(|name| name == app_id) {
            found.push(*topic);
        }
    }
    found
}

#[tokio::test]
async fn topics_are_limited_to_some_apps() {
    check(
        &[("publishingScopes", "app1=topic1;app2=topic2,topic3;app3="), ("subscriptionScopes", "app2=;app3=topic1")],
        &["topic1", "topic2", "topic3"],
        &[
            ("app1", &["topic1"], &["topic1", "topic2", "topic3"]),
            ("app2", &["topic2", "topic3"], &[]),
            ("app3", &[], &["topic1"]),
        ],
    )
    .await;
}

#[tokio::test]
async fn some_topics_are_allowed_and_no_others() {
    check(
        &[("allowedTopics", "topic1,topic2,topic3")],
        &["topic1", "topic2", "topic3", "topic4"],
        &[("app1", &["topic1", "topic2", "topic3"], &["topic1", "topic2", "topic3"])],
    )
    .await;
}

#[tokio::test]
async fn allowed_topics_and_scopes_together() {
    check(
        &[("allowedTopics", "A,B"), ("publishingScopes", "app1=A"), ("subscriptionScopes", "app1=;app2=A")],
        &["A", "B", "C"],
        &[("app1", &["A"], &[]), ("app2", &["A", "B"], &["A"]), ("app3", &["A", "B"], &["A", "B"])],
    )
    .await;
}

#[tokio::test]
async fn protected_topics_are_for_those_who_are_named() {
    check(
        &[
            ("protectedTopics", "shipping,orders"),
            ("publishingScopes", "app1=orders"),
            ("subscriptionScopes", "app1=orders;app2=shipping"),
        ],
        &["orders", "shipping", "products"],
        &[("app1", &["orders"], &["orders"]), ("app2", &["products"], &["shipping"])],
    )
    .await;
}

#[tokio::test]
async fn metadata_lists_what_is_forbidden_all_the_same() {
    let server = RedisServer::start().await;
    let desk = Desk::new()
        .file("app.py", APP)
        .file("components/pubsub.yaml", &redis("pubsub", server.port, &[("subscriptionScopes", "app1=")], ""));
    let (app, http) = (free_port(), free_port());
    let run = desk.run_with(
        &[("TOPICS", "orders")],
        &format!(
            "--app-id app1 --app-port {app} --dapr-http-port {http} --resources-path components -- python3 app.py"
        ),
    );
    ready(http).await;
    run.says("subscription to topic 'orders' on pubsub 'pubsub' is not allowed").await;
    let answer = curl("GET", http, "/v1.0/metadata", &[], "").await.unwrap();
    let metadata: Value = serde_json::from_str(&answer.body).unwrap();
    assert_eq!(metadata["subscriptions"][0]["topic"], "orders");
}
