//! How the cost of a sidecar grows: with topics, replicas, payload size, a backlog and a pending list.
//!
//! `cargo bench --bench growth` measures the release build against a real `redis-server` and prints one table for each; names of scenarios
//! as arguments choose among them, `--quick` leaves out the largest rows, `--sidecar PATH` measures another binary. The tables of the
//! README come from here. Nothing is asserted: these are timings, and belong to a quiet machine.

#![expect(
    clippy::print_stdout,
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "a program that prints what it has measured, and stops where it cannot measure; its tasks end with it"
)]

mod load;
#[path = "../../tests/it/support/port.rs"]
mod port;
mod redis;
mod sidecar;
mod sink;

use std::time::Duration;

use redis::Redis;
use sidecar::{Sidecar, Usage};
use sink::Sink;
use tokio::time::Instant;

/// Events of an ordinary scenario.
const EVENTS: u64 = 20_000;

#[tokio::main]
async fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let is_quick = arguments.iter().any(|argument| argument == "--quick");
    let names: Vec<&String> = arguments.iter().filter(|name| !name.starts_with('-') && !name.contains('/')).collect();
    let wanted = |name: &str| names.is_empty() || names.iter().any(|wanted| *wanted == name);
    let upto = |rows: &'static [u64]| &rows[..rows.len() - usize::from(is_quick)];
    if wanted("topics") {
        topics(upto(&[1, 10, 100, 1000])).await;
    }
    if wanted("replicas") {
        replicas(upto(&[1, 2, 4, 8, 16])).await;
    }
    if wanted("payload") {
        payload(upto(&[100, 1 << 10, 64 << 10, 1 << 20])).await;
    }
    if wanted("backlog") {
        backlog(upto(&[10_000, 100_000, 1_000_000])).await;
    }
    if wanted("pending") {
        pending(upto(&[100, 1_000, 10_000, 100_000])).await;
    }
}

/// Events spread over ever more topics, published and delivered at once.
async fn topics(rows: &[u64]) {
    head("topics", &["ready ms", "Redis connections", "idle CPU %", "events/s", "CPU us/event", "RSS MiB"]);
    for &count in rows {
        let redis = Redis::start().await;
        let sink = Sink::start(count).await;
        let begun = Instant::now();
        let sidecar = Sidecar::start(&redis, sink.port).await;
        let ready = begun.elapsed();
        tokio::time::sleep(Duration::from_secs(1)).await;
        let before = sidecar.usage();
        tokio::time::sleep(Duration::from_secs(3)).await;
        let idle = (sidecar.usage().cpu - before.cpu).as_secs_f64() * 100.0 / 3.0;
        let connections = redis.clients().await;
        let flow = flow(&sidecar, &sink, EVENTS, 800, count).await;
        row(
            count,
            &[
                format!("{:.0}", ready.as_secs_f64() * 1e3),
                connections.to_string(),
                format!("{idle:.1}"),
                format!("{:.0}", flow.rate),
                format!("{:.0}", flow.cpu_micros),
                format!("{:.1}", flow.usage.rss_mib),
            ],
        );
    }
}

/// A backlog that ever more replicas of one group share.
async fn replicas(rows: &[u64]) {
    head("replicas", &["events/s", "CPU us/event", "CPU of the busiest %", "delivered twice"]);
    for &count in rows {
        let redis = Redis::start().await;
        redis.fill("topic-0", EVENTS, 800).await;
        let sink = Sink::start(1).await;
        let starting = (0..count).map(|_| Sidecar::start(&redis, sink.port));
        let sidecars = futures_util::future::join_all(starting).await;
        sink.wait(EVENTS).await;
        let cpu = sidecars.iter().map(|sidecar| sidecar.usage().cpu.as_secs_f64());
        let (total, busiest) = (cpu.clone().sum::<f64>(), cpu.fold(0.0, f64::max));
        row(
            count,
            &[
                format!("{:.0}", sink.rate()),
                format!("{:.0}", total * 1e6 / EVENTS as f64),
                format!("{:.0}", busiest * 100.0 / total),
                (sink.seen() - EVENTS).to_string(),
            ],
        );
    }
}

/// Ever larger payloads, published and delivered at once.
async fn payload(rows: &[u64]) {
    head("payload bytes", &["events/s", "MiB/s", "CPU us/event", "peak RSS MiB"]);
    for &size in rows {
        let redis = Redis::start().await;
        let sink = Sink::start(1).await;
        let sidecar = Sidecar::start(&redis, sink.port).await;
        let events = (EVENTS * 20_000 / (20_000 + size)).max(200);
        let flow = flow(&sidecar, &sink, events, usize::try_from(size).unwrap(), 1).await;
        row(
            size,
            &[
                format!("{:.0}", flow.rate),
                format!("{:.1}", flow.rate * size as f64 / 1_048_576.0),
                format!("{:.0}", flow.cpu_micros),
                format!("{:.1}", flow.usage.peak_mib),
            ],
        );
    }
}

/// Ever longer backlogs, which wait in the stream when the sidecar starts.
async fn backlog(rows: &[u64]) {
    head("backlog", &["ready ms", "events/s", "CPU us/event", "peak RSS MiB"]);
    for &count in rows {
        let redis = Redis::start().await;
        redis.fill("topic-0", count, 100).await;
        drain(&redis, count).await;
    }
}

/// Ever longer pending lists of a consumer that has died long ago.
async fn pending(rows: &[u64]) {
    head("pending entries", &["ready ms", "events/s", "CPU us/event", "peak RSS MiB"]);
    for &count in rows {
        let redis = Redis::start().await;
        redis.fill("topic-0", count, 100).await;
        redis.abandon("topic-0", sidecar::APP_ID, count).await;
        drain(&redis, count).await;
    }
}

async fn drain(redis: &Redis, count: u64) {
    let sink = Sink::start(1).await;
    let begun = Instant::now();
    let sidecar = Sidecar::start(redis, sink.port).await;
    let ready = begun.elapsed();
    sink.wait(count).await;
    let usage = sidecar.usage();
    row(
        count,
        &[
            format!("{:.0}", ready.as_secs_f64() * 1e3),
            format!("{:.0}", count as f64 / begun.elapsed().as_secs_f64()),
            format!("{:.0}", usage.cpu.as_secs_f64() * 1e6 / count as f64),
            format!("{:.1}", usage.peak_mib),
        ],
    );
}

/// What publishing and delivering at once has cost.
struct Flow {
    rate: f64,
    cpu_micros: f64,
    usage: Usage,
}

async fn flow(sidecar: &Sidecar, sink: &Sink, events: u64, size: usize, topics: u64) -> Flow {
    let before = sidecar.usage();
    let begun = Instant::now();
    load::publish(sidecar.http_port, events, size, topics).await;
    sink.wait(events).await;
    let rate = events as f64 / begun.elapsed().as_secs_f64();
    let usage = sidecar.usage();
    let cpu_micros = (usage.cpu - before.cpu).as_secs_f64() * 1e6 / events as f64;
    Flow { rate, cpu_micros, usage }
}

fn head(first: &str, others: &[&str]) {
    println!("\n| {first} | {} |", others.join(" | "));
    println!("|---:|{}", "---:|".repeat(others.len()));
}

fn row(first: u64, others: &[String]) {
    println!("| {first} | {} |", others.join(" | "));
}
