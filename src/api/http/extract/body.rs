//! Request bodies: read up to the limit of their size and within the memory for all of them, or discarded
//! (tests/spec/http-api.md, "5.6 Body limit on publish"; D7).

use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, HttpBody};
use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt;
use tokio::sync::Mutex;

use crate::api::error::ApiError;
use crate::server::{BodyMemory, BodyMemoryFull, BodyReservation, Limit};

/// The bytes that are discarded of a body before the connection is closed instead.
const MAX_DISCARDED: usize = 8 << 20;

/// The time a client has to send what is discarded.
const MAX_DISCARD_TIME: Duration = Duration::from_secs(1);

/// A request body that has not been read, or not to its end. Its memory counts until it is dropped.
pub(in crate::api::http) struct RequestBody {
    body: Body,
    limit: Option<usize>,
    memory: BodyReservation,
    is_at_end: bool,
}

/// The reason why there is no body.
#[derive(Debug, thiserror::Error)]
pub(in crate::api::http) enum BodyError {
    /// It is longer than allowed.
    #[error("stream too large")]
    TooLarge,
    /// There is no memory for it now.
    #[error(transparent)]
    NoMemory(#[from] BodyMemoryFull),
    /// It did not come to its end.
    #[error("{0}")]
    Broken(#[from] axum::Error),
}

/// A body that a handler of the app reads, and the service around it afterwards discards.
pub(in crate::api::http) type SharedBody = Arc<Mutex<RequestBody>>;

impl BodyError {
    /// The error of a route whose body cannot be read, from a text; a lack of memory is the same error for all routes.
    pub(in crate::api::http) fn of_route(self, error: impl FnOnce(String) -> ApiError) -> ApiError {
        match self {
            Self::NoMemory(BodyMemoryFull) => ApiError::Overloaded { limit: Limit::BodyMemory },
            Self::TooLarge | Self::Broken(_) => error(self.to_string()),
        }
    }
}

impl RequestBody {
    /// A body of at most `limit` bytes; the limit is exact (D7).
    pub(in crate::api::http) fn new(body: Body, limit: Option<usize>, memory: &BodyMemory) -> Self {
        let is_at_end = HttpBody::is_end_stream(&body);
        Self { body, limit, memory: memory.reservation(), is_at_end }
    }

    /// The whole body. Memory is taken for what has come, never for what is announced.
    pub(in crate::api::http) async fn read(&mut self) -> Result<Bytes, BodyError> {
        let announced = usize::try_from(HttpBody::size_hint(&self.body).lower()).unwrap_or(usize::MAX);
        self.check(announced)?;
        let Some(first) = self.next().await? else {
            return Ok(Bytes::new());
        };
        self.check(first.len())?;
        self.memory.grow(first.len())?;
        // Small bodies come in one piece, which is not copied.
        let Some(second) = self.next().await? else {
            return Ok(first);
        };
        let mut whole = BytesMut::new();
        let mut piece = Some(first);
        let mut following = Some(second);
        while let Some(bytes) = piece {
            self.check(whole.len() + bytes.len())?;
            self.make_room(&mut whole, bytes.len(), announced)?;
            whole.extend_from_slice(&bytes);
            piece = match following.take() {
                Some(second) => Some(second),
                None => self.next().await?,
            };
        }
        Ok(whole.freeze())
    }

    /// Makes room for more bytes: twice as much as there are, but not more than announced.
    fn make_room(&mut self, whole: &mut BytesMut, bytes: usize, announced: usize) -> Result<(), BodyMemoryFull> {
        let needed = whole.len() + bytes;
        if needed > whole.capacity() {
            let capacity = needed.max(announced.min(needed.saturating_mul(2)));
            self.memory.grow(capacity - whole.capacity())?;
            whole.reserve(capacity - whole.len());
        }
        Ok(())
    }

    /// Takes the body, and leaves an empty one that has no memory.
    pub(in crate::api::http) fn take(&mut self) -> Self {
        let empty = Self { body: Body::empty(), limit: self.limit, memory: self.memory.empty(), is_at_end: true };
        std::mem::replace(self, empty)
    }

    /// Discards the rest, so that the client gets to read the answer. `true` if the connection can go on.
    pub(in crate::api::http) async fn discard(&mut self) -> bool {
        if self.is_at_end {
            return true;
        }
        let rest = async {
            let mut discarded = 0;
            while let Ok(Some(piece)) = self.next().await {
                discarded += piece.len();
                if discarded > MAX_DISCARDED {
                    return;
                }
            }
        };
        // Too slow is as good as too much.
        let _ = tokio::time::timeout(MAX_DISCARD_TIME, rest).await;
        self.is_at_end
    }

    /// Has everything been read?
    pub(in crate::api::http) fn is_at_end(&self) -> bool {
        self.is_at_end
    }

    async fn next(&mut self) -> Result<Option<Bytes>, axum::Error> {
        while let Some(frame) = self.body.frame().await {
            if let Ok(data) = frame?.into_data() {
                self.is_at_end = HttpBody::is_end_stream(&self.body);
                return Ok(Some(data));
            }
        }
        self.is_at_end = true;
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
    use crate::telemetry::Telemetry;
    use crate::telemetry::log::{Level, Log};
    use crate::telemetry::metrics::Metrics;

    fn memory(max: usize) -> BodyMemory {
        BodyMemory::new(max, Telemetry::new(Log::new(Level::Fatal, std::io::sink()), Metrics::default()))
    }

    async fn read(length: usize, limit: Option<usize>) -> Result<usize, String> {
        let mut body = RequestBody::new(Body::from(vec![b'x'; length]), limit, &memory(1 << 20));
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
        assert_eq!(RequestBody::new(pieces(), Some(8), &memory(8)).read().await.unwrap(), "abcdefgh");
        let mut body = RequestBody::new(pieces(), Some(7), &memory(8));
        body.read().await.unwrap_err();
        assert!(body.discard().await);
    }

    #[tokio::test]
    async fn a_body_has_memory_for_what_has_come_until_it_is_dropped() {
        let memory = memory(100);
        let mut first = RequestBody::new(Body::from(vec![b'x'; 80]), None, &memory);
        first.read().await.unwrap();
        let mut second = RequestBody::new(Body::from(vec![b'x'; 30]), None, &memory);
        let error = second.read().await.unwrap_err();
        assert_eq!(error.of_route(|text| ApiError::BodyRead { error: text }).response().code, "ERR_OVERLOADED");
        drop(first);
        let mut third = RequestBody::new(Body::from(vec![b'x'; 30]), None, &memory);
        assert_eq!(third.read().await.unwrap().len(), 30);
    }
}
