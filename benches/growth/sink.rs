//! The app: subscribes to topics, answers every event at once, and counts.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use parking_lot::Mutex;
use tokio::net::TcpListener;
use tokio::time::Instant;

/// How long nothing may come before it is given up.
const QUIET: Duration = Duration::from_secs(30);

pub(crate) struct Sink {
    pub(crate) port: u16,
    state: Arc<State>,
    server: tokio::task::JoinHandle<()>,
}

struct State {
    subscriptions: String,
    seen: AtomicU64,
    /// The first and the last delivery.
    span: Mutex<Option<(Instant, Instant)>>,
}

impl Sink {
    /// An app that subscribes to `topic-0` and so on.
    pub(crate) async fn start(topics: u64) -> Self {
        let subscriptions: Vec<String> = (0..topics)
            .map(|topic| format!(r#"{{"pubsubname":"pubsub","topic":"topic-{topic}","route":"/events"}}"#))
            .collect();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let state = Arc::new(State {
            subscriptions: format!("[{}]", subscriptions.join(",")),
            seen: AtomicU64::new(0),
            span: Mutex::default(),
        });
        let server = tokio::spawn(serve(listener, state.clone()));
        Self { port, state, server }
    }

    pub(crate) fn seen(&self) -> u64 {
        self.state.seen.load(Ordering::Relaxed)
    }

    /// Deliveries in a second, from the first to the last.
    pub(crate) fn rate(&self) -> f64 {
        let (first, last) = self.state.span.lock().unwrap();
        self.seen() as f64 / (last - first).as_secs_f64()
    }

    /// Wait until so many deliveries have come; stop if nothing comes any more.
    pub(crate) async fn wait(&self, count: u64) {
        let (mut before, mut since) = (0, Instant::now());
        while self.seen() < count {
            if self.seen() > before {
                (before, since) = (self.seen(), Instant::now());
            }
            assert!(since.elapsed() < QUIET, "{before} of {count} events, and no more");
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }
}

impl Drop for Sink {
    fn drop(&mut self) {
        self.server.abort();
    }
}

async fn serve(listener: TcpListener, state: Arc<State>) {
    while let Ok((stream, _)) = listener.accept().await {
        let _ = stream.set_nodelay(true);
        let state = state.clone();
        tokio::spawn(async move {
            let service = service_fn(move |request| answer(state.clone(), request));
            let _ = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
        });
    }
}

async fn answer(state: Arc<State>, request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    let is_event = request.uri().path() == "/events";
    let is_discovery = request.uri().path() == "/dapr/subscribe";
    let _ = request.into_body().collect().await;
    if is_event {
        state.seen.fetch_add(1, Ordering::Relaxed);
        let now = Instant::now();
        let mut span = state.span.lock();
        *span = Some((span.map_or(now, |(first, _)| first), now));
    }
    let body = if is_discovery { state.subscriptions.clone().into() } else { Bytes::new() };
    Ok(Response::new(Full::new(body)))
}
