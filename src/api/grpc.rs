//! The gRPC port, until the gRPC API is built: every call is told that it is not there, and where the HTTP API is.
//!
//! `runtime` binds and serves it. Clients that connect at their start find somebody who speaks gRPC, and a call says what is the matter in
//! the client's own words (`UNIMPLEMENTED`) and not in those of a broken connection.

use std::convert::Infallible;
use std::future::ready;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderValue, Request, Response};
use http_body_util::Empty;
use hyper::body::Incoming;
use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::Notify;

use crate::api::error::GrpcCode;
use crate::api::listen::{ACCEPT_PAUSE, Listener, Stream};
use crate::shutdown::{Stop, Tasks};

/// A silent client is asked whether it is there, and has so long to answer (tests/spec/grpc-sdk.md, "2.1 Transport,
/// limits, keepalive").
const PING: Duration = Duration::from_secs(10);
const PONG: Duration = Duration::from_secs(5);

/// A connection without a call is ended after so long.
const IDLE: Duration = Duration::from_secs(180);

/// What an ending connection has to say is said within this time.
const FAREWELL: Duration = Duration::from_secs(1);

/// What `grpc-message` writes as an escape, beside everything that is no ASCII.
const ESCAPED: &AsciiSet = &CONTROLS.add(b'%');

/// What callers are told. `http` is where the HTTP API is: `port 3500`.
pub fn refusal(http: &str) -> String {
    format!("this build of Sidestream serves the Dapr API over HTTP only, on {http}; gRPC is not there yet")
}

/// Answer every call of a listener with this text until `stop`. Connections are tasks of `tasks`.
pub async fn serve(listener: impl Into<Listener>, refusal: String, stop: Stop, tasks: Tasks) {
    let listener = listener.into();
    let message = utf8_percent_encode(&refusal, ESCAPED).to_string();
    // What is escaped is ASCII without control characters, so that it is a header value.
    let message = HeaderValue::try_from(message).unwrap_or(HeaderValue::from_static(""));
    while let Some(accepted) = stop.run_until_triggered(listener.accept()).await {
        let (message, stop) = (message.clone(), stop.clone());
        match accepted {
            Ok(Stream::Tcp(stream)) => tasks.spawn("grpc connection", run(stream, message, stop)),
            Ok(Stream::Unix(stream)) => tasks.spawn("grpc connection", run(stream, message, stop)),
            Err(_) => {
                stop.sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
    }
}

/// Answer the calls of a connection until it ends, is idle for long, or the order to stop comes.
async fn run(stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static, message: HeaderValue, stop: Stop) {
    let called = Arc::new(Notify::new());
    let service = {
        let called = called.clone();
        service_fn(move |_: Request<Incoming>| {
            called.notify_one();
            ready(Ok::<_, Infallible>(refused(&message)))
        })
    };
    let mut builder = http2::Builder::new(TokioExecutor::new());
    builder.timer(TokioTimer::new()).keep_alive_interval(PING).keep_alive_timeout(PONG);
    let mut connection = pin!(builder.serve_connection(TokioIo::new(stream), service));
    let is_idle = async { while tokio::time::timeout(IDLE, called.notified()).await.is_ok() {} };
    tokio::select! {
        // How a connection ends is the client's business.
        _ = connection.as_mut() => return,
        () = stop.triggered() => {}
        () = is_idle => {}
    }
    connection.as_mut().graceful_shutdown();
    let _ = tokio::time::timeout(FAREWELL, connection).await;
}

/// An answer that consists of its trailers, as gRPC has it for calls that come to nothing.
fn refused(message: &HeaderValue) -> Response<Empty<Bytes>> {
    let mut response = Response::new(Empty::new());
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
    headers.insert("grpc-status", HeaderValue::from(GrpcCode::Unimplemented as i32));
    headers.insert("grpc-message", message.clone());
    response
}

#[cfg(test)]
mod tests {
    use http_body_util::{BodyExt, Full};
    use hyper::client::conn::http2::{SendRequest, handshake};
    use tokio::io::AsyncReadExt;
    use tokio::net::{TcpListener, TcpStream};

    use super::*;

    struct Server {
        port: u16,
        stop: Stop,
        tasks: Tasks,
    }

    async fn server(refusal: &str) -> Server {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let (stop, tasks) = (Stop::new(), Tasks::new());
        let serving = serve(listener, refusal.to_owned(), stop.clone(), tasks.clone());
        tasks.spawn("grpc api", serving);
        Server { port, stop, tasks }
    }

    impl Server {
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

    async fn call(client: &mut SendRequest<Full<Bytes>>, body: &[u8]) -> Response<Incoming> {
        let request = Request::post("http://x/dapr.proto.runtime.v1.Dapr/PublishEvent")
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
        // The large one does not fit into what the connection lets through unread.
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
