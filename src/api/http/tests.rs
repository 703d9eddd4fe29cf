//! The API over a real connection and the embedded broker: rows of tests/spec/http-api.md, "Edge cases worth a test".

mod bulk;
mod messages;
mod panic;
mod publish;
mod routes;
mod sidecar;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Mutex;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use super::service;
use crate::api::context::{Context, Extended, LoadedComponent, ShutdownRequest, Snapshot};
use crate::broker::memory::MemoryBroker;
use crate::broker::{Broker, Sink, SubscribeRequest};
use crate::config::{ApiAccess, AppProtocol, AppSettings, CallLog, HttpSettings, InitEndpoints, Settings};
use crate::delivery::supervisor::{Supervisor, SupervisorConfig};
use crate::health::Health;
use crate::message::{Incoming, Settlement};
use crate::metadata::ComponentMetadata;
use crate::publish::Publisher;
use crate::pubsub::{Catalog, Identity, Pubsub};
use crate::resiliency::Targets;
use crate::resources::kinds::configuration::ApiRule;
use crate::server::{BodyMemory, Limits, Server, Service};
use crate::shutdown::{Stop, Tasks};
use crate::telemetry::Telemetry;
use crate::telemetry::log::{Level, Log};
use crate::telemetry::metrics::Metrics;
use crate::telemetry::trace::Tracing;

const PARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
const NO_TARGET: &str = r#"{"errorCode":"ERR_DIRECT_INVOKE","message":"failed getting app id either from the URL path or the header dapr-app-id"}"#;

/// A sink that passes the messages of the broker on to the test.
struct Recorder(UnboundedSender<Incoming>);

#[async_trait]
impl Sink for Recorder {
    async fn accept(&self, message: Incoming) -> Settlement {
        let _ = self.0.send(message);
        Settlement::Ack
    }
}

struct Api {
    port: u16,
    broker: Arc<MemoryBroker>,
    catalog: Catalog,
    received: Mutex<UnboundedReceiver<Incoming>>,
    health: Health,
    shutdown: UnboundedReceiver<ShutdownRequest>,
    stop: Stop,
    tasks: Tasks,
}

impl Drop for Api {
    fn drop(&mut self) {
        self.stop.trigger();
    }
}

fn settings() -> Settings {
    let app_connection = AppSettings {
        port: 0,
        address: "127.0.0.1".to_owned(),
        protocol: AppProtocol::Http,
        max_concurrency: None,
        health: None,
        token: None,
        max_header: 4096,
    };
    Settings {
        app_id: "app1".to_owned(),
        namespace: None,
        app_connection,
        http: HttpSettings {
            port: 0,
            listen: vec!["127.0.0.1".to_owned()],
            public: None,
            socket_dir: None,
            max_body: Some(4 << 20),
            max_body_memory: 64 << 20,
            max_connections: 100,
            max_requests: 100,
            read_buffer: 4096,
            http2: true,
            token: None,
            allowed_origins: String::new(),
            log_calls: false,
            call_log: CallLog::default(),
            access: ApiAccess::default(),
        },
        grpc_port: 0,
        metrics: None,
        count_error_codes: false,
        resources: Vec::new(),
        embedded_pubsub: false,
        disabled_init_endpoints: InitEndpoints::default(),
        graceful_shutdown: None,
        block_shutdown: None,
        sampling_rate: None,
        hot_reload: None,
        features: Vec::new(),
        denied_components: Vec::new(),
        handlers: Vec::new(),
    }
}

