//! The release build as a child process, and what it uses.

use std::process::{Child, Command, Stdio};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::Instant;

use crate::port::free_port;
use crate::redis::Redis;

/// How long a start may take before it is given up.
const PATIENCE: Duration = Duration::from_secs(30);

/// Its group, too.
pub(crate) const APP_ID: &str = "bench";

pub(crate) struct Sidecar {
    pub(crate) http_port: u16,
    process: Child,
    _resources: tempfile::TempDir,
}

/// What a process has used so far.
pub(crate) struct Usage {
    pub(crate) cpu: Duration,
    pub(crate) rss_mib: f64,
    pub(crate) peak_mib: f64,
}

/// What is measured: `--sidecar PATH`, or the binary that was built with this program.
fn binary() -> String {
    let mut arguments = std::env::args().skip_while(|argument| argument != "--sidecar");
    arguments.nth(1).unwrap_or_else(|| env!("CARGO_BIN_EXE_sidestream").to_owned())
}

impl Sidecar {
    /// Start one for the app on this port, with default settings, and wait until it is ready.
    pub(crate) async fn start(redis: &Redis, app_port: u16) -> Self {
        let resources = tempfile::tempdir().unwrap();
        let component = format!(
            "apiVersion: dapr.io/v1alpha1\nkind: Component\nmetadata: {{name: pubsub}}\nspec:\n  type: pubsub.redis\n  version: v1\n  metadata:\n  - {{name: redisHost, value: '127.0.0.1:{}'}}\n",
            redis.port
        );
        std::fs::write(resources.path().join("pubsub.yaml"), component).unwrap();
        let http_port = free_port();
        let process = Command::new(binary())
            .args(["--app-id", APP_ID, "--log-level", "error"])
            .args(["--dapr-listen-addresses", "127.0.0.1", "--enable-metrics=false"])
            .args(["--dapr-http-port", &http_port.to_string()])
            .args(["--dapr-grpc-port", &free_port().to_string()])
            .args(["--app-port", &app_port.to_string()])
            .arg("--resources-path")
            .arg(resources.path())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        let mut sidecar = Self { http_port, process, _resources: resources };
        let begun = Instant::now();
        while !sidecar.is_ready().await {
            let ended = sidecar.process.try_wait().unwrap();
            assert!(ended.is_none(), "the sidecar has ended: {ended:?}");
            assert!(begun.elapsed() < PATIENCE, "the sidecar is not ready");
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        sidecar
    }

    pub(crate) fn usage(&self) -> Usage {
        let read = |name: &str| std::fs::read_to_string(format!("/proc/{}/{name}", self.process.id())).unwrap();
        // User and system time are the 12th and 13th field after the name in parentheses, in ticks of 10 ms.
        let stat = read("stat");
        let ticks = stat.rsplit(") ").next().unwrap().split(' ').skip(11).take(2);
        let ticks: u64 = ticks.map(|field| field.parse::<u64>().unwrap()).sum();
        let status = read("status");
        let mib = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name));
            let kib: f64 = line.unwrap().trim_matches([':', ' ', '\t', 'k', 'B']).parse().unwrap();
            kib / 1024.0
        };
        Usage { cpu: Duration::from_millis(ticks * 10), rss_mib: mib("VmRSS"), peak_mib: mib("VmHWM") }
    }

    async fn is_ready(&self) -> bool {
        let Ok(mut stream) = TcpStream::connect(("127.0.0.1", self.http_port)).await else {
            return false;
        };
        let request = b"GET /v1.0/healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
        let mut answer = Vec::new();
        stream.write_all(request).await.is_ok()
            && stream.read_to_end(&mut answer).await.is_ok()
            && answer.starts_with(b"HTTP/1.1 204 ")
    }
}

impl Drop for Sidecar {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
