//! "Publishing and subscribing messages without CloudEvents", exchanged with programs that use Redis directly.

use std::collections::HashMap;

use super::{Desk, JSON, post, prints_json, ready, redis};
use crate::support::port::free_port;
use crate::support::redis::RedisServer;

const APP: &str = r#"
import base64, json
from serving import serve

SUBSCRIPTIONS = []

def dsstatus(event, headers):
    print("event", json.dumps(event), flush=True)
    print("data", base64.b64decode(event["data_base64"]).decode(), flush=True)
    return {"success": True}

serve({"GET /dapr/subscribe": lambda event, headers: SUBSCRIPTIONS, "POST /dsstatus": dsstatus})
"#;

/// The route has no leading slash, as in the guide.
const PROGRAMMATIC: &str = r#"[{"pubsubname": "pubsub", "topic": "deathStarStatus", "route": "dsstatus", "metadata": {"rawPayload": "true"}}]"#;

const SUBSCRIPTION: &str = r#"
apiVersion: dapr.io/v1alpha1
kind: Subscription
metadata:
  name: myevent-subscription
spec:
  topic: deathStarStatus
  route: /dsstatus
  pubsubname: pubsub
  metadata:
    rawPayload: "true"
scopes:
- app1
- app2
"#;

fn desk(server: &RedisServer) -> Desk {
    Desk::new().file("app.py", APP).file("components/pubsub.yaml", &redis("pubsub", server.port, &[], ""))
}

#[tokio::test]
async fn a_raw_message_is_in_the_stream_as_it_was_published() {
    let server = RedisServer::start().await;
    let desk = desk(&server);
    let http = free_port();
    let _sidecar = desk.daprd(&[], &format!("--app-id app1 --dapr-http-port {http} --resources-path components"));
    ready(http).await;
    let path = "/v1.0/publish/pubsub/TOPIC_A?metadata.rawPayload=true";
    let answer = post(http, path, JSON, r#"{"order-number": "345"}"#).await;
    assert_eq!(answer.status, 204);
    let entries: Vec<(String, HashMap<String, String>)> = server.call(&["XRANGE", "TOPIC_A", "-", "+"]).await;
    assert_eq!(entries.len(), 1);
    assert_eq!(entries[0].1["data"], r#"{"order-number": "345"}"#);
}

/// An entry that another program writes reaches the app in an envelope.
async fn is_wrapped(server: &RedisServer, desk: &Desk) {
    let (app, http) = (free_port(), free_port());
    let run = desk.run(&format!(
        "--app-id app1 --app-port {app} --dapr-http-port {http} --resources-path components -- python3 app.py"
    ));
    ready(http).await;
    let words = ["XADD", "deathStarStatus", "*", "data", "fully operational"];
    let _id: String = server.call(&words).await;
    let event = prints_json(&run, "event ", 1).await.remove(0);
    assert_eq!(run.says("== APP == data ").await, "fully operational");
    for (name, expected) in [
        ("specversion", "1.0"),
        ("type", "com.dapr.event.sent"),
        ("source", "Dapr"),
        ("topic", "deathStarStatus"),
        ("pubsubname", "pubsub"),
        ("datacontenttype", "application/octet-stream"),
    ] {
        assert_eq!(event[name], expected, "{name}");
    }
    server.settled("deathStarStatus", "app1").await;
}

#[tokio::test]
async fn an_app_subscribes_to_raw_messages() {
    let server = RedisServer::start().await;
    let app = APP.replace("SUBSCRIPTIONS = []", &format!("SUBSCRIPTIONS = {PROGRAMMATIC}"));
    let desk = desk(&server).file("app.py", &app);
    is_wrapped(&server, &desk).await;
}

#[tokio::test]
async fn a_file_subscribes_to_raw_messages() {
    let server = RedisServer::start().await;
    let desk = desk(&server).file("components/subscription.yaml", SUBSCRIPTION);
    is_wrapped(&server, &desk).await;
}
