use std::cell::RefCell;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::{Instant, timeout};

use super::*;
use crate::diagnostic::Location;
use crate::resources::kinds::policies::Direction;
use crate::resources::kinds::resiliency::Resiliency;
use crate::resources::yaml::diagnostics::Diagnostics;
use crate::resources::yaml::fields::{Dialect, Fields};
use crate::resources::yaml::parse;
use crate::shutdown::Stop;
use crate::telemetry::Telemetry;
use crate::telemetry::log::{Level, LogBuilder};
use crate::telemetry::metrics::Metrics;

/// What was logged.
#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<u8>>>);

impl io::Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Lines {
    fn telemetry(&self) -> Telemetry {
        let log = LogBuilder::new(Level::Info).json(true);
        Telemetry::new(log.build(Box::new(self.clone())), Metrics::default())
    }

    /// The messages alone.
    fn messages(&self) -> Vec<String> {
        let text = String::from_utf8(self.0.lock().clone()).unwrap();
        let message = |line: &str| {
            let entry: serde_json::Value = serde_json::from_str(line).unwrap();
            entry["msg"].as_str().unwrap().to_owned()
        };
        text.lines().map(message).collect()
    }
}

fn resource(spec: &str) -> Resiliency {
    let yaml = format!("metadata: {{name: r}}\nspec: {spec}");
    let document = parse::document(&yaml, 1).unwrap().unwrap();
    let findings = Diagnostics::default();
    let root = Fields::root(&document.root, Dialect::Resource, &findings);
    let (resource, wrong) = Resiliency::read(&root, Location::default());
    assert!(wrong.is_empty(), "{wrong:?}");
    resource
}

/// Policies of these for the component `pubsub`, both ways: a retry policy `r`, a timeout `t`, a breaker `b`, whichever there is.
pub(crate) fn targets(policies: &str, telemetry: Telemetry) -> Targets {
    let spec = format!(
        "{{policies: {{{policies}}}, targets: {{components: {{pubsub: {{outbound: {{retry: r, timeout: t, circuitBreaker: b}}, inbound: {{retry: r, timeout: t, circuitBreaker: b}}}}}}}}}}"
    );
    let (targets, diagnostics) = Targets::new(&[resource(&spec)], telemetry);
    assert!(diagnostics.is_empty(), "{diagnostics:?}");
    targets
}

fn outbound(targets: &Targets) -> Policy {
    targets.policy("pubsub", Direction::Outbound, Stop::new()).unwrap()
}

/// An error of a call, with or without an HTTP status.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("call failed")]
struct CallError(Option<u16>);

/// Call: `+` succeeds, `-` fails, `5` fails with status 500, `4` with 429, `h` hangs. The last one repeats.
async fn call(script: &str, made: &RefCell<Vec<Duration>>, begun: Instant) -> Result<(), CallError> {
    let step = {
        let mut made = made.borrow_mut();
        let step = script.chars().nth(made.len()).or(script.chars().last());
        made.push(begun.elapsed());
        step.unwrap()
    };
    match step {
        '+' => Ok(()),
        '5' => Err(CallError(Some(500))),
        '4' => Err(CallError(Some(429))),
        'h' => std::future::pending().await,
        _ => Err(CallError(None)),
    }
}

/// What came of it, and when calls were made, in seconds.
async fn run(policy: &Policy, script: &str) -> (String, Vec<u64>) {
    let (begun, made) = (Instant::now(), RefCell::default());
    let result = policy.run(|error: &CallError| error.0, || call(script, &made, begun)).await;
    let said = result.map_or_else(|failure| failure.to_string(), |()| "done".to_owned());
    let seconds = made.take().iter().map(Duration::as_secs).collect();
    (said, seconds)
}

async fn check(policies: &str, script: &str, expected: &str, times: &[u64]) {
    let policy = outbound(&targets(policies, Lines::default().telemetry()));
    let got = run(&policy, script).await;
    assert_eq!(got, (expected.to_owned(), times.to_vec()), "{policies} {script}");
}

#[tokio::test(start_paused = true)]
async fn a_retry_policy_calls_again() {
    let twice = "retries: {r: {duration: 2s, maxRetries: 2}}";
    check(twice, "+", "done", &[0]).await;
    check(twice, "-+", "done", &[0, 2]).await;
    check(twice, "-", "call failed", &[0, 2, 4]).await;
    check("retries: {r: {maxRetries: 0}}", "-", "call failed", &[0]).await;
    check("retries: {r: {}}", "-------+", "done", &[0, 5, 10, 15, 20, 25, 30, 35]).await;
}

