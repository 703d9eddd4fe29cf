//! The change of a connection to HTTP/2 that a request asks for with `Upgrade: h2c` (tests/spec/http-api.md, "1.
//! Listeners and transport").
//!
//! hyper knows HTTP/2 from the first byte only. So the request that asked is put into the stream once more, as a frame behind the first
//! one of the client: the server then answers it on stream 1, as RFC 7540 3.2 has it.

use std::io;

use bytes::Bytes;
use http::header::{CONNECTION, HOST, TE, TRANSFER_ENCODING, UPGRADE};
use http::{HeaderMap, HeaderName, HeaderValue, Request, StatusCode, Version};
use hyper::body::Body;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite};

use axum::response::Response;

use crate::api::http::answer::empty;

const SETTINGS: HeaderName = HeaderName::from_static("http2-settings");

/// The client's first words and the head of its first frame.
const BEGINNING: usize = 24 + FRAME_HEAD;
const FRAME_HEAD: usize = 9;

/// What a frame may hold as long as nothing else is agreed on.
const LONGEST_FRAME: usize = 16_384;

/// `END_STREAM` and `END_HEADERS` of a frame of headers.
const HEADERS: u8 = 1;
const WHOLE: u8 = 0x01 | 0x04;

/// The request that asks for HTTP/2 as a frame of stream 1; `None` if it does not ask, or has a body, and is answered as it is.
pub(super) fn asked<B: Body>(request: &Request<B>) -> Option<Bytes> {
    let headers = request.headers();
    let asks = request.version() == Version::HTTP_11
        && has_token(headers, UPGRADE, "h2c")
        && has_token(headers, CONNECTION, "upgrade")
        && has_token(headers, CONNECTION, "http2-settings")
        && headers.get_all(SETTINGS).iter().count() == 1
        && request.body().is_end_stream();
    if !asks {
        return None;
    }
    frame(&block(request))
}

/// The answer that agrees.
pub(super) fn agreed() -> Response {
    let mut response = empty(StatusCode::SWITCHING_PROTOCOLS);
    let headers = response.headers_mut();
    headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
    headers.insert(UPGRADE, HeaderValue::from_static("h2c"));
    response
}

/// The connection with the request put behind the client's first frame.
///
/// # Errors
/// If the client does not begin as it must.
pub(super) async fn with_request(
    stream: impl AsyncRead + AsyncWrite,
    request: Bytes,
) -> io::Result<impl AsyncRead + AsyncWrite + Unpin> {
    let (mut reader, writer) = tokio::io::split(stream);
    let mut start = vec![0; BEGINNING];
    reader.read_exact(&mut start).await?;
    let head = &start[BEGINNING - FRAME_HEAD..];
    let length = usize::from(head[0]) << 16 | usize::from(head[1]) << 8 | usize::from(head[2]);
    if length > LONGEST_FRAME {
        return Err(io::ErrorKind::InvalidData.into());
    }
    start.resize(BEGINNING + length, 0);
    reader.read_exact(&mut start[BEGINNING..]).await?;
    start.extend_from_slice(&request);
    Ok(tokio::io::join(io::Cursor::new(start).chain(reader), writer))
}

/// Is a word in a list of them, in any case?
fn has_token(headers: &HeaderMap, name: HeaderName, token: &str) -> bool {
    headers.get_all(name).iter().any(|value| {
        let mut words = value.as_bytes().split(|byte| *byte == b',');
        words.any(|word| word.trim_ascii().eq_ignore_ascii_case(token.as_bytes()))
    })
}

