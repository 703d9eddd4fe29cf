//! Messages as bytes: refused heads, limits, the end of connections.

use super::*;

#[tokio::test]
async fn messages_that_make_no_sense_are_refused() {
    let api = start(|_| {}, service::api).await;
    for (message, status) in [
        ("HELLO\r\n\r\n", 400),
        ("GET /v1.0/healthz HTTP/1.1\r\n\r\n", 400),
        ("GET /v1.0/healthz HTTP/1.0\r\n\r\n", 204),
        ("GET /v1.0/healthz% HTTP/1.1\r\nHost: x\r\n\r\n", 400),
        ("GET http://example.com/v1.0/healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", 204),
        ("OPTIONS * HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", 200),
        ("POST /v1.0/publish/ps/t HTTP/1.1\r\nHost: x\r\nContent-Length: abc\r\n\r\n", 400),
        ("POST /v1.0/publish/ps/t HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n", 400),
        ("POST /v1.0/publish/ps/t HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: snail\r\n\r\n", 501),
    ] {
        assert_eq!(api.send(message.as_bytes()).await.status, status, "{message}");
    }
    let continued = b"POST /v1.0/publish/ps/t HTTP/1.1\r\nHost: x\r\nConnection: close\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n{}";
    let answer = api.send(continued).await;
    assert!(answer.status == 100 && answer.body.starts_with("HTTP/1.1 204"), "{} {}", answer.head, answer.body);
}

#[tokio::test]
async fn heads_have_a_limit_of_size_but_not_of_number() {
    let api = start(|_| {}, service::api).await;
    assert_eq!(api.call("GET", "/v1.0/healthz", &[("X-Fill", &"f".repeat(7000))], b"").await.status, 204);
    for size in [9000, 14_000, 200_000] {
        assert_eq!(api.call("GET", "/v1.0/healthz", &[("X-Fill", &"f".repeat(size))], b"").await.status, 431, "{size}");
    }
    let names: Vec<String> = (0..300).map(|n| format!("X-{n}")).collect();
    let many: Vec<_> = names.iter().map(|name| (name.as_str(), "v")).collect();
    assert_eq!(api.call("GET", "/v1.0/healthz", &many, b"").await.status, 204);
}

