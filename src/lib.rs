//! Sidestream: a pub/sub sidecar that speaks the Dapr API. This is the map; read it first.
//!
//! A sidecar runs beside one app. The app publishes events with an HTTP POST and declares its subscriptions; the sidecar
//! keeps the events in a broker and delivers them to the app as HTTP POSTs until the app has handled them.
//!
//! # The flow
//!
//! ```text
//!  flags, environment ── cli ─┐
//!  YAML files ── resources ───┴─► config ──► runtime (build, run, stop)
//!                                               │ makes
//!                                               ▼
//!         pubsub: a catalog of names, each a broker with the scopes and the policy of its component
//!                                               ▲
//!  client ──► api ──► publish ──► envelope ─────┤ Permitted::send (dead letters, too)
//!            (HTTP)  (check, wrap)              │
//!                                               ▼
//!                                            broker ◄──► Redis, or memory
//!                                               │ ▲
//!                          Incoming (to a Sink) │ │ Settlement: Ack or Retry
//!                                               ▼ │
//!                     delivery::consumer: read the event, route it, ask the app, settle
//!                                               │ ▲
//!                                      Delivery │ │ Verdict
//!                                               ▼ │
//!                                         app::Channel ◄──► app (HTTP)
//!
//!  used by all: telemetry (logs and counts), health (is it ready), shutdown (how it stops), server (what listens)
//! ```
//!
//! # Layers: who may import whom
//!
//! A module imports modules of lower layers and, of its own layer, only those in the third column. `tests/it/layers.rs`
//! reads this table and compares it with the imports. Within a folder the files form layers, too: no circles.
//!
//! <!-- layers -->
//! | layer | modules | may import beside lower layers |
//! |---|---|---|
//! | 0 words | `backoff`, `credentials`, `duration`, `environment`, `json`, `message`, `metadata`, `quantity`, `envelope` | earlier in this row |
//! | 1 across | `telemetry`, `health`, `shutdown`, `server` | `server` -> `shutdown`, `server` -> `telemetry` |
//! | 2 input | `diagnostic`, `cli`, `resources`, `config` | `resources` -> `diagnostic`, `config` -> `diagnostic`, `config` -> `cli`, `config` -> `resources` |
//! | 3 mechanisms | `expr`, `resiliency`, `broker`, `scopes`, `app` | `resiliency` -> `expr` |
//! | 4 assembly | `pubsub` | |
//! | 5 paths | `publish`, `delivery` | |
//! | 6 edges | `api` | |
//! | 7 wiring | `wait`, `check`, `runtime`, `demo`, `run` | `demo` -> `runtime`, `run` -> `runtime` |
//! <!-- end of layers -->
//!
//! A crate that could be replaced is used in one place: `redis` in `broker::redis`, `cel` in `expr`, `axum` in `api` and
//! `server`, `granit-parser` (YAML) in `resources::yaml::parse`, `clap` in `cli`, `rustls` in `app::http` and
//! `broker::redis::conn::tls`. The same test compares that, too.
//!
//! # Two walks through the code
//!
//! **An event is published.** `server::accept` accepts the connection, `server::connection` reads the request. In
//! `api::http::service` the steps around a call stand in order: path, trace, CORS, token, handler, log. The handler,
//! `api::http::handlers::publish`, takes topic, query, headers and body from the request, looks the component up
//! (`publish::Publisher::pubsub`) and builds a `publish::Request`. `Publisher::publish` puts a CloudEvent around the body
//! (`envelope::wrap`), unless it is to stay raw; the bytes of `data` are copied, not rebuilt.
//! `pubsub::Pubsub::publishing` checks the scopes, `Permitted::send` calls `broker::Broker::publish` under the
//! component's `resiliency::Policy`. The answer is 204 once the broker has confirmed the event. A failure is an error type
//! of the module where it happens, and becomes an answer in `api::error`.
//!
//! **An event is delivered.** `delivery::supervisor` knows the subscriptions, from files and from the app's answer to `GET
//! /dapr/subscribe`, and hands the broker a `broker::Sink` for each: a `delivery::consumer`, or `delivery::bulk`. The
//! broker reads entries into its `broker::dispatch`, which decides which entry is next and calls `Sink::accept` with an
//! `Incoming`. `delivery::prepare` reads the event, drops what has expired, and chooses the path by the rules (`router`,
//! `expr`). The consumer calls the app (`app::Channel::deliver`, under a policy) and gets a `Verdict`. The return value of
//! `accept` is the acknowledgement: success is `Settlement::Ack`. An event that is dropped, expired or fits no rule goes
//! to the dead-letter topic first, if there is one, and is acknowledged once that is confirmed. An event that failed goes
//! there, too, or is `Settlement::Retry`: the dispatcher plans its redelivery. A future that is dropped, or panics, counts
//! as `Retry`, so a stop or a panic loses nothing.
//!
//! **To add a broker**: a folder `broker/<name>/` that implements `broker::Broker` and drives `broker::dispatch` (the trait
//! `Driver`), a row in `broker::kinds`, a component file in `components/`, and a row in `tests/it/brokers.rs`, which runs
//! the conformance suite.
//!
//! # Rules that keep it so
//!
//! - `broker` knows no CloudEvents, no HTTP and no app; `envelope` knows no broker. They exchange bytes and a string map.
//! - `publish` and `delivery` do not import each other. A dead letter is sent like any message, by
//!   `pubsub::Permitted::send`.
//! - `delivery` does not know how the app is reached; `app` does not know what follows from its answer.
//! - Nothing is global: no static state, no environment but the [`environment::Environment`] that `main` passes in, no
//!   registry of metrics. Many [`runtime::Runtime`]s can live in one process.
//! - Only `telemetry::events` writes log lines and counts. Only `shutdown::Tasks` spawns tasks.

// Words.
pub mod backoff;
pub mod credentials;
pub mod duration;
pub mod envelope;
pub mod environment;
pub mod json;
pub mod message;
pub mod metadata;
pub mod quantity;

// Across.
pub mod health;
pub mod server;
pub mod shutdown;
pub mod telemetry;

// Input.
pub mod cli;
pub mod config;
pub mod diagnostic;
pub mod resources;

// Mechanisms.
pub mod app;
pub mod broker;
pub mod expr;
pub mod resiliency;
pub mod scopes;

// Assembly, paths, edges.
pub mod pubsub;

pub mod publish;

pub mod delivery;

pub mod api;

// Wiring.
pub mod check;
pub mod demo;
pub mod run;
pub mod runtime;
pub mod wait;
