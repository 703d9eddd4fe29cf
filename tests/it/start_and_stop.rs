//! Starts that fail and stops that wait, as the process shows them.

use std::net::TcpListener;

use nix::sys::signal::Signal;

use crate::support::port::free_port;
use crate::support::process::{Process, sidestream};

/// A sidecar with ports of its own and these flags.
fn sidecar(flags: &[&str]) -> Process {
    let ports = [free_port().to_string(), free_port().to_string()];
    let common = [
        "--app-id=app",
        "--dapr-listen-addresses=127.0.0.1",
        "--enable-metrics=false",
        "--dapr-http-port",
        &ports[0],
        "--dapr-grpc-port",
        &ports[1],
    ];
    Process::start(sidestream(common.iter().chain(flags)))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_grpc_port_that_is_taken_ends_the_start() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    let mut sidecar = sidecar(&["--dapr-grpc-port", &port.to_string()]);
    assert_eq!(sidecar.ended().await, 1);
    let said = sidecar.said();
    let advice = format!(
        "port {port} is taken by another program: stop that, or choose another port with --dapr-grpc-port"
    );
    let expected = format!(
        "Fatal error from runtime: failed to start API gRPC server: could not listen on any endpoint: {advice}"
    );
    assert!(said.contains(&expected), "{said}");
    // It is said at once, too, while the port is tried again.
    assert!(said.find(&advice) < said.find(&expected), "{said}");
    assert!(said.lines().last().unwrap().contains(&expected), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn all_ports_that_are_taken_are_said_at_once_with_their_flags() {
    let taken = [0; 3].map(|port| TcpListener::bind(("127.0.0.1", port)).unwrap());
    let ports = taken
        .each_ref()
        .map(|it| it.local_addr().unwrap().port().to_string());
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
    for (port, flag) in ports
        .iter()
        .zip(["dapr-http-port", "metrics-port", "dapr-public-port"])
    {
        let expected = format!(
            "port {port} is taken by another program: stop that, or choose another port with --{flag}"
        );
        assert!(said.contains(&expected), "{said}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_does_nothing_says_so_at_start() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().display().to_string();
    let subscription = "apiVersion: dapr.io/v2alpha1\nkind: Subscription\nmetadata: {name: s}\nspec: {pubsubname: pubsub, topic: orders, routes: {default: /orders}}\n";
    std::fs::write(folder.path().join("s.yaml"), subscription).unwrap();
    let mut sidecar = sidecar(&[
        "--resources-path",
        &path,
        "--disable-init-endpoints=config,subscribe",
    ]);
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
    let flags = [
        "--app-port",
        &app_port,
        "--enable-app-health-check",
        "--dapr-block-shutdown-duration=180s",
    ];
    let mut sidecar = sidecar(&flags);
    sidecar.says("application protocol: http. ").await;
    sidecar.signal(Signal::SIGTERM);
    assert_eq!(sidecar.ended().await, 0);
    let said = sidecar.said();
    assert!(
        said.contains("App reported unhealthy, entering shutdown..."),
        "{said}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_app_that_speaks_grpc_is_refused_clearly() {
    let mut sidecar = sidecar(&["--app-port=1", "--app-protocol=grpc"]);
    assert_eq!(sidecar.ended().await, 1);
    let said = sidecar.said();
    let expected = "app-protocol grpc is not supported yet, only http, https and h2c are";
    assert!(said.contains(expected), "{said}");
}
