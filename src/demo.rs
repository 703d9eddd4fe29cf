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
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;

use self::book::Book;
use self::narrator::Narrator;
use self::publisher::Publisher;
use self::script::Order;
use crate::config::{
    ApiAccess, AppProtocol, AppSettings, CallLog, HttpSettings, InitEndpoints, Settings,
};
use crate::environment::Environment;
use crate::runtime::{Plan, Runtime};
use crate::shutdown::signals::Signals;
use crate::shutdown::{Stop, Tasks};
use crate::telemetry::Telemetry;
use crate::telemetry::log::{Level, LogBuilder};
use crate::telemetry::metrics::Metrics;

/// How long the last orders may take to be delivered once all are published. A redelivery comes after about a second.
const PATIENCE: Duration = Duration::from_secs(30);

/// The same after Ctrl-C.
const SHORT_PATIENCE: Duration = Duration::from_secs(3);

/// How long the sidecar and its app may take to become ready.
const START: Duration = Duration::from_secs(10);

/// What `sidestream demo` was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DemoArgs {
    /// `--count`: end after so many orders; `None` goes on until Ctrl-C.
    pub count: Option<u64>,
    /// Pause between two orders.
    pub interval: Duration,
}

impl Default for DemoArgs {
    fn default() -> Self {
        Self {
            count: None,
            interval: Duration::from_millis(700),
        }
    }
}

/// Run the demo to its end. The answer is the exit code: 0 if every order was accounted for.
///
/// # Errors
/// If sidecar or sample app cannot start.
pub async fn run(args: DemoArgs, environment: &Environment) -> anyhow::Result<u8> {
    let mut signals = Signals::listen().context("cannot listen for signals")?;
    let halt = Stop::new();
    let book = Arc::new(Book::new(Narrator::new(
        Box::new(std::io::stdout()),
        wants_colour(environment),
        halt.clone(),
    )));
    let stage = Stage::set(&book).await?;
    book.narrate(&opening(&stage));

    let orders = publish_orders(args, &stage.publisher, &book, &halt);
    let interrupted = tokio::select! {
        () = orders => halt.is_ordered(),
        _ = signals.next() => true,
    };
    let patience = if interrupted {
        SHORT_PATIENCE
    } else {
        PATIENCE
    };
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
    async fn set(book: &Arc<Book>) -> anyhow::Result<Self> {
        let (app, sidecar) = <((Stop, Tasks), (Stop, Tasks))>::default();
        let app_port = sample_app::start(book.clone(), &app.0, &app.1)
            .await
            .context("the sample app cannot start")?;
        let port = start_sidecar(app_port, sidecar.0.clone(), &sidecar.1)
            .await
            .context("the sidecar cannot start")?;
        let publisher = Publisher::new(port);
        if !publisher.ready_within(START).await {
            anyhow::bail!("the sidecar on port {port} is not ready after {START:?}");
        }
        Ok(Self {
            publisher,
            app_port,
            sidecar,
            app,
        })
    }

    /// The sidecar goes first, so that what the app has in hand is settled.
    async fn strike(self) {
        for (stop, tasks) in [self.sidecar, self.app] {
            stop.order();
            tasks.ended().await;
        }
    }
}

/// The seam to the runtime: a sidecar of its own tasks, and its HTTP port.
async fn start_sidecar(app_port: u16, stop: Stop, tasks: &Tasks) -> anyhow::Result<u16> {
    let log = LogBuilder::new(Level::Error)
        .app_id("demo")
        .build(Box::new(std::io::stderr()));
    let runtime = Runtime::build(Plan {
        settings: settings(app_port),
        environment: Environment::default(),
        telemetry: Telemetry::new(log, Metrics::default()),
    })
    .await?;
    let port = runtime.http_port();
    tasks.spawn("sidecar", async move {
        // What goes wrong stands in the log.
        let _ = runtime.run(stop).await;
    });
    Ok(port)
}

/// A sidecar that listens on this machine only, with the embedded pub/sub. Nothing of the environment applies.
fn settings(app_port: u16) -> Settings {
    Settings {
        app_id: "demo".to_owned(),
        namespace: None,
        app: Some(AppSettings {
            port: i32::from(app_port),
            address: "127.0.0.1".to_owned(),
            protocol: AppProtocol::Http,
            max_concurrency: None,
            health: None,
            token: None,
            max_header: 4096,
        }),
        http: HttpSettings {
            port: 0,
            listen: vec!["127.0.0.1".to_owned()],
            public: None,
            socket_dir: None,
            max_body: Some(4 << 20),
            read_buffer: 4096,
            token: None,
            allowed_origins: String::new(),
            log_calls: false,
            call_log: CallLog::default(),
            access: ApiAccess::default(),
        },
        grpc_port: 0,
        metrics: None,
        resources: Vec::new(),
        embedded_pubsub: true,
        disabled_init_endpoints: InitEndpoints::default(),
        graceful_shutdown: Some(Duration::from_secs(5)),
        block_shutdown: None,
        sampling_rate: None,
        features: Vec::new(),
        denied_components: Vec::new(),
    }
}

async fn publish_orders(args: DemoArgs, publisher: &Publisher, book: &Book, halt: &Stop) {
    let last = args.count.unwrap_or(u64::MAX);
    for number in 1..=last {
        let order = Order::nth(number);
        book.sending(&order);
        match publisher.publish(&order).await {
            Ok(()) => book.accepted(&order),
            Err(reason) => book.refused(&order, &reason),
        }
        if number < last && !halt.sleep(args.interval).await {
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
