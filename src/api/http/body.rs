//! Request bodies: read up to the limit, or thrown away (tests/spec/http-api.md, "5.6 Body limit on publish").

use std::time::Duration;

use axum::body::{Body, HttpBody};
use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt;

/// What is thrown away of a body before the connection is given up instead.
const MOST_DISCARDED: usize = 8 << 20;

/// How long a client may take to send what is thrown away.
const LONGEST_DISCARD: Duration = Duration::from_secs(1);

/// A request body that has not been read, or not to its end.
pub(super) struct RequestBody {
    body: Body,
    limit: Option<usize>,
    is_over: bool,
}

/// Why there is no body.
#[derive(Debug, thiserror::Error)]
pub(super) enum BodyError {
    /// It is longer than allowed.
    #[error("stream too large")]
    TooLarge,
    /// It did not come to its end.
    #[error("{0}")]
    Broken(#[from] axum::Error),
}

impl RequestBody {
    /// A body of at most `limit` bytes; the limit is exact (D7).
    pub(super) fn new(body: Body, limit: Option<usize>) -> Self {
        let is_over = HttpBody::is_end_stream(&body);
        Self { body, limit, is_over }
    }

    /// The whole body.
    pub(super) async fn read(&mut self) -> Result<Bytes, BodyError> {
        let announced = HttpBody::size_hint(&self.body).lower();
        self.check(usize::try_from(announced).unwrap_or(usize::MAX))?;
        let Some(first) = self.next().await? else {
            return Ok(Bytes::new());
        };
        self.check(first.len())?;
        // Small bodies come in one piece, which is not copied.
        let Some(second) = self.next().await? else {
            return Ok(first);
        };
        let mut whole =
            BytesMut::with_capacity(usize::try_from(announced).unwrap_or(0).max(first.len() + second.len()));
        whole.extend_from_slice(&first);
        let mut next = Some(second);
        while let Some(piece) = next {
            self.check(whole.len() + piece.len())?;
            whole.extend_from_slice(&piece);
            next = self.next().await?;
        }
        Ok(whole.freeze())
    }

    /// Throw away what is left, so that the client gets to read the answer. Tells whether the connection can go on.
    pub(super) async fn discard(&mut self) -> bool {
        if self.is_over {
            return true;
        }
        let all = async {
            let mut discarded = 0;
            while let Ok(Some(piece)) = self.next().await {
                discarded += piece.len();
                if discarded > MOST_DISCARDED {
                    return;
                }
            }
        };
        // Too slow is as good as too much.
        let _ = tokio::time::timeout(LONGEST_DISCARD, all).await;
        self.is_over
    }

    /// Has everything been read?
    pub(super) fn is_over(&self) -> bool {
        self.is_over
    }

    async fn next(&mut self) -> Result<Option<Bytes>, axum::Error> {
        while let Some(frame) = self.body.frame().await {
            if let Ok(data) = frame?.into_data() {
                self.is_over = HttpBody::is_end_stream(&self.body);
                return Ok(Some(data));
            }
        }
        self.is_over = true;
        Ok(None)
    }

    fn check(&self, length: usize) -> Result<(), BodyError> {
        match self.limit {
            Some(limit) if length > limit => Err(BodyError::TooLarge),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn read(length: usize, limit: Option<usize>) -> Result<usize, String> {
        let mut body = RequestBody::new(Body::from(vec![b'x'; length]), limit);
        body.read().await.map(|body| body.len()).map_err(|error| error.to_string())
    }

    #[tokio::test]
    async fn the_limit_is_exact() {
        let too_large = || Err("stream too large".to_owned());
        assert_eq!(read(0, Some(100)).await, Ok(0));
        assert_eq!(read(100, Some(100)).await, Ok(100));
        assert_eq!(read(101, Some(100)).await, too_large());
        assert_eq!(read(5000, Some(100)).await, too_large());
        assert_eq!(read(5000, None).await, Ok(5000));
    }

    #[tokio::test]
    async fn pieces_without_an_announced_length_are_counted() {
        let pieces = || {
            let pieces = ["abc", "defg", "h"].map(Ok::<_, std::io::Error>);
            Body::from_stream(futures_util::stream::iter(pieces))
        };
        assert_eq!(RequestBody::new(pieces(), Some(8)).read().await.unwrap(), "abcdefgh");
        let mut body = RequestBody::new(pieces(), Some(7));
        body.read().await.unwrap_err();
        assert!(body.discard().await);
    }
}
