//! "Dead letter topics": without a retry policy after the first failure, with one after its attempts, and a
//! subscription to the dead-letter topic.

use super::{Desk, prints, publish, ready, redis};
use crate::support::port::free_port;
use crate::support::process::Process;
use crate::support::redis::RedisServer;

const SUBSCRIPTION: &str = "
apiVersion: dapr.io/v1alpha1
kind: Subscription
metadata:
  name: order
spec:
  topic: orders
  route: /checkout
  pubsubname: pubsub
  deadLetterTopic: poisonMessages
scopes:
- checkout
";

const LETTERS: &str = "
apiVersion: dapr.io/v2alpha1
kind: Subscription
metadata:
  name: deadlettertopics
spec:
  topic: poisonMessages
  routes:
    rules:
      - match:
        path: /failedMessages
  pubsubname: pubsub
scopes:
- checkout
";

/// The guide waits 5 s between attempts.
const RESILIENCY: &str = "
apiVersion: dapr.io/v1alpha1
kind: Resiliency
metadata:
  name: myresiliency
spec:
  policies:
    retries:
      pubsubRetry:
        policy: constant
        duration: 20ms
        maxRetries: 10
  targets:
    components:
      pubsub:
        inbound:
          retry: pubsubRetry
";

const APP: &str = r#"
from serving import serve

SUBSCRIPTIONS = []

def checkout(event, headers):
    print("failing", event["data"]["orderId"], flush=True)
    return 500

def failed_messages(event, headers):
    print("letter", event["data"]["orderId"], "of", event["topic"], flush=True)
    return 200

serve({"GET /dapr/subscribe": lambda event, headers: SUBSCRIPTIONS, "POST /checkout": checkout, "POST /failedMessages": failed_messages})
"#;

const PROGRAMMATIC: &str = r#"[
    {"pubsubname": "pubsub", "topic": "orders", "route": "/checkout", "deadLetterTopic": "poisonMessages"},
    {"pubsubname": "pubsub", "topic": "poisonMessages", "route": "/failedMessages"},
]"#;

fn desk(server: &RedisServer) -> Desk {
    Desk::new().file("app.py", APP).file("components/pubsub.yaml", &redis("pubsub", server.port, &[], ""))
}

fn declared(server: &RedisServer) -> Desk {
    desk(server).file("components/subscription.yaml", SUBSCRIPTION).file("components/deadletter.yaml", LETTERS)
}

async fn run(desk: &Desk) -> Process {
    let (app, http) = (free_port(), free_port());
    let run = desk.run(&format!(
        "--app-id checkout --app-port {app} --dapr-http-port {http} --resources-path components -- python3 app.py"
    ));
    ready(http).await;
    publish(http, "pubsub/orders", r#"{"orderId": 5}"#).await;
    run
}

/// Waits for this many attempts, then for the event on the dead-letter topic.
async fn tried(run: &Process, server: &RedisServer, times: usize) {
    assert_eq!(prints(run, "letter ", 1).await, ["5 of orders"]);
    assert_eq!(prints(run, "failing ", times).await, vec!["5"; times]);
    server.settled("orders", "checkout").await;
    server.settled("poisonMessages", "checkout").await;
    let letters: i64 = server.call(&["XLEN", "poisonMessages"]).await;
    assert_eq!(letters, 1);
}

#[tokio::test]
async fn without_a_policy_a_failing_message_is_moved_at_once() {
    let server = RedisServer::start().await;
    let desk = declared(&server);
    let run = run(&desk).await;
    tried(&run, &server, 1).await;
    // Many users do not expect that, so the log says it at start.
    run.says("topic orders on pubsub pubsub has the dead-letter topic poisonMessages and no retry policy: the first failure of an event moves it there")
        .await;
}

#[tokio::test]
async fn with_a_policy_it_is_moved_after_its_retries() {
    let server = RedisServer::start().await;
    let desk = declared(&server).file("components/resiliency.yaml", RESILIENCY);
    let run = run(&desk).await;
    tried(&run, &server, 11).await;
}

#[tokio::test]
async fn an_app_names_its_dead_letter_topic_itself() {
    let server = RedisServer::start().await;
    let app = APP.replace("SUBSCRIPTIONS = []", &format!("SUBSCRIPTIONS = {PROGRAMMATIC}"));
    let desk = desk(&server).file("app.py", &app);
    let run = run(&desk).await;
    tried(&run, &server, 1).await;
}
