//! For the tests of delivery: a broker that records what it is given, and a real app on a port of this machine.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use axum::extract::Request;
use bytes::Bytes;
use futures_util::future::BoxFuture;
use parking_lot::Mutex;
use tokio::net::TcpListener;

use crate::app::health::{AppHealth, Probes};
use crate::app::{self, Channel};
use crate::broker::options::OptionNames;
use crate::broker::{Broker, BrokerError, BrokerErrorKind, Sink, SubscribeRequest};
use crate::config::{AppHealthSettings, AppProtocol, AppSettings};
use crate::message::{Incoming, Metadata, Outgoing, Position, Settlement};
use crate::metadata::ComponentMetadata;
use crate::pubsub::{Identity, Pubsub};
use crate::resiliency::{self, Targets};
use crate::shutdown::{Stop, Tasks};
use crate::telemetry::Telemetry;
use crate::telemetry::log::{Level, Log};
use crate::telemetry::metrics::Metrics;

/// A broker in which everything stays where it was put.
#[derive(Default)]
pub(super) struct RecordingBroker {
    pub(super) refuses: AtomicBool,
    pub(super) sent: Mutex<Vec<Outgoing>>,
    sinks: Arc<Mutex<HashMap<String, Arc<dyn Sink>>>>,
}

impl RecordingBroker {
    pub(super) fn pubsub(self: &Arc<Self>) -> Arc<Pubsub> {
        let identity =
            Identity { name: "pubsub".to_owned(), kind: "pubsub.broker".to_owned(), version: "v1".to_owned() };
        Arc::new(Pubsub::new(identity, self.clone(), &ComponentMetadata::default(), "shop", ""))
    }

    /// Deliver a message to the subscriber of a topic, if there is one.
    pub(super) async fn hand(&self, topic: &str, data: &'static str) -> Option<Settlement> {
        let sink = self.sinks.lock().get(topic).cloned()?;
        Some(sink.accept(message(topic, data.as_bytes(), &[])).await)
    }

    pub(super) fn topics(&self) -> Vec<String> {
        let mut topics: Vec<_> = self.sinks.lock().keys().cloned().collect();
        topics.sort();
        topics
    }

    fn check(&self) -> Result<(), BrokerError> {
        if self.refuses.load(Ordering::SeqCst) {
            return Err(BrokerError::new(BrokerErrorKind::Unavailable, "away"));
        }
        Ok(())
    }
}

#[async_trait]
impl Broker for RecordingBroker {
    fn capabilities(&self) -> &'static [&'static str] {
        &[]
    }

    fn options(&self) -> &'static OptionNames {
        const { &OptionNames { options: &[], settings: &[] } }
    }

    async fn connect(&self) -> Result<(), BrokerError> {
        self.check()
    }

    async fn publish(&self, message: Outgoing) -> Result<Option<Position>, BrokerError> {
        self.check()?;
        self.sent.lock().push(message);
        Ok(None)
    }

    async fn subscribe(
        &self,
        request: SubscribeRequest,
        sink: Arc<dyn Sink>,
        stop: Stop,
    ) -> Result<BoxFuture<'static, ()>, BrokerError> {
        self.check()?;
        self.sinks.lock().insert(request.topic.clone(), sink);
        let sinks = self.sinks.clone();
        Ok(Box::pin(async move {
            stop.triggered().await;
            sinks.lock().remove(&request.topic);
        }))
    }

    async fn close(&self) {}
}

pub(super) fn message(topic: &str, data: &[u8], metadata: &[(&str, &str)]) -> Incoming {
    Incoming {
        topic: topic.into(),
        position: None,
        data: Bytes::copy_from_slice(data),
        metadata: metadata.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect::<Metadata>(),
        has_metadata: !metadata.is_empty(),
        attempt: 1,
        only_once: false,
    }
}

pub(super) fn telemetry() -> Telemetry {
    Telemetry::new(Log::new(Level::Fatal, std::io::sink()), Metrics::default())
}

/// The requests to an app: method and path, trace, body.
pub(super) type Asked = Arc<Mutex<Vec<String>>>;

/// Policies for the component, as the resiliency tests write them.
pub(super) fn targets(policies: &str) -> Targets {
    resiliency::tests::targets(policies, telemetry())
}

/// What an app answers from now on: path -> status and body, the last one again and again. A path that is not there is 404. `statuses A B` is the answer to a bulk request.
pub(super) type Answers = Arc<Mutex<HashMap<&'static str, VecDeque<(u16, String)>>>>;

/// A real app.
pub(super) struct App {
    pub(super) asked: Asked,
    pub(super) answers: Answers,
    pub(super) channel: Arc<dyn Channel>,
    tasks: Tasks,
    stop: Stop,
    port: u16,
}

