//! How a server speaks HTTP: versions, largest head, deadlines, and the hyper builders made from them.

use std::time::Duration;

use hyper_util::rt::{TokioExecutor, TokioTimer};
use hyper_util::server::conn::auto::Builder;

/// Heads of requests may be so much larger than `--read-buffer-size`, as in daprd.
const HEAD_SLACK: usize = 4096;

/// The smallest buffer for reading. Smaller limits of a head are checked when it has been read.
const MIN_BUFFER: usize = 64 << 10;

/// The time in which the first request of a connection has to begin.
const FIRST_REQUEST: Duration = Duration::from_secs(10);

/// A silent gRPC client is pinged this often, and has this long to answer (tests/spec/grpc-sdk.md, "2.1 Transport,
/// limits, keepalive").
const PING_INTERVAL: Duration = Duration::from_secs(10);
const PING_TIMEOUT: Duration = Duration::from_secs(5);

/// A gRPC connection without a call is closed after this time.
const GRPC_IDLE: Duration = Duration::from_secs(180);

/// The largest head of a gRPC call, in bytes.
const GRPC_HEAD: usize = 16 << 10;

/// A closing gRPC connection has this time for its last frames.
const GRPC_DRAIN: Duration = Duration::from_secs(1);

/// The versions of HTTP that a server speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Versions {
    /// HTTP/1 only.
    Http1,
    /// HTTP/1 and HTTP/2 in clear text, by prior knowledge or after `Upgrade: h2c`.
    Http1And2,
    /// HTTP/2 only, with pings: gRPC.
    Http2,
}

/// How a server speaks HTTP on its connections.
#[derive(Clone, Copy, Debug)]
pub struct Transport {
    /// The versions of HTTP.
    pub versions: Versions,
    /// The largest head of a request, in bytes.
    pub max_head: usize,
    /// When a connection is closed.
    pub deadlines: Deadlines,
}

/// When a connection is closed that the client keeps open. `None` is never.
#[derive(Clone, Copy, Debug, Default)]
pub struct Deadlines {
    /// The time in which the first request has to begin.
    pub first_request: Option<Duration>,
    /// The time without a new request.
    pub idle: Option<Duration>,
    /// The time for running requests after the stop.
    pub drain: Option<Duration>,
}

impl Transport {
    /// An HTTP server with this `--read-buffer-size`, in bytes.
    pub fn http(versions: Versions, read_buffer: usize) -> Self {
        let deadlines = Deadlines { first_request: Some(FIRST_REQUEST), ..Deadlines::default() };
        Self { versions, max_head: read_buffer + HEAD_SLACK, deadlines }
    }

    /// A gRPC server.
    pub fn grpc() -> Self {
        let deadlines = Deadlines { idle: Some(GRPC_IDLE), drain: Some(GRPC_DRAIN), ..Deadlines::default() };
        Self { versions: Versions::Http2, max_head: GRPC_HEAD, deadlines }
    }

    /// The builder for nearly all connections: up to 100 headers in a request.
    pub(super) fn narrow(self) -> Builder<TokioExecutor> {
        let mut builder = Builder::new(TokioExecutor::new());
        builder
            .http1()
            .timer(TokioTimer::new())
            // hyper's own timeout would close idle connections, too.
            .header_read_timeout(None)
            .max_buf_size(self.max_head.max(MIN_BUFFER));
        builder.http2().timer(TokioTimer::new()).max_header_list_size(u32::try_from(self.max_head).unwrap_or(u32::MAX));
        match self.versions {
            Versions::Http1 => builder.http1_only(),
            Versions::Http1And2 => builder,
            Versions::Http2 => {
                builder.http2().keep_alive_interval(PING_INTERVAL).keep_alive_timeout(PING_TIMEOUT);
                builder.http2_only()
            }
        }
    }

    /// The builder for clients that send very many headers. It reserves a table for as many as fit into a head, again
    /// for each request, which would be a tenth of the cost of a publish for the others.
    pub(super) fn wide(self) -> Builder<TokioExecutor> {
        let mut builder = self.narrow();
        builder.http1().max_headers((self.max_head / 8).min(4096));
        builder
    }
}
