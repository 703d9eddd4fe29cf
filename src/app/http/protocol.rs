//! A guess at the app's protocol when it is not the one of `--app-protocol`, from the first bytes that it sends or from the way the TLS
//! handshake fails.

use std::error::Error;
use std::io;
use std::time::Duration;

use http::header::CONTENT_TYPE;
use rustls::{Error as TlsError, InvalidMessage};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::connect::{HandshakeError, Tls};
use super::response::AppResponse;
use crate::config::AppProtocol;

/// A request without effect that every HTTP/1 server answers.
const OPTIONS: &[u8] = b"OPTIONS * HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";

/// Texts in the status 400 of TLS servers for a request without TLS: those of Go, nginx and Apache.
const TLS_WANTED: [&str; 3] = [
    "HTTP request to an HTTPS server",
    "plain HTTP request was sent to HTTPS port",
    "plain HTTP to an SSL-enabled server port",
];

/// The protocol that an app seems to speak.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum DetectedProtocol {
    /// TLS, where none was expected.
    Tls,
    /// Most likely HTTP without TLS, where TLS was expected.
    NoTls,
    /// HTTP/1, where HTTP/2 was expected.
    Http1,
    /// HTTP/2 and not HTTP/1.
    Http2,
    /// gRPC.
    Grpc,
}

impl DetectedProtocol {
    /// The guess with its remedy, as the end of a sentence.
    pub(super) fn advice(self, protocol: AppProtocol) -> String {
        let (seems, remedy) = match self {
            Self::Tls => ("seems to speak TLS", "start with --app-protocol https"),
            Self::NoTls => {
                ("does not answer as TLS does and most likely speaks HTTP without it", "start with --app-protocol http")
            }
            Self::Http1 => ("seems to speak HTTP/1.1 and not HTTP/2", "start with --app-protocol http"),
            Self::Http2 => {
                ("seems to speak HTTP/2 only", "start with --app-protocol h2c; an app of gRPC is not supported yet")
            }
            Self::Grpc => ("seems to speak gRPC", "that is not supported yet; let it serve HTTP"),
        };
        format!("the app {seems}, and --app-protocol is {}: {remedy}", protocol.name())
    }
}

/// The guess from the first bytes of a connection without TLS.
pub(super) fn of_first_bytes(protocol: AppProtocol, first: &[u8]) -> Option<DetectedProtocol> {
    match first {
        // A record of TLS or SSL 3: mostly an alert.
        [0x14..=0x17, 3, 0..=4, ..] => Some(DetectedProtocol::Tls),
        [b'H', b'T', b'T', b'P', b'/', ..] if protocol == AppProtocol::H2c => Some(DetectedProtocol::Http1),
        // A frame of HTTP/2 for the whole connection: SETTINGS or GOAWAY.
        [0, _, _, 4 | 7, _, 0, 0, 0, 0, ..] if protocol == AppProtocol::Http => Some(DetectedProtocol::Http2),
        _ => None,
    }
}

/// The guess from an answer that could be read.
pub(super) fn of_answer(answer: &AppResponse) -> Option<DetectedProtocol> {
    let is_grpc = |value: &http::HeaderValue| value.as_bytes().starts_with(b"application/grpc");
    if answer.headers.get(CONTENT_TYPE).is_some_and(is_grpc) || answer.headers.contains_key("grpc-status") {
        return Some(DetectedProtocol::Grpc);
    }
    if answer.code != 400 {
        return None;
    }
    let text = String::from_utf8_lossy(&answer.body);
    let wants_tls = TLS_WANTED.iter().any(|words| text.contains(words));
    wants_tls.then_some(DetectedProtocol::Tls)
}

/// The guess from a failed TLS handshake.
pub(super) fn of_handshake(error: &HandshakeError) -> Option<DetectedProtocol> {
    let error = &error.0;
    let tls = error.get_ref().and_then(|inner| inner.downcast_ref::<TlsError>());
    match tls {
        Some(TlsError::InvalidMessage(InvalidMessage::InvalidContentType)) => Some(DetectedProtocol::NoTls),
        Some(_) => None,
        // A server without TLS closes the connection when TLS begins, or waits for more input.
        None => matches!(
            error.kind(),
            io::ErrorKind::UnexpectedEof
                | io::ErrorKind::ConnectionReset
                | io::ErrorKind::BrokenPipe
                | io::ErrorKind::TimedOut
        )
        .then_some(DetectedProtocol::NoTls),
    }
}

/// As [`of_handshake`], for an error with a failed handshake among its sources.
pub(super) fn of_connecting(error: &(dyn Error + 'static)) -> Option<DetectedProtocol> {
    let mut source = Some(error);
    while let Some(inner) = source {
        if let Some(handshake) = inner.downcast_ref() {
            return of_handshake(handshake);
        }
        source = inner.source();
    }
    None
}

/// Probe an app that closes connections without sending a byte: which protocols does it speak?
pub(super) async fn try_others(
    protocol: AppProtocol,
    host: &str,
    port: u16,
    limit: Duration,
) -> Option<DetectedProtocol> {
    let stream = TcpStream::connect((host, port)).await.ok()?;
    if Tls::to(host).begin_within(limit, stream).await.is_ok() {
        return Some(DetectedProtocol::Tls);
    }
    if protocol != AppProtocol::H2c {
        return None;
    }
    let ask = async {
        let mut stream = TcpStream::connect((host, port)).await?;
        stream.write_all(OPTIONS).await?;
        let mut first = [0; 5];
        stream.read_exact(&mut first).await?;
        io::Result::Ok(first)
    };
    let first = tokio::time::timeout(limit, ask).await.ok()?.ok()?;
    of_first_bytes(protocol, &first)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn first_bytes_tell_what_is_spoken() {
        use AppProtocol::{H2c, Http};
        for (protocol, first, expected) in [
            (Http, &b"\x15\x03\x01\0\x02"[..], Some(DetectedProtocol::Tls)),
            (H2c, b"\x15\x03\x03\0\x02\x02\x46", Some(DetectedProtocol::Tls)),
            (Http, b"\x16\x03\x03", Some(DetectedProtocol::Tls)),
            (Http, b"\0\0\x12\x04\0\0\0\0\0", Some(DetectedProtocol::Http2)),
            (Http, b"\0\0\x08\x07\0\0\0\0\0", Some(DetectedProtocol::Http2)),
            (H2c, b"\0\0\x12\x04\0\0\0\0\0", None),
            (H2c, b"HTTP/1.1 ", Some(DetectedProtocol::Http1)),
            (Http, b"HTTP/1.1 ", None),
            (Http, b"\x15", None),
            (Http, b"+OK", None),
            (Http, b"", None),
        ] {
            assert_eq!(of_first_bytes(protocol, first), expected, "{first:?}");
        }
    }
}