#[tokio::test(start_paused = true)]
async fn a_code_that_is_not_listed_ends_it() {
    let some = "retries: {r: {duration: 1s, maxRetries: 2, matching: {httpStatusCodes: '429'}}}";
    check(some, "5", "call failed", &[0]).await;
    check(some, "4", "call failed", &[0, 1, 2]).await;
    check(some, "45", "call failed", &[0, 1]).await;
    check(some, "-", "call failed", &[0, 1, 2]).await;
    let grpc = "retries: {r: {duration: 1s, maxRetries: 1, matching: {gRPCStatusCodes: '1'}}}";
    check(grpc, "5", "call failed", &[0, 1]).await;
}

#[tokio::test(start_paused = true)]
async fn each_call_has_the_time_of_the_timeout() {
    check("timeouts: {t: 3s}", "h", "context deadline exceeded", &[0]).await;
    check("timeouts: {t: 3s}", "-", "call failed", &[0]).await;
    let both = "timeouts: {t: 3s}, retries: {r: {duration: 1s, maxRetries: 2}}";
    check(both, "h", "context deadline exceeded", &[0, 4, 8]).await;
    check(both, "hh+", "done", &[0, 4, 8]).await;
}

#[tokio::test(start_paused = true)]
async fn an_open_breaker_ends_the_retries() {
    let many = "retries: {r: {duration: 1s, maxRetries: 9}}";
    let breaker = "circuitBreakers: {b: {timeout: 30s, trip: consecutiveFailures > 2}}";
    check(&format!("{many}, {breaker}"), "-", "circuit breaker is open", &[0, 1, 2]).await;
    let slow = format!("{many}, {breaker}, timeouts: {{t: 2s}}");
    check(&slow, "h", "circuit breaker is open", &[0, 3, 6]).await;
    // The pauses are longer than the breaker stays open.
    let patient = "retries: {r: {duration: 31s, maxRetries: 3}}";
    check(&format!("{patient}, {breaker}"), "---+", "done", &[0, 31, 62, 93]).await;
}

