//! The sidecar itself: token, health, metadata, shutdown.

use super::*;

#[tokio::test]
async fn the_token_is_asked_for_everywhere_but_at_health() {
    let api = start(|settings| settings.http.token = Some("secret".to_owned()), service::api).await;
    for (method, path, token, status) in [
        ("GET", "/v1.0/metadata", Some("secret"), 200),
        ("GET", "/v1.0/metadata", Some("Secret"), 401),
        ("GET", "/v1.0/metadata", None, 401),
        ("GET", "/nothing", None, 401),
        ("GET", "/nothing", Some("secret"), 404),
        ("GET", "/v1.0/healthz", None, 204),
        ("GET", "/v1.0/healthz/", None, 204),
        ("GET", "//v1.0/healthz", None, 204),
        ("GET", "/v1.0//healthz", None, 401),
        ("GET", "/v1.0/%68ealthz", None, 404),
        ("GET", "/v1.0/healthz/outbound", Some("wrong"), 204),
        ("HEAD", "/v1.0/healthz", None, 401),
        ("POST", "/v1.0/healthz", None, 401),
        ("OPTIONS", "/v1.0/metadata", None, 401),
    ] {
        let headers: Vec<_> = token.iter().map(|token| ("dapr-api-token", *token)).collect();
        let answer = api.call(method, path, &headers, b"").await;
        assert_eq!(answer.status, status, "{method} {path} {token:?}");
    }
    let answer = api.get("/nothing").await;
    assert_eq!(answer.body, "invalid api token\n");
    assert_eq!(answer.header("content-type"), Some("text/plain; charset=utf-8"));
    assert_eq!(answer.header("x-content-type-options"), Some("nosniff"));
    assert!(answer.header("traceparent").is_some());
}

#[tokio::test]
async fn health_tells_what_is_missing() {
    let api = start(|_| {}, service::api).await;
    for (query, status) in [
        ("", 204),
        ("?appid=app1", 204),
        ("?appid=x", 500),
        ("?appid=", 500),
        ("?appid", 500),
        ("?appId=x", 204),
        ("?appid=app%31&appid=x", 204),
    ] {
        assert_eq!(api.get(&format!("/v1.0/healthz{query}")).await.status, status, "{query}");
    }
    assert_eq!(api.get("/v1.0/healthz/outbound?appid=x").await.status, 204);
    api.health.waits_for("ps", "connection refused");
    let answer = api.get("/v1.0/healthz?appid=x").await;
    assert_eq!(
        answer.body,
        r#"{"errorCode":"ERR_HEALTH_NOT_READY","message":"dapr is not ready: [ps: connection refused]"}"#
    );
    let answer = api.get("/v1.0/healthz/outbound").await;
    assert_eq!(answer.body, r#"{"errorCode":"ERR_OUTBOUND_HEALTH_NOT_READY","message":"dapr outbound is not ready"}"#);
}

#[tokio::test]
async fn metadata_shows_the_sidecar_and_what_clients_put() {
    let api = start(|_| {}, service::api).await;
    for (key, value) in [("a%2Fb", "<v>"), ("a+b", ""), ("daprRuntimeVersion", "x")] {
        let answer = api.call("PUT", &format!("/v1.0/metadata/{key}"), &[], value.as_bytes()).await;
        assert_eq!(answer.status, 204, "{key}");
    }
    let answer = api.get("/v1.0/metadata").await;
    assert_eq!(
        answer.body,
        concat!(
            r#"{"id":"app1","runtimeVersion":"1.18.3","components":[{"name":"ps","type":"pubsub.in-memory","capabilities":["X"]}],"#,
            r#""extended":{"a b":"","a/b":"\u003cv\u003e","daprRuntimeVersion":"1.18.3"},"#,
            r#""appConnectionProperties":{"protocol":"http","channelAddress":"127.0.0.1"},"#,
            r#""actorRuntime":{"runtimeStatus":"DISABLED","hostReady":false,"placement":"placement: disconnected"}}"#,
            "\n"
        )
    );
    for (body, status) in [("{}", 200), (r#"{"nope":1}"#, 200), ("nope", 400), ("[]", 400), (" ", 400)] {
        assert_eq!(api.call("GET", "/v1.0/metadata", &[], body.as_bytes()).await.status, status, "{body}");
    }
}

#[tokio::test]
async fn shutdown_is_passed_on() {
    let mut api = start(|_| {}, service::api).await;
    assert_eq!(api.call("POST", "/v1.0/shutdown", &[], b"x").await.status, 204);
    let forced = api.call("POST", "/v1.0/shutdown", &[("dapr-force-shutdown", "TRUE")], b"").await;
    assert_eq!(forced.status, 204);
    assert_eq!(api.shutdown.recv().await, Some(ShutdownRequest::Graceful));
    assert_eq!(api.shutdown.recv().await, Some(ShutdownRequest::Forced));
}
