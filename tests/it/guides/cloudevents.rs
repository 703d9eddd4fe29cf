//! "Publishing and subscribing messages with CloudEvents": the envelope, its overrides, and an envelope of one's own.

use serde_json::{Value, json};

use super::{Desk, EVENT, post, prints_json, publish, ready, redis};
use crate::support::port::free_port;
use crate::support::redis::RedisServer;

const APP: &str = r#"
import json
from serving import serve

def subscribe(event, headers):
    return [{"pubsubname": "order-pub-sub", "topic": "orders", "route": "/orders"}]

def orders(event, headers):
    print("got", headers["Content-Type"], flush=True)
    print("event", json.dumps(event), flush=True)
    return 200

serve({"GET /dapr/subscribe": subscribe, "POST /orders": orders})
"#;

fn attributes(event: &Value) -> Vec<&str> {
    let object = event.as_object().unwrap();
    object.keys().map(String::as_str).collect()
}

#[tokio::test]
async fn an_event_is_wrapped_overridden_or_brought_along() {
    let server = RedisServer::start().await;
    let desk =
        Desk::new().file("app.py", APP).file("components/pubsub.yaml", &redis("order-pub-sub", server.port, &[], ""));
    let (app, http) = (free_port(), free_port());
    let run = desk.run(&format!(
        "--app-id checkout --app-port {app} --dapr-http-port {http} --resources-path components -- python3 app.py"
    ));
    ready(http).await;

    publish(http, "order-pub-sub/orders", r#"{"orderId": 1}"#).await;
    let events = prints_json(&run, "event ", 1).await;
    assert_eq!(
        attributes(&events[0]),
        [
            "data",
            "datacontenttype",
            "id",
            "pubsubname",
            "source",
            "specversion",
            "time",
            "topic",
            "traceid",
            "traceparent",
            "tracestate",
            "type"
        ]
    );
    let told = ["source", "type", "specversion", "data"].map(|name| &events[0][name]);
    assert_eq!(told, [&json!("checkout"), &json!("com.dapr.event.sent"), &json!("1.0"), &json!({"orderId": 1})]);

    let overrides = "order-pub-sub/orders?metadata.cloudevent.source=payment&metadata.cloudevent.id=d99b228f-6c73-4e78-8c4d-3f80a043d317";
    publish(http, overrides, r#"{"orderId": 2}"#).await;
    let events = prints_json(&run, "event ", 2).await;
    let told = ["source", "id", "type"].map(|name| &events[1][name]);
    assert_eq!(
        told,
        [&json!("payment"), &json!("d99b228f-6c73-4e78-8c4d-3f80a043d317"), &json!("com.dapr.event.sent")]
    );

    let own = r#"{"specversion": "1.0", "type": "com.dapr.cloudevent.sent", "source": "testcloudeventspubsub", "subject": "Cloud Events Test",
        "id": "someCloudEventId", "time": "2021-08-02T09:00:00Z", "datacontenttype": "application/cloudevents+json", "data": {"orderId": "100"}, "of": "mine"}"#;
    let answer = post(http, "/v1.0/publish/order-pub-sub/orders", EVENT, own).await;
    assert_eq!(answer.status, 204);
    let events = prints_json(&run, "event ", 3).await;
    let mut expected: Value = serde_json::from_str(own).unwrap();
    let added = [
        ("pubsubname", "order-pub-sub"),
        ("topic", "orders"),
        ("traceid", ""),
        ("traceparent", ""),
        ("tracestate", ""),
    ];
    for (name, value) in added {
        expected[name] = json!(value);
    }
    assert_eq!(events[2], expected);
    let types = super::printed(&run, "got ");
    assert_eq!(types, ["application/cloudevents+json"; 3]);
}
