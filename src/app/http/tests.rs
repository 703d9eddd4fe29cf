mod connections;
mod packed;
mod texts;

use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use super::*;
use crate::app::{BulkEntry, BulkEvent};
use crate::config::AppProtocol;
use crate::shutdown::Tasks;
use crate::telemetry::log::{Level, Log};
use crate::telemetry::metrics::Metrics;

fn settings(port: u16) -> AppSettings {
    AppSettings {
        port: port.into(),
        address: "127.0.0.1".to_owned(),
        protocol: AppProtocol::Http,
        max_concurrency: None,
        health: None,
        token: Some("secret".to_owned()),
        max_header: 4096,
    }
}

fn channel(settings: &AppSettings) -> HttpChannel {
    let telemetry = Telemetry::new(Log::new(Level::Fatal, std::io::sink()), Metrics::default());
    HttpChannel::new(settings, "shop", telemetry)
}

/// An app that serves these routes.
async fn app(routes: axum::Router) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    Tasks::new().spawn("app", async move { axum::serve(listener, routes).await.unwrap() });
    port
}

/// An app that answers each connection with these bytes and closes it.
async fn answers(bytes: &'static [u8]) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    Tasks::new().spawn("app", async move {
        loop {
            let (mut connection, _) = listener.accept().await.unwrap();
            let mut request = [0; 2048];
            let _ = connection.read(&mut request).await;
            let _ = connection.write_all(bytes).await;
        }
    });
    port
}

