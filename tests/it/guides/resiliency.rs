//! "Resiliency": one file with timeouts, retries and circuit breakers; Redis and the app fail for a while, and the log
//! says so.

use super::{Desk, JSON, post, prints, publish, ready, redis};
use crate::support::eventually;
use crate::support::port::free_port;
use crate::support::process::Process;
use crate::support::redis::RedisServer;

/// The guide's complete example, with its comments and unrelated targets, and shorter times. `TARGETS` is replaced by
/// the component's targets.
const RESILIENCY: &str = "
apiVersion: dapr.io/v1alpha1
kind: Resiliency
metadata:
  name: myresiliency
# Only these apps have the policies.
scopes:
  - app1
  - app2
spec:
  policies:
    timeouts:
      general: 2s
      important: 60s

    retries:
      retryForever:
        policy: constant
        duration: 50ms
        maxRetries: -1 # as often as it takes
      pubsubRetry:
        policy: constant
        duration: 20ms
        maxRetries: 3
      someOperation:
        policy: exponential
        maxInterval: 15s
      temporary:
        policy: constant
        duration: 20ms
        maxRetries: 3
        matching:
          httpStatusCodes: 429,501-503

    circuitBreakers:
      simpleCB:
        maxRequests: 1
        timeout: 500ms
        trip: consecutiveFailures >= 5

  targets:
    apps:
      appB:
        timeout: general
        retry: pubsubRetry
        circuitBreaker: simpleCB
    actors:
      myActorType:
        timeout: general
        retry: pubsubRetry
        circuitBreaker: simpleCB
        circuitBreakerScope: both
        circuitBreakerCacheSize: 5000
    components:
      statestore1:
        outbound:
          timeout: general
          retry: retryForever
      pubsub:
TARGETS
";

/// Answers with the lines of the file `answers` in turn: a status, or `slow`. The last line repeats.
const APP: &str = r#"
import time
from serving import serve

answers = open("answers").read().split()

def subscribe(event, headers):
    return [{"pubsubname": "pubsub", "topic": "orders", "route": "/orders"}]

def orders(event, headers):
    answer = answers.pop(0) if len(answers) > 1 else answers[0]
    print(event["data"], answer, flush=True)
    if answer == "slow":
        time.sleep(30)
        return 200
    return int(answer)

serve({"GET /dapr/subscribe": subscribe, "POST /orders": orders})
"#;

fn desk(server: &RedisServer, targets: &[&str]) -> Desk {
    let targets: Vec<String> = targets.iter().map(|line| format!("        {line}")).collect();
    let resiliency = RESILIENCY.replace("TARGETS", &targets.join("\n"));
    Desk::new()
        .file("resources/pubsub.yaml", &redis("pubsub", server.port, &[], ""))
        .file("resources/resiliency.yaml", &resiliency)
}

/// A sidecar without an app, for publishing.
async fn publisher(desk: &Desk) -> (Process, u16) {
    let http = free_port();
    let line = format!("--app-id app1 --dapr-http-port {http} --resources-path resources");
    let sidecar = desk.daprd(&[], &line);
    ready(http).await;
    (sidecar, http)
}

/// An app that receives one order and answers with these lines.
async fn subscriber(desk: Desk, answers: &str) -> (Process, Desk) {
    let desk = desk.file("app.py", APP).file("answers", answers);
    let (app, http) = (free_port(), free_port());
    let run = desk.run(&format!(
        "--app-id app1 --app-port {app} --dapr-http-port {http} --resources-path resources -- python3 app.py"
    ));
    ready(http).await;
    publish(http, "pubsub/orders", "\"tea\"").await;
    (run, desk)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_publish_is_tried_until_redis_is_back() {
    let mut server = RedisServer::start().await;
    let desk = desk(&server, &["outbound:", "  retry: retryForever"]);
    let (sidecar, http) = publisher(&desk).await;
    server.crash();
    let publishing = post(http, "/v1.0/publish/pubsub/orders", JSON, "{}");
    let (answer, ()) = tokio::join!(publishing, async {
        sidecar.says("Error processing operation component[pubsub] output. Retrying in 50ms").await;
        server.restart().await;
    });
    assert_eq!(answer.status, 204, "{answer:?}");
    sidecar.says("Recovered processing operation component[pubsub] output").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_circuit_breaker_opens_and_closes() {
    let mut server = RedisServer::start().await;
    let targets = ["outbound:", "  retry: retryForever", "  circuitBreaker: simpleCB"];
    let desk = desk(&server, &targets);
    let (sidecar, http) = publisher(&desk).await;
    server.crash();
    let path = "/v1.0/publish/pubsub/orders";
    let answer = post(http, path, JSON, "{}").await;
    assert_eq!(answer.status, 500);
    assert!(answer.body.contains("circuit breaker is open"), "{answer:?}");
    let changed =
        |from: &str, to: &str| format!(r#"Circuit breaker \"simpleCB-pubsub\" changed state from {from} to {to}"#);
    sidecar.says(&changed("closed", "open")).await;
    server.restart().await;
    eventually("publishing works", || async { post(http, path, JSON, "{}").await.status == 204 }).await;
    sidecar.says(&changed("open", "half-open")).await;
    sidecar.says(&changed("half-open", "closed")).await;
}

#[tokio::test]
async fn an_app_that_fails_is_asked_again() {
    let server = RedisServer::start().await;
    let desk = desk(&server, &["inbound:", "  retry: pubsubRetry"]);
    let (run, _desk) = subscriber(desk, "503 500 200").await;
    assert_eq!(prints(&run, "tea ", 3).await, ["503", "500", "200"]);
    run.says("Error processing operation component[pubsub] input. Retrying in 20ms").await;
    run.says("Recovered processing operation component[pubsub] input").await;
    server.settled("orders", "app1").await;
}

#[tokio::test]
async fn an_app_that_takes_too_long_is_asked_again() {
    let server = RedisServer::start().await;
    let targets = ["inbound:", "  timeout: general", "  retry: pubsubRetry"];
    let desk = desk(&server, &targets);
    let (run, _desk) = subscriber(desk, "slow 200").await;
    assert_eq!(prints(&run, "tea ", 2).await, ["slow", "200"]);
    server.settled("orders", "app1").await;
}

#[tokio::test]
async fn only_some_status_codes_are_worth_another_try() {
    let server = RedisServer::start().await;
    let desk = desk(&server, &["inbound:", "  retry: temporary"]);
    let (run, _desk) = subscriber(desk, "429 502 400 200").await;
    // When the policy is exhausted the event is redelivered later (D1).
    assert_eq!(prints(&run, "tea ", 4).await, ["429", "502", "400", "200"]);
    server.settled("orders", "app1").await;
}
