//! The API over a real connection: rows of spec http-api.md that need a server, but no broker that keeps anything.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use futures_util::future::BoxFuture;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::*;
use crate::api::{Extended, LoadedComponent, ShutdownRequest};
use crate::broker::{Broker, BrokerError, Sink, SubscribeRequest};
use crate::config::{AppProtocol, AppSettings, HttpSettings, InitEndpoints, Settings};
use crate::delivery::supervisor::{Parts, Supervisor};
use crate::health::Health;
use crate::message::Outgoing;
use crate::metadata::Properties;
use crate::publish::Publisher;
use crate::pubsub::{Catalog, Identity, Pubsub};
use crate::shutdown::{Stop, Tasks};
use crate::telemetry::Telemetry;
use crate::telemetry::log::{Level, Log};
use crate::telemetry::metrics::Metrics;
use crate::telemetry::trace::Tracing;

const PARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
const NO_TARGET: &str = r#"{"errorCode":"ERR_DIRECT_INVOKE","message":"failed getting app id either from the URL path or the header dapr-app-id"}"#;

/// A broker that only takes down what it is given.
#[derive(Clone, Default)]
struct Ledger(Arc<Mutex<Vec<Outgoing>>>);

#[async_trait]
impl Broker for Ledger {
    fn capabilities(&self) -> &'static [&'static str] {
        &[]
    }
    async fn connect(&self) -> Result<(), BrokerError> {
        Ok(())
    }
    async fn publish(&self, message: Outgoing) -> Result<(), BrokerError> {
        self.0.lock().unwrap().push(message);
        Ok(())
    }
    async fn subscribe(
        &self,
        _: SubscribeRequest,
        _: Arc<dyn Sink>,
        stop: Stop,
    ) -> Result<BoxFuture<'static, ()>, BrokerError> {
        Ok(Box::pin(async move { stop.ordered().await }))
    }
    async fn close(&self) {}
}

struct Api {
    port: u16,
    ledger: Ledger,
    health: Health,
    shutdown: tokio::sync::mpsc::UnboundedReceiver<ShutdownRequest>,
    stop: Stop,
    tasks: Tasks,
}

impl Drop for Api {
    fn drop(&mut self) {
        self.stop.order();
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
        app: None,
        app_connection,
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
        },
        grpc_port: 0,
        metrics: None,
        resources: Vec::new(),
        embedded_pubsub: false,
        disabled_init_endpoints: InitEndpoints::default(),
        graceful_shutdown: None,
        block_shutdown: None,
        sampling_rate: None,
        features: Vec::new(),
        denied_components: Vec::new(),
    }
}

/// A sidecar's API with the components `ps` (topic `secret` forbidden), `my ps` and `bulk`.
async fn start(change: impl FnOnce(&mut Settings), router: fn(Context) -> Router) -> Api {
    let mut settings = settings();
    change(&mut settings);
    let telemetry = Telemetry::new(Log::new(Level::Fatal, std::io::sink()), Metrics::default());
    let (catalog, ledger, health) = (Catalog::default(), Ledger::default(), Health::default());
    let properties: Properties = [("protectedTopics", "secret")].into_iter().collect();
    for name in ["ps", "my ps", "bulk"] {
        let identity = Identity {
            name: name.to_owned(),
            kind: "pubsub.ledger".to_owned(),
            version: String::new(),
        };
        catalog.insert(Arc::new(Pubsub::new(
            identity,
            Arc::new(ledger.clone()),
            &properties,
            "app1",
            "",
        )));
    }
    health.outbound_ready();
    health.ready();
    let (stop, tasks) = (Stop::new(), Tasks::new());
    let parts = Parts {
        catalog: catalog.clone(),
        declared: Vec::new(),
        tracing: Tracing::PassOn,
        disabled: InitEndpoints::default(),
        tasks: tasks.clone(),
        stop: stop.child(),
        telemetry: telemetry.clone(),
    };
    let (shutdown, requests) = tokio::sync::mpsc::unbounded_channel();
    let component = LoadedComponent {
        name: "ps".to_owned(),
        kind: "pubsub.ledger".to_owned(),
        version: String::new(),
        capabilities: vec!["X"],
    };
    let read_buffer = settings.http.read_buffer;
    let context = Context {
        publisher: Publisher::new("app1", catalog.clone(), Tracing::PassOn, telemetry.clone()),
        settings: Arc::new(settings),
        catalog,
        components: Arc::new(vec![component]),
        resiliencies: Arc::new(Vec::new()),
        supervisor: Supervisor::new(parts).unwrap(),
        health: health.clone(),
        tracing: Tracing::PassOn,
        shutdown,
        extended: Extended::default(),
        telemetry,
    };
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tasks.spawn(
        "serve",
        serve(
            listener,
            router(context),
            read_buffer,
            stop.clone(),
            tasks.clone(),
        ),
    );
    Api {
        port,
        ledger,
        health,
        shutdown: requests,
        stop,
        tasks,
    }
}

