//! A real sidecar under hostile clients: it keeps running, answers, and leaks neither memory nor file descriptors. Each
//! run sends the same bytes; `PROPTEST_RNG_SEED` chooses others (see `src/json/arbitrary.rs`).

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::time::Duration;

use hyper::StatusCode;
use tokio::time::Instant;

use crate::support::app::{Answer, App};
use crate::support::eventually;
use crate::support::sidecar::{MEMORY, Sidecar};

const SUBSCRIPTION: &str = r#"[{"pubsubname":"pubsub","topic":"orders","route":"/orders"}]"#;

/// Clients for each seed; each sends one to three requests.
const CLIENTS: usize = 240;

/// The fixed seeds. A failure names its seed.
const SEEDS: [u64; 4] = [1, 2, 3, 4];

/// The seed in `PROPTEST_RNG_SEED`, or 5.
fn explored() -> u64 {
    let named = std::env::var("PROPTEST_RNG_SEED");
    named.map_or(5, |seed| seed.parse().unwrap())
}

/// Allowed growth of the sidecar's memory, in `KiB`: a few bodies of the largest size.
const GROWTH: u64 = 64 * 1024;

const METHODS: [&str; 12] =
    ["GET", "POST", "POST", "POST", "PUT", "DELETE", "HEAD", "OPTIONS", "PATCH", "BREW", "get", "PRI"];

const PATHS: [&str; 24] = [
    "/v1.0/publish/pubsub/orders",
    "/v1.0/publish/pubsub/orders?metadata.ttlInSeconds=60&metadata.rawPayload=false",
    "/v1.0/publish/pubsub/a%2Fb/%00%FF?metadata.=%FF&metadata.cloudevent.id=%0D%0A",
    "/v1.0/publish/pubsub/other?metadata.rawPayload=true",
    "/v1.0/publish/bulk/pubsub/orders",
    "/v1.0-alpha1/publish/bulk/pubsub/other",
    "/v1.0/publish/nope/orders",
    "/v1.0/metadata",
    "/v1.0/metadata/key",
    "/v1.0/healthz",
    "/v1.0/healthz/outbound?appid=%zz",
    "//v1.0/./publish/../publish//pubsub/orders/",
    "/v1.0/state/store/key",
    "/v1.0/bindings/b",
    "/v1.0/invoke/http%3A%2F%2Fx/method/y",
    "/v1.0/jobs/%3C%3E",
    "/openapi.yaml",
    "/%zz",
    "/",
    "*",
    "http://example.org/v1.0/healthz",
    "",
    "/\u{e9}",
    "/v1.0/publish/pubsub/healthz",
];

const HEADERS: [&str; 26] = [
    "Content-Type: application/json",
    "Content-Type: application/cloudevents+json",
    "Content-Type: \u{e9}",
    "Content-Length: 5",
    "Content-Length: -1",
    "Content-Length: 99999999999999999999",
    "Transfer-Encoding: chunked",
    "Transfer-Encoding: gzip, chunked",
    "Transfer-Encoding: nope",
    "Connection: close",
    "Connection: Upgrade, HTTP2-Settings",
    "Upgrade: h2c",
    "HTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA",
    "Upgrade: websocket",
    "Expect: 100-continue",
    "Host: x",
    "traceparent: 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
    "traceparent: 00-\u{e9}",
    "tracestate: a=1,,=,\u{e9}",
    "baggage: a=b;=,,%zz",
    "Authorization: Basic ZGFwci1hcHAtaWQ6eA==",
    "dapr-app-id: x",
    "Origin: https://evil.com",
    "Access-Control-Request-Method: POST",
    "no colon at all",
    "\0: \0",
];

