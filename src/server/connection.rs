//! Connections: whether one is served, with which hyper builder, and the checks of a request before the service gets
//! it.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::response::Response;
use bytes::Bytes;
use futures_util::future::BoxFuture;
use http::header::CONNECTION;
use http::{HeaderValue, Request};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto::Builder;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tower::ServiceExt;

use super::drain;
use super::limits::{ConnectionSlot, ConnectionSlots, Limit, RequestSlots};
use super::listen::Stream;
use super::quirks::hyper_errors::WithErrorBodies;
use super::quirks::peek::{self, FirstHead};
use super::quirks::{h2c_upgrade, refusals};
use super::service::{Server, Service};
use super::transport::Versions;

/// The time in which a connection beyond the limit is answered.
const REFUSAL: Duration = Duration::from_secs(1);

/// The state that all connections of a listener share.
pub(super) struct Acceptor<S> {
    pub(super) server: Server<S>,
    narrow: Builder<TokioExecutor>,
    wide: Builder<TokioExecutor>,
    connections: Arc<ConnectionSlots>,
    requests: RequestSlots,
}

/// One connection. An upgrade to HTTP/2 takes it over.
struct Connection<S> {
    acceptor: Arc<Acceptor<S>>,
    slot: ConnectionSlot,
}

impl<S: Service> Acceptor<S> {
    pub(super) fn new(server: Server<S>) -> Self {
        Self {
            narrow: server.transport.narrow(),
            wide: server.transport.wide(),
            connections: ConnectionSlots::new(server.limits.connections),
            requests: RequestSlots::new(server.limits.requests),
            server,
        }
    }

    /// Serves a connection in a task of its own. Beyond the limit it takes the place of an idle one, or is refused.
    pub(super) fn begin(self: &Arc<Self>, stream: Stream) {
        let Server { name, tasks, telemetry, .. } = &self.server;
        let Some(slot) = self.connections.begin(telemetry) else {
            return;
        };
        let acceptor = self.clone();
        tasks.spawn(name, async move {
            let slot = match slot.is_refused() {
                true => acceptor.connections.wait(slot, &acceptor.server.telemetry).await,
                false => slot,
            };
            Arc::new(Connection { acceptor, slot }).serve_accepted(stream).await;
        });
    }
}

impl<S: Service> Connection<S> {
    /// Serves an accepted connection until it ends, or has to make room for another one.
    async fn serve_accepted(self: &Arc<Self>, stream: Stream) {
        let Acceptor { server, narrow, wide, .. } = &*self.acceptor;
        let serving = async {
            match stream {
                Stream::Tcp(stream) if server.transport.versions == Versions::Http2 => self.serve(stream, narrow).await,
                Stream::Tcp(mut stream) => match self.peek(&mut stream).await {
                    FirstHead::Refused => {}
                    FirstHead::Small => self.serve(stream, narrow).await,
                    FirstHead::Large => self.serve(stream, wide).await,
                },
                Stream::Unix(stream) => self.serve(stream, wide).await,
            }
        };
        tokio::select! {
            () = serving => {}
            () = self.has_to_close() => {}
        }
    }

    /// Resolves when the connection is to be closed in the middle: it has been refused, or another one needs its place.
    async fn has_to_close(&self) {
        if self.slot.is_refused() {
            tokio::time::sleep(REFUSAL).await;
        } else {
            self.slot.activity.evicted().await;
        }
    }

    /// Looks at the first request, which has to come in time.
    async fn peek(&self, stream: &mut TcpStream) -> FirstHead {
        // On the heap for the moment: the buffer is larger than all else that a connection needs.
        let peek = Box::pin(peek::peek(stream));
        self.begun(peek).await.unwrap_or(FirstHead::Refused)
    }

    /// The result of `work`, unless it takes longer than a first request may, or the sidecar stops.
    async fn begun<T>(&self, work: impl Future<Output = T>) -> Option<T> {
        let Server { transport, stop, .. } = &self.acceptor.server;
        let in_time = async {
            match transport.deadlines.first_request {
                Some(limit) => tokio::time::timeout(limit, work).await.ok(),
                None => Some(work.await),
            }
        };
        stop.run_until_triggered(in_time).await.flatten()
    }

    /// Answers the requests of a connection until it ends or the sidecar stops.
    async fn serve(
        self: &Arc<Self>,
        stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
        builder: &Builder<TokioExecutor>,
    ) {
        let Server { transport, stop, .. } = &self.acceptor.server;
        let has_request = &self.slot.activity.has_request;
        let connection = self.clone();
        let service = service_fn(move |request| connection.clone().answer(request));
        let stream = TokioIo::new(WithErrorBodies::new(stream));
        if transport.versions == Versions::Http1And2 {
            let serving = builder.serve_connection_with_upgrades(stream, service);
            drain::drive(serving, |it| it.graceful_shutdown(), has_request, transport.deadlines, stop).await;
        } else {
            // Only this one keeps to a single version.
            let serving = builder.serve_connection(stream, service);
            drain::drive(serving, |it| it.graceful_shutdown(), has_request, transport.deadlines, stop).await;
        }
    }

    async fn answer(self: Arc<Self>, request: Request<Incoming>) -> Result<Response, Infallible> {
        let Acceptor { server, requests, .. } = &*self.acceptor;
        let Server { name, service, transport, tasks, overloaded, telemetry, .. } = server;
        let _running = self.slot.activity.request();
        if self.slot.is_refused() {
            let mut response = overloaded(Limit::Connections);
            response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
            return Ok(response);
        }
        if transport.versions != Versions::Http2
            && let Some(refusal) = refusals::refusal(&request, transport.max_head)
        {
            return Ok(refusal);
        }
        if transport.versions == Versions::Http1And2
            && let Some(frame) = h2c_upgrade::requested(&request)
        {
            tasks.spawn(name, self.clone().upgraded(request, frame));
            return Ok(h2c_upgrade::accepted());
        }
        let Some(_in_flight) = requests.begin(telemetry) else {
            return Ok(overloaded(Limit::Requests));
        };
        service.clone().oneshot(request.map(Body::new)).await
    }

    /// Serves a connection that has become one of HTTP/2. Boxed, because it answers requests like the one it comes
    /// from.
    fn upgraded(self: Arc<Self>, request: Request<Incoming>, frame: Bytes) -> BoxFuture<'static, ()> {
        Box::pin(async move {
            let begun = async {
                let stream = TokioIo::new(hyper::upgrade::on(request).await.ok()?);
                h2c_upgrade::with_request(stream, frame).await.ok()
            };
            if let Some(Some(stream)) = self.begun(begun).await {
                tokio::select! {
                    () = self.serve(stream, &self.acceptor.narrow) => {}
                    () = self.has_to_close() => {}
                }
            }
        })
    }
}
