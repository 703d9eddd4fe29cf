//! The real binary as a child process, with daprd's command line.

use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::{Request, StatusCode};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::port::free_port;
use super::{PATIENCE, eventually};

pub(crate) struct Sidecar {
    pub(crate) http_port: u16,
    process: Child,
    client: Client<HttpConnector, Full<Bytes>>,
    folder: tempfile::TempDir,
}

/// A component file for a broker in memory.
pub(crate) const MEMORY: &str = "apiVersion: dapr.io/v1alpha1\nkind: Component\nmetadata: {name: pubsub}\nspec: {type: pubsub.in-memory, version: v1}\n";

/// A component file for a Redis server on this port.
pub(crate) fn redis_component(port: u16) -> String {
    format!(
        "apiVersion: dapr.io/v1alpha1\nkind: Component\nmetadata: {{name: pubsub}}\nspec:\n  type: pubsub.redis\n  version: v1\n  metadata:\n  - {{name: redisHost, value: '127.0.0.1:{port}'}}\n"
    )
}

impl Sidecar {
    /// Start with one resource file, for an app on this port (0: none), and wait until it is ready.
    pub(crate) async fn start(resource: &str, app_port: u16, more: &[&str]) -> Self {
        Self::start_in(resource, app_port, more, &[]).await
    }

    /// As `start`, with these environment variables.
    pub(crate) async fn start_in(resource: &str, app_port: u16, more: &[&str], environment: &[(&str, &str)]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("pubsub.yaml"), resource).unwrap();
        let http_port = free_port();
        let mut command = Command::new(env!("CARGO_BIN_EXE_sidestream"));
        command.args([
            "--app-id",
            "app",
            "--dapr-listen-addresses",
            "127.0.0.1",
            "--enable-metrics=false",
            "--log-level",
            "error",
        ]);
        command.args([
            "--dapr-http-port",
            &http_port.to_string(),
            "--dapr-grpc-port",
            &free_port().to_string(),
            "--app-port",
            &app_port.to_string(),
        ]);
        command.arg("--resources-path").arg(folder.path()).args(more).envs(environment.iter().copied());
        let process = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let client = Client::builder(TokioExecutor::new()).build_http();
        let sidecar = Self { http_port, process, client, folder };
        eventually("the sidecar is ready", || async {
            sidecar.get("/v1.0/healthz").await.is_some_and(|status| status == StatusCode::NO_CONTENT)
        })
        .await;
        sidecar
    }

    /// The folder of its resource files; the first is `pubsub.yaml`.
    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    pub(crate) async fn get(&self, path: &str) -> Option<StatusCode> {
        let request = Request::get(self.url(path)).body(Full::default()).unwrap();
        Some(self.client.request(request).await.ok()?.status())
    }

    /// Publish JSON to the topic `orders`. Returns the status of the answer.
    pub(crate) async fn publish(&self, json: String) -> Option<StatusCode> {
        let request = Request::post(self.url("/v1.0/publish/pubsub/orders"))
            .header("Content-Type", "application/json")
            .body(Full::new(Bytes::from(json)))
            .unwrap();
        let answer = self.client.request(request).await.ok()?;
        let status = answer.status();
        answer.into_body().collect().await.ok()?;
        Some(status)
    }

    /// Its resident memory, in units of 1024 bytes.
    pub(crate) fn memory(&self) -> u64 {
        let status = std::fs::read_to_string(self.about("status")).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let number = line.and_then(|line| line.trim().strip_suffix(" kB"));
        number.unwrap().parse().unwrap()
    }

    /// The number of its open files and sockets.
    pub(crate) fn open_files(&self) -> usize {
        std::fs::read_dir(self.about("fd")).unwrap().count()
    }

    fn about(&self, what: &str) -> String {
        format!("/proc/{}/{what}", self.process.id())
    }

    /// Kill it.
    pub(crate) fn kill(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(i32::try_from(self.process.id()).unwrap()), signal).unwrap();
    }

    /// Send SIGTERM, and wait until it has ended.
    pub(crate) async fn terminate(&mut self) -> ExitStatus {
        self.signal(Signal::SIGTERM);
        let waiting = async {
            loop {
                if let Some(status) = self.process.try_wait().unwrap() {
                    return status;
                }
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        let status = tokio::time::timeout(PATIENCE, waiting).await;
        status.expect("it ends")
    }

    fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.http_port)
    }
}

impl Drop for Sidecar {
    fn drop(&mut self) {
        self.kill();
    }
}
