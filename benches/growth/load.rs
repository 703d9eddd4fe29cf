//! Publishers: raw HTTP/1.1 over connections that are kept, so that they cost little beside what is measured.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

const CONNECTIONS: usize = 32;

/// Publish so many events with so many bytes of data, over the topics in turn.
pub(crate) async fn publish(port: u16, events: u64, size: usize, topics: u64) {
    let next = Arc::new(AtomicU64::new(0));
    let publishers = (0..CONNECTIONS).map(|_| {
        let next = next.clone();
        tokio::spawn(async move {
            let mut stream = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
            stream.set_nodelay(true).unwrap();
            let data = format!("\"{}\"", "x".repeat(size.saturating_sub(2)));
            loop {
                let number = next.fetch_add(1, Ordering::Relaxed);
                if number >= events {
                    return;
                }
                let request = format!(
                    "POST /v1.0/publish/pubsub/topic-{} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{data}",
                    number % topics,
                    data.len()
                );
                stream.write_all(request.as_bytes()).await.unwrap();
                expect_204(&mut stream).await;
            }
        })
    });
    for publisher in publishers.collect::<Vec<_>>() {
        publisher.await.unwrap();
    }
}

async fn expect_204(stream: &mut TcpStream) {
    let mut answer = Vec::with_capacity(512);
    while !answer.ends_with(b"\r\n\r\n") {
        assert!(stream.read_buf(&mut answer).await.unwrap() > 0, "closed");
    }
    let text = String::from_utf8_lossy(&answer);
    assert!(text.starts_with("HTTP/1.1 204 "), "{text}");
}
