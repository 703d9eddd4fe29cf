//! What is said of an app that is not the expected one.

use super::packed::Paper;
use super::*;
use crate::app::http::connect::Tls;

#[tokio::test]
async fn an_answer_that_is_no_list_is_shown() {
    for (code, content_type, body, expected) in [
        (
            200,
            "text/html",
            "<!doctype html><title>Shop</title>",
            r#"(GET /dapr/subscribe was answered with status 200, Content-Type "text/html" and a body that begins "<!doctype html><title>Shop</title>"; is another program on port PORT?)"#,
        ),
        (
            200,
            "application/json",
            r#"{"ok":1}"#,
            r#"(GET /dapr/subscribe was answered with status 200, Content-Type "application/json" and a body that begins "{\"ok\":1}")"#,
        ),
        (
            401,
            "text/plain",
            "",
            r#"(GET /dapr/subscribe was answered with status 401, Content-Type "text/plain" and an empty body; is another program on port PORT?)"#,
        ),
    ] {
        let answer = async move || {
            let code = http::StatusCode::from_u16(code).unwrap();
            (code, [("content-type", content_type)], body)
        };
        let port = app(axum::Router::new().fallback(answer)).await;
        let error = channel(&settings(port)).subscriptions().await.unwrap_err();
        let expected = expected.replace("PORT", &port.to_string());
        assert!(error.to_string().ends_with(&expected), "{error}");
    }
}

#[tokio::test]
async fn an_empty_list_of_subscriptions_is_told() {
    let port = app(axum::Router::new().fallback(async || "")).await;
    let paper = Paper::default();
    let found = paper.channel(&settings(port)).subscriptions().await;
    assert_eq!(found.unwrap(), []);
    let question = format!("is another program on port {port}?");
    assert_eq!(paper.count(&question), 1);
}

/// What is said of an app that answers with these bytes and closes.
async fn advice(protocol: AppProtocol, answer: &'static [u8]) -> String {
    let settings = AppSettings { protocol, ..settings(answers(answer).await) };
    let paper = Paper::default();
    let channel = paper.channel(&settings);
    let mut said = String::new();
    for _ in 0..2 {
        let verdict = channel.deliver(&delivery("/x")).await.verdict;
        let Verdict::Retry(reason) = verdict else {
            panic!("{verdict:?}");
        };
        // A connection that breaks while the request is written may leave nothing to recognise.
        if said.is_empty() || reason.to_string().contains("--app-protocol") {
            said = reason.to_string();
        }
    }
    let times = paper.count("cannot be understood: ");
    format!("{times} {}", said.split("; ").last().unwrap_or_default())
}

#[tokio::test]
async fn an_app_of_another_protocol_is_recognised_by_its_first_bytes() {
    use AppProtocol::{H2c, Http, Https};
    for (protocol, answer, expected) in [
        (
            Http,
            &b"\x15\x03\x01\0\x02\x02\x46"[..],
            "1 the app seems to speak TLS, and --app-protocol is http: start with --app-protocol https",
        ),
        (
            H2c,
            b"\x15\x03\x01\0\x02\x02\x46\0\0\0",
            "1 the app seems to speak TLS, and --app-protocol is h2c: start with --app-protocol https",
        ),
        (
            Https,
            b"HTTP/1.1 400 Bad Request\r\n\r\n",
            "1 the app does not answer as TLS does and most likely speaks HTTP without it, and --app-protocol is https: start with --app-protocol http",
        ),
        (
            Https,
            b"",
            "1 the app does not answer as TLS does and most likely speaks HTTP without it, and --app-protocol is https: start with --app-protocol http",
        ),
        (
            H2c,
            b"HTTP/1.1 400 Bad Request\r\n\r\n",
            "1 the app seems to speak HTTP/1.1 and not HTTP/2, and --app-protocol is h2c: start with --app-protocol http",
        ),
        (
            Http,
            b"HTTP/1.1 200 OK\r\ncontent-type: application/grpc\r\ncontent-length: 0\r\ngrpc-status: 12\r\n\r\n",
            "1 the app seems to speak gRPC, and --app-protocol is http: that is not supported yet; let it serve HTTP",
        ),
    ] {
        let got = advice(protocol, answer).await;
        let last = expected.split("; ").last().unwrap();
        assert!(got == expected || got == format!("1 {last}"), "{got}");
    }
    let frame = advice(Http, b"\0\0\0\x04\0\0\0\0\0").await;
    assert!(frame.starts_with("1 "), "{frame}");
    let of_go = b"HTTP/1.0 400 Bad Request\r\n\r\nClient sent an HTTP request to an HTTPS server.\n";
    let got = advice(Http, of_go).await;
    assert!(got.starts_with("1 "), "{got}");
    let other = advice(Http, b"+OK\r\n\r\n").await;
    assert!(other.starts_with("0 "), "{other}");
}

/// The line comes again while it lasts, and only so often.
#[tokio::test(start_paused = true)]
async fn a_reminder_is_due_every_thirty_seconds() {
    let last = Mutex::default();
    let mut times = 0;
    for _ in 0..61 {
        times += usize::from(is_due(&last));
        tokio::time::advance(Duration::from_secs(1)).await;
    }
    assert_eq!(times, 3);
}

#[tokio::test]
async fn nothing_but_tls_is_taken_for_tls() {
    let port = answers(b"HTTP/1.1 400 Bad Request\r\n\r\n").await;
    let stream = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
    let tls = Tls::to("127.0.0.1");
    let error = tls.begin_within(PROBE, stream).await.unwrap_err();
    assert_eq!(protocol::of_handshake(&error), Some(DetectedProtocol::NoTls));
}
