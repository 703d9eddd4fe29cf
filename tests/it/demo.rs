//! `sidestream demo` as a newcomer sees it: output and exit code of the real binary.

use std::net::TcpListener;

use nix::sys::signal::Signal;

use super::support::process::{Process, sidestream};

#[tokio::test]
async fn every_step_of_every_order_is_told_and_accounted_for() {
    let mut demo = Process::start(sidestream(["demo", "--count", "6", "--rate", "50", "--port", "0"]));
    assert_eq!(demo.ended().await, 0, "{}", demo.said());
    let said = demo.said();
    let steps = |word: &str| {
        let lines = said.lines().filter(|line| line.contains(&format!("  {word}  ")));
        lines.count()
    };
    for (word, count) in [
        ("published", 6),
        ("wrapped", 6),
        ("delivered", 6),
        ("SUCCESS", 5),
        ("RETRY", 1),
        ("redelivered", 1),
        ("DROP", 1),
        ("dead-lettered", 1),
    ] {
        assert_eq!(steps(word), count, "{word}:\n{said}");
    }
    assert!(said.contains("\n  curl -i -H "), "{said}");
    assert!(said.contains("events do not survive this process"), "{said}");
    assert!(
        said.ends_with("6 orders: 4 succeeded at once, 1 after redelivery, 1 came out of the dead-letter topic. Every order is accounted for.\n"),
        "{said}"
    );
    assert!(!said.contains('\x1b'), "colour is for terminals: {said}");
}

#[tokio::test]
async fn ctrl_c_ends_it_with_a_summary() {
    let mut demo = Process::start(sidestream(["demo", "--port", "0"]));
    demo.says("SUCCESS").await;
    demo.signal(Signal::SIGINT);
    assert_eq!(demo.ended().await, 0, "{}", demo.said());
    assert!(demo.said().ends_with("Every order is accounted for.\n"), "{}", demo.said());
}

#[tokio::test]
async fn a_port_that_is_taken_is_named_and_one_that_nobody_asked_for_is_avoided() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let mut demo = Process::start(sidestream(["demo", "--count", "1", "--port", &port]));
    assert_eq!(demo.ended().await, 1);
    let expected = format!("sidestream: port {port} cannot be had; --port 0 takes one that is free: ");
    assert!(demo.said().starts_with(&expected), "{}", demo.said());

    // If the port is taken already, that serves the test as well.
    let _usual = TcpListener::bind("127.0.0.1:3500");
    let mut demo = Process::start(sidestream(["demo", "--count", "1"]));
    assert_eq!(demo.ended().await, 0, "{}", demo.said());
}
