//! Messages as bytes: refused heads, limits, the end of connections.

use super::*;

#[tokio::test]
async fn messages_that_make_no_sense_are_refused() {
    let api = start(|_| {}, router).await;
    for (message, status) in [
        ("HELLO\r\n\r\n", 400),
        ("GET /v1.0/healthz HTTP/1.1\r\n\r\n", 400),
        ("GET /v1.0/healthz HTTP/1.0\r\n\r\n", 204),
        ("GET /v1.0/healthz% HTTP/1.1\r\nHost: x\r\n\r\n", 400),
        (
            "GET http://example.com/v1.0/healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
            204,
        ),
        (
            "OPTIONS * HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
            200,
        ),
        (
            "POST /v1.0/publish/ps/t HTTP/1.1\r\nHost: x\r\nContent-Length: abc\r\n\r\n",
            400,
        ),
        (
            "POST /v1.0/publish/ps/t HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n",
            400,
        ),
        (
            "POST /v1.0/publish/ps/t HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: snail\r\n\r\n",
            501,
        ),
    ] {
        assert_eq!(
            api.send(message.as_bytes()).await.status,
            status,
            "{message}"
        );
    }
    let continued = b"POST /v1.0/publish/ps/t HTTP/1.1\r\nHost: x\r\nConnection: close\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n{}";
    let answer = api.send(continued).await;
    assert!(
        answer.status == 100 && answer.body.starts_with("HTTP/1.1 204"),
        "{} {}",
        answer.head,
        answer.body
    );
}

#[tokio::test]
async fn heads_have_a_limit_of_size_but_not_of_number() {
    let api = start(|_| {}, router).await;
    assert_eq!(
        api.call(
            "GET",
            "/v1.0/healthz",
            &[("X-Fill", &"f".repeat(7000))],
            b""
        )
        .await
        .status,
        204
    );
    for size in [9000, 14_000, 200_000] {
        assert_eq!(
            api.call(
                "GET",
                "/v1.0/healthz",
                &[("X-Fill", &"f".repeat(size))],
                b""
            )
            .await
            .status,
            431,
            "{size}"
        );
    }
    let names: Vec<String> = (0..300).map(|n| format!("X-{n}")).collect();
    let many: Vec<_> = names.iter().map(|name| (name.as_str(), "v")).collect();
    assert_eq!(
        api.call("GET", "/v1.0/healthz", &many, b"").await.status,
        204
    );
}

#[tokio::test]
async fn a_stop_finishes_idle_connections_and_ends_every_task() {
    let api = start(|_| {}, router).await;
    let mut idle = TcpStream::connect(("127.0.0.1", api.port)).await.unwrap();
    idle.write_all(b"GET /v1.0/healthz HTTP/1.1\r\nHost: x\r\n\r\n")
        .await
        .unwrap();
    let mut first = [0; 12];
    idle.read_exact(&mut first).await.unwrap();
    api.stop.order();
    tokio::time::timeout(Duration::from_secs(5), api.tasks.ended())
        .await
        .expect("all ended");
    let mut rest = Vec::new();
    idle.read_to_end(&mut rest).await.unwrap();
    assert!(TcpStream::connect(("127.0.0.1", api.port)).await.is_err());
}
