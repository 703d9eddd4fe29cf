//! `--wait`: poll a sidecar until publishing through it works (tests/spec/resources-cli.md, "1.2 Flags that matter for
//! a pub/sub sidecar"). Messages go to stderr. A timeout ends with code 1, so that a script does not go on without its
//! sidecar (D31).

use std::io::Write;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep, timeout};

const PATIENCE: Duration = Duration::from_secs(60);
const PAUSE: Duration = Duration::from_millis(100);
const ONE_REQUEST: Duration = Duration::from_millis(500);

/// Wait for the sidecar on this port of localhost. Returns the exit code.
pub async fn run(port: &str) -> u8 {
    let mut console = std::io::stderr();
    if !port.parse().is_ok_and(|port: u16| port > 0) {
        // A closed stderr is no reason to stop waiting.
        let _ = writeln!(
            console,
            "--wait asks the sidecar on --dapr-http-port, which is {port:?}: use a number from 1 to 65535"
        );
        return 1;
    }
    u8::from(!poll(port, &mut console).await)
}

/// Whether the sidecar has become ready in time.
async fn poll(port: &str, console: &mut impl Write) -> bool {
    let mut tell = |line: std::fmt::Arguments<'_>| {
        // A closed stderr is no reason to stop waiting.
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
                return true;
            }
            Ok(Ok(status)) => format!("HTTP status code {status}"),
            Ok(Err(error)) => error.to_string(),
            Err(_) => format!("no answer within {ONE_REQUEST:?}"),
        };
        if begun.elapsed() > PATIENCE {
            tell(format_args!(
                "timeout waiting for Dapr to become outbound ready. Last error: {problem}\n\
                 {PATIENCE:?} are over, and nothing at http://localhost:{port}/v1.0/healthz/outbound said 204. Does the sidecar run, \
                 and is --dapr-http-port {port} its port?"
            ));
            return false;
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
    stream.write_all(b"GET /v1.0/healthz/outbound HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").await?;
    let mut head = [0; 12];
    stream.read_exact(&mut head).await?;
    let status = std::str::from_utf8(&head[9..]).ok().and_then(|status| status.parse().ok());
    status.ok_or_else(|| std::io::Error::other("the answer is not HTTP"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::net::TcpListener;

    #[tokio::test(start_paused = true)]
    async fn after_a_minute_it_says_what_was_wrong() {
        // A listener that never answers, so that only the test's clock advances.
        let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = silent.local_addr().unwrap().port().to_string();
        let (begun, mut told) = (Instant::now(), Vec::new());
        assert!(!poll(&port, &mut told).await);
        let waited = begun.elapsed();
        assert!(waited > PATIENCE && waited < PATIENCE + 2 * ONE_REQUEST, "{waited:?}");
        let told = String::from_utf8(told).unwrap();
        let mut lines = told.lines();
        let first = format!(
            "Waiting for Dapr to be outbound ready (timeout: 60 seconds): url=http://localhost:{port}/v1.0/healthz/outbound"
        );
        assert_eq!(lines.next(), Some(first.as_str()));
        let last = format!(
            "60s are over, and nothing at http://localhost:{port}/v1.0/healthz/outbound said 204. Does the sidecar run, and is \
             --dapr-http-port {port} its port?"
        );
        assert_eq!(lines.next_back(), Some(last.as_str()));
        let reason = "timeout waiting for Dapr to become outbound ready. Last error: no answer within 500ms";
        assert_eq!(lines.next_back(), Some(reason));
        let between: Vec<&str> = lines.collect();
        assert!(between.len() >= 40 && between.len() <= 60, "{told}");
        assert!(between.iter().all(|line| *line == "Dapr outbound NOT ready yet: no answer within 500ms"), "{told}");
    }
}
