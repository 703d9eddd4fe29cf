//! A look at the first head of a connection, for the one refusal that hyper words otherwise: an unknown transfer encoding (spec
//! http-api.md 1). Nothing is taken from the connection unless it is refused. Later requests of a connection get hyper's 400.

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// How much of the first head is looked at.
const LOOK: usize = 2048;

const REFUSAL: &[u8] = b"HTTP/1.1 501 Not Implemented\r\nContent-Type: text/plain; charset=utf-8\r\nConnection: close\r\n\r\nUnsupported transfer encoding";

/// Wait for the first bytes, and answer them if their transfer encoding is unknown. Tells whether it was.
pub(super) async fn is_refused(stream: &mut TcpStream) -> bool {
    let mut head = [0; LOOK];
    let Ok(length) = stream.peek(&mut head).await else {
        return false;
    };
    if !has_unknown_encoding(&head[..length]) {
        return false;
    }
    // What is left unread would reset the connection before the answer is read. Whether it arrives is the client's business.
    let _ = stream.read(&mut head).await;
    let _ = stream.write_all(REFUSAL).await;
    let _ = stream.shutdown().await;
    true
}

/// Does a line of the head say a transfer encoding that is not `chunked`?
fn has_unknown_encoding(bytes: &[u8]) -> bool {
    let mut lines = bytes
        .split(|byte| *byte == b'\n')
        .map(<[u8]>::trim_ascii)
        .skip(1);
    lines
        .by_ref()
        .take_while(|line| !line.is_empty())
        .filter_map(|line| {
            let (name, value) = line.split_at(line.iter().position(|byte| *byte == b':')?);
            name.eq_ignore_ascii_case(b"transfer-encoding")
                .then(|| value[1..].trim_ascii())
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
}
