//! A programmable app: answers `/dapr/subscribe` and its routes as the test says, records the requests, and reads every
//! event with the CloudEvents SDK, so that each test holds the sidecar to the specification.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo};
use parking_lot::Mutex;
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

/// The protocol that the app speaks.
#[derive(Clone)]
pub(crate) enum Wire {
    /// HTTP/1.1.
    Http,
    /// HTTP/2 in clear text, and nothing else.
    H2c,
    /// HTTP/1.1 over TLS.
    Https(TlsAcceptor),
}

/// One request that the app received.
#[derive(Clone, Debug)]
pub(crate) struct Delivered {
    pub(crate) path: String,
    pub(crate) body: Bytes,
}

/// An answer to a delivery.
#[derive(Clone, Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) body: &'static str,
    pub(crate) after: Duration,
}

impl Answer {
    pub(crate) fn success() -> Self {
        Self { status: 200, body: "", after: Duration::ZERO }
    }

    pub(crate) fn after(self, after: Duration) -> Self {
        Self { after, ..self }
    }

    pub(crate) fn status(status: u16) -> Self {
        Self { status, ..Self::success() }
    }
}

/// The content type of an event in structured mode.
const EVENT: &[u8] = b"application/cloudevents+json";

type Policy = dyn Fn(&Delivered) -> Answer + Send + Sync;

pub(crate) struct App {
    pub(crate) port: u16,
    state: Arc<State>,
    server: tokio::task::JoinHandle<()>,
}

struct State {
    /// The answer to `GET /dapr/subscribe`.
    subscriptions: (u16, String),
    asked: AtomicUsize,
    policy: Box<Policy>,
    seen: Mutex<Vec<Delivered>>,
    /// The test publishes events that the SDK refuses.
    expects_odd_events: AtomicBool,
    /// Deliveries that the SDK refused to read as events.
    refused: Mutex<Vec<String>>,
}

impl App {
    /// An app with these subscriptions (JSON) whose `policy` answers deliveries.
    pub(crate) async fn start(
        subscriptions: &str,
        policy: impl Fn(&Delivered) -> Answer + Send + Sync + 'static,
    ) -> Self {
        Self::listen(Wire::Http, (200, subscriptions), policy).await
    }

    /// As [`App::start`], over another protocol.
    pub(crate) async fn start_over(
        wire: Wire,
        subscriptions: &str,
        policy: impl Fn(&Delivered) -> Answer + Send + Sync + 'static,
    ) -> Self {
        Self::listen(wire, (200, subscriptions), policy).await
    }

    /// As [`App::start`], with another status of the answer to `GET /dapr/subscribe`.
    pub(crate) async fn start_answering(
        status: u16,
        subscriptions: &str,
        policy: impl Fn(&Delivered) -> Answer + Send + Sync + 'static,
    ) -> Self {
        Self::listen(Wire::Http, (status, subscriptions), policy).await
    }

    async fn listen(
        wire: Wire,
        (status, subscriptions): (u16, &str),
        policy: impl Fn(&Delivered) -> Answer + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let state = Arc::new(State {
            subscriptions: (status, subscriptions.to_owned()),
            asked: AtomicUsize::new(0),
            policy: Box::new(policy),
            seen: Mutex::default(),
            expects_odd_events: AtomicBool::new(false),
            refused: Mutex::default(),
        });
        let server = tokio::spawn(serve(wire, listener, state.clone()));
        Self { port, state, server }
    }

    /// Accept events that the CloudEvents SDK refuses, because the test publishes such.
    pub(crate) fn expecting_odd_events(self) -> Self {
        self.state.expects_odd_events.store(true, Ordering::Relaxed);
        self
    }

    /// All deliveries that were answered, in order.
    pub(crate) fn seen(&self) -> Vec<Delivered> {
        self.state.seen.lock().clone()
    }

    /// The number of calls of `GET /dapr/subscribe`.
    pub(crate) fn asked(&self) -> usize {
        self.state.asked.load(Ordering::Relaxed)
    }

    /// The distinct values of `data` among the events of a path.
    pub(crate) fn distinct_data(&self, path: &str) -> usize {
        let seen = self.seen();
        let data = seen.iter().filter(|delivered| delivered.path == path).map(|delivered| {
            let event: serde_json::Value = serde_json::from_slice(&delivered.body).unwrap();
            event["data"].to_string()
        });
        data.collect::<std::collections::BTreeSet<_>>().len()
    }
}

impl Drop for App {
    fn drop(&mut self) {
        self.server.abort();
        let refused = self.state.refused.lock();
        if !std::thread::panicking() && !self.state.expects_odd_events.load(Ordering::Relaxed) {
            assert!(refused.is_empty(), "not CloudEvents 1.0: {refused:#?}");
        }
    }
}

async fn serve(wire: Wire, listener: TcpListener, state: Arc<State>) {
    let mut connections = tokio::task::JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        connections.spawn(talk(wire.clone(), stream, state.clone()));
    }
}

async fn talk(wire: Wire, stream: TcpStream, state: Arc<State>) {
    let service = service_fn(move |request| answer(state.clone(), request));
    let http1 = hyper::server::conn::http1::Builder::new();
    match wire {
        Wire::Http => drop(http1.serve_connection(TokioIo::new(stream), service).await),
        Wire::H2c => {
            let http2 = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
            drop(http2.serve_connection(TokioIo::new(stream), service).await);
        }
        Wire::Https(acceptor) => {
            if let Ok(stream) = acceptor.accept(stream).await {
                drop(http1.serve_connection(TokioIo::new(stream), service).await);
            }
        }
    }
}

async fn answer(state: Arc<State>, request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    let path = request.uri().path().to_owned();
    let is_event = request.headers().get(CONTENT_TYPE).is_some_and(|kind| kind.as_bytes().starts_with(EVENT));
    let body = request.into_body().collect().await.map(|body| body.to_bytes()).unwrap_or_default();
    if path.starts_with("/dapr/") {
        let (status, body) = if path == "/dapr/subscribe" {
            state.asked.fetch_add(1, Ordering::Relaxed);
            state.subscriptions.clone()
        } else {
            (200, String::new())
        };
        let answer = Response::builder().status(status);
        return Ok(answer.body(Full::new(body.into())).unwrap());
    }
    if is_event && let Err(error) = serde_json::from_slice::<cloudevents::Event>(&body) {
        state.refused.lock().push(format!("{path}: {error}: {}", String::from_utf8_lossy(&body)));
    }
    let delivered = Delivered { path, body };
    let answer = (state.policy)(&delivered);
    tokio::time::sleep(answer.after).await;
    // Recorded only now: a sidecar that has died meanwhile drops the connection, and with it this future.
    state.seen.lock().push(delivered);
    Ok(Response::builder().status(answer.status).body(Full::new(Bytes::from_static(answer.body.as_bytes()))).unwrap())
}
