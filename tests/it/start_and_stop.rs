//! Failing starts and waiting stops, as seen from outside the process.

use std::net::TcpListener;

use nix::sys::signal::Signal;

use crate::support::port::free_port;
use crate::support::process::{self, Process, sidestream};

/// Starts a sidecar on free ports with these flags.
fn sidecar(flags: &[&str]) -> Process {
    Process::start(process::sidecar(flags))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_grpc_port_that_is_taken_ends_the_start() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    let mut sidecar = sidecar(&["--dapr-grpc-port", &port.to_string()]);
    assert_eq!(sidecar.ended().await, 1);
    let said = sidecar.said();
    let advice =
        format!("port {port} is taken by another program: stop that, or choose another port with --dapr-grpc-port");
    let expected = format!(
        "Fatal error from runtime: failed to start API gRPC server: could not listen on any endpoint: {advice}"
    );
    assert!(said.contains(&expected), "{said}");
    // The warning comes at once, while the port is still being tried.
    assert!(said.find(&advice) < said.find(&expected), "{said}");
    assert!(said.lines().last().unwrap().contains(&expected), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn all_ports_that_are_taken_are_said_at_once_with_their_flags() {
    let taken = [0; 3].map(|port| TcpListener::bind(("127.0.0.1", port)).unwrap());
    let ports = taken.each_ref().map(|it| it.local_addr().unwrap().port().to_string());
    let mut sidecar = sidecar(&[
        "--dapr-http-port",
        &ports[0],
        "--enable-metrics",
        "--metrics-listen-address=127.0.0.1",
        "--metrics-port",
        &ports[1],
        "--dapr-public-listen-address=127.0.0.1",
        "--dapr-public-port",
        &ports[2],
    ]);
    assert_eq!(sidecar.ended().await, 1);
    let said = sidecar.said();
    for (port, flag) in ports.iter().zip(["dapr-http-port", "metrics-port", "dapr-public-port"]) {
        let expected =
            format!("port {port} is taken by another program: stop that, or choose another port with --{flag}");
        assert!(said.contains(&expected), "{said}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_does_nothing_says_so_at_start() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().display().to_string();
    let subscription = "apiVersion: dapr.io/v2alpha1\nkind: Subscription\nmetadata: {name: s}\nspec: {pubsubname: pubsub, topic: orders, routes: {default: /orders}}\n";
    std::fs::write(folder.path().join("s.yaml"), subscription).unwrap();
    let mut sidecar = sidecar(&["--resources-path", &path, "--disable-init-endpoints=config,subscribe"]);
    for line in [
        "1 subscriptions are declared in files, and nothing is delivered: without --app-port there is no app",
        "no pub/sub component is loaded, so nothing can be published or subscribed to: there is none for this app in ",
        "Skipping programmatic dapr configuration loading",
        "Skipping programmatic subscription loading",
    ] {
        sidecar.says(line).await;
    }
    sidecar.signal(Signal::SIGTERM);
    assert_eq!(sidecar.ended().await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_blocked_shutdown_does_not_wait_for_an_app_that_was_never_there() {
    let app_port = free_port().to_string();
    let flags = ["--app-port", &app_port, "--enable-app-health-check", "--dapr-block-shutdown-duration=180s"];
    let mut sidecar = sidecar(&flags);
    sidecar.says("application protocol: http. ").await;
    sidecar.signal(Signal::SIGTERM);
    assert_eq!(sidecar.ended().await, 0);
    let said = sidecar.said();
    assert!(said.contains("App reported unhealthy, entering shutdown..."), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_app_that_speaks_grpc_is_refused_clearly() {
    let mut sidecar = sidecar(&["--app-port=1", "--app-protocol=grpc"]);
    assert_eq!(sidecar.ended().await, 1);
    let said = sidecar.said();
    let expected = "app-protocol grpc is not supported yet, only http, https and h2c are";
    assert!(said.contains(expected), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_value_of_a_flag_or_a_configuration_shows_no_password() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("config.yaml");
    let config = format!("--config={}", file.display());
    let secret = "redis://u:hunter2@h";
    for (flags, spec) in [
        (&["--app-port"][..], ""),
        (&["--dapr-http-port"], ""),
        (&["--app-protocol"], ""),
        (&["--mode"], ""),
        (&["--log-level"], ""),
        (&["--max-body-size"], ""),
        (&["--app-max-concurrency"], ""),
        (&["--disable-init-endpoints"], ""),
        (&["--dapr-block-shutdown-duration"], ""),
        (&[], "tracing: {otel: {timeout: 'password=hunter2'}}"),
        (&[], "tracing: {otel: {isSecure: 'password=hunter2'}}"),
        (&[], "tracing: {otel: {endpointAddress: h, protocol: 'redis://u:hunter2@h'}}"),
        (&[], "tracing: 'password=hunter2'"),
        (&[], "secrets: {scopes: [{storeName: s, defaultAccess: 'redis://u:hunter2@h'}]}"),
    ] {
        std::fs::write(&file, format!("spec: {{{spec}}}\n")).unwrap();
        let mut arguments: Vec<&str> = flags.to_vec();
        if spec.is_empty() {
            arguments.push(secret);
        } else {
            arguments.push(&config);
        }
        let mut sidecar = sidecar(&arguments);
        assert_ne!(sidecar.ended().await, 0, "{arguments:?} {spec}");
        let said = sidecar.said();
        assert!(!said.contains("hunter2"), "{arguments:?} {spec}: {said}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_that_can_be_none_ends_the_start_and_no_password_is_shown() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("pubsub.yaml");
    let resources = folder.path().to_str().unwrap();
    for (settings, wanted) in [
        ("redisHost, value: 'redis://u:hunter2@h x'", "has a blank in it"),
        ("redisHost, value: 'http://u:hunter2@h:6379'", "begins with http://"),
        ("redisHost, value: 'u:hunter2@h:6379'", "redisUsername and redisPassword"),
        ("redisHost, value: 'u:hun hunter2@h:6379'", "redisUsername and redisPassword"),
        ("redisHost, value: 'h:6379,password=hunter2'", "connection string"),
        ("redisHost, value: 'h:6379,ssl=true,password=x,hunter2'", "connection string"),
        ("redisHost, value: 'h:hunter2'", "a port that is no number"),
        ("redisHost, value: 'h:6379:hunter2'", "too many colons"),
        ("redisHost, value: 'h hunter2'", "has a blank in it"),
        (
            "redisHost, value: 'a:1,redis://:hunter2@b:x'}\n  - {name: redisType, value: cluster",
            "a port that is no number",
        ),
        ("redisHost, value: 'redis://:hunter2@a'}\n  - {name: redisPassword, value: hunter3", "remove one of them"),
        ("redisHost, value: 'rediss://:hunter2@a'}\n  - {name: enableTLS, value: 'false'", "remove one of them"),
        ("redisHost, value: 'redis://:hunter2@a'}\n  - {name: failover, value: 'true'", "sentinelPassword"),
        ("redisPort, value: 'redis://:hunter2@h'", "invalid value"),
        ("redisDB, value: '0,password=hunter2'", "invalid value"),
    ] {
        let text = format!(
            "apiVersion: dapr.io/v1alpha1\nkind: Component\nmetadata: {{name: pubsub}}\nspec:\n  type: pubsub.redis\n  version: v1\n  metadata:\n  - {{name: {settings}}}\n"
        );
        std::fs::write(&file, text).unwrap();
        let mut started = sidecar(&["--resources-path", resources, "--log-level=debug"]);
        assert_eq!(started.ended().await, 1, "{settings}: {}", started.said());
        let mut checked = Process::start(sidestream(["check", "--resources-path", resources]));
        assert_eq!(checked.ended().await, 1, "{settings}: {}", checked.said());
        for said in [started.said(), checked.said()] {
            assert!(said.contains(wanted), "{settings}: {said}");
            assert!(!said.contains("hunter"), "{settings}: {said}");
        }
    }
}