#[tokio::test(start_paused = true)]
async fn a_call_that_is_given_up_leaves_the_breaker_usable() {
    let policies = "circuitBreakers: {b: {timeout: 30s, trip: consecutiveFailures > 0}}";
    let policy = outbound(&targets(policies, Lines::default().telemetry()));
    run(&policy, "-").await;
    for expected in ["h", "circuit breaker is open", "done"] {
        if expected == "done" || expected == "h" {
            tokio::time::advance(Duration::from_secs(31)).await;
        }
        if expected == "h" {
            let given_up = timeout(Duration::from_secs(1), run(&policy, "h")).await;
            assert!(given_up.is_err());
        } else {
            assert_eq!(run(&policy, "+").await.0, expected);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_component_has_one_breaker_for_both_ways() {
    let policies = "circuitBreakers: {b: {trip: consecutiveFailures > 0}}";
    let targets = targets(policies, Lines::default().telemetry());
    let (out, into) = (outbound(&targets), targets.policy("pubsub", Direction::Inbound, Stop::new()).unwrap());
    assert_eq!(run(&into, "-").await.0, "call failed");
    assert_eq!(run(&out, "+").await.0, "circuit breaker is open");
}

#[tokio::test(start_paused = true)]
async fn the_first_used_breaker_is_the_one_of_the_component() {
    let spec = "{policies: {circuitBreakers: {one: {trip: consecutiveFailures > 0}, two: {}}},
        targets: {components: {pubsub: {outbound: {circuitBreaker: one}, inbound: {circuitBreaker: two}}}}}";
    for inbound_first in [true, false] {
        let lines = Lines::default();
        let (targets, _) = Targets::new(&[resource(&spec.replace('\n', ""))], lines.telemetry());
        let policy = outbound(&targets);
        if inbound_first {
            targets.policy("pubsub", Direction::Inbound, Stop::new());
        }
        run(&policy, "-").await;
        assert_eq!(lines.messages().is_empty(), inbound_first);
    }
}

#[tokio::test(start_paused = true)]
async fn the_stop_ends_the_retries() {
    let policies = "retries: {r: {duration: 10s}}";
    let (stop, lines) = (Stop::new(), Lines::default());
    let policy = targets(policies, lines.telemetry()).policy("pubsub", Direction::Inbound, stop.clone()).unwrap();
    let ((said, calls), ()) = tokio::join!(run(&policy, "-"), async {
        tokio::time::sleep(Duration::from_secs(25)).await;
        stop.trigger();
    });
    assert_eq!((said.as_str(), calls), ("call failed", vec![0, 10, 20]));
}

#[tokio::test(start_paused = true)]
async fn the_log_tells_the_first_failure_the_recovery_and_the_breaker() {
    let lines = Lines::default();
    let policies = "retries: {r: {duration: 1s, maxRetries: 4}}, circuitBreakers: {b: {trip: consecutiveFailures > 3, timeout: 9s}}";
    let targets = targets(policies, lines.telemetry());
    run(&outbound(&targets), "---+").await;
    let inbound = targets.policy("pubsub", Direction::Inbound, Stop::new()).unwrap();
    run(&inbound, "-").await;
    tokio::time::advance(Duration::from_secs(10)).await;
    run(&inbound, "+").await;
    assert_eq!(
        lines.messages(),
        [
            "Error processing operation component[pubsub] output. Retrying in 1s…",
            "Recovered processing operation component[pubsub] output after 4 attempts",
            "Error processing operation component[pubsub] input. Retrying in 1s…",
            "Circuit breaker \"b-pubsub\" changed state from closed to open",
            "Circuit breaker \"b-pubsub\" changed state from open to half-open",
            "Circuit breaker \"b-pubsub\" changed state from half-open to closed",
        ]
    );
}

#[test]
fn what_is_not_defined_is_no_policy() {
    let telemetry = || Lines::default().telemetry();
    let has = |targets: &Targets, component: &str| {
        [Direction::Outbound, Direction::Inbound]
            .map(|direction| targets.policy(component, direction, Stop::new()).is_some())
    };
    assert_eq!(has(&Targets::new(&[], telemetry()).0, "pubsub"), [false, false]);
    assert_eq!(has(&targets("timeouts: {t: 0}", telemetry()), "pubsub"), [false, false]);
    assert_eq!(has(&targets("timeouts: {x: 1s}", telemetry()), "pubsub"), [false, false]);
    assert_eq!(has(&targets("timeouts: {t: 1s}", telemetry()), "pubsub"), [true, true]);
    assert_eq!(has(&targets("timeouts: {t: 1s}", telemetry()), "PubSub"), [false, false]);
    let defaults = "timeouts: {DefaultPubsubComponentOutboundTimeoutPolicy: 1s}";
    assert_eq!(has(&targets(defaults, telemetry()), "pubsub"), [false, false]);
    assert_eq!(has(&targets(defaults, telemetry()), "other"), [true, false]);
    let breaker = "circuitBreakers: {DefaultCircuitBreakerPolicy: {}}";
    assert_eq!(has(&targets(breaker, telemetry()), "other"), [true, true]);
}

#[test]
fn a_built_in_policy_can_be_named() {
    let spec = "{targets: {components: {pubsub: {outbound: {retry: DaprBuiltInServiceRetries}}}}}";
    let (targets, _) = Targets::new(&[resource(spec)], Lines::default().telemetry());
    assert_eq!(outbound(&targets).retry.unwrap().max_retries, Some(3));
}

#[test]
fn a_trip_that_does_not_compile_takes_the_targets_away() {
    let good = resource("{policies: {timeouts: {t: 1s}}, targets: {components: {other: {outbound: {timeout: t}}}}}");
    let bad = resource(
        "{policies: {timeouts: {t: 1s}, circuitBreakers: {b: {trip: 'consecutiveFailures >'}}}, targets: {components: {pubsub: {outbound: {timeout: t}}}}}",
    );
    let (targets, diagnostics) = Targets::new(&[good, bad], Lines::default().telemetry());
    let has = |component| targets.policy(component, Direction::Outbound, Stop::new()).is_some();
    assert_eq!((has("other"), has("pubsub")), (true, false));
    let texts: Vec<_> = diagnostics.iter().map(|diagnostic| diagnostic.message.as_str()).collect();
    assert_eq!(texts.len(), 1);
    assert!(texts[0].starts_with("Could not read resiliency policy r: circuit breaker \"b\": trip"), "{texts:?}");
}

#[test]
fn a_trip_that_asks_for_what_does_not_exist_is_told_and_stays() {
    let spec = "{policies: {circuitBreakers: {b: {trip: consecutiveFailure > 5}}}, targets: {components: {pubsub: {outbound: {circuitBreaker: b}}}}}";
    let (targets, diagnostics) = Targets::new(&[resource(spec)], Lines::default().telemetry());
    assert!(outbound(&targets).breaker.is_some());
    let texts: Vec<_> = diagnostics.iter().map(|diagnostic| diagnostic.message.as_str()).collect();
    assert_eq!(texts.len(), 1);
    assert!(
        texts[0].contains("trip \"consecutiveFailure > 5\": consecutiveFailure is not known, only requests, totalSuccesses, totalFailures, consecutiveSuccesses and consecutiveFailures are (line 1, column 1); did you mean consecutiveFailures?"),
        "{texts:?}"
    );
}
