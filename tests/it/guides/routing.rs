//! "Route messages to different event handlers", declarative and programmatic.

use super::{Desk, EVENT, post, prints, ready, redis};
use crate::support::port::free_port;
use crate::support::process::Process;
use crate::support::redis::RedisServer;

/// Early versions needed a feature switch; files with it must still work.
const CONFIGURATION: &str = "
apiVersion: dapr.io/v1alpha1
kind: Configuration
metadata:
  name: pubsubroutingconfig
spec:
  features:
    - name: PubSub.Routing
      enabled: true
";

const SUBSCRIPTION: &str = r#"
apiVersion: dapr.io/v2alpha1
kind: Subscription
metadata:
  name: myevent-subscription
spec:
  pubsubname: pubsub
  topic: inventory
  routes:
    rules:
      - match: event.type == "widget"
        path: /widgets
      - match: event.type == "gadget"
        path: /gadgets
    default: /products
scopes:
  - app1
  - app2
"#;

const APP: &str = r#"
from serving import serve

SUBSCRIPTIONS = []

def subscribe(event, headers):
    return SUBSCRIPTIONS

def handler(name):
    def handle(event, headers):
        print(name, event["id"], flush=True)
        return 200
    return handle

routes = {"GET /dapr/subscribe": subscribe}
for name in ("widgets", "gadgets", "products", "important", "deposits", "v1", "v2"):
    routes["POST /" + name] = handler(name)
serve(routes)
"#;

const PROGRAMMATIC: &str = r#"[{"pubsubname": "pubsub", "topic": "inventory", "routes": {"rules": [
    {"match": 'event.type == "widget"', "path": "/widgets"},
    {"match": 'event.type == "gadget"', "path": "/gadgets"},
    {"match": 'has(event.data.important) && event.data.important == true', "path": "/important"},
    {"match": 'event.type == "deposit" && event.data.amount > 10000', "path": "/deposits"},
    {"match": 'event.type == "mymessage.v1"', "path": "/v1"},
    {"match": 'event.type == "mymessage.v2"', "path": "/v2"},
], "default": "/products"}}]"#;

fn desk(server: &RedisServer) -> Desk {
    Desk::new()
        .file("app.py", APP)
        .file("config.yaml", CONFIGURATION)
        .file("components/pubsub.yaml", &redis("pubsub", server.port, &[], ""))
}

async fn run(desk: &Desk, app_id: &str) -> (Process, u16) {
    let (app, http) = (free_port(), free_port());
    let run = desk.run(&format!(
        "--app-id {app_id} --app-port {app} --dapr-http-port {http} --config config.yaml --resources-path components -- python3 app.py"
    ));
    ready(http).await;
    (run, http)
}

/// Publishes an event of this type and data; returns the handler that receives it.
async fn handler(run: &Process, port: u16, id: &str, kind: &str, data: &str) -> String {
    let event = format!(
        r#"{{"specversion": "1.0", "id": "{id}", "source": "test", "type": "{kind}", "datacontenttype": "application/json", "data": {data}}}"#
    );
    let answer = post(port, "/v1.0/publish/pubsub/inventory", EVENT, &event).await;
    assert_eq!(answer.status, 204);
    crate::support::eventually("the event arrives", || async { run.said().contains(&format!(" {id}\n")) }).await;
    let lines = prints(run, "", 1).await;
    let line = lines.iter().find(|line| line.ends_with(id)).unwrap();
    line.split(' ').next().unwrap().to_owned()
}

#[tokio::test]
async fn declared_rules_choose_by_type() {
    let server = RedisServer::start().await;
    let desk = desk(&server).file("components/subscriptions.yaml", SUBSCRIPTION);
    let (run, http) = run(&desk, "app1").await;
    for (id, kind, expected) in [("e1", "widget", "widgets"), ("e2", "gadget", "gadgets"), ("e3", "gizmo", "products")]
    {
        assert_eq!(handler(&run, http, id, kind, "{}").await, expected, "{kind}");
    }
}

#[tokio::test]
async fn rules_of_the_app_look_at_type_and_data() {
    let server = RedisServer::start().await;
    let app = APP.replace("SUBSCRIPTIONS = []", &format!("SUBSCRIPTIONS = {PROGRAMMATIC}"));
    let desk = desk(&server).file("app.py", &app);
    let (run, http) = run(&desk, "app3").await;
    for (id, kind, data, expected) in [
        ("e1", "widget", "{}", "widgets"),
        ("e2", "gadget", r#"{"important": true}"#, "gadgets"),
        ("e3", "note", r#"{"important": true}"#, "important"),
        ("e4", "note", r#"{"important": false}"#, "products"),
        ("e5", "deposit", r#"{"amount": 10001}"#, "deposits"),
        ("e6", "deposit", r#"{"amount": 10000}"#, "products"),
        ("e7", "mymessage.v1", "{}", "v1"),
        ("e8", "mymessage.v2", "{}", "v2"),
        ("e9", "mymessage.v3", "{}", "products"),
    ] {
        assert_eq!(handler(&run, http, id, kind, data).await, expected, "{kind} {data}");
    }
}
