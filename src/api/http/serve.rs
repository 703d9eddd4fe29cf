//! Connections of the API: accepted, read, answered, ended in order (tests/spec/http-api.md, "1. Listeners and
//! transport").
//!
//! What must be seen before a route is matched is done here: the size of the head, a missing host, bad escapes, path cleaning.

use std::convert::Infallible;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::body::Body;
use axum::response::Response;
use bytes::Bytes;
use futures_util::future::BoxFuture;
use http::header::{CONNECTION, HOST};
use http::{HeaderValue, Request, StatusCode, Version};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;

use crate::api::http::answer::{empty, with_body};
use crate::api::http::call::SentPath;
use crate::api::http::first_head::{self, FirstHead};
use crate::api::http::wording::Worded;
use crate::api::http::{Router, path, upgrade};
use crate::api::listen::{ACCEPT_PAUSE, Listener, Stream};
use crate::config::HttpSettings;
use crate::shutdown::{Stop, Tasks};

/// What a head may have beyond `--read-buffer-size`.
const SLACK: usize = 4096;

/// What `--read-buffer-size=0` means.
const LARGE: usize = 1 << 20;

/// The least that is read at once; smaller limits are checked afterwards.
const SMALLEST_BUFFER: usize = 64 << 10;

/// The time a client has to send the head of its first request.
const FIRST_HEAD: Duration = Duration::from_secs(10);

/// What a server takes from a connection.
#[derive(Clone, Copy, Debug)]
pub struct Transport {
    /// `--read-buffer-size` in bytes.
    read_buffer: usize,
    /// HTTP/2, at once or after an upgrade.
    http2: bool,
}

impl Transport {
    /// That of the API.
    pub fn api(settings: &HttpSettings) -> Self {
        Self { read_buffer: settings.read_buffer, http2: settings.http2 }
    }

    /// That of the public server: HTTP/1 only.
    pub fn public(settings: &HttpSettings) -> Self {
        Self { http2: false, ..Self::api(settings) }
    }

    /// The longest head of a request.
    fn limit(self) -> usize {
        let buffer = match self.read_buffer {
            0 => LARGE,
            buffer => buffer,
        };
        buffer + SLACK
    }
}

