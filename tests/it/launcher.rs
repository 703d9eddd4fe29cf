//! The stock Dapr CLI as launcher: `dapr run`, `dapr list` and `dapr stop` with this binary installed as `daprd`
//! (tests/spec/resources-cli.md, "1.3 Flags to accept and ignore", "3.4 Single-app sequence"; tests/spec/grpc-sdk.md,
//! "2.10 HTTP endpoints that gRPC SDKs also need").

use std::path::{Path, PathBuf};
use std::process::Command;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::Request;
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use serde_json::Value;
use tokio::net::TcpStream;

use super::support::app::{Answer, App};
use super::support::eventually;
use super::support::port::free_port;
use super::support::process::Process;

/// The Dapr folder as `dapr init` makes it, with this binary as `daprd`.
struct DaprFolder(tempfile::TempDir);

impl DaprFolder {
    fn new() -> Self {
        let folder = Self(tempfile::tempdir().unwrap());
        std::fs::create_dir_all(folder.path("bin")).unwrap();
        std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_sidestream"), folder.daprd()).unwrap();
        std::fs::create_dir(folder.path("components")).unwrap();
        folder.write("components/pubsub.yaml", &component("pubsub", "pubsub.in-memory"));
        // `dapr init` also installs a state store, which must not end the start.
        folder.write("components/statestore.yaml", &component("statestore", "state.redis"));
        folder.write(
            "config.yaml",
            "apiVersion: dapr.io/v1alpha1\nkind: Configuration\nmetadata:\n  name: daprConfig\nspec:\n  tracing:\n    samplingRate: \"1\"\n    zipkin:\n      endpointAddress: http://localhost:9411/api/v2/spans\n",
        );
        folder
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn daprd(&self) -> PathBuf {
        self.path("bin/daprd")
    }

    fn write(&self, name: &str, text: &str) {
        std::fs::write(self.path(name), text).unwrap();
    }
}

fn component(name: &str, kind: &str) -> String {
    format!(
        "apiVersion: dapr.io/v1alpha1\nkind: Component\nmetadata:\n  name: {name}\nspec:\n  type: {kind}\n  version: v1\n  metadata:\n  - name: redisHost\n    value: localhost:6379\n  - name: redisPassword\n    value: \"\"\n"
    )
}

/// The ports of one sidecar.
struct Ports {
    http: String,
    grpc: String,
    metrics: String,
    internal: String,
}

impl Ports {
    fn free() -> Self {
        let port = || free_port().to_string();
        Self { http: port(), grpc: port(), metrics: port(), internal: port() }
    }
}

/// The flags that the CLI always passes; listen on loopback only.
fn usual(folder: &DaprFolder, ports: &Ports, app_port: &str) -> Vec<String> {
    let resources = folder.path("components").display().to_string();
    let config = folder.path("config.yaml").display().to_string();
    let words = [
        ("--app-id", "orders"),
        ("--dapr-http-port", &ports.http),
        ("--dapr-grpc-port", &ports.grpc),
        ("--log-level", "info"),
        ("--app-max-concurrency", "-1"),
        ("--app-protocol", "http"),
        ("--components-path", &resources),
        ("--config", &config),
        ("--metrics-port", &ports.metrics),
        ("--dapr-internal-grpc-port", &ports.internal),
        ("--app-port", app_port),
        ("--profile-port", "-1"),
        ("--placement-host-address", "localhost:50005"),
        ("--scheduler-host-address", "localhost:50006"),
        ("--max-body-size", "4Mi"),
        ("--read-buffer-size", "4Ki"),
        ("--dapr-listen-addresses", "127.0.0.1"),
        // Not passed by the CLI.
        ("--metrics-listen-address", "127.0.0.1"),
    ];
    let words = words.into_iter().flat_map(|(flag, value)| [flag, value]);
    words.map(str::to_owned).collect()
}

fn start(folder: &DaprFolder, arguments: &[String]) -> Process {
    let mut command = Command::new(folder.daprd());
    command.args(arguments);
    Process::start(command)
}

/// One request of the CLI; returns status and body.
async fn call(port: &str, method: &str, path: &str, body: &str) -> (u16, String) {
    let client = Client::builder(TokioExecutor::new()).build_http();
    let request = Request::builder()
        .method(method)
        .uri(format!("http://127.0.0.1:{port}{path}"))
        .header("Content-Type", "text/plain")
        .body(Full::new(Bytes::from(body.to_owned())))
        .unwrap();
    let answer = client.request(request).await.unwrap();
    let status = answer.status().as_u16();
    let body = answer.into_body().collect().await.unwrap().to_bytes();
    (status, String::from_utf8(body.to_vec()).unwrap())
}

async fn metadata(port: &str) -> Value {
    let (status, body) = call(port, "GET", "/v1.0/metadata", "").await;
    assert_eq!(status, 200);
    serde_json::from_str(&body).unwrap()
}

#[tokio::test]
async fn the_launcher_starts_describes_lists_and_stops_a_sidecar_without_an_app_port() {
    let folder = DaprFolder::new();
    let ports = Ports::free();
    let mut daprd = start(&folder, &usual(&folder, &ports, "0"));
    // `dapr run` waits until something accepts on both ports, the gRPC port last.
    for port in [&ports.http, &ports.grpc] {
        eventually("it accepts", || async { TcpStream::connect(format!("127.0.0.1:{port}")).await.is_ok() }).await;
    }
    for (key, value) in [
        ("cliPID", "4711"),
        ("appPID", "4712"),
        ("appCommand", "python3 -u app.py"),
        ("runTemplatePath", "/home/me/dapr.yaml"),
    ] {
        let path = format!("/v1.0/metadata/{key}");
        assert_eq!(call(&ports.http, "PUT", &path, value).await, (204, String::new()));
    }
    let page = metadata(&ports.http).await;
    assert_eq!(page["id"], "orders");
    let extended = &page["extended"];
    for (key, value) in [
        ("cliPID", "4711"),
        ("appPID", "4712"),
        ("appCommand", "python3 -u app.py"),
        ("runTemplatePath", "/home/me/dapr.yaml"),
    ] {
        assert_eq!(extended[key], value);
    }
    assert_eq!(extended["daprRuntimeVersion"], page["runtimeVersion"]);
    assert_eq!(page["components"][0]["name"], "pubsub");
    assert_eq!(call(&ports.http, "GET", "/v1.0/healthz/outbound", "").await.0, 204);
    assert_eq!(call(&ports.http, "POST", "/v1.0/shutdown", "").await.0, 204);
    assert_eq!(daprd.ended().await, 0, "{}", daprd.said());
}

#[tokio::test]
async fn every_flag_of_the_launcher_is_taken_and_events_reach_the_app() {
    let folder = DaprFolder::new();
    let ports = Ports::free();
    let subscriptions = r#"[{"pubsubname": "pubsub", "topic": "orders", "route": "/orders"}]"#;
    let app = App::start(subscriptions, |_| Answer::success()).await;
    let mut arguments = usual(&folder, &ports, &app.port.to_string());
    let more = "--enable-profiling --enable-api-logging --enable-app-health-check --log-as-json \
                --app-health-check-path /healthz --app-health-probe-interval 5 \
                --app-health-probe-timeout 500 --app-health-threshold 3 \
                --app-channel-address 127.0.0.1";
    arguments.extend(more.split_whitespace().map(str::to_owned));
    let mut daprd = start(&folder, &arguments);
    daprd.says("dapr initialized. Status: Running.").await;
    // The app is asked for its subscriptions once it is healthy; an event published before that has no subscriber.
    eventually("an event arrives", || async {
        let path = "/v1.0/publish/pubsub/orders";
        let published = call(&ports.http, "POST", path, "tea").await;
        published.0 == 204 && app.distinct_data("/orders") == 1
    })
    .await;
    assert_eq!(call(&ports.http, "POST", "/v1.0/shutdown", "").await.0, 204);
    assert_eq!(daprd.ended().await, 0, "{}", daprd.said());
}

#[tokio::test]
async fn the_launcher_asks_for_the_version_and_waits() {
    let folder = DaprFolder::new();
    let version = run_once(&folder.daprd(), &["--version"]);
    let parts: Vec<&str> = version.trim_end_matches('\n').split('.').collect();
    let is_number = |part: &&str| part.parse::<u32>().is_ok();
    assert!(parts.len() == 3 && parts.iter().all(is_number), "{version:?}");
    assert!(run_once(&folder.daprd(), &["--build-info"]).starts_with(&format!("Version: {version}")));

    let ports = Ports::free();
    let mut daprd = start(&folder, &usual(&folder, &ports, "0"));
    let wait = ["--wait", "--dapr-http-port", &ports.http].map(str::to_owned);
    let mut waiting = start(&folder, &wait);
    assert_eq!(waiting.ended().await, 0);
    assert!(waiting.said().ends_with("Dapr is outbound ready!\n"), "{}", waiting.said());
    assert_eq!(call(&ports.http, "POST", "/v1.0/shutdown", "").await.0, 204);
    assert_eq!(daprd.ended().await, 0);
}

fn run_once(program: &Path, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).output().unwrap();
    assert!(output.status.success());
    String::from_utf8(output.stdout).unwrap()
}
