//! `sidestream demo`: a sidecar, a sample app behind it and orders on their way, in one process, with every step told.
//!
//! Needs no Redis, no app and no configuration. The orders go through the sidecar's real HTTP port. [`script`] says what is ordered,
//! [`sample_app`] is the app, [`publisher`] the client; [`book`] hears of every step, tells it and counts it in [`tally`].

mod book;
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

/// The demo is for this machine only.
const LOOPBACK: &str = "127.0.0.1";

/// Where a sidecar is by default.
const USUAL_PORT: u16 = 3500;

/// How long the last orders may take to be delivered once all are published. A redelivery comes after about a second.
const PATIENCE: Duration = Duration::from_secs(30);

/// The same after Ctrl-C.
const SHORT_PATIENCE: Duration = Duration::from_secs(3);

/// How long the sidecar and its app may take to become ready.
const START: Duration = Duration::from_secs(10);

/// Run the demo to its end. The answer is the exit code: 0 if every order was accounted for.
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

/// Everything that runs during the demo.
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

    /// The sidecar goes first, so that what the app has in hand is settled.
    async fn strike(self) {
        for (stop, tasks) in [self.sidecar, self.app] {
            stop.trigger();
            tasks.ended().await;
        }
    }
}

/// The port to use: the one that was asked for, which must be free, else the usual one if it is free, else 0 for any.
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

/// The flags of a sidecar that listens on this machine only.
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

/// Start a sidecar of its own tasks with the embedded pub/sub; the answer is its HTTP port. Nothing of the environment applies.
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
        hub: None,
        // `main` says it.
        leaves_failure_to_caller: true,
    })
    .await
    .map_err(|error| anyhow::anyhow!(error.reasons().collect::<Vec<_>>().join("; ")))?;
    let port = runtime.http_port().context("it has no HTTP port")?;
    tasks.spawn("sidecar", async move {
        // What goes wrong stands in the log.
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

/// Colour only on a terminal, and not where `NO_COLOR` is set.
fn wants_colour(environment: &Environment) -> bool {
    std::io::stdout().is_terminal() && environment.non_empty("NO_COLOR").is_none()
}
