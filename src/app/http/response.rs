//! An answer of the app, read to its end and decoded.

use bytes::{Bytes, BytesMut};
use http::header::CONTENT_TYPE;
use http::{HeaderMap, Response};
use http_body_util::BodyExt;
use hyper::body::Incoming;

use super::coding::{self, Coding};
use super::error_chain::chain;
use crate::app::channel::FailureReason;

/// Longest body of an answer, before and after decoding.
pub(super) const MAX_BODY: usize = 4 * 1024 * 1024;

/// An answer.
pub(super) struct AppResponse {
    pub(super) code: u16,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
    /// The body is longer than [`MAX_BODY`]; `body` is its beginning.
    pub(super) is_cut: bool,
}

impl AppResponse {
    /// Read it to the end.
    ///
    /// # Errors
    /// If it ends too early, or if it is a success whose body cannot be decoded: the body might say the contrary (D26).
    pub(super) async fn read(answer: Response<Incoming>) -> Result<Self, FailureReason> {
        let (head, body) = answer.into_parts();
        let (body, is_cut) = read(body).await?;
        let mut answer = Self { code: head.status.as_u16(), headers: head.headers, body, is_cut };
        match answer.unpacked() {
            Ok(None) => {}
            Ok(Some(body)) => answer.body = body,
            Err(error) if answer.is_success() => return Err(FailureReason::Unanswered(error)),
            // The status is enough.
            Err(error) => answer.body = format!("({error})").into(),
        }
        Ok(answer)
    }

    /// Is its status a success?
    pub(super) fn is_success(&self) -> bool {
        (200..300).contains(&self.code)
    }

    /// Could the part of the body that was not read contain a status?
    pub(super) fn might_say_more(&self) -> bool {
        self.is_cut && self.is_success() && self.body.trim_ascii_start().starts_with(b"{")
    }

    /// The `Content-Type` header; empty if there is none.
    pub(super) fn content_type(&self) -> String {
        self.headers
            .get(CONTENT_TYPE)
            .map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned())
            .unwrap_or_default()
    }

    /// The decoded body; `None` if it is not encoded.
    fn unpacked(&self) -> Result<Option<Bytes>, String> {
        if self.body.is_empty() {
            return Ok(None);
        }
        match coding::of(&self.headers) {
            Coding::Identity => Ok(None),
            Coding::Gzip if self.is_cut => Err(too_long()),
            Coding::Gzip => coding::gunzip(&self.body, MAX_BODY).map(Some),
            Coding::Other(names) => Err(format!(
                "the answer has Content-Encoding {names:?}, which is not unpacked; the request asked for gzip or none"
            )),
        }
    }
}

/// Describe an answer of more than [`MAX_BODY`] bytes.
pub(super) fn too_long() -> String {
    format!("the answer is longer than {MAX_BODY} bytes")
}

/// A body, and whether it is only its beginning.
async fn read(mut rest: Incoming) -> Result<(Bytes, bool), FailureReason> {
    let mut first = Bytes::new();
    let mut body = BytesMut::new();
    while let Some(frame) = rest.frame().await {
        let frame = frame.map_err(|error| FailureReason::Unanswered(chain(&error)))?;
        let Ok(part) = frame.into_data() else {
            continue;
        };
        if first.is_empty() && body.is_empty() {
            // Most answers come in one piece, which is then not copied.
            first = part;
            continue;
        }
        if body.is_empty() {
            body.extend_from_slice(&first);
        }
        body.extend_from_slice(&part);
        if body.len() > MAX_BODY {
            return Ok((body.freeze(), true));
        }
    }
    let body = if body.is_empty() { first } else { body.freeze() };
    Ok((body, false))
}
