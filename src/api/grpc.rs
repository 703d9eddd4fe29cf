//! The gRPC port, until the gRPC API is built: every call is answered with `UNIMPLEMENTED` and the address of the HTTP
//! API.
//!
//! Clients that connect at their start find a gRPC server, and report a call in their own words instead of a broken
//! connection.

use std::convert::Infallible;
use std::future::{Ready, ready};
use std::task::{Context, Poll};

use axum::body::Body;
use axum::extract::Request;
use axum::response::Response;
use http::HeaderValue;
use http::header::CONTENT_TYPE;
use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};

use crate::api::error::{ApiError, GrpcCode};
use crate::server::Limit;

/// The characters that `grpc-message` escapes, beside those outside ASCII.
const ESCAPED: &AsciiSet = &CONTROLS.add(b'%');

/// The text of the answer. `http` is the address of the HTTP API: `port 3500`.
pub fn refusal(http: &str) -> String {
    format!("this build of Sidestream serves the Dapr API over HTTP only, on {http}; gRPC is not there yet")
}

/// The answer to a call beyond a limit.
pub fn overloaded(limit: Limit) -> Response {
    let error = ApiError::Overloaded { limit };
    let error = error.response();
    RefuseCalls::new(error.grpc, &error.message).response()
}

/// Answers every call with a status and a text.
#[derive(Clone)]
pub struct RefuseCalls {
    status: HeaderValue,
    message: HeaderValue,
}

impl RefuseCalls {
    /// A service that answers with this status and text.
    pub fn new(status: GrpcCode, text: &str) -> Self {
        let message = utf8_percent_encode(text, ESCAPED).to_string();
        Self {
            status: HeaderValue::from(status as i32),
            // Escaped text is ASCII without control characters, so that it is a header value.
            message: HeaderValue::try_from(message).unwrap_or(HeaderValue::from_static("")),
        }
    }

    /// An answer that consists of its trailers, as gRPC has it for calls that fail before their first message.
    fn response(&self) -> Response {
        let mut response = Response::new(Body::empty());
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
        headers.insert("grpc-status", self.status.clone());
        headers.insert("grpc-message", self.message.clone());
        response
    }
}

impl tower::Service<Request> for RefuseCalls {
    type Response = Response;
    type Error = Infallible;
    type Future = Ready<Result<Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Request) -> Self::Future {
        ready(Ok(self.response()))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use bytes::Bytes;
    use http_body_util::{BodyExt, Full};
    use hyper::body::Incoming;
    use hyper::client::conn::http2::{SendRequest, handshake};
    use hyper_util::rt::{TokioExecutor, TokioIo};
    use tokio::io::AsyncReadExt;
    use tokio::net::{TcpListener, TcpStream};

    use super::*;
    use crate::server::{Limits, Server, Transport};
    use crate::shutdown::{Stop, Tasks};
    use crate::telemetry::Telemetry;
    use crate::telemetry::log::{Level, Log};
    use crate::telemetry::metrics::Metrics;

    struct Port {
        port: u16,
        stop: Stop,
        tasks: Tasks,
    }

    async fn server(refusal: &str) -> Port {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let (stop, tasks) = (Stop::new(), Tasks::new());
        let server = Server {
            name: "grpc connection",
            service: RefuseCalls::new(GrpcCode::Unimplemented, refusal),
            transport: Transport::grpc(),
            limits: Limits { connections: 10, requests: 10 },
            overloaded,
            stop: stop.clone(),
            tasks: tasks.clone(),
            telemetry: Telemetry::new(Log::new(Level::Fatal, std::io::sink()), Metrics::default()),
        };
        tasks.spawn("grpc api", server.serve(listener));
        Port { port, stop, tasks }
    }

    impl Port {
        async fn client(&self) -> SendRequest<Full<Bytes>> {
            let stream = TcpStream::connect(("127.0.0.1", self.port)).await.unwrap();
            let (client, connection) = handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
            Tasks::new().spawn("client", async move {
                let _ = connection.await;
            });
            client
        }

        async fn ends(self) {
            self.stop.trigger();
            tokio::time::timeout(Duration::from_secs(10), self.tasks.ended()).await.expect("all ended");
        }
    }

    async fn call(client: &mut SendRequest<Full<Bytes>>, body: &[u8]) -> http::Response<Incoming> {
        let request = http::Request::post("http://x/dapr.proto.runtime.v1.Dapr/PublishEvent")
            .header("content-type", "application/grpc")
            .header("te", "trailers")
            .body(Full::new(Bytes::copy_from_slice(body)))
            .unwrap();
        client.ready().await.unwrap();
        client.send_request(request).await.unwrap()
    }

    #[tokio::test]
    async fn every_call_is_told_that_grpc_is_not_there() {
        let server = server("not on 50 %: use é").await;
        let mut client = server.client().await;
        // The large one is larger than the window of the connection.
        for size in [0, 5, 3 << 20, 5] {
            let answer = call(&mut client, &vec![0; size]).await;
            assert_eq!(answer.status(), 200);
            for (name, value) in [
                ("content-type", "application/grpc"),
                ("grpc-status", "12"),
                ("grpc-message", "not on 50 %25: use %C3%A9"),
            ] {
                assert_eq!(answer.headers()[name], value, "{size}");
            }
            assert!(hyper::body::Body::is_end_stream(answer.body()));
            assert!(answer.collect().await.unwrap().to_bytes().is_empty());
        }
        server.ends().await;
    }

    #[tokio::test]
    async fn a_stop_does_not_wait_for_clients_that_are_silent() {
        let server = server("x").await;
        let mut silent = TcpStream::connect(("127.0.0.1", server.port)).await.unwrap();
        let mut client = server.client().await;
        call(&mut client, b"").await;
        server.ends().await;
        let mut rest = Vec::new();
        let _ = silent.read_to_end(&mut rest).await;
    }

    #[test]
    fn the_text_says_where_the_api_is() {
        assert_eq!(
            refusal("port 3500"),
            "this build of Sidestream serves the Dapr API over HTTP only, on port 3500; gRPC is not there yet"
        );
    }
}
