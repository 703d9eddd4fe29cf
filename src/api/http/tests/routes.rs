//! Which path and method reaches what.

use super::*;

#[tokio::test]
async fn whatever_has_no_route_is_an_invocation_without_target() {
    let api = start(|_| {}, service::api).await;
    for (method, path) in [
        ("GET", "/v1.0/publish/ps/t"),
        ("OPTIONS", "/v1.0/publish/ps/t"),
        ("BREW", "/v1.0/publish/ps/t"),
        ("post", "/v1.0/publish/ps/t"),
        ("POST", "/v1.0/publish/ps/"),
        ("POST", "/v1.0/publish/ps"),
        ("POST", "/v1.0/publish//t"),
        ("POST", "/v1.0/%70ublish/ps/t"),
        ("POST", "/V1.0/publish/ps/t"),
        ("POST", "/v1.0-alpha1/publish/ps/t"),
        ("POST", "/v1.0/healthz"),
        ("PUT", "/v1.0/metadata/a/b"),
        ("GET", "/v1.0/metadata/k"),
        ("GET", "/"),
        ("DELETE", "/v1.0/state/s"),
    ] {
        let answer = api.call(method, path, &[], b"").await;
        assert_eq!((answer.status, &*answer.body), (404, NO_TARGET), "{method} {path}");
        assert_eq!(answer.header("content-type"), Some("application/json"));
        assert_eq!(answer.header("allow"), None);
    }
    let head = api.call("HEAD", "/v1.0/healthz", &[], b"").await;
    assert_eq!((head.status, &*head.body), (404, ""));
    let invoked = api.call("GET", "/nothing", &[("dapr-app-id", "other")], b"").await;
    assert_eq!(invoked.body, r#"{"errorCode":"ERR_DIRECT_INVOKE","message":"invoke API is not ready"}"#);
}

#[tokio::test]
async fn other_building_blocks_say_that_they_are_not_configured() {
    let api = start(|_| {}, service::api).await;
    for (method, path, body, status, code) in [
        ("GET", "/v1.0/state/a%20b/k", "", 500, "ERR_STATE_STORE_NOT_CONFIGURED"),
        ("POST", "/v1.0/state/s", "nonsense", 500, "ERR_STATE_STORE_NOT_CONFIGURED"),
        ("GET", "/v1.0/state/s/query", "", 500, "ERR_STATE_STORE_NOT_CONFIGURED"),
        ("GET", "/v1.0/secrets/v/bulk", "", 500, "ERR_SECRET_STORES_NOT_CONFIGURED"),
        ("GET", "/v1.0/secrets/v/n", "nonsense", 400, "ERR_MALFORMED_REQUEST"),
        ("POST", "/v1.0/bindings/b", "", 400, "ERR_MALFORMED_REQUEST"),
        ("POST", "/v1.0/bindings/b", "[]", 400, "ERR_MALFORMED_REQUEST"),
        ("POST", "/v1.0/bindings/b", r#"{"operation":"x"}"#, 500, "ERR_INVOKE_OUTPUT_BINDING"),
        ("POST", "/v1.0-alpha1/lock/l", r#"{"expiryInSeconds":0}"#, 400, "ERR_MALFORMED_REQUEST"),
        ("POST", "/v1.0-alpha1/lock/l", r#"{"expiryInSeconds":5}"#, 500, "ERR_LOCK_STORE_NOT_CONFIGURED"),
        ("POST", "/v1.0-alpha1/unlock/l", "", 500, "ERR_LOCK_STORE_NOT_CONFIGURED"),
        ("PUT", "/v1.0-alpha1/crypto/c/encrypt", "x", 500, "ERR_CRYPTO_PROVIDERS_NOT_CONFIGURED"),
        ("POST", "/v1.0-alpha1/subtlecrypto/c/sign", "{}", 501, "ERR_API_UNIMPLEMENTED"),
        ("POST", "/v1.0-alpha2/conversation/a%2Fb/converse", "{}", 400, "ERR_CONVERSATION_NOT_FOUND"),
        ("POST", "/v1.0/actors/k/1/state", "", 400, "ERR_MALFORMED_REQUEST"),
        ("POST", "/v1.0/actors/k/1/state", "[]", 400, "ERR_ACTOR_NO_PLACEMENT"),
        ("DELETE", "/v1.0/actors/k/1/timers/t", "", 400, "ERR_ACTOR_NO_PLACEMENT"),
        ("POST", "/v1.0/workflows/dapr/1/pause", "", 400, "ERR_ACTOR_NO_PLACEMENT"),
        ("POST", "/v1.0/jobs/j", r#"{"data":1}"#, 400, "DAPR_SCHEDULER_SCHEDULE_EMPTY"),
        ("POST", "/v1.0/jobs/j", r#"{"schedule":"@daily"}"#, 500, "DAPR_SCHEDULER_SCHEDULE_JOB"),
        ("DELETE", "/v1.0-alpha1/jobs/j", "", 500, "DAPR_SCHEDULER_DELETE_JOB"),
        ("GET", "/v1.0-alpha1/configuration/c/7/unsubscribe", "", 500, "ERR_CONFIGURATION_STORE_NOT_CONFIGURED"),
    ] {
        let answer = api.call(method, path, &[], body.as_bytes()).await;
        let expected = format!(r#"{{"errorCode":"{code}","#);
        assert!(
            answer.status == status && answer.body.starts_with(&expected),
            "{method} {path} {body}: {} {}",
            answer.status,
            answer.body
        );
    }
    let answer = api.get("/v1.0/state/a%20%22/k").await;
    assert!(answer.body.contains(r#""message":"state store a \" is not configured""#));
}

#[tokio::test]
async fn the_public_server_has_health_and_metadata_only() {
    let api = start(|settings| settings.http.token = Some("secret".to_owned()), service::public).await;
    assert_eq!(api.get("/v1.0/healthz").await.status, 204);
    assert_eq!(api.get("//v1.0/metadata/").await.status, 200);
    let missing = api.call("POST", "/v1.0/publish/ps/t", &[], b"x").await;
    assert_eq!((missing.status, &*missing.body), (404, "404 page not found\n"));
    for (method, path, allow) in [
        ("POST", "/v1.0/metadata", Some("GET")),
        ("GET", "/v1.0/metadata/k", Some("PUT")),
        ("BREW", "/v1.0/metadata", None),
        ("BREW", "/nothing", None),
    ] {
        let answer = api.call(method, path, &[], b"").await;
        assert_eq!((answer.status, answer.header("allow"), &*answer.body), (405, allow, ""), "{method} {path}");
    }
}

#[tokio::test]
async fn routes_that_are_denied_are_not_there() {
    let allowed = |settings: &mut Settings| {
        settings.http.access.allowed =
            vec![ApiRule { name: "publish".to_owned(), version: "v1".to_owned(), protocol: "http".to_owned() }];
    };
    let api = start(allowed, service::api).await;
    for (method, path, status, body, allow) in [
        ("POST", "/v1.0/publish/ps/t", 204, "", None),
        ("GET", "/v1.0/publish/ps/t", 405, "", Some("POST")),
        ("GET", "/v1.0/metadata", 404, "404 page not found\n", None),
        ("GET", "/nothing", 404, "404 page not found\n", None),
        ("GET", "/v1.0/healthz", 204, "", None),
    ] {
        let answer = api.call(method, path, &[], b"").await;
        let got = (answer.status, &*answer.body, answer.header("allow"));
        assert_eq!(got, (status, body, allow), "{method} {path}");
    }
    let public = start(allowed, service::public).await;
    assert_eq!(public.get("/v1.0/metadata").await.status, 404);
    assert_eq!(public.get("/v1.0/healthz").await.status, 204);
}

#[tokio::test]
async fn pages_of_allowed_origins_may_ask_before_they_have_a_token() {
    let origins = |settings: &mut Settings| {
        settings.http.allowed_origins = "https://a.com".to_owned();
        settings.http.token = Some("secret".to_owned());
    };
    let api = start(origins, service::api).await;
    let origin = ("Origin", "https://a.com");
    let wanted = ("Access-Control-Request-Method", "POST");
    let answer = api.call("OPTIONS", "/nothing", &[origin, wanted], b"").await;
    assert_eq!((answer.status, &*answer.body), (200, ""));
    assert_eq!(answer.header("access-control-allow-methods"), Some("POST"));
    let answer = api.call("GET", "/v1.0/metadata", &[origin], b"").await;
    assert_eq!(answer.status, 401);
    assert_eq!(answer.header("access-control-allow-origin"), Some("https://a.com"));
    assert_eq!(answer.header("vary"), Some("Origin"));
}