struct Answer {
    status: u16,
    head: String,
    body: String,
}

impl Answer {
    fn header(&self, name: &str) -> Option<&str> {
        self.head
            .lines()
            .find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
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
        let status = head
            .get(9..12)
            .and_then(|status| status.parse().ok())
            .unwrap_or(0);
        Answer {
            status,
            head: head.to_owned(),
            body: body.to_owned(),
        }
    }

    async fn call(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> Answer {
        let mut message = format!(
            "{method} {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: {}\r\n",
            body.len()
        );
        for (name, value) in headers {
            message.push_str(&format!("{name}: {value}\r\n"));
        }
        message.push_str("\r\n");
        self.send(&[message.as_bytes(), body].concat()).await
    }

    async fn get(&self, path: &str) -> Answer {
        self.call("GET", path, &[], b"").await
    }

    fn last(&self) -> Outgoing {
        self.ledger.0.lock().unwrap().last().unwrap().clone()
    }
}

#[tokio::test]
async fn paths_name_component_and_topic() {
    let api = start(|_| {}, router).await;
    for (path, topic) in [
        ("/v1.0/publish/ps/t", "t"),
        ("/v1.0/publish/ps/A/B/C", "A/B/C"),
        ("/v1.0/publish/ps/a%2Fb", "a/b"),
        ("/v1.0/publish/ps/%2F", "/"),
        ("/v1.0/publish/ps/%2Fa%2F", "/a/"),
        ("/v1.0/publish/ps/a+b", "a b"),
        ("/v1.0/publish/ps/a%2Bb", "a+b"),
        ("/v1.0/publish/ps/a//b", "a/b"),
        ("/v1.0/publish/ps/t/", "t"),
        ("/v1.0/publish/ps/a/../b", "b"),
        ("/v1.0/publish/ps/a/%2e%2e/b", "a/../b"),
        ("/v1.0/publish/ps/t%2525", "t%25"),
        ("/v1.0/publish/ps/t%3Fx%23y", "t?x#y"),
        ("/v1.0/publish/my%20ps/t?x", "t"),
        ("//v1.0//publish/my+ps/t", "t"),
        ("/v1.0/publish/bulk/x", "x"),
        ("/v1.0/publish/b%75lk/a/b", "a/b"),
    ] {
        let answer = api.call("POST", path, &[], b"x").await;
        assert_eq!((answer.status, &*answer.body), (204, ""), "{path}");
        assert_eq!(answer.header("content-type"), None);
        assert_eq!(answer.header("content-length"), None);
        assert_eq!(api.last().topic, topic, "{path}");
    }
    assert_eq!(
        api.call("PUT", "/v1.0/publish/ps/t", &[], b"x")
            .await
            .status,
        204
    );
}

#[tokio::test]
async fn whatever_has_no_route_is_an_invocation_without_target() {
    let api = start(|_| {}, router).await;
    for (method, path) in [
        ("GET", "/v1.0/publish/ps/t"),
        ("OPTIONS", "/v1.0/publish/ps/t"),
        ("BREW", "/v1.0/publish/ps/t"),
        ("post", "/v1.0/publish/ps/t"),
        ("POST", "/v1.0/publish/ps/"),
        ("POST", "/v1.0/publish/ps"),
        ("POST", "/v1.0/publish//t"),
        ("POST", "/v1.0/%70ublish/ps/t"),
        ("POST", "/V1.0/publish/ps/t"),
        ("POST", "/v1.0-alpha1/publish/ps/t"),
        ("POST", "/v1.0/healthz"),
        ("PUT", "/v1.0/metadata/a/b"),
        ("GET", "/v1.0/metadata/k"),
        ("GET", "/"),
        ("DELETE", "/v1.0/state/s"),
    ] {
        let answer = api.call(method, path, &[], b"").await;
        assert_eq!(
            (answer.status, &*answer.body),
            (404, NO_TARGET),
            "{method} {path}"
        );
        assert_eq!(answer.header("content-type"), Some("application/json"));
        assert_eq!(answer.header("allow"), None);
    }
    let head = api.call("HEAD", "/v1.0/healthz", &[], b"").await;
    assert_eq!((head.status, &*head.body), (404, ""));
    let invoked = api
        .call("GET", "/nothing", &[("dapr-app-id", "other")], b"")
        .await;
    assert_eq!(
        invoked.body,
        r#"{"errorCode":"ERR_DIRECT_INVOKE","message":"invoke API is not ready"}"#
    );
}

#[tokio::test]
async fn publishing_is_refused_in_the_documented_order() {
    let api = start(|settings| settings.http.max_body = Some(100), router).await;
    let event: &[(&str, &str)] = &[("Content-Type", "application/cloudevents+json")];
    let large = [b'x'; 5000];
    for (path, headers, body, status, code) in [
        (
            "/v1.0/publish/nope/t?metadata.rawPayload=bad",
            event,
            &large[..],
            404,
            "ERR_PUBSUB_NOT_FOUND",
        ),
        (
            "/v1.0/publish/ps/secret?metadata.rawPayload=bad",
            event,
            &large[..],
            500,
            "ERR_PUBSUB_PUBLISH_MESSAGE",
        ),
        (
            "/v1.0/publish/ps/secret?metadata.rawPayload=bad",
            event,
            b"[",
            400,
            "ERR_PUBSUB_REQUEST_METADATA",
        ),
        (
            "/v1.0/publish/ps/secret",
            event,
            b"[",
            500,
            "ERR_PUBSUB_CLOUD_EVENTS_SER",
        ),
        (
            "/v1.0/publish/ps/secret",
            event,
            b"null",
            500,
            "ERR_PUBSUB_CLOUD_EVENTS_SER",
        ),
        (
            "/v1.0/publish/ps/secret",
            event,
            b"{}",
            403,
            "ERR_PUBSUB_FORBIDDEN",
        ),
        (
            "/v1.0/publish/ps/t",
            event,
            &large[..101],
            500,
            "ERR_PUBSUB_PUBLISH_MESSAGE",
        ),
        ("/v1.0/metadata/k", event, b"", 404, "ERR_DIRECT_INVOKE"),
    ] {
        let answer = api.call("POST", path, headers, body).await;
        let expected = format!(r#"{{"errorCode":"{code}","message":"#);
        assert!(
            answer.status == status && answer.body.starts_with(&expected),
            "{path}: {} {}",
            answer.status,
            answer.body
        );
    }
    let answer = api
        .call("POST", "/v1.0/publish/ps/t", &[], &large[..101])
        .await;
    assert!(answer.body.contains(
        r#""message":"error when publishing to topic t in pubsub ps: stream too large""#
    ));
    let answer = api
        .call("PUT", "/v1.0/metadata/k", &[], &large[..101])
        .await;
    assert_eq!(
        answer.body,
        r#"{"errorCode":"ERR_BODY_READ","message":"failed to read request body: stream too large"}"#
    );
    assert_eq!(
        api.call("POST", "/v1.0/publish/ps/t", &[], &large[..100])
            .await
            .status,
        204
    );
    let chunked = b"POST /v1.0/publish/ps/t HTTP/1.1\r\nHost: x\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n";
    assert_eq!(api.send(chunked).await.status, 204);
}

#[tokio::test]
async fn raw_payloads_and_metadata_go_to_the_broker_as_they_are() {
    let api = start(|_| {}, router).await;
    let answer = api
        .call(
            "POST",
            "/v1.0/publish/ps/t?metadata.rawPayload=true&metadata.k=a+b",
            &[],
            b"\x00\xff",
        )
        .await;
    assert_eq!(answer.status, 204);
    let metadata = [("k", "a b"), ("rawPayload", "true")]
        .map(|(name, value)| (name.to_owned(), value.to_owned()));
    let expected = Outgoing {
        topic: "t".to_owned(),
        data: b"\x00\xff"[..].into(),
        metadata: Some(metadata.into()),
    };
    assert_eq!(api.last(), expected);
}

#[tokio::test]
async fn a_body_far_over_the_limit_is_answered_all_the_same() {
    let api = start(|settings| settings.http.max_body = Some(100), router).await;
    let answer = api
        .call("POST", "/v1.0/publish/ps/t", &[], &vec![b'x'; 3 << 20])
        .await;
    assert_eq!(answer.status, 500);
}

#[tokio::test]
async fn traces_are_answered_but_at_health() {
    let api = start(|_| {}, router).await;
    let headers: &[(&str, &str)] = &[
        ("traceparent", PARENT),
        ("tracestate", " k=v ,"),
        ("baggage", "a=1"),
        ("baggage", "b=2"),
    ];
    let answer = api.call("POST", "/v1.0/publish/ps/t", headers, b"x").await;
    assert_eq!(answer.header("traceparent"), Some(PARENT));
    assert_eq!(answer.header("tracestate"), Some("k=v"));
    assert_eq!(answer.header("baggage"), Some("a=1,b=2"));
    let event = String::from_utf8(api.last().data.into()).unwrap();
    assert!(
        event.contains(&format!(
            r#""traceid":"{PARENT}","traceparent":"{PARENT}","tracestate":"k=v""#
        )),
        "{event}"
    );
    let none = api.get("/nothing").await;
    assert_eq!(
        none.header("traceparent"),
        Some("00-00000000000000000000000000000000-0000000000000000-00")
    );
    for path in ["/v1.0/healthz", "/x/healthz/y", "/x%2Fhealthz"] {
        let answer = api
            .call(
                "GET",
                path,
                &[("traceparent", PARENT), ("baggage", "bad")],
                b"",
            )
            .await;
        assert_eq!(answer.header("traceparent"), None, "{path}");
    }
    let refused = api
        .call("POST", "/v1.0/publish/ps/t", &[("baggage", "bad")], b"x")
        .await;
    assert_eq!(
        (refused.status, &*refused.body),
        (
            400,
            "invalid baggage header: invalid baggage list-member: \"bad\"\n"
        )
    );
    assert_eq!(refused.header("traceparent"), None);
}

#[tokio::test]
async fn the_token_is_asked_for_everywhere_but_at_health() {
    let api = start(
        |settings| settings.http.token = Some("secret".to_owned()),
        router,
    )
    .await;
    for (method, path, token, status) in [
        ("GET", "/v1.0/metadata", Some("secret"), 200),
        ("GET", "/v1.0/metadata", Some("Secret"), 401),
        ("GET", "/v1.0/metadata", None, 401),
        ("GET", "/nothing", None, 401),
        ("GET", "/nothing", Some("secret"), 404),
        ("GET", "/v1.0/healthz", None, 204),
        ("GET", "/v1.0/healthz/", None, 204),
        ("GET", "//v1.0/healthz", None, 204),
        ("GET", "/v1.0/%68ealthz", None, 404),
        ("GET", "/v1.0/healthz/outbound", Some("wrong"), 204),
        ("HEAD", "/v1.0/healthz", None, 401),
        ("POST", "/v1.0/healthz", None, 401),
        ("OPTIONS", "/v1.0/metadata", None, 401),
    ] {
        let headers: Vec<_> = token
            .iter()
            .map(|token| ("dapr-api-token", *token))
            .collect();
        let answer = api.call(method, path, &headers, b"").await;
        assert_eq!(answer.status, status, "{method} {path} {token:?}");
    }
    let answer = api.get("/nothing").await;
    assert_eq!(answer.body, "invalid api token\n");
    assert_eq!(
        answer.header("content-type"),
        Some("text/plain; charset=utf-8")
    );
    assert_eq!(answer.header("x-content-type-options"), Some("nosniff"));
    assert!(answer.header("traceparent").is_some());
}

#[tokio::test]
async fn health_tells_what_is_missing() {
    let api = start(|_| {}, router).await;
    for (query, status) in [
        ("", 204),
        ("?appid=app1", 204),
        ("?appid=x", 500),
        ("?appid=", 500),
        ("?appid", 500),
        ("?appId=x", 204),
        ("?appid=app%31&appid=x", 204),
    ] {
        assert_eq!(
            api.get(&format!("/v1.0/healthz{query}")).await.status,
            status,
            "{query}"
        );
    }
    assert_eq!(api.get("/v1.0/healthz/outbound?appid=x").await.status, 204);
    api.health.waits_for("ps", "connection refused");
    let answer = api.get("/v1.0/healthz?appid=x").await;
    assert_eq!(
        answer.body,
        r#"{"errorCode":"ERR_HEALTH_NOT_READY","message":"dapr is not ready: [ps: connection refused]"}"#
    );
    let answer = api.get("/v1.0/healthz/outbound").await;
    assert_eq!(
        answer.body,
        r#"{"errorCode":"ERR_OUTBOUND_HEALTH_NOT_READY","message":"dapr outbound is not ready"}"#
    );
}

#[tokio::test]
async fn metadata_shows_the_sidecar_and_what_clients_put() {
    let api = start(|_| {}, router).await;
    for (key, value) in [("a%2Fb", "<v>"), ("a+b", ""), ("daprRuntimeVersion", "x")] {
        let answer = api
            .call(
                "PUT",
                &format!("/v1.0/metadata/{key}"),
                &[],
                value.as_bytes(),
            )
            .await;
        assert_eq!(answer.status, 204, "{key}");
    }
    let answer = api.get("/v1.0/metadata").await;
    assert_eq!(
        answer.body,
        concat!(
            r#"{"id":"app1","runtimeVersion":"1.18.3","components":[{"name":"ps","type":"pubsub.ledger","capabilities":["X"]}],"#,
            r#""extended":{"a b":"","a/b":"\u003cv\u003e","daprRuntimeVersion":"1.18.3"},"#,
            r#""appConnectionProperties":{"protocol":"http","channelAddress":"127.0.0.1"},"#,
            r#""actorRuntime":{"runtimeStatus":"DISABLED","hostReady":false,"placement":"placement: disconnected"}}"#,
            "\n"
        )
    );
    for (body, status) in [
        ("{}", 200),
        (r#"{"nope":1}"#, 200),
        ("nope", 400),
        ("[]", 400),
        (" ", 400),
    ] {
        assert_eq!(
            api.call("GET", "/v1.0/metadata", &[], body.as_bytes())
                .await
                .status,
            status,
            "{body}"
        );
    }
}

#[tokio::test]
async fn other_building_blocks_say_that_they_are_not_configured() {
    let api = start(|_| {}, router).await;
    for (method, path, body, status, code) in [
        (
            "GET",
            "/v1.0/state/a%20b/k",
            "",
            500,
            "ERR_STATE_STORE_NOT_CONFIGURED",
        ),
        (
            "POST",
            "/v1.0/state/s",
            "nonsense",
            500,
            "ERR_STATE_STORE_NOT_CONFIGURED",
        ),
        (
            "GET",
            "/v1.0/state/s/query",
            "",
            500,
            "ERR_STATE_STORE_NOT_CONFIGURED",
        ),
        (
            "GET",
            "/v1.0/secrets/v/bulk",
            "",
            500,
            "ERR_SECRET_STORES_NOT_CONFIGURED",
        ),
        (
            "GET",
            "/v1.0/secrets/v/n",
            "nonsense",
            400,
            "ERR_MALFORMED_REQUEST",
        ),
        ("POST", "/v1.0/bindings/b", "", 400, "ERR_MALFORMED_REQUEST"),
        (
            "POST",
            "/v1.0/bindings/b",
            "[]",
            400,
            "ERR_MALFORMED_REQUEST",
        ),
        (
            "POST",
            "/v1.0/bindings/b",
            r#"{"operation":"x"}"#,
            500,
            "ERR_INVOKE_OUTPUT_BINDING",
        ),
        (
            "POST",
            "/v1.0-alpha1/lock/l",
            r#"{"expiryInSeconds":0}"#,
            400,
            "ERR_MALFORMED_REQUEST",
        ),
        (
            "POST",
            "/v1.0-alpha1/lock/l",
            r#"{"expiryInSeconds":5}"#,
            500,
            "ERR_LOCK_STORE_NOT_CONFIGURED",
        ),
        (
            "POST",
            "/v1.0-alpha1/unlock/l",
            "",
            500,
            "ERR_LOCK_STORE_NOT_CONFIGURED",
        ),
        (
            "PUT",
            "/v1.0-alpha1/crypto/c/encrypt",
            "x",
            500,
            "ERR_CRYPTO_PROVIDERS_NOT_CONFIGURED",
        ),
        (
            "POST",
            "/v1.0-alpha1/subtlecrypto/c/sign",
            "{}",
            501,
            "ERR_API_UNIMPLEMENTED",
        ),
        (
            "POST",
            "/v1.0-alpha2/conversation/a%2Fb/converse",
            "{}",
            400,
            "ERR_CONVERSATION_NOT_FOUND",
        ),
        (
            "POST",
            "/v1.0/actors/k/1/state",
            "",
            400,
            "ERR_MALFORMED_REQUEST",
        ),
        (
            "POST",
            "/v1.0/actors/k/1/state",
            "[]",
            400,
            "ERR_ACTOR_NO_PLACEMENT",
        ),
        (
            "DELETE",
            "/v1.0/actors/k/1/timers/t",
            "",
            400,
            "ERR_ACTOR_NO_PLACEMENT",
        ),
        (
            "POST",
            "/v1.0/workflows/dapr/1/pause",
            "",
            400,
            "ERR_ACTOR_NO_PLACEMENT",
        ),
        (
            "POST",
            "/v1.0/jobs/j",
            r#"{"data":1}"#,
            400,
            "DAPR_SCHEDULER_SCHEDULE_EMPTY",
        ),
        (
            "POST",
            "/v1.0/jobs/j",
            r#"{"schedule":"@daily"}"#,
            500,
            "DAPR_SCHEDULER_SCHEDULE_JOB",
        ),
        (
            "DELETE",
            "/v1.0-alpha1/jobs/j",
            "",
            500,
            "DAPR_SCHEDULER_DELETE_JOB",
        ),
        (
            "GET",
            "/v1.0-alpha1/configuration/c/7/unsubscribe",
            "",
            500,
            "ERR_CONFIGURATION_STORE_NOT_CONFIGURED",
        ),
    ] {
        let answer = api.call(method, path, &[], body.as_bytes()).await;
        let expected = format!(r#"{{"errorCode":"{code}","#);
        assert!(
            answer.status == status && answer.body.starts_with(&expected),
            "{method} {path} {body}: {} {}",
            answer.status,
            answer.body
        );
    }
    let answer = api.get("/v1.0/state/a%20%22/k").await;
    assert!(
        answer
            .body
            .contains(r#""message":"state store a \" is not configured""#)
    );
}

#[tokio::test]
async fn shutdown_is_passed_on() {
    let mut api = start(|_| {}, router).await;
    assert_eq!(
        api.call("POST", "/v1.0/shutdown", &[], b"x").await.status,
        204
    );
    let forced = api
        .call(
            "POST",
            "/v1.0/shutdown",
            &[("dapr-force-shutdown", "TRUE")],
            b"",
        )
        .await;
    assert_eq!(forced.status, 204);
    assert_eq!(api.shutdown.recv().await, Some(ShutdownRequest::Graceful));
    assert_eq!(api.shutdown.recv().await, Some(ShutdownRequest::Forced));
}

#[tokio::test]
async fn the_public_server_has_health_and_metadata_only() {
    let api = start(
        |settings| settings.http.token = Some("secret".to_owned()),
        public_router,
    )
    .await;
    assert_eq!(api.get("/v1.0/healthz").await.status, 204);
    assert_eq!(api.get("//v1.0/metadata/").await.status, 200);
    let missing = api.call("POST", "/v1.0/publish/ps/t", &[], b"x").await;
    assert_eq!(
        (missing.status, &*missing.body),
        (404, "404 page not found\n")
    );
    for (method, path, allow) in [
        ("POST", "/v1.0/metadata", Some("GET")),
        ("GET", "/v1.0/metadata/k", Some("PUT")),
        ("BREW", "/v1.0/metadata", None),
        ("BREW", "/nothing", None),
    ] {
        let answer = api.call(method, path, &[], b"").await;
        assert_eq!(
            (answer.status, answer.header("allow"), &*answer.body),
            (405, allow, ""),
            "{method} {path}"
        );
    }
}

#[tokio::test]
async fn messages_that_make_no_sense_are_refused() {
    let api = start(|_| {}, router).await;
    for (message, status) in [
        ("HELLO\r\n\r\n", 400),
        ("GET /v1.0/healthz HTTP/1.1\r\n\r\n", 400),
        ("GET /v1.0/healthz HTTP/1.0\r\n\r\n", 204),
        ("GET /v1.0/healthz% HTTP/1.1\r\nHost: x\r\n\r\n", 400),
        (
            "GET http://example.com/v1.0/healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
            204,
        ),
        (
            "OPTIONS * HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
            200,
        ),
        (
            "POST /v1.0/publish/ps/t HTTP/1.1\r\nHost: x\r\nContent-Length: abc\r\n\r\n",
            400,
        ),
        (
            "POST /v1.0/publish/ps/t HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n",
            400,
        ),
        (
            "POST /v1.0/publish/ps/t HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: snail\r\n\r\n",
            501,
        ),
    ] {
        assert_eq!(
            api.send(message.as_bytes()).await.status,
            status,
            "{message}"
        );
    }
    let continued = b"POST /v1.0/publish/ps/t HTTP/1.1\r\nHost: x\r\nConnection: close\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n{}";
    let answer = api.send(continued).await;
    assert!(
        answer.status == 100 && answer.body.starts_with("HTTP/1.1 204"),
        "{} {}",
        answer.head,
        answer.body
    );
}

#[tokio::test]
async fn heads_have_a_limit_of_size_but_not_of_number() {
    let api = start(|_| {}, router).await;
    assert_eq!(
        api.call(
            "GET",
            "/v1.0/healthz",
            &[("X-Fill", &"f".repeat(7000))],
            b""
        )
        .await
        .status,
        204
    );
    for size in [9000, 14_000, 200_000] {
        assert_eq!(
            api.call(
                "GET",
                "/v1.0/healthz",
                &[("X-Fill", &"f".repeat(size))],
                b""
            )
            .await
            .status,
            431,
            "{size}"
        );
    }
    let names: Vec<String> = (0..300).map(|n| format!("X-{n}")).collect();
    let many: Vec<_> = names.iter().map(|name| (name.as_str(), "v")).collect();
    assert_eq!(
        api.call("GET", "/v1.0/healthz", &many, b"").await.status,
        204
    );
}

#[tokio::test]
async fn a_stop_finishes_idle_connections_and_ends_every_task() {
    let api = start(|_| {}, router).await;
    let mut idle = TcpStream::connect(("127.0.0.1", api.port)).await.unwrap();
    idle.write_all(b"GET /v1.0/healthz HTTP/1.1\r\nHost: x\r\n\r\n")
        .await
        .unwrap();
    let mut first = [0; 12];
    idle.read_exact(&mut first).await.unwrap();
    api.stop.order();
    tokio::time::timeout(Duration::from_secs(5), api.tasks.ended())
        .await
        .expect("all ended");
    let mut rest = Vec::new();
    idle.read_to_end(&mut rest).await.unwrap();
    assert!(TcpStream::connect(("127.0.0.1", api.port)).await.is_err());
}