const BODIES: [&str; 10] = [
    "",
    "5\r\n{\"a\":\r\n1\r\n1\r\n1\r\n}\r\n0\r\n\r\n",
    "ffffffffffffffff\r\nx",
    "-1\r\n",
    "{\"data\":1e999,\"id\":\"\\ud800\"}",
    "[{\"entryId\":\"1\",\"event\":{},\"contentType\":\"application/json\"},null]",
    "[{\"entryID\":\"\\ud800\",\"event\":\"a$b\",\"contentType\":\"application/octet-stream\",\"metadata\":{\"\":null}}]",
    "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0",
    "GET /v1.0/healthz HTTP/1.1\r\nHost: x\r\n\r\n",
    "\0\u{fe}\r\n\r\n",
];

/// One client: the pieces it sends, and how it closes its connection.
struct Client {
    sends: Vec<u8>,
    piece: usize,
    leaves_early: bool,
}

/// One or more requests, or bytes that resemble them.
fn client(random: &mut fastrand::Rng) -> Client {
    let mut sends = Vec::new();
    for _ in 0..random.usize(1..=3) {
        sends.extend(request(random));
    }
    for _ in 0..[0, 0, 0, 1, 4][random.usize(..5)] {
        let at = random.usize(..sends.len());
        match random.u8(..3) {
            0 => sends[at] = random.u8(..),
            1 => sends.truncate(at + 1),
            _ => drop(sends.splice(at..at, *b"\r\n")),
        }
    }
    Client { piece: if random.u8(..8) == 0 { 7 } else { usize::MAX }, leaves_early: random.u8(..8) == 0, sends }
}

fn request(random: &mut fastrand::Rng) -> Vec<u8> {
    let mut pick = |from: &[&'static str]| from[random.usize(..from.len())];
    let version = pick(&["HTTP/1.1", "HTTP/1.1", "HTTP/1.1", "HTTP/1.0", "HTTP/2.0", "http/1.1", ""]);
    let (method, path, body) = (pick(&METHODS), pick(&PATHS), pick(&BODIES));
    let mut head = format!("{method} {path} {version}\r\n");
    for _ in 0..3 {
        head += pick(&HEADERS);
        head += "\r\n";
    }
    if random.u8(..4) > 0 {
        head += &format!("Host: x\r\nContent-Length: {}\r\n", body.len());
    }
    let (body, large) = match random.u8(..40) {
        0 => (String::new(), 5 << 20),
        1 => {
            head += &format!("x: {}\r\n", "y".repeat(random.usize(..200_000)));
            (String::new(), 0)
        }
        2 => (("[".repeat(100_000)) + body, 0),
        _ => (body.to_owned(), 0),
    };
    let mut bytes = format!("{head}\r\n{body}").into_bytes();
    bytes.resize(bytes.len() + large, b'1');
    bytes
}

impl Client {
    /// Sends all pieces and reads the answer, for a bounded time.
    fn run(&self, port: u16) {
        let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        stream.set_write_timeout(Some(Duration::from_secs(10))).unwrap();
        let sent = self.sends.chunks(self.piece).take(64).all(|piece| stream.write_all(piece).is_ok());
        if !sent || self.leaves_early {
            return;
        }
        // The sidecar answers what it got on a half-closed connection, then closes it, too.
        let _ = stream.shutdown(Shutdown::Write);
        let mut answers = Vec::new();
        if let Err(error) = stream.read_to_end(&mut answers) {
            let is_slow = matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut);
            assert!(
                !is_slow,
                "not answered in time: {:?}",
                String::from_utf8_lossy(&self.sends[..self.sends.len().min(500)])
            );
        }
        assert!(answers.is_empty() || answers.starts_with(b"HTTP/1.") || answers.starts_with(b"\0\0"), "{answers:?}");
    }
}

/// All clients of a seed, eight at a time.
async fn attack(port: u16, seed: u64) {
    let clients = (0..8_u64).map(|n| {
        tokio::task::spawn_blocking(move || {
            let mut random = fastrand::Rng::with_seed(seed.wrapping_mul(8).wrapping_add(n));
            for _ in 0..CLIENTS / 8 {
                client(&mut random).run(port);
            }
        })
    });
    for client in clients.collect::<Vec<_>>() {
        client.await.unwrap_or_else(|error| panic!("seed {seed}: {error}"));
    }
}

