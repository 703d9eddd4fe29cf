//! "Enable API token authentication" and "Authenticate requests from Dapr": the token that callers send, and the one
//! that the app receives.

use super::{Desk, JSON, curl, post, prints, ready, redis};
use crate::support::port::free_port;
use crate::support::redis::RedisServer;

/// Prints the token of each request, and publishes with the token in its environment, as in the guide.
const APP: &str = r#"
import os, urllib.request
from serving import serve

def subscribe(event, headers):
    print("subscribe", headers["dapr-api-token"], flush=True)
    return [{"pubsubname": "pubsub", "topic": "orders", "route": "/orders"}]

def orders(event, headers):
    print("order", headers["dapr-api-token"], flush=True)
    return 200 if headers["dapr-api-token"] == os.environ.get("APP_API_TOKEN") else 401

def publish(event, headers):
    url = "http://127.0.0.1:%s/v1.0/publish/pubsub/orders" % os.environ["DAPR_HTTP_PORT"]
    token = {"dapr-api-token": os.environ["DAPR_API_TOKEN"]}
    with urllib.request.urlopen(urllib.request.Request(url, b"{}", token)) as answer:
        return answer.status

serve({"GET /dapr/subscribe": subscribe, "POST /orders": orders, "POST /publish": publish})
"#;

const TOKEN: &str = "uKcgR4uFdT1JYd3Uq2WnrA==";

fn desk(server: &RedisServer) -> Desk {
    Desk::new().file("app.py", APP).file("components/pubsub.yaml", &redis("pubsub", server.port, &[], ""))
}

fn line(app: u16, http: u16) -> String {
    format!("--app-id orders --app-port {app} --dapr-http-port {http} --resources-path components -- python3 app.py")
}

#[tokio::test]
async fn a_caller_must_have_the_token() {
    let server = RedisServer::start().await;
    let desk = desk(&server);
    let (app, http) = (free_port(), free_port());
    let run = desk.run_with(&[("DAPR_API_TOKEN", TOKEN)], &line(app, http));
    // Health needs no token.
    ready(http).await;
    let path = "/v1.0/publish/pubsub/orders";
    let answer = post(http, path, JSON, "{}").await;
    assert_eq!(answer.status, 401);
    assert_eq!(answer.body, "invalid api token\n");
    for (token, expected) in [("wrong", 401), (TOKEN, 204)] {
        let answer = post(http, path, ("dapr-api-token", token), "{}").await;
        assert_eq!(answer.status, expected, "{token}");
    }
    let answer = curl("GET", http, "/v1.0/metadata", &[], "").await.unwrap();
    assert_eq!(answer.status, 401);
    // The app takes it from its environment.
    assert_eq!(post(app, "/publish", JSON, "{}").await.status, 204);
    // Callers do not need the app's token.
    assert_eq!(prints(&run, "order ", 2).await, ["None", "None"]);
}

#[tokio::test]
async fn the_app_gets_its_own_token_with_every_request() {
    let server = RedisServer::start().await;
    let desk = desk(&server);
    let (app, http) = (free_port(), free_port());
    let run = desk.run_with(&[("APP_API_TOKEN", TOKEN)], &line(app, http));
    ready(http).await;
    let answer = post(http, "/v1.0/publish/pubsub/orders", JSON, "{}").await;
    assert_eq!(answer.status, 204);
    assert_eq!(prints(&run, "subscribe ", 1).await, [TOKEN]);
    assert_eq!(prints(&run, "order ", 1).await, [TOKEN]);
    server.settled("orders", "orders").await;
    // A request that does not come from the sidecar has no token.
    assert_eq!(post(app, "/orders", JSON, "{}").await.status, 401);
}
