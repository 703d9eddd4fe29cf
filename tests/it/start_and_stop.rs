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
    let expected = "Fatal error from runtime: failed to start API gRPC server: could not listen on any endpoint";
    assert!(said.contains(expected), "{said}");
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
