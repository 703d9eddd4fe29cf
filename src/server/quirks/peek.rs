//! Peeks at the first head of a connection, for two things that hyper decides too late: whether the transfer encoding
//! is unknown, which daprd refuses with other words (tests/spec/http-api.md, "1. Listeners and transport"), and how
//! many headers there are. Later requests of a connection with such an encoding get hyper's 400.

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// How many bytes of the first head are seen.
const PEEKED: usize = 2048;

const REFUSAL: &[u8] = b"HTTP/1.1 501 Not Implemented\r\nContent-Type: text/plain; charset=utf-8\r\nConnection: close\r\n\r\nUnsupported transfer encoding";

/// Clients whose first request has at most this many headers are served with hyper's default table of 100.
const FEW_HEADERS: usize = 50;

/// The kind of a first head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::server) enum FirstHead {
    /// Few headers, as in nearly all requests.
    Small,
    /// Many headers, or more bytes than are peeked at.
    Large,
    /// It was answered, and the connection is closed.
    Refused,
}

/// Waits for the first bytes, and answers them if their transfer encoding is unknown. Nothing else is taken from the
/// connection.
pub(in crate::server) async fn peek(stream: &mut TcpStream) -> FirstHead {
    let mut head = [0; PEEKED];
    let Ok(length) = stream.peek(&mut head).await else {
        return FirstHead::Large;
    };
    if !has_unknown_encoding(&head[..length]) {
        return if has_few_headers(&head[..length]) { FirstHead::Small } else { FirstHead::Large };
    }
    // Unread bytes would reset the connection before the client has read the answer. Whether it arrives is the client's
    // affair.
    let _ = stream.read(&mut head).await;
    let _ = stream.write_all(REFUSAL).await;
    let _ = stream.shutdown().await;
    FirstHead::Refused
}

/// Does the head end within these bytes, after few lines?
fn has_few_headers(bytes: &[u8]) -> bool {
    let mut lines = bytes.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii);
    lines
        .by_ref()
        .take(FEW_HEADERS + 2)
        .any(<[u8]>::is_empty)
        // The text behind the last line break is not a line, and may be empty.
        && lines.next().is_some()
}

/// Does the head have a transfer encoding other than `chunked`?
fn has_unknown_encoding(bytes: &[u8]) -> bool {
    let mut lines = bytes.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii).skip(1);
    lines
        .by_ref()
        .take_while(|line| !line.is_empty())
        .filter_map(|line| {
            let (name, value) = line.split_at(line.iter().position(|byte| *byte == b':')?);
            name.eq_ignore_ascii_case(b"transfer-encoding").then(|| value[1..].trim_ascii())
        })
        .any(|encoding| !encoding.eq_ignore_ascii_case(b"chunked"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_an_unknown_encoding_in_the_head_is_one() {
        let check = |rest: &str, expected: bool| {
            let head = format!("POST / HTTP/1.1\r\nHost: x\r\n{rest}");
            assert_eq!(has_unknown_encoding(head.as_bytes()), expected, "{rest}");
        };
        check("Transfer-Encoding: snail\r\n\r\n", true);
        check("transfer-encoding:gzip, chunked\r\n\r\n", true);
        check("Transfer-Encoding: Chunked\r\n\r\n", false);
        check("X: y\r\n\r\nTransfer-Encoding: snail\r\n", false);
        check("", false);
    }

    #[test]
    fn few_headers_are_those_of_a_short_head_that_is_there_to_its_end() {
        let check = |headers: usize, end: &str, expected: bool| {
            let head = format!("POST / HTTP/1.1\r\n{}{end}", "X-A: b\r\n".repeat(headers));
            assert_eq!(has_few_headers(head.as_bytes()), expected, "{headers} {end:?}");
        };
        check(0, "\r\n", true);
        check(FEW_HEADERS, "\r\n", true);
        check(FEW_HEADERS, "\r\nbody", true);
        check(FEW_HEADERS + 1, "\r\n", false);
        check(300, "\r\n", false);
        check(3, "", false);
        check(3, "X-Cut", false);
    }
}
