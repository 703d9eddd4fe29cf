//! "Publish a message and subscribe to a topic", and "subscription methods": declarative and programmatic.

use super::{Desk, JSON, post, prints, prints_json, publish, ready, redis};
use crate::support::port::free_port;
use crate::support::process::Process;
use crate::support::redis::RedisServer;

const SCOPED: &str = "scopes:\n  - orderprocessing\n  - checkout\n";

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
scopes:
- orderprocessing
- checkout
";

const CHECKOUT: &str = r#"
from serving import serve

def checkout(event, headers):
    print("Subscriber received:", event["data"]["orderId"], flush=True)
    return 200

serve({"POST /checkout": checkout})
"#;

const ORDER_PROCESSING: &str = r#"
import json, os, urllib.request

URL = "http://127.0.0.1:%s/v1.0/publish/order-pub-sub/orders" % os.environ["DAPR_HTTP_PORT"]
for number in range(1, 4):
    data = json.dumps({"orderId": number}).encode()
    request = urllib.request.Request(URL, data, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request) as answer:
        print("Published data:", number, answer.status, flush=True)
"#;

const PROGRAMMATIC: &str = r#"
from serving import serve

def subscribe(event, headers):
    rules = [{"match": 'event.type == "order"', "path": "/orders"}]
    return [{"pubsubname": "order-pub-sub", "topic": "checkout", "routes": {"rules": rules, "default": "/orders"}}]

def orders(event, headers):
    print("got", event["data"], flush=True)
    return {"success": True}

serve({"GET /dapr/subscribe": subscribe, "POST /orders": orders})
"#;

fn desk(redis_server: &RedisServer) -> Desk {
    let component = redis("order-pub-sub", redis_server.port, &[], SCOPED);
    Desk::new()
        .file("myComponents/pubsub.yaml", &component)
        .file("myComponents/subscription.yaml", SUBSCRIPTION)
        .file("home/.dapr/components/pubsub.yaml", &component)
        .file("CheckoutService.py", CHECKOUT)
        .file("OrderProcessingService.py", ORDER_PROCESSING)
        .file("app.py", PROGRAMMATIC)
}

async fn checkout(desk: &Desk) -> Process {
    let (app, http, grpc) = (free_port(), free_port(), free_port());
    // Without `--` before the command, as in the guide.
    let checkout = desk.run(&format!(
        "--app-id checkout --app-port {app} --dapr-http-port {http} --dapr-grpc-port {grpc} --resources-path ./myComponents python3 CheckoutService.py"
    ));
    checkout.says("You're up and running! Both Dapr and your app logs will appear here.").await;
    ready(http).await;
    checkout
}

#[tokio::test]
async fn a_declared_subscription_gets_what_a_call_to_another_sidecar_publishes() {
    let redis = RedisServer::start().await;
    let desk = desk(&redis);
    let checkout = checkout(&desk).await;
    let http = free_port();
    let line = format!("--app-id orderprocessing --dapr-http-port {http}");
    // Without `--resources-path`: the component folder in the home directory.
    let home = desk.path().join("home");
    let processing = desk.run_with(&[("HOME", home.to_str().unwrap())], &line);
    processing.says("You're up and running! Dapr logs will appear here.").await;
    ready(http).await;
    publish(http, "order-pub-sub/orders", r#"{"orderId": "100"}"#).await;
    assert_eq!(prints(&checkout, "Subscriber received: ", 1).await, ["100"], "{}", checkout.said());
}

#[tokio::test]
async fn an_app_publishes_over_the_port_that_it_is_told() {
    let redis = RedisServer::start().await;
    let desk = desk(&redis);
    let checkout = checkout(&desk).await;
    let mut processing =
        desk.run("--app-id orderprocessing --resources-path ./myComponents -- python3 OrderProcessingService.py");
    assert_eq!(processing.ended().await, 0, "{}", processing.said());
    let published = prints(&processing, "Published data: ", 3).await;
    assert_eq!(published, ["1 204", "2 204", "3 204"]);
    let mut received = prints(&checkout, "Subscriber received: ", 3).await;
    received.sort_unstable();
    assert_eq!(received, ["1", "2", "3"]);
}

#[tokio::test]
async fn an_app_says_itself_what_it_wants() {
    let redis = RedisServer::start().await;
    let desk = desk(&redis);
    let (app, http) = (free_port(), free_port());
    let run = desk.run(&format!(
        "--app-id orderprocessing --app-port {app} --dapr-http-port {http} --resources-path ./myComponents -- python3 app.py"
    ));
    ready(http).await;
    publish(http, "order-pub-sub/checkout", r#"{"orderId": 7}"#).await;
    let typed = "order-pub-sub/checkout?metadata.cloudevent.type=order";
    publish(http, typed, r#"{"orderId": 8}"#).await;
    let mut got = prints(&run, "got ", 2).await;
    got.sort_unstable();
    assert_eq!(got, ["{'orderId': 7}", "{'orderId': 8}"]);
    redis.settled("checkout", "orderprocessing").await;
}

#[tokio::test]
async fn an_app_that_is_not_in_the_scopes_has_no_such_component() {
    let redis = RedisServer::start().await;
    let desk = desk(&redis);
    let http = free_port();
    let _sidecar =
        desk.daprd(&[], &format!("--app-id stranger --dapr-http-port {http} --resources-path ./myComponents"));
    ready(http).await;
    let answer = post(http, "/v1.0/publish/order-pub-sub/orders", JSON, "{}").await;
    assert_eq!(answer.status, 404, "{answer:?}");
    assert!(answer.body.contains("ERR_PUBSUB_NOT_FOUND"), "{}", answer.body);
}

#[tokio::test]
async fn the_event_says_where_it_comes_from() {
    let redis = RedisServer::start().await;
    let printing = CHECKOUT.replace("event[\"data\"][\"orderId\"]", "__import__('json').dumps(event)");
    let desk = desk(&redis).file("CheckoutService.py", &printing);
    let checkout = checkout(&desk).await;
    let http = free_port();
    let _processing =
        desk.daprd(&[], &format!("--app-id orderprocessing --dapr-http-port {http} --resources-path ./myComponents"));
    ready(http).await;
    publish(http, "order-pub-sub/orders", r#"{"orderId": "100"}"#).await;
    let event = prints_json(&checkout, "Subscriber received: ", 1).await.remove(0);
    assert_eq!(event["source"], "orderprocessing");
    assert_eq!(event["pubsubname"], "order-pub-sub");
    assert_eq!(event["topic"], "orders");
    assert_eq!(event["datacontenttype"], "application/json");
}