/// The headers of a request as HTTP/2 packs them, none of them compressed.
fn block<B>(request: &Request<B>) -> Vec<u8> {
    let mut block = Vec::with_capacity(512);
    let headers = request.headers();
    let uri = request.uri();
    push(&mut block, ":method", request.method().as_str().as_bytes());
    push(&mut block, ":scheme", b"http");
    if let Some(host) = headers.get(HOST) {
        push(&mut block, ":authority", host.as_bytes());
    }
    let path = uri.path_and_query().map_or("/", |path| path.as_str());
    push(&mut block, ":path", path.as_bytes());
    // What is about the connection has no meaning in HTTP/2.
    let about_connection = [CONNECTION, UPGRADE, SETTINGS, HOST, TE, TRANSFER_ENCODING];
    for (name, value) in headers {
        if !about_connection.contains(name) && name != "keep-alive" && name != "proxy-connection" {
            push(&mut block, name.as_str(), value.as_bytes());
        }
    }
    block
}

/// A literal header that is not to be remembered (RFC 7541 6.2.2).
fn push(block: &mut Vec<u8>, name: &str, value: &[u8]) {
    block.push(0);
    for text in [name.as_bytes(), value] {
        push_length(block, text.len());
        block.extend_from_slice(text);
    }
}

/// A number with a prefix of seven bits (RFC 7541 5.1).
fn push_length(block: &mut Vec<u8>, length: usize) {
    let Some(mut rest) = length.checked_sub(127) else {
        block.push(length as u8);
        return;
    };
    block.push(127);
    while rest >= 128 {
        block.push((rest % 128) as u8 | 128);
        rest /= 128;
    }
    block.push(rest as u8);
}

fn frame(block: &[u8]) -> Option<Bytes> {
    if block.len() > LONGEST_FRAME {
        return None;
    }
    let length = u32::try_from(block.len()).ok()?.to_be_bytes();
    let mut frame = Vec::with_capacity(FRAME_HEAD + block.len());
    frame.extend_from_slice(&length[1..]);
    frame.extend_from_slice(&[HEADERS, WHOLE, 0, 0, 0, 1]);
    frame.extend_from_slice(block);
    Some(frame.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asking(headers: &[(&str, &str)]) -> Request<axum::body::Body> {
        let mut request = Request::get("http://x/a?b").header("Host", "x");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        request.body(axum::body::Body::empty()).unwrap()
    }

    #[test]
    fn a_request_asks_with_three_headers_and_no_body() {
        let all = [
            ("Connection", "upgrade, HTTP2-Settings"),
            ("Upgrade", "websocket, H2C"),
            ("HTTP2-Settings", "AAMAAABk"),
            ("X-Own", "v"),
        ];
        let frame = asked(&asking(&all)).unwrap();
        let block = [
            &b"\0\x07:method\x03GET\0\x07:scheme\x04http\0\x0a:authority\x01x\0\x05:path\x04/a?b"[..],
            b"\0\x05x-own\x01v",
        ]
        .concat();
        assert_eq!(frame[..9], [0, 0, block.len() as u8, 1, 5, 0, 0, 0, 1]);
        assert_eq!(frame[9..], block);
        for missing in 0..3 {
            let mut some = all.to_vec();
            some.remove(missing);
            assert_eq!(asked(&asking(&some)), None, "{some:?}");
        }
        let (head, _) = asking(&all).into_parts();
        let with_body = Request::from_parts(head, axum::body::Body::from("x"));
        assert_eq!(asked(&with_body), None);
    }

    #[test]
    fn lengths_are_written_in_seven_bits_a_byte() {
        let check = |length: usize, expected: &[u8]| {
            let mut block = Vec::new();
            push_length(&mut block, length);
            assert_eq!(block, expected, "{length}");
        };
        check(0, &[0]);
        check(126, &[126]);
        check(127, &[127, 0]);
        check(1337 - 31 + 127, &[127, 154, 10]);
    }

    #[tokio::test]
    async fn the_request_comes_behind_the_first_frame() {
        let preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
        let start = [&preface[..], &[0, 0, 3, 4, 0, 0, 0, 0, 0], b"abc"].concat();
        let sent = [&start[..], b"more"].concat();
        let mut stream = with_request(io::Cursor::new(sent), "request".into()).await.unwrap();
        let mut read = Vec::new();
        stream.read_to_end(&mut read).await.unwrap();
        assert_eq!(read, [&start[..], b"request", b"more"].concat());
    }
}