impl App {
    pub(super) async fn start(answers: &[(&'static str, u16, &str)]) -> Self {
        let answers = answers.iter().map(|(path, code, body)| (*path, [(*code, (*body).to_owned())].into())).collect();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let settings = AppSettings {
            port: port.into(),
            address: "127.0.0.1".to_owned(),
            protocol: AppProtocol::Http,
            max_concurrency: None,
            health: None,
            token: None,
            max_header: 4096,
        };
        let mut app = Self {
            asked: Asked::default(),
            answers: Arc::new(Mutex::new(answers)),
            channel: app::channel(&settings, "shop", telemetry()).unwrap(),
            tasks: Tasks::new(),
            stop: Stop::new(),
            port,
        };
        app.serve(listener);
        app
    }

    pub(super) fn answer(&self, path: &'static str, code: u16, body: &str) {
        self.answer_in_turn(path, &[(code, body)]);
    }

    pub(super) fn answer_in_turn(&self, path: &'static str, answers: &[(u16, &str)]) {
        let answers = answers.iter().map(|(code, body)| (*code, (*body).to_owned()));
        self.answers.lock().insert(path, answers.collect());
    }

    /// Its health, by probes of `/healthz` in quick succession.
    pub(super) fn watched(&self, tasks: &Tasks, stop: &Stop) -> AppHealth {
        let probes = Probes {
            channel: self.channel.clone(),
            settings: AppHealthSettings {
                path: "/healthz".to_owned(),
                interval: Duration::from_millis(10),
                timeout: Duration::from_secs(5),
                threshold: 1,
            },
            app_is_gone: Arc::default(),
            telemetry: telemetry(),
        };
        AppHealth::watch(probes, tasks, stop.clone())
    }

    /// The events that were delivered, without requests for subscriptions.
    pub(super) fn events(&self) -> Vec<String> {
        let asked = self.asked.lock();
        asked.iter().filter(|line| line.starts_with("POST")).cloned().collect()
    }

    /// Close the port and all connections.
    pub(super) async fn go(&self) {
        self.stop.trigger();
        self.tasks.ended().await;
    }

    /// Listen on the port again.
    pub(super) async fn come_back(&mut self) {
        self.tasks = Tasks::new();
        self.stop = Stop::new();
        let socket = tokio::net::TcpSocket::new_v4().unwrap();
        socket.set_reuseaddr(true).unwrap();
        socket.bind(([127, 0, 0, 1], self.port).into()).unwrap();
        self.serve(socket.listen(64).unwrap());
    }

    fn serve(&mut self, listener: TcpListener) {
        let (asked, answers, stop) = (self.asked.clone(), self.answers.clone(), self.stop.clone());
        let handler = async move |request: Request| {
            let (parts, body) = request.into_parts();
            let body = axum::body::to_bytes(body, 1 << 20).await.unwrap();
            let trace = parts.headers.get("traceparent").map_or("-", |value| value.to_str().unwrap());
            let line = format!("{} {} {trace} {}", parts.method, parts.uri, String::from_utf8_lossy(&body));
            asked.lock().push(line);
            let answer = {
                let mut answers = answers.lock();
                match answers.get_mut(parts.uri.path()) {
                    Some(answers) if answers.len() > 1 => answers.pop_front(),
                    Some(answers) => answers.front().cloned(),
                    None => None,
                }
            };
            let (code, answer) = answer.unwrap_or((404, String::new()));
            let body = match answer.strip_prefix("statuses ") {
                Some(statuses) => of_entries(&body, statuses),
                None => answer,
            };
            (http::StatusCode::from_u16(code).unwrap(), body)
        };
        let routes = axum::Router::new().fallback(handler);
        self.tasks.spawn("app", async move {
            stop.run_until_triggered(async { axum::serve(listener, routes).await.unwrap() }).await;
        });
    }
}

/// These statuses for the entries of a bulk request, in their order.
fn of_entries(request: &[u8], statuses: &str) -> String {
    let request: serde_json::Value = serde_json::from_slice(request).unwrap();
    let entries = request["entries"].as_array().unwrap().iter();
    let statuses: Vec<_> = entries
        .zip(statuses.split(' '))
        .map(|(entry, status)| serde_json::json!({"entryId": entry["entryId"], "status": status}))
        .collect();
    serde_json::json!({ "statuses": statuses }).to_string()
}

/// Wait until a condition holds, with a limit that is enough on a busy machine.
pub(super) async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let waiting = async {
        while !holds() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(45), waiting).await.unwrap_or_else(|_| panic!("waited in vain: {what}"));
}
