//! Connections: which hyper builder serves them, and what is done with a request before the service gets it.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use axum::body::Body;
use axum::response::Response;
use bytes::Bytes;
use futures_util::future::BoxFuture;
use http::Request;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto::Builder;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tower::ServiceExt;

use super::accept::{Server, Service};
use super::drain::{self, HasRequest};
use super::listen::Stream;
use super::quirks::hyper_errors::WithErrorBodies;
use super::quirks::peek::{self, FirstHead};
use super::quirks::{h2c_upgrade, refusals};
use super::transport::Versions;

/// What all connections of a listener share.
pub(super) struct Connections<S> {
    pub(super) server: Server<S>,
    narrow: Builder<TokioExecutor>,
    wide: Builder<TokioExecutor>,
}

impl<S: Service> Connections<S> {
    pub(super) fn new(server: Server<S>) -> Self {
        Self { narrow: server.transport.narrow(), wide: server.transport.wide(), server }
    }

    /// Serves a connection in a task of its own.
    pub(super) fn begin(self: &Arc<Self>, stream: Stream) {
        let connections = self.clone();
        let work = async move {
            match stream {
                Stream::Tcp(stream) if connections.server.transport.versions == Versions::Http2 => {
                    connections.run(stream, &connections.narrow).await;
                }
                Stream::Tcp(mut stream) => match connections.peek(&mut stream).await {
                    FirstHead::Refused => {}
                    FirstHead::Small => connections.run(stream, &connections.narrow).await,
                    FirstHead::Large => connections.run(stream, &connections.wide).await,
                },
                Stream::Unix(stream) => connections.run(stream, &connections.wide).await,
            }
        };
        self.server.tasks.spawn(self.server.name, work);
    }

    /// Looks at the first request of a connection, which has to come in time.
    async fn peek(&self, stream: &mut TcpStream) -> FirstHead {
        // On the heap for the moment: the buffer is larger than all else that a connection needs.
        let peek = Box::pin(peek::peek(stream));
        let limit = self.server.transport.deadlines.first_request;
        let peek = async {
            match limit {
                Some(limit) => tokio::time::timeout(limit, peek).await.unwrap_or(FirstHead::Refused),
                None => peek.await,
            }
        };
        self.server.stop.run_until_triggered(peek).await.unwrap_or(FirstHead::Refused)
    }

    /// Answers the requests of a connection until it ends or the sidecar stops.
    async fn run(
        self: &Arc<Self>,
        stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
        builder: &Builder<TokioExecutor>,
    ) {
        let Server { transport, stop, .. } = &self.server;
        let has_request = Arc::new(HasRequest::new(false));
        let service = {
            let (connections, has_request) = (self.clone(), has_request.clone());
            service_fn(move |request| {
                has_request.store(true, Ordering::Relaxed);
                connections.clone().answer(request)
            })
        };
        let stream = TokioIo::new(WithErrorBodies::new(stream));
        if transport.versions == Versions::Http1And2 {
            let serving = builder.serve_connection_with_upgrades(stream, service);
            drain::drive(serving, |it| it.graceful_shutdown(), &has_request, transport.deadlines, stop).await;
        } else {
            // Only this one keeps to a single version.
            let serving = builder.serve_connection(stream, service);
            drain::drive(serving, |it| it.graceful_shutdown(), &has_request, transport.deadlines, stop).await;
        }
    }

    async fn answer(self: Arc<Self>, request: Request<Incoming>) -> Result<Response, Infallible> {
        let Server { name, service, transport, tasks, .. } = &self.server;
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
        service.clone().oneshot(request.map(Body::new)).await
    }

    /// Serves a connection that has become one of HTTP/2. Boxed, because it answers requests like the one it comes from.
    fn upgraded(self: Arc<Self>, request: Request<Incoming>, frame: Bytes) -> BoxFuture<'static, ()> {
        Box::pin(async move {
            let begun = async {
                let stream = TokioIo::new(hyper::upgrade::on(request).await.ok()?);
                h2c_upgrade::with_request(stream, frame).await.ok()
            };
            let begun = async {
                match self.server.transport.deadlines.first_request {
                    Some(limit) => tokio::time::timeout(limit, begun).await.ok().flatten(),
                    None => begun.await,
                }
            };
            if let Some(Some(stream)) = self.server.stop.run_until_triggered(begun).await {
                self.run(stream, &self.narrow).await;
            }
        })
    }
}
