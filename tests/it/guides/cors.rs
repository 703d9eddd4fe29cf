//! Cross-origin requests and `--allowed-origins`: which pages may call the sidecar.

use super::{Answer, Desk, curl, ready};
use crate::support::port::free_port;
use crate::support::process::Process;

const COMPONENT: &str = "
apiVersion: dapr.io/v1alpha1
kind: Component
metadata:
  name: pubsub
spec:
  type: pubsub.in-memory
  version: v1
";

const PUBLISH: &str = "/v1.0/publish/pubsub/orders";

async fn sidecar(flags: &str) -> (Process, u16) {
    let desk = Desk::new().file("components/pubsub.yaml", COMPONENT);
    let http = free_port();
    let sidecar = desk.daprd(&[], &format!("--app-id web --dapr-http-port {http} --resources-path components {flags}"));
    ready(http).await;
    (sidecar, http)
}

/// The preflight request of a browser.
async fn preflight(port: u16, origin: &str) -> Answer {
    let headers = [
        ("Origin", origin),
        ("Access-Control-Request-Method", "POST"),
        ("Access-Control-Request-Headers", "content-type"),
    ];
    curl("OPTIONS", port, PUBLISH, &headers, "").await.unwrap()
}

/// The request that follows.
async fn call(port: u16, origin: &str) -> Answer {
    let headers = [("Origin", origin), super::JSON];
    curl("POST", port, PUBLISH, &headers, "{}").await.unwrap()
}

const ALLOWED: &str = "access-control-allow-origin";

#[tokio::test]
async fn pages_of_listed_origins_may_call() {
    let (_sidecar, http) = sidecar("--allowed-origins https://shop.example.com,https://admin.example.com").await;
    for origin in ["https://shop.example.com", "https://admin.example.com"] {
        let answer = preflight(http, origin).await;
        assert_eq!(answer.header(ALLOWED), Some(origin));
        assert_eq!(answer.header("access-control-allow-methods"), Some("POST"));
        assert_eq!(answer.header("access-control-allow-headers"), Some("Content-Type"));
        let answer = call(http, origin).await;
        assert_eq!((answer.status, answer.header(ALLOWED)), (204, Some(origin)));
    }
    let stranger = "https://evil.example.com";
    assert_eq!(preflight(http, stranger).await.header(ALLOWED), None);
    assert_eq!(call(http, stranger).await.header(ALLOWED), None);
}

#[tokio::test]
async fn a_star_lets_every_page_call() {
    let (_sidecar, http) = sidecar("--allowed-origins *").await;
    let origin = "https://anywhere.example.com";
    assert_eq!(preflight(http, origin).await.header(ALLOWED), Some("*"));
    let answer = call(http, origin).await;
    assert_eq!((answer.status, answer.header(ALLOWED)), (204, Some("*")));
}

#[tokio::test]
async fn without_the_flag_no_page_may() {
    let (_sidecar, http) = sidecar("").await;
    let origin = "https://shop.example.com";
    assert_eq!(preflight(http, origin).await.header(ALLOWED), None);
    assert_eq!(call(http, origin).await.header(ALLOWED), None);
}
