//! Sidestream: a pub/sub sidecar that speaks the Dapr API. This is the map; read it first.
//!
//! A sidecar stands beside one app. The app publishes with an HTTP POST and says what it subscribes to; the sidecar keeps the events in a
//! broker and gives them to the app as HTTP POSTs, until the app says that it is done with them.
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
//!  across all of it: telemetry (what is told), health (is it ready), shutdown (how it ends)
//! ```
//!
//! # Layers: who may import whom
//!
//! A module imports modules of lower layers and, of its own layer, only what the third column says. `tests/it/layers.rs` reads this table
//! and holds the code to it, so it is true.
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
//! A crate that could be replaced stands behind one door: `redis` behind `broker::redis`, `cel` behind `expr`, `axum` behind `api` and
//! `server`,
//! `granit-parser` (YAML) behind `resources::yaml::parse`, `clap` behind `cli`, `rustls` behind `app::http` and
//! `broker::redis::conn::tls`. The same test holds that.
//!
//! # Two walks through the house
//!
//! **An event is published.** `server` accepts the connection and gives the request to `api::http::service`, which checks the token, begins
//! the trace and calls a handler: `handlers::publish` takes topic, query, headers and body from the request, looks the component up
//! (`publish::Publisher::pubsub`) and hands over a `publish::Request`. `Publisher::publish` puts a CloudEvent around the body
//! (`envelope::wrap`), unless it is to stay raw; the bytes of `data` are copied, not rebuilt. `pubsub::Pubsub::publishing` asks the
//! scopes, `Permitted::send` gives it to `broker::Broker::publish`, under the component's `resiliency::Policy` if it has one. The answer is
//! 204 once the broker has confirmed. Whatever goes wrong on the way is an error type of the module where it happens, and becomes an answer
//! in `api::error`, once.
//!
//! **An event is delivered.** `delivery::supervisor` knows what is subscribed, from files and from the app's answer to `GET
//! /dapr/subscribe`, and hands the broker one `consumer` per subscription, which is a `broker::Sink`. The broker reads and calls
//! `Sink::accept` with an `Incoming`. The consumer reads the event (`envelope::Event`), lets `router` choose a path by the rules (`expr`),
//! and asks the app (`app::Channel::deliver`, again under a policy), which answers with a `Verdict`. Success is `Settlement::Ack`. What is
//! dropped, expired or fits no rule goes to the dead-letter topic first, if there is one; only when that is confirmed is it an `Ack`. What
//! failed goes there too, or without one is `Settlement::Retry`: the broker plans when it comes again. A future that is dropped was no
//! `Ack`, so nothing is lost by a stop or a panic.
//!
//! # What is deliberately absent
//!
//! - `broker` knows no CloudEvents, no HTTP, no app; `envelope` knows no broker. What is between them is bytes and a string map.
//! - `publish` and `delivery` know nothing of each other. A dead letter is sent like any message, by `pubsub::Permitted::send`.
//! - `delivery` does not know how the app is reached, `app` not what becomes of its answer.
//! - Nothing is global: no static state, no environment but the [`environment::Environment`] that `main` passes in, no registry of
//!   metrics. Many [`runtime::Runtime`]s can live in one process.
//! - No part but `telemetry::events` writes log lines or counts; no part but `shutdown::Tasks` spawns tasks.

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