#[tokio::test]
async fn a_stop_finishes_idle_connections_and_ends_every_task() {
    let api = start(|_| {}, service::api).await;
    let mut idle = TcpStream::connect(("127.0.0.1", api.port)).await.unwrap();
    idle.write_all(b"GET /v1.0/healthz HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
    let mut first = [0; 12];
    idle.read_exact(&mut first).await.unwrap();
    api.stop.trigger();
    tokio::time::timeout(Duration::from_secs(5), api.tasks.ended()).await.expect("all ended");
    let mut rest = Vec::new();
    idle.read_to_end(&mut rest).await.unwrap();
    assert!(TcpStream::connect(("127.0.0.1", api.port)).await.is_err());
}

#[tokio::test]
async fn refusals_of_unreadable_heads_say_what_is_wrong() {
    let api = start(|_| {}, service::api).await;
    let long = format!("GET /{} HTTP/1.1\r\nHost: x\r\n\r\n", "p".repeat(100_000));
    for (message, status, body) in [
        ("HELLO\r\n\r\n", 400, "400 Bad Request"),
        ("GET / HTTP/1.1\r\nHost: x\r\nBad Name: x\r\n\r\n", 400, "400 Bad Request"),
        ("GET /%zz HTTP/1.1\r\nHost: x\r\n\r\n", 400, "400 Bad Request"),
        ("GET / HTTP/1.1\r\n\r\n", 400, "400 Bad Request: missing required Host header"),
        (&long, 431, "431 Request Header Fields Too Large"),
    ] {
        let answer = api.send(message.as_bytes()).await;
        assert_eq!((answer.status, &*answer.body), (status, body));
        let head = answer.head.to_ascii_lowercase();
        assert!(head.contains("content-type: text/plain; charset=utf-8\r\n"), "{head}");
        assert!(head.contains("connection: close"), "{head}");
    }
}

#[tokio::test]
async fn very_many_headers_are_for_connections_that_begin_with_many() {
    let api = start(|_| {}, service::api).await;
    let request = |headers: usize, more: &str| {
        let lines: String = (0..headers).map(|at| format!("X-{at}: v\r\n")).collect();
        format!("GET /v1.0/healthz HTTP/1.1\r\nHost: x\r\n{lines}{more}\r\n")
    };
    let close = "Connection: close\r\n";
    let check = async |first: usize, second: usize, expected: &[&str]| {
        let both = request(first, "") + &request(second, close);
        let answer = api.send(both.as_bytes()).await;
        let text = format!("{}\r\n\r\n{}", answer.head, answer.body);
        let lines = text.lines();
        let status: Vec<&str> = lines.filter_map(|line| line.strip_prefix("HTTP/1.1 ")).collect();
        assert_eq!(status, expected, "{first}, then {second}");
    };
    let (fine, refused) = ("204 No Content", "431 Request Header Fields Too Large");
    check(3, 90, &[fine, fine]).await;
    check(60, 300, &[fine, fine]).await;
    check(300, 3, &[fine, fine]).await;
    check(3, 150, &[fine, refused]).await;
}

#[tokio::test]
async fn a_connection_becomes_http2_and_the_request_is_answered_on_stream_1() {
    let api = start(|_| {}, service::api).await;
    let mut stream = TcpStream::connect(("127.0.0.1", api.port)).await.unwrap();
    let request = b"GET /v1.0/publish/ps HTTP/1.1\r\nHost: x\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAoAAAAAIAAAAA\r\n\r\n";
    stream.write_all(request).await.unwrap();
    // The client's first words, empty settings, and a second request on stream 3: GET /v1.0/healthz.
    let mut second = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0".to_vec();
    let block = b"\x82\x86\x04\x0d/v1.0/healthz\x01\x01x";
    second.extend_from_slice(&[0, 0, block.len() as u8, 1, 5, 0, 0, 0, 3]);
    second.extend_from_slice(block);
    stream.write_all(&second).await.unwrap();

    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.unwrap());
    }
    let head = String::from_utf8(head).unwrap().to_ascii_lowercase();
    assert!(head.starts_with("http/1.1 101 switching protocols\r\n"), "{head}");
    assert!(head.contains("\r\nupgrade: h2c\r\n") && head.contains("\r\nconnection: upgrade\r\n"));

    let mut answered = Vec::new();
    let mut body = Vec::new();
    while answered.len() < 2 || body.is_empty() {
        let mut frame = [0; 9];
        stream.read_exact(&mut frame).await.unwrap();
        let length = usize::from(frame[1]) << 8 | usize::from(frame[2]);
        let mut payload = vec![0; length];
        stream.read_exact(&mut payload).await.unwrap();
        match (frame[3], frame[8]) {
            (0, 1) => body.extend(payload),
            (1, stream_id) => answered.push((stream_id, payload[0])),
            _ => {}
        }
    }
    answered.sort_unstable();
    // Of the packed headers the first byte is the status: 0x8d is 404, 0x89 is 204.
    assert_eq!(answered, [(1, 0x8d), (3, 0x89)]);
    assert_eq!(String::from_utf8(body).unwrap(), NO_TARGET);
}

#[tokio::test]
async fn without_http2_an_upgrade_is_not_taken_and_its_first_words_are_refused() {
    let api = start(|settings| settings.http.http2 = false, service::api).await;
    let upgrade = b"GET /v1.0/healthz HTTP/1.1\r\nHost: x\r\nConnection: Upgrade, HTTP2-Settings, close\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAoAAAAAIAAAAA\r\n\r\n";
    let answer = api.send(upgrade).await;
    assert_eq!(answer.status, 204, "{}", answer.head);
    let first_words = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";
    let mut stream = TcpStream::connect(("127.0.0.1", api.port)).await.unwrap();
    stream.write_all(first_words).await.unwrap();
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer).await;
    // A server of HTTP/2 begins with its settings, a frame of type 4.
    assert_ne!(answer.get(3), Some(&4), "{answer:?}");
}

#[tokio::test]
async fn http_2_is_spoken_to_those_who_know_that_it_is() {
    let api = start(|_| {}, service::api).await;
    let client =
        hyper_util::client::legacy::Client::builder(hyper_util::rt::TokioExecutor::new()).http2_only(true).build_http();
    let address = format!("http://127.0.0.1:{}/v1.0/healthz", api.port);
    let request = http::Request::get(address).body(http_body_util::Full::<bytes::Bytes>::default());
    let answer = client.request(request.unwrap()).await.unwrap();
    assert_eq!((answer.version(), answer.status()), (http::Version::HTTP_2, http::StatusCode::NO_CONTENT));
}
