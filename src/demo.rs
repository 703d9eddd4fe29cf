//! `sidestream demo`: a sidecar, a sample app and a publisher of orders in one process, with every step printed.
//!
//! Needs no Redis, no app and no configuration. The orders go through the sidecar's real HTTP port. [`script`] makes
//! the orders, [`publisher`] sends them, [`sample_app`] receives them. [`book`] records every step: [`narrator`] prints
//! it, [`tally`] counts it.

mod book;
mod event;
mod narrator;
mod publisher;
mod sample_app;
mod script;
mod tally;

use std::io::IsTerminal;
use std::net::TcpListener;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;

use self::book::Book;
use self::narrator::Narrator;
use self::publisher::Publisher;
use self::script::Order;
use crate::cli::{DemoArgs, Flags};
use crate::config::Settings;
use crate::environment::Environment;
use crate::runtime::{Plan, Runtime};
use crate::shutdown::signals::Signals;
use crate::shutdown::{Stop, Tasks};
use crate::telemetry::Telemetry;
use crate::telemetry::log::{Level, LogBuilder};
use crate::telemetry::metrics::Metrics;

/// The demo listens on this machine only.
const LOOPBACK: &str = "127.0.0.1";

/// The default port of a sidecar.
const USUAL_PORT: u16 = 3500;

/// Time for the last orders to be delivered once all are published. A redelivery comes after about a second.
const PATIENCE: Duration = Duration::from_secs(30);

/// That time after Ctrl-C.
const SHORT_PATIENCE: Duration = Duration::from_secs(3);

/// Time for the sidecar and its app to become ready.
const START: Duration = Duration::from_secs(10);

/// Run the demo to its end. Returns the exit code: 0 if every order is accounted for.
///
/// # Errors
/// If sidecar or sample app cannot start.
pub async fn run(args: &DemoArgs, environment: &Environment) -> anyhow::Result<u8> {
    let mut signals = Signals::listen().context("cannot listen for signals")?;
    let halt = Stop::new();
    let book = Arc::new(Book::new(Narrator::new(Box::new(std::io::stdout()), wants_colour(environment), halt.clone())));
    let stage = tokio::select! {
        stage = Stage::set(&book, args.port) => stage?,
        _ = signals.next() => return Ok(1),
    };
    book.narrate(&opening(&stage));

    let orders = publish_orders(args, &stage.publisher, &book, &halt);
    let interrupted = tokio::select! {
        () = orders => halt.is_triggered(),
        _ = signals.next() => true,
    };
    let patience = if interrupted { SHORT_PATIENCE } else { PATIENCE };
    tokio::select! {
        () = book.settled(patience) => {}
        _ = signals.next() => {}
    }
    stage.strike().await;
    Ok(book.close(args.count))
}

/// The running parts of the demo.
struct Stage {
    publisher: Publisher,
    app_port: u16,
    sidecar: (Stop, Tasks),
    app: (Stop, Tasks),
}

impl Stage {
    async fn set(book: &Arc<Book>, asked: Option<u16>) -> anyhow::Result<Self> {
        let port = port(asked)?;
        let (app, sidecar) = <((Stop, Tasks), (Stop, Tasks))>::default();
        let app_port = sample_app::start(book.clone(), &app.0, &app.1).await.context("the sample app cannot start")?;
        let port = start_sidecar(&flags(app_port, port), sidecar.0.clone(), &sidecar.1)
            .await
            .context("the sidecar cannot start")?;
        let publisher = Publisher::new(port);
        if !publisher.ready_within(START).await {
            anyhow::bail!("the sidecar on port {port} is not ready after {START:?}");
        }
        Ok(Self { publisher, app_port, sidecar, app })
    }

    /// Stop the sidecar first, so that deliveries in progress are settled.
    async fn strike(self) {
        for (stop, tasks) in [self.sidecar, self.app] {
            stop.trigger();
            tasks.ended().await;
        }
    }
}

/// The port to use: the requested one, which must be free; else the default one if it is free; else 0 for any.
fn port(asked: Option<u16>) -> anyhow::Result<u16> {
    let free = TcpListener::bind((LOOPBACK, asked.unwrap_or(USUAL_PORT)));
    match (asked, free) {
        (Some(port), Err(error)) => {
            Err(error).with_context(|| format!("port {port} cannot be had; --port 0 takes one that is free"))
        }
        (Some(port), Ok(_)) => Ok(port),
        (None, Ok(_)) => Ok(USUAL_PORT),
        (None, Err(_)) => Ok(0),
    }
}

/// The flags of the sidecar, which listens on this machine only.
fn flags(app_port: u16, port: u16) -> Flags {
    Flags {
        app_id: "demo".to_owned(),
        app_port: app_port.to_string(),
        dapr_http_port: port.to_string(),
        dapr_grpc_port: "0".to_owned(),
        dapr_listen_addresses: LOOPBACK.to_owned(),
        enable_metrics: false,
        ..Flags::default()
    }
}

/// Start a sidecar with the embedded pub/sub. Returns its HTTP port. No environment variable applies.
async fn start_sidecar(flags: &Flags, stop: Stop, tasks: &Tasks) -> anyhow::Result<u16> {
    let mut environment = Environment::default();
    let mut settings =
        Settings::resolve(flags, &mut environment).map_err(|errors| anyhow::anyhow!("{errors:?}"))?.settings;
    settings.embedded_pubsub = true;
    let log = LogBuilder::new(Level::Error).app_id("demo").build(Box::new(std::io::stderr()));
    let runtime = Runtime::build(Plan {
        settings,
        environment,
        telemetry: Telemetry::new(log, Metrics::default()),
        diagnostics: Vec::new(),
        shared_brokers: None,
        // `main` prints the error.
        leaves_failure_to_caller: true,
    })
    .await
    .map_err(|error| anyhow::anyhow!(error.reasons().collect::<Vec<_>>().join("; ")))?;
    let port = runtime.http_port().context("it has no HTTP port")?;
    tasks.spawn("sidecar", async move {
        // Errors are in the log.
        let _ = runtime.run(stop).await;
    });
    Ok(port)
}

async fn publish_orders(args: &DemoArgs, publisher: &Publisher, book: &Book, halt: &Stop) {
    let last = args.count.unwrap_or(u64::MAX);
    for number in 1..=last {
        let order = Order::nth(number);
        book.sending(&order);
        match publisher.publish(&order).await {
            Ok(()) => book.accepted(&order),
            Err(reason) => book.refused(&order, &reason),
        }
        if number < last && !halt.sleep(args.pause()).await {
            return;
        }
    }
}

fn opening(stage: &Stage) -> String {
    let url = stage.publisher.url();
    format!(
        "A sidecar listens on {url}, a sample app behind it on port {app}.\n\
         The app subscribes to `orders`, to `payments` with the dead-letter topic `payments-dead`, and to `payments-dead`.\n\
         The pub/sub `pubsub` is the embedded in-memory broker: events do not survive this process. Ctrl-C ends it.\n\
         Publish an order of your own from another terminal:\n  {curl}\n",
        app = stage.app_port,
        curl = publisher::curl(url),
    )
}

/// Colour only on a terminal, and only without `NO_COLOR`.
fn wants_colour(environment: &Environment) -> bool {
    std::io::stdout().is_terminal() && environment.non_empty("NO_COLOR").is_none()
}
