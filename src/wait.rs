//! `--wait`: poll a sidecar until one can publish through it (spec resources-cli.md 1.2). Tells on stderr, and always ends with code 0.

use std::io::Write;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep, timeout};

const PATIENCE: Duration = Duration::from_secs(60);
const PAUSE: Duration = Duration::from_millis(100);
const ONE_REQUEST: Duration = Duration::from_millis(500);

/// Wait for the sidecar on this port of localhost.
pub async fn run(port: &str) -> u8 {
    poll(port, &mut std::io::stderr()).await;
    0
}

async fn poll(port: &str, console: &mut impl Write) {
    let mut tell = |line: std::fmt::Arguments<'_>| {
        // Without stderr there is nobody to tell.
        let _ = writeln!(console, "{line}");
    };
    tell(format_args!(
        "Waiting for Dapr to be outbound ready (timeout: {} seconds): url=http://localhost:{port}/v1.0/healthz/outbound",
        PATIENCE.as_secs()
    ));
    let begun = Instant::now();
    let mut told = begun;
    loop {
        let problem = match timeout(ONE_REQUEST, status(port)).await {
            Ok(Ok(204)) => {
                tell(format_args!("Dapr is outbound ready!"));
                return;
            }
            Ok(Ok(status)) => format!("HTTP status code {status}"),
            Ok(Err(error)) => error.to_string(),
            Err(_) => "no answer".to_owned(),
        };
        if begun.elapsed() > PATIENCE {
            tell(format_args!(
                "timeout waiting for Dapr to become outbound ready. Last error: {problem}"
            ));
            return;
        }
        if told.elapsed() > Duration::from_secs(1) {
            told = Instant::now();
            tell(format_args!("Dapr outbound NOT ready yet: {problem}"));
        }
        sleep(PAUSE).await;
    }
}

async fn status(port: &str) -> std::io::Result<u16> {
    let mut stream = TcpStream::connect(format!("localhost:{port}")).await?;
    stream
        .write_all(
            b"GET /v1.0/healthz/outbound HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n",
        )
        .await?;
    let mut head = [0; 12];
    stream.read_exact(&mut head).await?;
    let status = std::str::from_utf8(&head[9..])
        .ok()
        .and_then(|status| status.parse().ok());
    status.ok_or_else(|| std::io::Error::other("the answer is not HTTP"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::net::TcpListener;

    #[tokio::test(start_paused = true)]
    async fn after_a_minute_it_says_what_was_wrong() {
        // Somebody listens and never answers, so that only the clock of the test goes on.
        let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = silent.local_addr().unwrap().port().to_string();
        let (begun, mut told) = (Instant::now(), Vec::new());
        poll(&port, &mut told).await;
        let waited = begun.elapsed();
        assert!(
            waited > PATIENCE && waited < PATIENCE + 2 * ONE_REQUEST,
            "{waited:?}"
        );
        let told = String::from_utf8(told).unwrap();
        let mut lines = told.lines();
        let first = format!(
            "Waiting for Dapr to be outbound ready (timeout: 60 seconds): url=http://localhost:{port}/v1.0/healthz/outbound"
        );
        assert_eq!(lines.next(), Some(first.as_str()));
        let last = "timeout waiting for Dapr to become outbound ready. Last error: no answer";
        assert_eq!(lines.next_back(), Some(last));
        let between: Vec<&str> = lines.collect();
        assert!(between.len() >= 40 && between.len() <= 60, "{told}");
        assert!(
            between
                .iter()
                .all(|line| *line == "Dapr outbound NOT ready yet: no answer"),
            "{told}"
        );
    }
}
