//! `Upgrade: h2c`, the change of a connection from HTTP/1.1 to HTTP/2 (tests/spec/http-api.md, "1. Listeners and
//! transport").
//!
//! hyper cannot switch a connection to HTTP/2. So the upgrading request is replayed as a HEADERS frame on stream 1,
//! behind the client preface and its first frame (RFC 7540 3.2); the server then answers it as any other.

use std::io;

use bytes::Bytes;
use http::header::{CONNECTION, HOST, TE, TRANSFER_ENCODING, UPGRADE};
use http::{HeaderMap, HeaderName, HeaderValue, Request, StatusCode, Version};
use hyper::body::Body;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite};

use axum::body::Body as ResponseBody;
use axum::response::Response;

const SETTINGS: HeaderName = HeaderName::from_static("http2-settings");

/// The client preface and the head of the client's first frame.
const BEGINNING: usize = 24 + FRAME_HEAD;
const FRAME_HEAD: usize = 9;

/// The largest payload of a frame before settings say otherwise.
const MAX_FRAME: usize = 16_384;

/// The type of a HEADERS frame, and its flags `END_STREAM` and `END_HEADERS`.
const HEADERS: u8 = 1;
const WHOLE: u8 = 0x01 | 0x04;

/// The upgrading request as a frame of stream 1; `None` if it requests no upgrade, or has a body, and is answered over
/// HTTP/1.1.
pub(in crate::server) fn requested<B: Body>(request: &Request<B>) -> Option<Bytes> {
    let headers = request.headers();
    let is_upgrade = request.version() == Version::HTTP_11
        && has_token(headers, UPGRADE, "h2c")
        && has_token(headers, CONNECTION, "upgrade")
        && has_token(headers, CONNECTION, "http2-settings")
        && headers.get_all(SETTINGS).iter().count() == 1
        && request.body().is_end_stream();
    if !is_upgrade {
        return None;
    }
    frame(&block(request))
}

/// The answer that accepts the upgrade.
pub(in crate::server) fn accepted() -> Response {
    let mut response = Response::new(ResponseBody::empty());
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let headers = response.headers_mut();
    headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
    headers.insert(UPGRADE, HeaderValue::from_static("h2c"));
    response
}

/// The connection with the request inserted behind the client's first frame.
///
/// # Errors
/// If the client does not begin with preface and frame.
pub(in crate::server) async fn with_request(
    stream: impl AsyncRead + AsyncWrite,
    request: Bytes,
) -> io::Result<impl AsyncRead + AsyncWrite + Unpin> {
    let (mut reader, writer) = tokio::io::split(stream);
    let mut start = vec![0; BEGINNING];
    reader.read_exact(&mut start).await?;
    let head = &start[BEGINNING - FRAME_HEAD..];
    let length = usize::from(head[0]) << 16 | usize::from(head[1]) << 8 | usize::from(head[2]);
    if length > MAX_FRAME {
        return Err(io::ErrorKind::InvalidData.into());
    }
    start.resize(BEGINNING + length, 0);
    reader.read_exact(&mut start[BEGINNING..]).await?;
    start.extend_from_slice(&request);
    Ok(tokio::io::join(io::Cursor::new(start).chain(reader), writer))
}

/// Is `token` in a comma-separated list, in any case?
fn has_token(headers: &HeaderMap, name: HeaderName, token: &str) -> bool {
    headers.get_all(name).iter().any(|value| {
        let mut words = value.as_bytes().split(|byte| *byte == b',');
        words.any(|word| word.trim_ascii().eq_ignore_ascii_case(token.as_bytes()))
    })
}

/// The headers of a request as a header block of HTTP/2, uncompressed.
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
    // Headers about the connection have no meaning in HTTP/2.
    let about_connection = [CONNECTION, UPGRADE, SETTINGS, HOST, TE, TRANSFER_ENCODING];
    for (name, value) in headers {
        if !about_connection.contains(name) && name != "keep-alive" && name != "proxy-connection" {
            push(&mut block, name.as_str(), value.as_bytes());
        }
    }
    block
}

/// Appends a literal header without indexing (RFC 7541 6.2.2).
fn push(block: &mut Vec<u8>, name: &str, value: &[u8]) {
    block.push(0);
    for text in [name.as_bytes(), value] {
        push_length(block, text.len());
        block.extend_from_slice(text);
    }
}

/// Appends a number with a prefix of seven bits (RFC 7541 5.1).
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
    if block.len() > MAX_FRAME {
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

    fn request(headers: &[(&str, &str)]) -> Request<axum::body::Body> {
        let mut request = Request::get("http://x/a?b").header("Host", "x");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        request.body(axum::body::Body::empty()).unwrap()
    }

    #[test]
    fn an_upgrade_is_requested_by_three_headers_without_a_body() {
        let all = [
            ("Connection", "upgrade, HTTP2-Settings"),
            ("Upgrade", "websocket, H2C"),
            ("HTTP2-Settings", "AAMAAABk"),
            ("X-Own", "v"),
        ];
        let frame = requested(&request(&all)).unwrap();
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
            assert_eq!(requested(&request(&some)), None, "{some:?}");
        }
        let (head, _) = request(&all).into_parts();
        let with_body = Request::from_parts(head, axum::body::Body::from("x"));
        assert_eq!(requested(&with_body), None);
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
