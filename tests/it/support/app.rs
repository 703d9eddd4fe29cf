//! A programmable app: answers `/dapr/subscribe` and its routes as the test says, and remembers what it got.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo};
use parking_lot::Mutex;
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

/// How the app talks.
#[derive(Clone)]
pub(crate) enum Wire {
    /// HTTP/1.1.
    Http,
    /// HTTP/2 in clear text, and nothing else.
    H2c,
    /// HTTP/1.1 over TLS.
    Https(TlsAcceptor),
}

/// One request that the app got.
#[derive(Clone, Debug)]
pub(crate) struct Delivered {
    pub(crate) path: String,
    pub(crate) body: Bytes,
}

/// What to answer.
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
}

impl App {
    /// An app with these subscriptions (JSON) that answers events as `policy` says.
    pub(crate) async fn start(
        subscriptions: &str,
        policy: impl Fn(&Delivered) -> Answer + Send + Sync + 'static,
    ) -> Self {
        Self::listen(Wire::Http, (200, subscriptions), policy).await
    }

    /// The same over another protocol.
    pub(crate) async fn start_over(
        wire: Wire,
        subscriptions: &str,
        policy: impl Fn(&Delivered) -> Answer + Send + Sync + 'static,
    ) -> Self {
        Self::listen(wire, (200, subscriptions), policy).await
    }

    /// The same with another status when it is asked for its subscriptions.
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
        });
        let server = tokio::spawn(serve(wire, listener, state.clone()));
        Self { port, state, server }
    }

    pub(crate) fn seen(&self) -> Vec<Delivered> {
        self.state.seen.lock().clone()
    }

    /// How often it was asked for its subscriptions.
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
    let delivered = Delivered { path, body };
    let answer = (state.policy)(&delivered);
    tokio::time::sleep(answer.after).await;
    // What counts is an answer that was ready: a sidecar that died meanwhile gets it from nobody.
    state.seen.lock().push(delivered);
    Ok(Response::builder().status(answer.status).body(Full::new(Bytes::from_static(answer.body.as_bytes()))).unwrap())
}
