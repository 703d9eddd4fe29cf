//! Bulk publishes: both paths, conversion of entries, refusals, failures.

use super::*;

const PATH: &str = "/v1.0/publish/bulk/ps/t";
const ONE: &str = r#"[{"entryId":"1","event":{"b":1.0,"a":12345678901234567890},"contentType":"application/json"}]"#;

impl Api {
    async fn bulk(&self, path: &str, body: &str) -> Answer {
        // The content type of the request means nothing.
        let headers = [("Content-Type", "application/cloudevents+json")];
        self.call("POST", path, &headers, body.as_bytes()).await
    }

    /// As many events as there are topics or ids, sorted.
    async fn events(&self, count: usize) -> Vec<Value> {
        let mut events = Vec::new();
        for _ in 0..count {
            events.push(self.event().await);
        }
        events.sort_by_key(|event| event["data"].to_string());
        events
    }
}

#[tokio::test]
async fn both_paths_take_a_list() {
    let api = start(|_| {}, service::api).await;
    for (path, topic) in
        [(PATH, "t"), ("/v1.0-alpha1/publish/bulk/ps/a/b%2Fc", "a/b/c"), ("/v1.0/publish/bulk/bulk/x", "x")]
    {
        let answer = api.bulk(path, ONE).await;
        assert_eq!((answer.status, &*answer.body), (204, ""), "{path}");
        assert_eq!(api.event().await["topic"], topic, "{path}");
    }
    let put = api.call("PUT", PATH, &[], ONE.as_bytes()).await;
    assert_eq!(put.status, 204);
    for (path, body, status) in [
        (PATH, "[]", 204),
        (PATH, "null", 204),
        ("/v1.0/publish/bulk/ps/secret", "[]", 403),
        ("/v1.0-alpha1/publish/bulk/ps", "[]", 404),
    ] {
        assert_eq!(api.bulk(path, body).await.status, status, "{path} {body}");
    }
}

#[tokio::test]
async fn an_entry_becomes_what_a_single_publish_would_become() {
    let api = start(|_| {}, service::api).await;
    assert_eq!(api.bulk(PATH, ONE).await.status, 204);
    let message = String::from_utf8(api.received().await.data.into()).unwrap();
    let data = r#"{"data":{"b":1.0,"a":12345678901234567890},"datacontenttype":"application/json","#;
    assert!(message.starts_with(data), "{message}");

    let body = r#"[{"entryId":"1","event":"AAH/","contentType":"application/octet-stream"},
        {"entryId":"2","event":"a\nb","contentType":"text/plain"},
        {"entryId":"3","event":{"id":"mine","data":3},"contentType":"application/cloudevents+json"}]"#;
    assert_eq!(api.bulk(PATH, body).await.status, 204);
    let events = api.events(3).await;
    assert_eq!((&events[0]["data"], &events[0]["id"]), (&"a\nb".into(), &events[0]["id"]));
    assert_eq!((&events[1]["data"], &events[1]["id"]), (&3.into(), &"mine".into()));
    assert_eq!(events[2]["data_base64"], "AAH/");
}

#[tokio::test]
async fn metadata_of_the_request_goes_to_entries_that_have_some() {
    let api = start(|_| {}, service::api).await;
    let body = r#"[{"entryId":"1","event":1,"contentType":"application/json"},
        {"entryId":"2","event":2,"contentType":"application/json","metadata":{}},
        {"entryId":"3","event":3,"contentType":"application/json","metadata":{"cloudevent.type":"own","rawPayload":"nonsense"}}]"#;
    let path = format!("{PATH}?metadata.cloudevent.type=request&metadata.ttlInSeconds=60");
    assert_eq!(api.bulk(&path, body).await.status, 204);
    let events = api.events(3).await;
    let types: Vec<_> = events.iter().map(|event| &event["type"]).collect();
    assert_eq!(types, ["com.dapr.event.sent", "request", "own"]);
    let expire = events.iter().map(|event| !event["expiration"].is_null());
    assert_eq!(expire.collect::<Vec<_>>(), [false, true, true]);

    let raw = format!("{PATH}?metadata.rawPayload=true");
    assert_eq!(api.bulk(&raw, ONE).await.status, 204);
    let message = api.received().await;
    assert_eq!(message.data, r#"{"b":1.0,"a":12345678901234567890}"#);
    assert!(message.metadata.is_empty());
}