fn delivery(path: &str) -> Delivery {
    Delivery {
        path: path.into(),
        body: Bytes::from_static(br#"{"id":"1"}"#),
        metadata: [("pubsubName".to_owned(), "p".to_owned()), ("a b".to_owned(), "x".to_owned())].into(),
        ..Delivery::default()
    }
}

#[tokio::test]
async fn an_event_is_posted_as_it_is() {
    let echo = axum::routing::post(async |request: axum::extract::Request| {
        let uri = request.uri().to_string();
        let (parts, body) = request.into_parts();
        let body = axum::body::to_bytes(body, 1000).await.unwrap();
        let header = |name: &str| parts.headers.get(name).map_or("-", |value| value.to_str().unwrap()).to_owned();
        let seen = format!(
            "{uri} {} {} {} {} {}",
            header("content-type"),
            header("content-length"),
            header("pubsubname"),
            header("dapr-api-token"),
            String::from_utf8_lossy(&body)
        );
        (http::StatusCode::INTERNAL_SERVER_ERROR, seen)
    });
    let channel = channel(&settings(app(axum::Router::new().fallback(echo)).await));
    for _ in 0..2 {
        let verdict = channel.deliver(&delivery("orders//new/?a=1")).await.verdict;
        let Verdict::Retry(FailureReason::Code { code: 500, body }) = verdict else {
            panic!("{verdict:?}");
        };
        assert_eq!(body, r#"/orders/new/?a=1 application/cloudevents+json 10 p secret {"id":"1"}"#);
    }
}

/// The first line of the request that an app gets for this route, or why there is none.
async fn request_line(route: &str) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let channel = channel(&settings(listener.local_addr().unwrap().port()));
    let delivery = delivery(route);
    let first_line = async {
        let (mut connection, _) = listener.accept().await.unwrap();
        let mut request = vec![0; 4096];
        let length = connection.read(&mut request).await.unwrap();
        request.truncate(length);
        let line = request.split(|byte| *byte == b'\r').next().unwrap();
        String::from_utf8(line.to_vec()).unwrap()
    };
    tokio::select! {
        line = first_line => line,
        answer = channel.deliver(&delivery) => format!("{:?}", answer.verdict),
    }
}

#[tokio::test]
async fn a_route_reaches_the_app_as_go_would_send_it() {
    for (route, expected) in [
        ("/b//c/?k=v", "POST /b/c/?k=v HTTP/1.1"),
        ("b/#top", "POST /b/ HTTP/1.1"),
        ("/x%2Fy?a=%zz&b=ä c", "POST /x%2Fy?a=%zz&b=ä%20c HTTP/1.1"),
        ("/x y/ä", "POST /x%20y/%C3%A4 HTTP/1.1"),
        ("/a/./b/../../x/", "POST /x HTTP/1.1"),
        ("?", "POST /? HTTP/1.1"),
        ("", "POST / HTTP/1.1"),
    ] {
        assert_eq!(request_line(route).await, expected, "{route}");
    }
    let refused = request_line("/a%zz").await;
    let reason = r#"the route \"/a%zz\" cannot be requested: invalid URL escape \"%zz\""#;
    assert!(refused.starts_with("Retry(Unanswered(") && refused.contains(reason), "{refused}");
}

/// The verdict on an app that answers with these bytes.
async fn check(answer: &'static [u8], expected: &str) {
    let channel = channel(&settings(answers(answer).await));
    let got = match channel.deliver(&delivery("/x")).await.verdict {
        Verdict::Success => "success".to_owned(),
        Verdict::Drop(reason) => format!("drop: {reason}"),
        Verdict::Retry(FailureReason::Unanswered(_)) => "unanswered".to_owned(),
        Verdict::Retry(reason) => format!("retry: {reason}"),
    };
    assert_eq!(got, expected, "{}", String::from_utf8_lossy(answer));
}

#[tokio::test]
async fn odd_answers_have_a_verdict() {
    check(b"HTTP/1.1 204 No Content\r\n\r\n", "success").await;
    check(b"HTTP/1.1 200 OK\r\ncontent-length: 17\r\n\r\n{\"status\":\"DROP\"}", "drop: status DROP").await;
    check(
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n8\r\n{\"status\r\n9\r\n\":\"DROP\"}\r\n0\r\n\r\n",
        "drop: status DROP",
    )
    .await;
    check(b"HTTP/1.1 200 OK\r\n\r\n{\"status\":\"DROP\"}", "drop: status DROP").await;
    check(b"HTTP/1.1 302 Found\r\nlocation: /y\r\ncontent-length: 0\r\n\r\n", "retry: . status code returned: 302")
        .await;
    check(b"HTTP/1.1 404 Not Found\r\ncontent-length: 2\r\n\r\nno", "drop: no. status code returned: 404").await;
    check(b"HTTP/1.1 200 OK\r\ncontent-length: 17\r\n\r\n{\"status\"", "unanswered").await;
    check(b"", "unanswered").await;
    check(b"nonsense\r\n\r\n", "unanswered").await;
    let large: &'static str =
        Box::leak(format!("HTTP/1.1 200 OK\r\nx: {}\r\ncontent-length: 0\r\n\r\n", "x".repeat(9000)).into_boxed_str());
    check(large.as_bytes(), "unanswered").await;
}

/// D24, and its other side: an event that can be put aside is not delivered with less than it came with.
#[tokio::test]
async fn metadata_that_cannot_be_a_header_is_left_out_or_fails_the_delivery() {
    let fine = axum::routing::post(async |headers: HeaderMap| {
        assert_eq!(headers["pubsubname"], "p");
    });
    let channel = channel(&settings(app(axum::Router::new().fallback(fine)).await));
    for (name, value, is_header) in
        [("a b", "x", false), ("", "x", false), ("a", "b\nc", false), ("a", "b\0", false), ("a", " b ", true)]
    {
        for must_keep_headers in [false, true] {
            let mut delivery = Delivery { must_keep_headers, ..delivery("/x") };
            delivery.metadata = [("pubsubName", "p"), (name, value)].map(|(k, v)| (k.to_owned(), v.to_owned())).into();
            let verdict = channel.deliver(&delivery).await.verdict;
            if is_header || !must_keep_headers {
                assert_eq!(verdict, Verdict::Success, "{name:?} {value:?}");
            } else {
                let text = format!("metadata {name:?} cannot be an HTTP header");
                assert_eq!(verdict, Verdict::Retry(FailureReason::Unanswered(text)));
            }
        }
    }
}

#[tokio::test]
async fn several_events_are_posted_in_one_request() {
    let echo = axum::routing::post(async |headers: HeaderMap, body: String| {
        let mut seen: Vec<_> = headers
            .iter()
            .filter(|(name, _)| !["host", "content-length"].contains(&name.as_str()))
            .map(|(name, value)| format!("{name}: {}", value.to_str().unwrap()))
            .collect();
        seen.sort();
        (http::StatusCode::IM_A_TEAPOT, format!("{} {body}", seen.join(", ")))
    });
    let channel = channel(&settings(app(axum::Router::new().fallback(echo)).await));
    let metadata = [("a".to_owned(), "b".to_owned())].into();
    let entry = BulkEntry { id: "1".to_owned(), event: BulkEvent::Json(b"{}"), metadata: Some(&metadata) };
    let delivery = BulkDelivery {
        id: "U".to_owned(),
        path: "x".into(),
        pubsub: "p",
        topic: "t",
        entries: vec![entry.clone(), entry],
        traceparent: Some("trace".to_owned()),
    };
    let verdicts = channel.deliver_bulk(&delivery).await.verdicts;
    let [Verdict::Retry(FailureReason::Code { code: 418, body }), second] = &verdicts[..] else {
        panic!("{verdicts:?}");
    };
    assert_eq!(&verdicts[0], second);
    let expected = r#"accept-encoding: gzip, content-type: application/json, dapr-api-token: secret, pubsubname: p, traceparent: trace {"entries":[{"entryId":"1","event":{},"metadata":{"a":"b"}"#;
    assert!(body.starts_with(expected), "{body}");
}

#[tokio::test]
async fn an_app_that_is_not_there_is_unreachable() {
    let closed = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().port();
    for port in [i32::from(closed), -1, 0, 70_000] {
        let settings = AppSettings { port, ..settings(closed) };
        let channel = channel(&settings);
        let verdict = channel.deliver(&delivery("/x")).await.verdict;
        assert!(matches!(verdict, Verdict::Retry(FailureReason::Unreachable(_))), "{port}: {verdict:?}");
        assert!(matches!(channel.subscriptions().await, Err(DiscoveryError::Unreachable(_))));
    }
}

/// What becomes of a delivery to an app that speaks HTTP/1.1 in clear text and nothing else.
async fn misunderstood(protocol: AppProtocol) -> Verdict {
    let settings = AppSettings { protocol, ..settings(answers(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await) };
    channel(&settings).deliver(&delivery("/x")).await.verdict
}

#[tokio::test]
async fn an_app_that_speaks_another_protocol_has_not_got_the_event() {
    assert_eq!(misunderstood(AppProtocol::Http).await, Verdict::Success);
    let verdict = misunderstood(AppProtocol::Https).await;
    assert!(matches!(verdict, Verdict::Retry(FailureReason::Unreachable(_))), "{verdict:?}");
    let verdict = misunderstood(AppProtocol::H2c).await;
    assert!(matches!(verdict, Verdict::Retry(_)), "{verdict:?}");
}

#[tokio::test]
async fn an_app_without_tls_is_not_listening_for_https() {
    let settings =
        AppSettings { protocol: AppProtocol::Https, ..settings(answers(b"HTTP/1.1 400 Bad Request\r\n\r\n").await) };
    assert!(!channel(&settings).accepts_connections().await);
}

#[tokio::test]
async fn listening_waits_for_the_port_or_the_stop() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let open = channel(&settings(listener.local_addr().unwrap().port()));
    assert!(open.listening(&Stop::new()).await);
    drop(listener);
    let stop = Stop::new();
    let (heard, ()) = tokio::join!(open.listening(&stop), async { stop.trigger() });
    assert!(!heard);
}

#[tokio::test]
async fn the_app_is_asked_with_its_id_and_token() {
    let subscribe = axum::routing::get(async |headers: HeaderMap| {
        assert_eq!(headers["dapr-app-id"], "shop");
        assert_eq!(headers["dapr-api-token"], "secret");
        assert_eq!(headers["content-type"], "application/json");
        r#"[{"pubsubname":"p","topic":"t","route":"/x"},{"topic":"routeless"}]"#
    });
    let channel_of = async |routes| channel(&settings(app(routes).await));
    let asked =
        channel_of(axum::Router::new().route("/dapr/subscribe", subscribe)).await.subscriptions().await.unwrap();
    assert_eq!(asked.len(), 1);
    assert_eq!(channel_of(axum::Router::new()).await.subscriptions().await.unwrap(), []);
    for code in [201, 204, 302, 401, 500] {
        let answer = axum::routing::get(async move || (http::StatusCode::from_u16(code).unwrap(), "[]"));
        let error = channel_of(axum::Router::new().fallback(answer)).await.subscriptions().await.unwrap_err();
        let expected = format!("app returned http status code {code} from subscription endpoint ");
        assert!(error.to_string().starts_with(&expected), "{error}");
    }
    let answer = axum::routing::get("{}");
    let error = channel_of(axum::Router::new().fallback(answer)).await.subscriptions().await.unwrap_err();
    assert!(matches!(error, DiscoveryError::Malformed(_)), "{error}");
}

#[tokio::test]
async fn no_more_calls_at_once_than_allowed() {
    static NOW: AtomicUsize = AtomicUsize::new(0);
    static MOST: AtomicUsize = AtomicUsize::new(0);
    let slow = axum::routing::post(async || {
        MOST.fetch_max(NOW.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
        tokio::task::yield_now().await;
        tokio::time::sleep(Duration::from_millis(5)).await;
        NOW.fetch_sub(1, Ordering::SeqCst);
    });
    let port = app(axum::Router::new().fallback(slow)).await;
    let settings = AppSettings { max_concurrency: Some(2), ..settings(port) };
    let channel = channel(&settings);
    let delivery = delivery("/x");
    let all = futures_util::future::join_all((0..10).map(|_| channel.deliver(&delivery))).await;
    assert!(all.iter().all(|answer| answer.verdict == Verdict::Success), "{all:?}");
    assert_eq!(MOST.load(Ordering::SeqCst), 2);
}

/// What a probe of an app with these bytes says.
async fn probed(answer: &'static [u8]) -> String {
    let channel = channel(&settings(answers(answer).await));
    match channel.probe("/healthz").await {
        Ok(()) => "healthy".to_owned(),
        Err(error @ ProbeError::Status(_)) => error.to_string(),
        Err(error) => format!("{error:?}").split('(').next().unwrap_or_default().to_owned(),
    }
}

#[tokio::test]
async fn only_success_is_healthy() {
    let status = "Health check failed with status code:";
    for (answer, expected) in [
        (&b"HTTP/1.1 200 OK\r\n\r\n"[..], "healthy".to_owned()),
        (b"HTTP/1.1 204 No Content\r\n\r\n", "healthy".to_owned()),
        (b"HTTP/1.1 299 Well\r\ncontent-length: 9\r\n\r\ncut", "healthy".to_owned()),
        (b"HTTP/1.1 302 Found\r\nlocation: /\r\n\r\n", format!("{status} 302")),
        (b"HTTP/1.1 404 Not Found\r\n\r\n", format!("{status} 404")),
        (b"HTTP/1.1 503 Away\r\n\r\n", format!("{status} 503")),
        (b"nonsense\r\n\r\n", "Unanswered".to_owned()),
        (b"", "Unanswered".to_owned()),
    ] {
        let got = probed(answer).await;
        assert_eq!(got, expected, "{}", String::from_utf8_lossy(answer));
    }
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    drop(listener);
    let gone = channel(&settings(port)).probe("/healthz").await;
    assert!(matches!(gone, Err(ProbeError::Unreachable(_))), "{gone:?}");
}

#[tokio::test]
async fn a_limit_beyond_what_can_be_counted_is_none() {
    let port = app(axum::Router::new().fallback(async || "")).await;
    let settings = AppSettings { max_concurrency: Some(usize::MAX), ..settings(port) };
    let verdict = channel(&settings).deliver(&delivery("/x")).await.verdict;
    assert_eq!(verdict, Verdict::Success);
}

#[tokio::test]
async fn a_probe_is_plain_and_takes_no_place_of_events() {
    let echo = axum::routing::get(async |request: axum::extract::Request| {
        let is_plain = request.headers().keys().all(|name| name == "host" || name == "accept-encoding");
        let is_asked = request.uri() == "/alive?deep=1";
        http::StatusCode::from_u16(if is_plain && is_asked { 204 } else { 500 }).unwrap()
    });
    let app = app(axum::Router::new().fallback(echo)).await;
    let mut settings = settings(app);
    settings.max_concurrency = Some(1);
    let channel = channel(&settings);
    let _taken = channel.slots.as_ref().unwrap().acquire().await.unwrap();
    assert_eq!(channel.probe("/alive?deep=1").await, Ok(()));
}