/// A sidecar's API with the components `ps` (topic `secret` forbidden), `my ps` and `bulk`.
async fn start<S: Service>(change: impl FnOnce(&mut Settings), service: fn(Context) -> S) -> Api {
    let mut settings = settings();
    change(&mut settings);
    let telemetry = Telemetry::new(Log::new(Level::Fatal, std::io::sink()), Metrics::default());
    let (catalog, health) = (Catalog::default(), Health::default());
    let shown = catalog.clone();
    let (stop, tasks) = (Stop::new(), Tasks::new());
    let broker = Arc::new(MemoryBroker::new("pubsub", telemetry.clone()));
    let received = record(&broker, &stop, &tasks).await;
    let properties: ComponentMetadata = [("protectedTopics", "secret")].into_iter().collect();
    for name in ["ps", "my ps", "bulk"] {
        let identity = Identity { name: name.to_owned(), kind: "pubsub.in-memory".to_owned(), version: String::new() };
        catalog.insert(Arc::new(Pubsub::new(identity, broker.clone(), &properties, "app1", "")));
    }
    health.outbound_ready();
    health.ready();
    let config = SupervisorConfig {
        catalog: catalog.clone(),
        declared: Vec::new(),
        health: health.clone(),
        targets: Targets::new(&[], telemetry.clone()).0,
        tracing: Tracing::PassOn,
        disabled: InitEndpoints::default(),
        tasks: tasks.clone(),
        stop: stop.child(),
        telemetry: telemetry.clone(),
    };
    let (shutdown, requests) = unbounded_channel();
    let component = LoadedComponent {
        name: "ps".to_owned(),
        kind: "pubsub.in-memory".to_owned(),
        version: String::new(),
        capabilities: vec!["X"],
    };
    let transport = service::transport(&settings.http);
    let context = Context {
        publisher: Publisher::new("app1", catalog.clone(), Tracing::PassOn, telemetry.clone()),
        settings: Arc::new(settings),
        catalog,
        components: Snapshot::new(vec![component]),
        resiliencies: Snapshot::default(),
        supervisor: Supervisor::new(config).unwrap(),
        health: health.clone(),
        tracing: Tracing::PassOn,
        shutdown,
        extended: Extended::default(),
        bodies: BodyMemory::new(64 << 20, telemetry.clone()),
        telemetry: telemetry.clone(),
    };
    let server = Server {
        name: "http connection",
        service: service(context),
        transport,
        limits: Limits { connections: 100, requests: 100 },
        overloaded: service::overloaded,
        stop: stop.clone(),
        tasks: tasks.clone(),
        telemetry,
    };
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tasks.spawn("serve", server.serve(listener));
    Api { port, broker, catalog: shown, received: Mutex::new(received), health, shutdown: requests, stop, tasks }
}

/// Subscribe to every topic of the broker.
async fn record(broker: &MemoryBroker, stop: &Stop, tasks: &Tasks) -> UnboundedReceiver<Incoming> {
    let (recorder, received) = unbounded_channel();
    let everything = SubscribeRequest { topic: "*".to_owned(), ..SubscribeRequest::default() };
    let subscription = broker.subscribe(everything, Arc::new(Recorder(recorder)), stop.child()).await;
    tasks.spawn("subscription", subscription.unwrap());
    received
}

struct Answer {
    status: u16,
    head: String,
    body: String,
}

impl Answer {
    fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
    }
}

impl Api {
    /// Send bytes as they are and read until the connection ends.
    async fn send(&self, message: &[u8]) -> Answer {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).await.unwrap();
        // The server may answer, and close, before it has read everything.
        let _ = stream.write_all(message).await;
        let mut bytes = Vec::new();
        let _ = stream.read_to_end(&mut bytes).await;
        let text = String::from_utf8(bytes).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap_or((&text, ""));
        let status = head.get(9..12).and_then(|status| status.parse().ok()).unwrap_or(0);
        Answer { status, head: head.to_owned(), body: body.to_owned() }
    }

    async fn call(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Answer {
        let mut message =
            format!("{method} {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: {}\r\n", body.len());
        for (name, value) in headers {
            message.push_str(&format!("{name}: {value}\r\n"));
        }
        message.push_str("\r\n");
        self.send(&[message.as_bytes(), body].concat()).await
    }

    async fn get(&self, path: &str) -> Answer {
        self.call("GET", path, &[], b"").await
    }

    /// The next message that the broker hands over.
    async fn received(&self) -> Incoming {
        let mut received = self.received.lock().await;
        let next = tokio::time::timeout(Duration::from_secs(45), received.recv());
        next.await.expect("in time").expect("it lives")
    }

    /// The next message, parsed as an event.
    async fn event(&self) -> Value {
        serde_json::from_slice(&self.received().await.data).unwrap()
    }
}
