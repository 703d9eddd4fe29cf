//! A look at the first head of a connection, for the one refusal that hyper words otherwise: an unknown transfer
//! encoding (tests/spec/http-api.md, "1. Listeners and transport"), and for the number of its headers. Nothing is taken
//! from the connection unless it is refused. Later requests of a connection get hyper's 400.

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// How much of the first head is looked at.
const LOOK: usize = 2048;

const REFUSAL: &[u8] = b"HTTP/1.1 501 Not Implemented\r\nContent-Type: text/plain; charset=utf-8\r\nConnection: close\r\n\r\nUnsupported transfer encoding";

/// Who sends no more headers than this will hardly send more than hyper is prepared for by default, which is 100.
const FEW: usize = 50;

/// What a first head looks like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum FirstHead {
    /// Few headers, like almost any.
    Small,
    /// Many headers, or a head that is not seen to its end.
    Large,
    /// It was answered.
    Refused,
}

/// Wait for the first bytes, and answer them if their transfer encoding is unknown.
pub(super) async fn look(stream: &mut TcpStream) -> FirstHead {
    let mut head = [0; LOOK];
    let Ok(length) = stream.peek(&mut head).await else {
        return FirstHead::Large;
    };
    if !has_unknown_encoding(&head[..length]) {
        return if has_few_headers(&head[..length]) { FirstHead::Small } else { FirstHead::Large };
    }
    // What is left unread would reset the connection before the answer is read. Whether it arrives is the client's business.
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
        .take(FEW + 2)
        .any(<[u8]>::is_empty)
        // What follows the last line break is not a line, and may be empty.
        && lines.next().is_some()
}

/// Does a line of the head say a transfer encoding that is not `chunked`?
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
        check(FEW, "\r\n", true);
        check(FEW, "\r\nbody", true);
        check(FEW + 1, "\r\n", false);
        check(300, "\r\n", false);
        check(3, "", false);
        check(3, "X-Cut", false);
    }
}
