//! The limits of the ports: what is beyond gets a 503, is counted, and costs the others nothing.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::Command;
use std::time::Duration;

use nix::sys::signal::Signal;

use crate::support::eventually;
use crate::support::port::free_port;
use crate::support::process::{self, Process};
use crate::support::sidecar::{MEMORY, Sidecar};

/// A sidecar with these flags, and the port of its metrics.
async fn sidecar(flags: &[&str]) -> (Sidecar, u16) {
    let metrics = free_port();
    let port = metrics.to_string();
    let common = ["--enable-metrics=true", "--metrics-listen-address=127.0.0.1", "--metrics-port", &port];
    (Sidecar::start(MEMORY, 0, &[&common, flags].concat()).await, metrics)
}

/// A connection with a publish on it, of which `sent` bytes of `length` are there.
struct Publish {
    stream: TcpStream,
    left: usize,
}

impl Publish {
    fn begin(sidecar: &Sidecar, sent: usize, length: usize) -> Self {
        let mut stream = TcpStream::connect(("127.0.0.1", sidecar.http_port)).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(45))).unwrap();
        let head = format!("POST /v1.0/publish/pubsub/orders HTTP/1.1\r\nHost: x\r\nContent-Length: {length}\r\n\r\n");
        stream.write_all(head.as_bytes()).unwrap();
        // A refusal may come before everything is written.
        let _ = stream.write_all(&vec![b'x'; sent]);
        Self { stream, left: length - sent }
    }

    /// Send the rest; the answer.
    fn finish(&mut self) -> String {
        let _ = self.stream.write_all(&vec![b'x'; self.left]);
        self.left = 0;
        read(&mut self.stream)
    }
}

fn read(stream: &mut TcpStream) -> String {
    let mut answer = vec![0; 4096];
    let length = stream.read(&mut answer).unwrap_or(0);
    String::from_utf8_lossy(&answer[..length]).into_owned()
}

/// The answer to a GET on a new connection, in one piece.
fn get(port: u16, path: &str) -> String {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(45))).unwrap();
    let _ = stream.write_all(format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").as_bytes());
    let mut answer = String::new();
    let _ = stream.read_to_string(&mut answer);
    answer
}

/// Is it the refusal for this reason, as clients of Dapr read it?
fn is_refused(answer: &str, reason: &str) -> bool {
    let body =
        format!(r#"{{"errorCode":"ERR_OVERLOADED","message":"the sidecar is overloaded: {reason}; try again later"}}"#);
    answer.starts_with("HTTP/1.1 503 ") && answer.contains("\r\nretry-after: 1\r\n") && answer.ends_with(&body)
}

fn is_counted(metrics: u16, limit: &str) -> bool {
    get(metrics, "/").contains(&format!("sidestream_refused_total{{app_id=\"app\",limit=\"{limit}\"}} "))
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_beyond_the_limit_are_refused_until_others_have_ended() {
    let (mut sidecar, metrics) = sidecar(&["--max-requests=2"]).await;
    let mut slow = [(); 2].map(|()| Publish::begin(&sidecar, 10, 20));
    let reason = "too many requests in flight (--max-requests)";
    eventually("a third one is refused", || async { is_refused(&get(sidecar.http_port, "/v1.0/healthz"), reason) })
        .await;
    assert!(is_counted(metrics, "requests"));
    assert!(slow[0].finish().starts_with("HTTP/1.1 204 "));
    assert!(get(sidecar.http_port, "/v1.0/healthz").starts_with("HTTP/1.1 204 "));
    // What is in flight at the stop is finished.
    sidecar.signal(Signal::SIGTERM);
    eventually("it accepts nobody", || async { TcpStream::connect(("127.0.0.1", sidecar.http_port)).is_err() }).await;
    assert!(slow[1].finish().starts_with("HTTP/1.1 "));
    assert!(sidecar.terminate().await.success());
}

#[tokio::test(flavor = "multi_thread")]
async fn bodies_beyond_their_memory_are_refused_and_small_ones_are_not() {
    let (sidecar, metrics) = sidecar(&["--max-body-memory=1Mi"]).await;
    let reason = "the bodies of requests need too much memory (--max-body-memory)";
    let mut large = Publish::begin(&sidecar, 700 << 10, 800 << 10);
    eventually("a second large one is refused", || {
        let is_refused = is_refused(&Publish::begin(&sidecar, 600 << 10, 600 << 10).finish(), reason);
        if !is_refused {
            // The first one may have been refused instead, because the second one was faster.
            large = Publish::begin(&sidecar, 700 << 10, 800 << 10);
        }
        async move { is_refused }
    })
    .await;
    assert!(is_counted(metrics, "body_memory"));
    // An announcement alone takes no memory.
    let _announced = [(); 8].map(|()| Publish::begin(&sidecar, 10, 4 << 20));
    assert!(Publish::begin(&sidecar, 10, 10).finish().starts_with("HTTP/1.1 204 "));
    assert!(large.finish().starts_with("HTTP/1.1 204 "));
    eventually("there is memory again", || async {
        Publish::begin(&sidecar, 600 << 10, 600 << 10).finish().starts_with("HTTP/1.1 204 ")
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_beyond_the_limit_takes_the_place_of_an_idle_one_or_is_refused() {
    let (sidecar, metrics) = sidecar(&["--max-connections=2"]).await;
    let silent = [(); 5].map(|()| TcpStream::connect(("127.0.0.1", sidecar.http_port)).unwrap());
    assert!(get(sidecar.http_port, "/v1.0/healthz").starts_with("HTTP/1.1 204 "));
    let mut busy = [(); 2].map(|()| Publish::begin(&sidecar, 10, 20));
    let reason = "too many connections (--max-connections)";
    eventually("all places are taken", || async { is_refused(&get(sidecar.http_port, "/v1.0/healthz"), reason) }).await;
    assert!(is_counted(metrics, "connections"));
    assert!(busy[0].finish().starts_with("HTTP/1.1 204 "));
    assert!(get(sidecar.http_port, "/v1.0/healthz").starts_with("HTTP/1.1 204 "));
    assert!(busy[1].finish().starts_with("HTTP/1.1 204 "));
    drop(silent);
}

/// The same program with few file descriptors.
fn with_few_files(command: &Command) -> Command {
    let mut limited = Command::new("sh");
    limited.args(["-c", r#"ulimit -n 48; exec "$0" "$@""#]).arg(command.get_program()).args(command.get_args());
    limited
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lack_of_file_descriptors_is_logged_and_passes() {
    let port = free_port();
    let sidecar = Process::start(with_few_files(&process::sidecar(&["--dapr-http-port", &port.to_string()])));
    sidecar.says("dapr initialized").await;
    let connections: Vec<_> = (0..80).map(|_| TcpStream::connect(("127.0.0.1", port)).unwrap()).collect();
    sidecar.says("cannot accept a new http connection, trying again: ").await;
    drop(connections);
    sidecar.says("accepting every new http connection again").await;
    assert!(get(port, "/v1.0/healthz").starts_with("HTTP/1.1 204 "));
}