/// Serve one listener until `stop`, then finish the running requests. Connections are tasks of `tasks`.
pub async fn serve(listener: impl Into<Listener>, router: Router, transport: Transport, stop: Stop, tasks: Tasks) {
    let listener = listener.into();
    let connections =
        Arc::new(Connections { builder: builder(transport), wide: wide(transport), transport, router, stop, tasks });
    while let Some(accepted) = connections.stop.run_until_triggered(listener.accept()).await {
        match accepted {
            Ok(stream) => connections.begin(stream),
            Err(_) => {
                connections.stop.sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

/// What all connections of a listener share.
struct Connections {
    builder: Builder<TokioExecutor>,
    /// For clients that send very many headers. It makes room for as many as fit in a head, for each request anew, which for the others
    /// would be a tenth of what a publish costs.
    wide: Builder<TokioExecutor>,
    transport: Transport,
    router: Router,
    stop: Stop,
    tasks: Tasks,
}

impl Connections {
    fn begin(self: &Arc<Self>, stream: Stream) {
        let connections = self.clone();
        let work = async move {
            match stream {
                Stream::Tcp(mut stream) => match connections.look(&mut stream).await {
                    FirstHead::Refused => {}
                    FirstHead::Small => connections.run(stream, &connections.builder).await,
                    FirstHead::Large => connections.run(stream, &connections.wide).await,
                },
                Stream::Unix(stream) => connections.run(stream, &connections.wide).await,
            }
        };
        self.tasks.spawn("http connection", work);
    }

    /// What the first request looks like, which is to come in time.
    async fn look(&self, stream: &mut TcpStream) -> FirstHead {
        // On the heap for the moment: the buffer for the look is larger than all else that a connection needs.
        let look = Box::pin(first_head::look(stream));
        match self.stop.run_until_triggered(tokio::time::timeout(FIRST_HEAD, look)).await {
            Some(Ok(head)) => head,
            _ => FirstHead::Refused,
        }
    }

    /// Answer the requests of a connection until it ends or the order to stop comes.
    async fn run(
        self: &Arc<Self>,
        stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
        builder: &Builder<TokioExecutor>,
    ) {
        let has_begun = Arc::new(AtomicBool::new(false));
        let service = {
            let (connections, has_begun) = (self.clone(), has_begun.clone());
            service_fn(move |request| {
                has_begun.store(true, Ordering::Relaxed);
                connections.clone().answer(request)
            })
        };
        let stream = TokioIo::new(Worded::new(stream));
        if self.transport.http2 {
            let serving = builder.serve_connection_with_upgrades(stream, service);
            self.drive(serving, |it| it.graceful_shutdown(), &has_begun).await;
        } else {
            // Only this one keeps to HTTP/1.
            let serving = builder.serve_connection(stream, service);
            self.drive(serving, |it| it.graceful_shutdown(), &has_begun).await;
        }
    }

    /// Let a connection run until it ends, its first head is late, or the order to stop comes; then it finishes what it has begun.
    async fn drive<C: Future>(&self, serving: C, finish: fn(Pin<&mut C>), has_begun: &AtomicBool) {
        let mut connection = pin!(serving);
        let mut first_head = pin!(tokio::time::sleep(FIRST_HEAD));
        let mut is_waiting = true;
        loop {
            tokio::select! {
                // How a connection ends is the client's business.
                _ = connection.as_mut() => return,
                () = self.stop.triggered() => break,
                () = first_head.as_mut(), if is_waiting => {
                    if !has_begun.load(Ordering::Relaxed) {
                        return;
                    }
                    is_waiting = false;
                }
            }
        }
        finish(connection.as_mut());
        let _ = connection.await;
    }

    async fn answer(self: Arc<Self>, request: Request<Incoming>) -> Result<Response, Infallible> {
        if let Some(refusal) = refusal(&request, self.transport.limit()) {
            return Ok(refusal);
        }
        if self.transport.http2
            && let Some(frame) = upgrade::asked(&request)
        {
            self.tasks.spawn("http connection", self.clone().upgraded(request, frame));
            return Ok(upgrade::agreed());
        }
        let mut request = request.map(Body::new);
        if let Some(clean) = path::cleaned(request.uri()) {
            let sent = SentPath(request.uri().path().to_owned());
            request.extensions_mut().insert(sent);
            *request.uri_mut() = clean;
        }
        Ok(self.router.answer(request).await)
    }
}

impl Connections {
    /// The connection of a request after it has become one of HTTP/2. Boxed, because it answers requests like the one it comes from.
    fn upgraded(self: Arc<Self>, request: Request<Incoming>, frame: Bytes) -> BoxFuture<'static, ()> {
        Box::pin(async move {
            let begun = async {
                let stream = TokioIo::new(hyper::upgrade::on(request).await.ok()?);
                upgrade::with_request(stream, frame).await.ok()
            };
            let begun = tokio::time::timeout(FIRST_HEAD, begun);
            if let Some(Ok(Some(stream))) = self.stop.run_until_triggered(begun).await {
                self.run(stream, &self.builder).await;
            }
        })
    }
}

fn builder(transport: Transport) -> Builder<TokioExecutor> {
    let limit = transport.limit();
    let mut builder = Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        // hyper's own timeout would close idle connections, too.
        .header_read_timeout(None)
        .max_buf_size(limit.max(SMALLEST_BUFFER));
    builder.http2().timer(TokioTimer::new()).max_header_list_size(u32::try_from(limit).unwrap_or(u32::MAX));
    if transport.http2 { builder } else { builder.http1_only() }
}

/// The same for as many headers as a head has room for.
fn wide(transport: Transport) -> Builder<TokioExecutor> {
    let mut builder = builder(transport);
    let most = (transport.limit() / 8).min(4096);
    builder.http1().max_headers(most);
    builder
}

/// The answer to a request that never gets to a route.
fn refusal<B>(request: &Request<B>, limit: usize) -> Option<Response> {
    let path = request.uri().path();
    if path == "*" && request.method() == http::Method::OPTIONS {
        return Some(empty(StatusCode::OK));
    }
    if head_size(request) > limit {
        let text = "431 Request Header Fields Too Large";
        return Some(closing(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE, text));
    }
    if request.version() == Version::HTTP_11 && !request.headers().contains_key(HOST) {
        let text = "400 Bad Request: missing required Host header";
        return Some(closing(StatusCode::BAD_REQUEST, text));
    }
    (!path::is_well_escaped(path)).then(|| closing(StatusCode::BAD_REQUEST, "400 Bad Request"))
}

/// The bytes of a request from its method to the empty line, as HTTP/1.1 writes them.
fn head_size<B>(request: &Request<B>) -> usize {
    let uri = request.uri();
    let target = uri.path_and_query().map_or(1, |target| target.as_str().len());
    let line = request.method().as_str().len() + target + "  HTTP/1.1\r\n\r\n".len();
    let headers = request.headers().iter();
    headers.fold(line, |size, (name, value)| size + name.as_str().len() + value.len() + ": \r\n".len())
}

fn closing(status: StatusCode, text: &'static str) -> Response {
    let mut response = with_body(status, "text/plain; charset=utf-8", text);
    response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_without_meaning_are_refused() {
        let check = |request: http::request::Builder, expected: Option<u16>| {
            let request = request.body(()).unwrap();
            let status = refusal(&request, 8192).map(|response| response.status().as_u16());
            assert_eq!(status, expected, "{request:?}");
        };
        let get = |path: &str| Request::get(path).header("host", "x");
        check(get("/v1.0/healthz?%zz"), None);
        check(get("/a%2Fb"), None);
        check(get("/%zz"), Some(400));
        check(get("/a%"), Some(400));
        check(Request::get("/"), Some(400));
        check(Request::get("/").version(Version::HTTP_10), None);
        check(Request::get("http://h/").version(Version::HTTP_2), None);
        check(Request::options("*").header("host", "x"), Some(200));
        check(get("/").header("x-fill", "f".repeat(8100)), None);
        check(get("/").header("x-fill", "f".repeat(8190)), Some(431));
        check(get(&format!("/?{}", "q".repeat(9000))), Some(431));
    }
}