#[tokio::test]
async fn refusals_come_in_the_documented_order_and_nothing_is_published() {
    let api = start(|settings| settings.http.max_body = Some(300), service::api).await;
    let mismatch = r#"[{"entryId":"1","event":1,"contentType":"text/plain"}]"#;
    let nameless = r#"[{"event":1,"contentType":"application/json"}]"#;
    let no_event = r#"[{"entryId":"1","event":[1],"contentType":"application/cloudevents+json"}]"#;
    let null_event = r#"[{"entryId":"1","contentType":"application/cloudevents+json"}]"#;
    let secret = "/v1.0/publish/bulk/ps/secret";
    for (path, body, status, code, reason) in [
        (
            "/v1.0/publish/bulk/nope/t?metadata.rawPayload=bad",
            "nonsense",
            404,
            "ERR_PUBSUB_NOT_FOUND",
            "DAPR_PUBSUB_NOT_FOUND",
        ),
        (
            "/v1.0/publish/bulk/ps/secret?metadata.rawPayload=bad",
            "nonsense",
            400,
            "ERR_PUBSUB_REQUEST_METADATA",
            "DAPR_PUBSUB_METADATA_DESERIALIZATION",
        ),
        (secret, "nonsense", 400, "ERR_PUBSUB_EVENTS_SER", "DAPR_PUBSUB_UNMARSHAL_EVENTS"),
        (secret, mismatch, 400, "ERR_PUBSUB_EVENTS_SER", "DAPR_PUBSUB_MARSHAL_ENVELOPE"),
        (secret, nameless, 400, "ERR_PUBSUB_EVENTS_SER", "DAPR_PUBSUB_MARSHAL_EVENTS"),
        (secret, no_event, 500, "ERR_PUBSUB_CLOUD_EVENTS_SER", "DAPR_PUBSUB_CLOUD_EVENT_CREATION"),
        (secret, null_event, 500, "ERR_PUBSUB_CLOUD_EVENTS_SER", "DAPR_PUBSUB_CLOUD_EVENT_CREATION"),
        (secret, ONE, 403, "ERR_PUBSUB_FORBIDDEN", "DAPR_PUBSUB_FORBIDDEN"),
    ] {
        let answer = api.bulk(path, body).await;
        let starts = answer.body.starts_with(&format!(r#"{{"errorCode":"{code}","message":"#));
        let ends = answer.body.ends_with(&format!(r#""reason":"{reason}"}}]}}"#));
        assert!(answer.status == status && starts && ends, "{path} {body}: {} {}", answer.status, answer.body);
    }
    let large = format!("[{}]", " ".repeat(300));
    let answer = api.bulk(PATH, &large).await;
    let message = r#""message":"error when unmarshaling the request for topic t pubsub ps: stream too large""#;
    assert!(answer.status == 400 && answer.body.contains(message), "{}", answer.body);
    assert!(api.received.lock().await.try_recv().is_err());
}

#[tokio::test]
async fn what_the_broker_does_not_take_is_named_entry_by_entry() {
    let api = start(|_| {}, service::api).await;
    api.broker.close().await;
    let body = r#"[{"entryId":"1","event":1,"contentType":"application/json"},{"entryId":"<2>","event":"x","contentType":"text/plain"}]"#;
    let answer = api.bulk(PATH, body).await;
    let expected = r#"{"failedEntries":[{"entryId":"1","error":"component is closed"},{"entryId":"\u003c2\u003e","error":"component is closed"}],"errorCode":"ERR_PUBSUB_PUBLISH_MESSAGE"}"#;
    assert_eq!((answer.status, &*answer.body), (500, expected));
    assert_eq!(answer.header("content-type"), Some("application/json"));
    assert_eq!(answer.header("metadata.responsedata"), Some(expected));
    assert_eq!(
        answer.header("metadata.error"),
        Some("api error: code = Internal desc = error when publishing to topic t in pubsub ps: component is closed")
    );
}

#[tokio::test]
async fn more_entries_than_are_sent_at_once_all_arrive() {
    let api = start(|_| {}, service::api).await;
    let entry = |n: usize| format!(r#"{{"entryId":"{n}","event":{n},"contentType":"application/json"}}"#);
    let body = format!("[{}]", (0..250).map(entry).collect::<Vec<_>>().join(","));
    assert_eq!(api.bulk(PATH, &body).await.status, 204);
    let mut numbers: Vec<_> = api.events(250).await.iter().map(|event| event["data"].as_u64().unwrap()).collect();
    numbers.sort_unstable();
    assert!(numbers.into_iter().eq(0..250));
}
