//! Gives hyper's bodiless 400, 414 and 431, which it sends for heads that it cannot read, the bodies that daprd sends
//! (tests/spec/http-api.md, "1. Listeners and transport").

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

const UNREADABLE: &[u8] =
    b"HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain; charset=utf-8\r\nConnection: close\r\n\r\n400 Bad Request";
const TOO_LARGE: &[u8] = b"HTTP/1.1 431 Request Header Fields Too Large\r\nContent-Type: text/plain; charset=utf-8\r\nConnection: close\r\n\r\n431 Request Header Fields Too Large";

/// A connection on which these errors go out with a body.
pub(in crate::server) struct WithErrorBodies<S> {
    stream: S,
    /// The unwritten rest of the error that replaces hyper's.
    error: &'static [u8],
}

impl<S> WithErrorBodies<S> {
    pub(in crate::server) fn new(stream: S) -> Self {
        Self { stream, error: &[] }
    }
}

/// The error with a body, if `written` is one without: only hyper's own have these statuses and no content type.
fn with_body(written: &[u8]) -> Option<&'static [u8]> {
    let error = match written.strip_prefix(b"HTTP/1.1 ")?.get(..3)? {
        b"400" => UNREADABLE,
        b"431" | b"414" => TOO_LARGE,
        _ => return None,
    };
    let head = std::str::from_utf8(written).ok()?.to_ascii_lowercase();
    let is_bare = head.contains("\r\ncontent-length: 0\r\n") && !head.contains("\r\ncontent-type:");
    is_bare.then_some(error)
}

impl<S: AsyncWrite + Unpin> WithErrorBodies<S> {
    /// Writes the error with a body in place of what begins with `written`; `None` if that is no such error.
    fn poll_error(&mut self, context: &mut Context<'_>, written: &[u8]) -> Option<Poll<io::Result<()>>> {
        if self.error.is_empty() {
            self.error = with_body(written)?;
        }
        while !self.error.is_empty() {
            match Pin::new(&mut self.stream).poll_write(context, self.error) {
                Poll::Ready(Ok(0)) => {
                    return Some(Poll::Ready(Err(io::ErrorKind::WriteZero.into())));
                }
                Poll::Ready(Ok(length)) => self.error = &self.error[length..],
                Poll::Ready(Err(error)) => return Some(Poll::Ready(Err(error))),
                Poll::Pending => return Some(Poll::Pending),
            }
        }
        Some(Poll::Ready(Ok(())))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for WithErrorBodies<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for WithErrorBodies<S> {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        if let Some(replaced) = self.poll_error(context, bytes) {
            ready!(replaced)?;
            return Poll::Ready(Ok(bytes.len()));
        }
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let first = slices.first().map_or(&[][..], |slice| slice);
        if let Some(replaced) = self.poll_error(context, first) {
            ready!(replaced)?;
            return Poll::Ready(Ok(slices.iter().map(|slice| slice.len()).sum()));
        }
        Pin::new(&mut self.stream).poll_write_vectored(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_errors_without_a_body_get_one() {
        let check = |written: &str, expected: Option<&[u8]>| {
            assert_eq!(with_body(written.as_bytes()), expected, "{written}");
        };
        let bare = "Connection: close\r\ncontent-length: 0\r\ndate: x\r\n\r\n";
        check(&format!("HTTP/1.1 400 Bad Request\r\n{bare}"), Some(UNREADABLE));
        check(&format!("HTTP/1.1 431 Too Large\r\n{bare}"), Some(TOO_LARGE));
        check(&format!("HTTP/1.1 414 URI Too Long\r\n{bare}"), Some(TOO_LARGE));
        check(&format!("HTTP/1.1 404 Not Found\r\n{bare}"), None);
        check("HTTP/1.1 400 Bad Request\r\ncontent-type: x\r\ncontent-length: 0\r\n\r\n", None);
        check("HTTP/1.1 400 Bad Request\r\ncontent-length: 3\r\n\r\nabc", None);
        check("HTTP/1.1 204 No Content\r\n\r\n", None);
        check("HTTP/1.1 4", None);
        check("", None);
    }
}
