//! The life of a connection from its first byte to its drain.

use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use super::transport::Deadlines;
use crate::shutdown::Stop;

/// Drives a connection until it ends, a deadline closes it, or `stop`. Then it takes no new requests and finishes the
/// running ones.
pub(super) async fn drive<C: Future>(
    serving: C,
    shut_down: fn(Pin<&mut C>),
    has_request: &AtomicBool,
    deadlines: Deadlines,
    stop: &Stop,
) {
    let mut connection = pin!(serving);
    tokio::select! {
        // A connection that breaks is the client's affair.
        _ = connection.as_mut() => return,
        () = stop.triggered() => {}
        () = no_first_request(deadlines.first_request, has_request) => return,
        () = idle(deadlines.idle, has_request) => {}
    }
    shut_down(connection.as_mut());
    match deadlines.drain {
        Some(limit) => drop(tokio::time::timeout(limit, connection).await),
        None => drop(connection.await),
    }
}

/// Resolves if no request has begun within `limit`.
async fn no_first_request(limit: Option<Duration>, has_request: &AtomicBool) {
    if let Some(limit) = limit {
        tokio::time::sleep(limit).await;
        if !has_request.load(Ordering::Relaxed) {
            return;
        }
    }
    std::future::pending().await
}

/// Resolves when `limit` has passed without a new request. It is checked once in `limit`, so that requests need not be
/// timed.
async fn idle(limit: Option<Duration>, has_request: &AtomicBool) {
    let Some(limit) = limit else { return std::future::pending().await };
    loop {
        tokio::time::sleep(limit).await;
        if !has_request.swap(false, Ordering::Relaxed) {
            return;
        }
    }
}
