//! Single publishes: paths, refusals, messages to the broker.

use super::*;

#[tokio::test]
async fn paths_name_component_and_topic() {
    let api = start(|_| {}, service::api).await;
    for (path, topic) in [
        ("/v1.0/publish/ps/t", "t"),
        ("/v1.0/publish/ps/A/B/C", "A/B/C"),
        ("/v1.0/publish/ps/a%2Fb", "a/b"),
        ("/v1.0/publish/ps/%2F", "/"),
        ("/v1.0/publish/ps/%2Fa%2F", "/a/"),
        ("/v1.0/publish/ps/a+b", "a b"),
        ("/v1.0/publish/ps/a%2Bb", "a+b"),
        ("/v1.0/publish/ps/a//b", "a/b"),
        ("/v1.0/publish/ps/t/", "t"),
        ("/v1.0/publish/ps/a/../b", "b"),
        ("/v1.0/publish/ps/a/%2e%2e/b", "a/../b"),
        ("/v1.0/publish/ps/t%2525", "t%25"),
        ("/v1.0/publish/ps/t%3Fx%23y", "t?x#y"),
        ("/v1.0/publish/my%20ps/t?x", "t"),
        ("//v1.0//publish/my+ps/t", "t"),
        ("/v1.0/publish/bulk/x", "x"),
        ("/v1.0/publish/b%75lk/a/b", "a/b"),
    ] {
        let answer = api.call("POST", path, &[], b"x").await;
        assert_eq!((answer.status, &*answer.body), (204, ""), "{path}");
        assert_eq!(answer.header("content-type"), None);
        assert_eq!(answer.header("content-length"), None);
        assert_eq!(api.event().await["topic"], topic, "{path}");
    }
    assert_eq!(api.call("PUT", "/v1.0/publish/ps/t", &[], b"x").await.status, 204);
}

#[tokio::test]
async fn publishing_is_refused_in_the_documented_order() {
    let api = start(|settings| settings.http.max_body = Some(100), service::api).await;
    let event: &[(&str, &str)] = &[("Content-Type", "application/cloudevents+json")];
    let large = [b'x'; 5000];
    for (path, headers, body, status, code) in [
        ("/v1.0/publish/nope/t?metadata.rawPayload=bad", event, &large[..], 404, "ERR_PUBSUB_NOT_FOUND"),
        ("/v1.0/publish/ps/secret?metadata.rawPayload=bad", event, &large[..], 500, "ERR_PUBSUB_PUBLISH_MESSAGE"),
        ("/v1.0/publish/ps/secret?metadata.rawPayload=bad", event, b"[", 400, "ERR_PUBSUB_REQUEST_METADATA"),
        ("/v1.0/publish/ps/secret", event, b"[", 500, "ERR_PUBSUB_CLOUD_EVENTS_SER"),
        ("/v1.0/publish/ps/secret", event, b"null", 500, "ERR_PUBSUB_CLOUD_EVENTS_SER"),
        ("/v1.0/publish/ps/secret", event, b"{}", 403, "ERR_PUBSUB_FORBIDDEN"),
        ("/v1.0/publish/ps/t", event, &large[..101], 500, "ERR_PUBSUB_PUBLISH_MESSAGE"),
        ("/v1.0/metadata/k", event, b"", 404, "ERR_DIRECT_INVOKE"),
    ] {
        let answer = api.call("POST", path, headers, body).await;
        let expected = format!(r#"{{"errorCode":"{code}","message":"#);
        assert!(
            answer.status == status && answer.body.starts_with(&expected),
            "{path}: {} {}",
            answer.status,
            answer.body
        );
    }
    let answer = api.call("POST", "/v1.0/publish/ps/t", &[], &large[..101]).await;
    assert!(answer.body.contains(r#""message":"error when publishing to topic t in pubsub ps: stream too large""#));
    let answer = api.call("PUT", "/v1.0/metadata/k", &[], &large[..101]).await;
    assert_eq!(
        answer.body,
        r#"{"errorCode":"ERR_BODY_READ","message":"failed to read request body: stream too large"}"#
    );
    assert_eq!(api.call("POST", "/v1.0/publish/ps/t", &[], &large[..100]).await.status, 204);
    let chunked = b"POST /v1.0/publish/ps/t HTTP/1.1\r\nHost: x\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n";
    assert_eq!(api.send(chunked).await.status, 204);
}

#[tokio::test]
async fn raw_payloads_and_metadata_go_to_the_broker_as_they_are() {
    let api = start(|_| {}, service::api).await;
    let answer = api.call("POST", "/v1.0/publish/ps/t?metadata.rawPayload=true&metadata.k=a+b", &[], b"\x00\xff").await;
    assert_eq!(answer.status, 204);
    let metadata = [("k", "a b"), ("rawPayload", "true")].map(|(name, value)| (name.to_owned(), value.to_owned()));
    let message = api.received().await;
    assert_eq!(message.data, b"\x00\xff"[..]);
    assert_eq!(message.metadata, metadata.into());
}

#[tokio::test]
async fn a_body_far_over_the_limit_is_answered_all_the_same() {
    let api = start(|settings| settings.http.max_body = Some(100), service::api).await;
    let answer = api.call("POST", "/v1.0/publish/ps/t", &[], &vec![b'x'; 3 << 20]).await;
    assert_eq!(answer.status, 500);
}

#[tokio::test]
async fn traces_are_answered_but_at_health() {
    let api = start(|_| {}, service::api).await;
    let headers: &[(&str, &str)] =
        &[("traceparent", PARENT), ("tracestate", " k=v ,"), ("baggage", "a=1"), ("baggage", "b=2")];
    let answer = api.call("POST", "/v1.0/publish/ps/t", headers, b"x").await;
    assert_eq!(answer.header("traceparent"), Some(PARENT));
    assert_eq!(answer.header("tracestate"), Some("k=v"));
    assert_eq!(answer.header("baggage"), Some("a=1,b=2"));
    let event = String::from_utf8(api.received().await.data.into()).unwrap();
    assert!(event.contains(&format!(r#""traceid":"{PARENT}","traceparent":"{PARENT}","tracestate":"k=v""#)), "{event}");
    let none = api.get("/nothing").await;
    assert_eq!(none.header("traceparent"), Some("00-00000000000000000000000000000000-0000000000000000-00"));
    for path in ["/v1.0/healthz", "/v1.0/healthz/..", "/x/healthz/y", "/x%2Fhealthz"] {
        let answer = api.call("GET", path, &[("traceparent", PARENT), ("baggage", "bad")], b"").await;
        assert_eq!(answer.header("traceparent"), None, "{path}");
    }
    let refused = api.call("POST", "/v1.0/publish/ps/t", &[("baggage", "bad")], b"x").await;
    assert_eq!(
        (refused.status, &*refused.body),
        (400, "invalid baggage header: invalid baggage list-member: \"bad\"\n")
    );
    assert_eq!(refused.header("traceparent"), None);
}
