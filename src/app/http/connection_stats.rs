//! Counts what was received on one connection to the app. By that a failed request knows whether the app has seen it (D27).
//!
//! An app may close a connection that it has kept open for a while at the same moment as we send the next request over it. That request
//! then ends without the first byte of an answer, though nothing is wrong with the app. Go's client sends such a request again, and so do
//! we.

use std::error::Error;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use http::Extensions;
use hyper_util::client::legacy::Error as ClientError;

/// How many bytes of the first answer are kept: the head of an HTTP/2 frame.
const FIRST: usize = 9;

/// The counters of one connection. Clones share them.
#[derive(Clone, Debug, Default)]
pub(super) struct ConnectionStats(Arc<Counters>);

/// The connection's task writes here. A request that has failed reads it, after it was told so by that task.
#[derive(Debug, Default)]
struct Counters {
    first: OnceLock<Vec<u8>>,
    received: AtomicU64,
    /// `received` when the latest request began.
    received_before: AtomicU64,
    has_answered: AtomicBool,
}

impl ConnectionStats {
    /// Of the connection on which a request failed. `None` if it never had one.
    pub(super) fn of(error: &ClientError) -> Option<Self> {
        let mut extensions = Extensions::new();
        error.connect_info()?.get_extras(&mut extensions);
        extensions.remove()
    }

    /// Counts bytes that were read.
    pub(super) fn record_read(&self, bytes: &[u8]) {
        let count = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
        if self.0.received.fetch_add(count, Ordering::Relaxed) == 0 && count > 0 {
            // Set once: only for the first bytes is the counter zero.
            let _ = self.0.first.set(bytes[..bytes.len().min(FIRST)].to_vec());
        }
    }

    /// Note that bytes are written. For HTTP/1 they begin a new request if something was read since the last write.
    pub(super) fn record_write(&self) {
        let received = self.0.received.load(Ordering::Relaxed);
        self.0.received_before.store(received, Ordering::Relaxed);
    }

    /// An answer has come over this connection.
    pub(super) fn record_answer(&self) {
        self.0.has_answered.store(true, Ordering::Relaxed);
    }

    /// The first bytes that were received; empty if nothing was.
    pub(super) fn first(&self) -> &[u8] {
        self.0.first.get().map_or(&[], Vec::as_slice)
    }

    /// Had the connection been used before, and was nothing received for the latest request? For HTTP/1, which has one request at a time.
    fn is_silent_after_reuse(&self) -> bool {
        let received = self.0.received.load(Ordering::Relaxed);
        received > 0 && received == self.0.received_before.load(Ordering::Relaxed)
    }
}

/// Was this request lost because the app had closed the connection? Then the app has most likely not seen it, and it is sent again.
pub(super) fn was_lost_with_connection(error: &ClientError, is_http2: bool) -> bool {
    let Some(stats) = ConnectionStats::of(error) else {
        return false;
    };
    if !is_http2 {
        return stats.is_silent_after_reuse();
    }
    match http2_error(error) {
        // The app itself says that it has not processed the request.
        Some(error) if error.is_remote() && error.is_go_away() => true,
        Some(error) if error.reason() == Some(h2::Reason::REFUSED_STREAM) => true,
        Some(error) if !error.is_io() => false,
        // The connection broke. Frames other than answers are received, too, so the number of bytes proves nothing.
        _ => stats.0.has_answered.load(Ordering::Relaxed),
    }
}

fn http2_error(error: &ClientError) -> Option<&h2::Error> {
    let mut source = error.source();
    while let Some(inner) = source {
        if let Some(found) = inner.downcast_ref() {
            return Some(found);
        }
        source = inner.source();
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `<` is a byte that comes, `>` one that goes.
    #[test]
    fn only_a_connection_with_an_earlier_answer_and_nothing_since_is_silent_after_reuse() {
        for (bytes, expected) in [
            ("", false),
            (">", false),
            (">>", false),
            ("><", false),
            (">><<", false),
            ("><>", true),
            ("><<>>", true),
            ("><><", false),
            ("><><>", true),
        ] {
            let stats = ConnectionStats::default();
            for byte in bytes.chars() {
                match byte {
                    '<' => stats.record_read(b"x"),
                    _ => stats.record_write(),
                }
            }
            assert_eq!(stats.is_silent_after_reuse(), expected, "{bytes}");
        }
    }

    #[test]
    fn the_first_bytes_are_kept() {
        let stats = ConnectionStats::default();
        assert_eq!(stats.first(), b"");
        stats.record_read(b"");
        stats.record_read(b"HTTP/1.1 200 OK");
        stats.record_read(b"more");
        assert_eq!(stats.first(), b"HTTP/1.1 ");
    }
}
