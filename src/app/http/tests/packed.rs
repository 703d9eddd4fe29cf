//! Answers with a content coding (D26).

use std::io;

use super::*;
use crate::app::http::coding::tests::gzip;

/// An app that answers every request with this status, coding and body.
async fn packing(code: u16, coding: &'static str, body: Vec<u8>) -> HttpChannel {
    let answer = async move |headers: HeaderMap| {
        assert_eq!(headers["accept-encoding"], "gzip");
        let code = http::StatusCode::from_u16(code).unwrap();
        (code, [("content-encoding", coding)], body.clone())
    };
    channel(&settings(app(axum::Router::new().fallback(answer)).await))
}

/// `success`, `drop` or `retry` and the reason.
fn shown(verdict: &Verdict) -> String {
    match verdict {
        Verdict::Success => "success".to_owned(),
        Verdict::Drop(reason) => format!("drop: {reason}"),
        Verdict::Retry(reason) => format!("retry: {reason}"),
    }
}

#[tokio::test]
async fn a_packed_answer_counts_as_the_same_one_unpacked() {
    let retry = br#"{"status":"RETRY"}"#;
    let bomb = gzip(&vec![b' '; response::MAX_BODY + 1]);
    let cut_off = gzip(retry)[..20].to_vec();
    for (code, coding, body, expected) in [
        (200, "gzip", gzip(br#"{"status":"DROP"}"#), "drop: status DROP"),
        (200, "GZIP", gzip(retry), "retry: status RETRY"),
        (200, "x-gzip", gzip(retry), "retry: status RETRY"),
        (200, "identity", retry.to_vec(), "retry: status RETRY"),
        (200, "gzip", gzip(br#"{"status":"SUCCESS"}"#), "success"),
        (200, "gzip", gzip(b""), "success"),
        (200, "gzip", Vec::new(), "success"),
        (204, "gzip", Vec::new(), "success"),
        (200, "gzip", retry.to_vec(), "retry: the answer is not valid gzip: invalid gzip header"),
        (200, "gzip", cut_off, "retry: the answer is not valid gzip: incomplete deflate stream"),
        (200, "gzip", bomb, "retry: the answer is longer than 4194304 bytes when unpacked"),
        (
            200,
            "br",
            b"\x0b\x08\x80{\"status\":\"RETRY\"}\x03".to_vec(),
            "retry: the answer has Content-Encoding \"br\", which is not unpacked; the request asked for gzip or none",
        ),
        (
            201,
            "Deflate",
            b"x".to_vec(),
            "retry: the answer has Content-Encoding \"deflate\", which is not unpacked; the request asked for gzip or none",
        ),
        (
            200,
            "gzip, br",
            b"x".to_vec(),
            "retry: the answer has Content-Encoding \"gzip, br\", which is not unpacked; the request asked for gzip or none",
        ),
        (500, "gzip", gzip(b"no"), "retry: no. status code returned: 500"),
        (
            404,
            "zstd",
            b"x".to_vec(),
            "drop: (the answer has Content-Encoding \"zstd\", which is not unpacked; the request asked for gzip or none). status code returned: 404",
        ),
    ] {
        let channel = packing(code, coding, body).await;
        let verdict = channel.deliver(&delivery("/x")).await.verdict;
        assert_eq!(shown(&verdict), expected, "{code} {coding}");
    }
}

#[tokio::test]
async fn a_packed_answer_to_several_events_has_a_status_for_each() {
    let statuses = br#"{"statuses":[{"entryId":"1","status":"DROP"}]}"#;
    for (coding, body, expected) in [
        ("gzip", gzip(statuses), "drop: status DROP"),
        ("gzip", statuses.to_vec(), "retry: the answer is not valid gzip: invalid gzip header"),
        (
            "zstd",
            statuses.to_vec(),
            "retry: the answer has Content-Encoding \"zstd\", which is not unpacked; the request asked for gzip or none",
        ),
    ] {
        let channel = packing(200, coding, body).await;
        let delivery = BulkDelivery {
            id: "U".to_owned(),
            path: "x".into(),
            pubsub: "p",
            topic: "t",
            entries: vec![BulkEntry { id: "1".to_owned(), event: BulkEvent::Json(b"{}"), metadata: None }],
            traceparent: None,
        };
        let verdicts = channel.deliver_bulk(&delivery).await.verdicts;
        assert_eq!(verdicts.iter().map(shown).collect::<Vec<_>>(), [expected]);
    }
}

#[tokio::test]
async fn a_packed_list_of_subscriptions_is_understood() {
    let list = br#"[{"pubsubname":"p","topic":"t","route":"/x"}]"#;
    let found = packing(200, "gzip", gzip(list)).await.subscriptions().await;
    assert_eq!(found.unwrap()[0].topic, "t");
    for (coding, body) in [("br", list.to_vec()), ("gzip", list.to_vec())] {
        let channel = packing(200, coding, body).await;
        let error = channel.subscriptions().await.unwrap_err().to_string();
        assert!(error.contains("the answer"), "{error}");
    }
    let channel = packing(200, "br", b"x".to_vec()).await;
    assert_eq!(channel.probe("/healthz").await, Ok(()));
}

/// A log that can be read.
#[derive(Clone, Default)]
pub(super) struct Paper(Arc<Mutex<Vec<u8>>>);

impl io::Write for Paper {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Paper {
    /// A channel that logs here.
    pub(super) fn channel(&self, settings: &AppSettings) -> HttpChannel {
        let log = Log::new(Level::Warn, self.clone());
        HttpChannel::new(settings, "shop", Telemetry::new(log, Metrics::default()))
    }

    /// How many lines have this text in them.
    pub(super) fn count(&self, text: &str) -> usize {
        let written = String::from_utf8(self.0.lock().clone()).unwrap();
        written.lines().filter(|line| line.contains(text)).count()
    }
}

#[tokio::test]
async fn a_body_that_is_no_answer_is_told_once_for_each_route() {
    let answer = async |request: axum::extract::Request| match request.uri().path() {
        "/quiet" => "{}",
        "/page" => "<html>",
        _ => r#"{"success":false}"#,
    };
    let port = app(axum::Router::new().fallback(answer)).await;
    let paper = Paper::default();
    let channel = paper.channel(&settings(port));
    for route in ["/a", "/b", "/quiet", "/page", "/a", "/b", "/quiet", "/page"] {
        assert_eq!(channel.deliver(&delivery(route)).await.verdict, Verdict::Success);
    }
    for (text, times) in [
        ("on route /a with a success whose body is a JSON object without status", 1),
        ("on route /b with", 1),
        ("on route /page with a success whose body is HTML", 1),
        ("on route", 3),
    ] {
        assert_eq!(paper.count(text), times, "{text}");
    }
}
