//! The condition under which `run` reports success: the sidecar is ready (brokers reached, app listening, subscriptions
//! running), and the app has not ended at once. Until then `run` prints what is missing.

use std::time::Duration;

use tokio::net::TcpStream;
use tokio::time::{Instant, sleep, timeout};

use super::launch;
use crate::cli::Flags;
use crate::health::Health;

/// Pause between two checks of the sidecar's health.
const POLL: Duration = Duration::from_millis(50);

/// An app that ends within this time has failed to start, for example because a module is missing.
const SETTLED: Duration = Duration::from_secs(1);

/// Time before the first message about missing parts, and between later ones.
const FIRST_WORD: Duration = Duration::from_secs(5);
const NEXT_WORD: Duration = Duration::from_secs(30);

/// Time for the app to accept a connection.
const ONE_CONNECTION: Duration = Duration::from_millis(500);

/// Whether the address accepts connections.
pub(super) async fn accepts(host: &str, port: &str) -> bool {
    let connecting = TcpStream::connect(format!("{host}:{port}"));
    matches!(timeout(ONE_CONNECTION, connecting).await, Ok(Ok(_)))
}

/// A sidecar, and the app that it needs.
pub(super) struct Readiness {
    health: Health,
    /// Host and port of the app, if it has a port.
    app: Option<(String, String)>,
    /// Whether `run` starts the app, which may then end at once.
    has_app: bool,
}

impl Readiness {
    /// Of a sidecar with these flags and settings.
    pub(super) fn new(health: Health, flags: &Flags, has_app: bool) -> Self {
        let port = launch::app_port(flags).map(str::to_owned);
        Self { health, app: port.map(|port| (flags.app_channel_address.clone(), port)), has_app }
    }

    /// Resolves when all is ready. `tell` receives a line at intervals about the missing parts.
    pub(super) async fn reached(self, tell: impl Fn(&str)) {
        if self.has_app {
            sleep(SETTLED).await;
        }
        let mut next = Instant::now() + FIRST_WORD;
        loop {
            let Err(missing) = self.health.check() else {
                return;
            };
            if Instant::now() >= next {
                tell(&self.reason(missing).await);
                next = Instant::now() + NEXT_WORD;
            }
            sleep(POLL).await;
        }
    }

    /// The missing parts.
    async fn reason(&self, mut missing: Vec<String>) -> String {
        // Only if no other part is missing: the start itself is not complete.
        let is_starting = missing == ["runtime"];
        if is_starting {
            missing.clear();
        }
        if let Some((host, port)) = &self.app {
            if !accepts(host, port).await {
                missing.push(format!(
                    "the app does not listen on {host}:{port}. Does it use another port than --app-port {port} (appPort in a run file)?"
                ));
            } else if is_starting {
                missing.push(format!(
                    "the app on port {port} has not answered its first requests (GET /dapr/config, GET /dapr/subscribe)"
                ));
            }
        }
        if missing.is_empty() {
            "Not up yet: the sidecar is still starting".to_owned()
        } else {
            format!("Not up yet: {}", missing.join("; "))
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use tokio::net::TcpListener;

    use super::*;

    fn flags(port: &str) -> Flags {
        Flags { app_port: port.to_owned(), ..Flags::default() }
    }

    /// The messages of the first seconds, by the test's clock.
    async fn told(health: &Health, port: &str) -> Vec<String> {
        let lines = RefCell::new(Vec::new());
        let readiness = Readiness::new(health.clone(), &flags(port), true);
        let reached = readiness.reached(|line| lines.borrow_mut().push(line.to_owned()));
        let is_up = timeout(Duration::from_secs(45), reached).await.is_ok();
        assert!(!is_up);
        lines.into_inner()
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_waited_for_is_said_now_and_then() {
        let health = Health::default();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port().to_string();
        let lines = told(&health, &port).await;
        assert_eq!(lines.len(), 2, "{lines:?}");
        assert!(lines[0].contains("has not answered its first requests"), "{lines:?}");

        drop(listener);
        let lines = told(&health, &port).await;
        let expected = format!("Not up yet: the app does not listen on 127.0.0.1:{port}. ");
        assert!(lines[0].starts_with(&expected), "{lines:?}");

        health.waits_for("orders", "connection refused");
        assert_eq!(told(&health, "").await[0], "Not up yet: orders: connection refused");
    }

    #[tokio::test(start_paused = true)]
    async fn it_is_up_once_the_sidecar_is_ready() {
        let health = Health::default();
        health.ready();
        let readiness = Readiness::new(health, &flags(""), true);
        readiness.reached(|line| panic!("{line}")).await;
    }
}