async fn is_well(sidecar: &Sidecar) -> bool {
    sidecar.get("/v1.0/healthz").await == Some(StatusCode::NO_CONTENT)
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_that_do_not_mean_well_leave_nothing_behind() {
    let app = App::start(SUBSCRIPTION, |_| Answer::success()).await;
    let sidecar =
        Sidecar::start(MEMORY, app.port, &["--enable-api-logging", "--allowed-origins", "https://*.a.com"]).await;
    attack(sidecar.http_port, 0).await;
    assert!(is_well(&sidecar).await);
    let (memory, files) = (sidecar.memory(), sidecar.open_files());
    let begun = Instant::now();
    for seed in SEEDS.into_iter().chain([explored()]) {
        attack(sidecar.http_port, seed).await;
        assert!(is_well(&sidecar).await, "seed {seed}");
        let now = sidecar.memory();
        assert!(now < memory + GROWTH, "seed {seed}: {memory} KiB became {now}");
    }
    println!("{:?}: {memory} KiB, then {} KiB", begun.elapsed(), sidecar.memory());
    eventually(&format!("the {files} open files of before"), || async { sidecar.open_files() <= files + 2 }).await;
    let published = app.seen().len();
    assert_eq!(sidecar.publish("1".to_owned()).await, Some(StatusCode::NO_CONTENT));
    eventually("what is published is delivered as ever", || async { app.seen().len() > published }).await;
}

/// Every event answered with 204 is delivered once, with the bytes of its data (D6).
#[tokio::test(flavor = "multi_thread")]
async fn whatever_json_is_published_is_delivered_byte_for_byte() {
    // Numbers beyond a double, and halves of surrogate pairs.
    let app = App::start(SUBSCRIPTION, |_| Answer::success()).await.expecting_odd_events();
    let sidecar = Sidecar::start(MEMORY, app.port, &[]).await;
    let seed = explored();
    let mut random = fastrand::Rng::with_seed(seed);
    let mut expected: Vec<String> = (0..500).map(|n| format!("[{n},{}]", value(&mut random, 4))).collect();
    for data in &expected {
        assert_eq!(sidecar.publish(data.clone()).await, Some(StatusCode::NO_CONTENT), "seed {seed}: {data}");
    }
    eventually("all are delivered", || async { app.seen().len() >= expected.len() }).await;
    let mut got: Vec<String> = app
        .seen()
        .iter()
        .map(|delivered| {
            let event = std::str::from_utf8(&delivered.body).unwrap();
            let members = sidestream::json::members(event).unwrap();
            members["data"].to_owned()
        })
        .collect();
    expected.sort();
    got.sort();
    assert_eq!(got, expected, "seed {seed}");
}

/// Any JSON: numbers beyond 64 bits, escapes, blanks, duplicate names.
fn value(random: &mut fastrand::Rng, depth: u8) -> String {
    let digits = |random: &mut fastrand::Rng| (0..random.usize(1..40)).map(|_| random.digit(10)).collect::<String>();
    match random.u8(..if depth == 0 { 4 } else { 6 }) {
        0 => format!("-1{}.{}e{}", digits(random), digits(random), random.i16(..)),
        1 => ["null", "true", "false"][random.usize(..3)].to_owned(),
        2 => [r#""\ud800""#, r#""\u0000<&>""#, "\"\u{2028}😀\"", r#""\/\b""#][random.usize(..4)].to_owned(),
        3 => digits(random).trim_start_matches('0').to_owned() + "0",
        4 => {
            let items: Vec<_> = (0..random.usize(..4)).map(|_| value(random, depth - 1)).collect();
            format!("[ {}]", items.join(" ,"))
        }
        _ => {
            let members: Vec<_> = (0..random.usize(..4))
                .map(|_| format!("\"{}\" :{}", ["a", "b", r"\u0061"][random.usize(..3)], value(random, depth - 1)))
                .collect();
            format!("{{{}\n}}", members.join(","))
        }
    }
}
