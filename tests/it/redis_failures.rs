//! Failures of one Redis server or of the connection to it: no accepted event is lost, the log has one line, publishers
//! get an error that says what to do, and delivery resumes without a restart. One file per kind of failure.

mod clocks;
mod credentials;
mod cut;
mod deleted;
mod entries;
mod full;
mod refused;
mod replica;
mod silent;
mod slow;

use std::collections::BTreeSet;
use std::time::Duration;

use bytes::Bytes;
use sidestream::broker::redis::RedisBroker;
use sidestream::broker::{Broker, BrokerError};
use sidestream::message::{Outgoing, Settlement};

use crate::support::app::{Answer, App, Delivered};
use crate::support::http;
use crate::support::port::free_port;
use crate::support::process::{Process, sidestream};
use crate::support::redis::RedisServer;
use crate::support::sink::Recorder;

/// Consumer group of the subscribers to `orders`.
const GROUP: &str = "app";

fn message(topic: &str, number: usize) -> Outgoing {
    Outgoing { topic: topic.to_owned(), data: Bytes::from(number.to_string()), metadata: None }
}

async fn publish(broker: &RedisBroker, number: usize) -> Result<(), BrokerError> {
    broker.publish(message("orders", number)).await.map(drop)
}

/// The distinct messages that have arrived.
fn distinct(sink: &Recorder) -> usize {
    sink.texts().into_iter().collect::<BTreeSet<_>>().len()
}

/// A sink that takes this long for each message.
fn slow_sink(time: Duration) -> std::sync::Arc<Recorder> {
    Recorder::waiting(move |_| {
        Box::pin(async move {
            tokio::time::sleep(time).await;
            Settlement::Ack
        })
    })
}

/// Number of entries in the stream.
async fn length(redis: &RedisServer) -> i64 {
    redis.call(&["XLEN", "orders"]).await
}

/// The real binary with an app that subscribes to `orders`, and its log.
struct Whole {
    app: App,
    sidecar: Process,
    http_port: u16,
    _folder: tempfile::TempDir,
}

impl Whole {
    /// Starts with these component settings beside the address of Redis.
    async fn start(
        redis_port: u16,
        settings: &[(&str, &str)],
        policy: impl Fn(&Delivered) -> Answer + Send + Sync + 'static,
    ) -> Self {
        let whole = Self::begin(redis_port, settings, &["orders"], policy).await;
        http::ready(whole.http_port).await;
        whole
    }

    /// Starts with these topics, each with a route of its name, without waiting until it is ready.
    async fn begin(
        redis_port: u16,
        settings: &[(&str, &str)],
        topics: &[&str],
        policy: impl Fn(&Delivered) -> Answer + Send + Sync + 'static,
    ) -> Self {
        let subscription = |topic: &&str| format!(r#"{{"pubsubname":"pubsub","topic":"{topic}","route":"/{topic}"}}"#);
        let subscriptions: Vec<_> = topics.iter().map(subscription).collect();
        let app = App::start(&format!("[{}]", subscriptions.join(",")), policy).await;
        let folder = tempfile::tempdir().unwrap();
        let mut component = crate::support::sidecar::redis_component(redis_port);
        for (name, value) in settings {
            component += &format!("  - {{name: {name}, value: '{value}'}}\n");
        }
        std::fs::write(folder.path().join("pubsub.yaml"), component).unwrap();
        let http_port = free_port();
        let [http_text, grpc_text, app_text] = [http_port, free_port(), app.port].map(|port| port.to_string());
        let mut command = sidestream([
            "--app-id",
            GROUP,
            "--dapr-listen-addresses",
            "127.0.0.1",
            "--enable-metrics=false",
            "--dapr-http-port",
            &http_text,
            "--dapr-grpc-port",
            &grpc_text,
            "--app-port",
            &app_text,
        ]);
        command.arg("--resources-path").arg(folder.path());
        let sidecar = Process::start(command);
        Self { app, sidecar, http_port, _folder: folder }
    }

    async fn publish(&self, number: u32) -> http::Answer {
        let headers = [("content-type", "application/json")];
        let path = "/v1.0/publish/pubsub/orders";
        let answer = http::call("POST", self.http_port, path, &headers, &number.to_string()).await;
        answer.unwrap()
    }

    async fn publish_all(&self, numbers: std::ops::Range<u32>) {
        for number in numbers {
            assert_eq!(self.publish(number).await.status, 204);
        }
    }

    async fn is_healthy(&self) -> bool {
        self.health().await.status == 204
    }

    async fn health(&self) -> http::Answer {
        let answer = http::call("GET", self.http_port, "/v1.0/healthz", &[], "").await;
        answer.unwrap()
    }

    /// Number of log lines that contain this.
    fn lines(&self, part: &str) -> usize {
        let said = self.sidecar.said();
        said.lines().filter(|line| line.contains(part)).count()
    }

    /// The warnings and errors about Redis in the log.
    fn complaints(&self) -> Vec<String> {
        let said = self.sidecar.said();
        let bad = |line: &&str| {
            line.contains("scope=dapr.contrib") && (line.contains("level=error") || line.contains("level=warning"))
        };
        said.lines().filter(bad).map(str::to_owned).collect()
    }
}
