//! Is the sidecar ready? Parts report; the health endpoints and the stop read.
//!
//! Two answers (spec http-api.md 8): outbound is ready once the APIs listen and the brokers can be reached, all is ready once the app is
//! there and its subscriptions run too.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock};

/// The readiness of one sidecar. Clones are handles to the same state.
#[derive(Clone, Debug, Default)]
pub struct Health(Arc<RwLock<State>>);

#[derive(Debug, Default)]
struct State {
    outbound: bool,
    ready: bool,
    /// What is being waited for: name of the part -> reason.
    waiting: BTreeMap<String, String>,
}

impl Health {
    /// The APIs listen and publishing can work.
    pub fn outbound_ready(&self) {
        self.change(|state| state.outbound = true);
    }

    /// Start-up is over.
    pub fn ready(&self) {
        self.change(|state| state.ready = true);
    }

    /// The stop has begun.
    pub fn stopping(&self) {
        self.change(|state| state.ready = false);
    }

    /// A part, for example a broker, cannot work yet, and why.
    pub fn waits_for(&self, part: &str, reason: &str) {
        self.change(|state| drop(state.waiting.insert(part.to_owned(), reason.to_owned())));
    }

    /// That part works.
    pub fn has(&self, part: &str) {
        self.change(|state| drop(state.waiting.remove(part)));
    }

    /// Is all ready? If not: what is missing, as `part` or `part: reason`.
    pub fn check(&self) -> Result<(), Vec<String>> {
        let state = self.0.read().unwrap_or_else(PoisonError::into_inner);
        if state.ready && state.waiting.is_empty() {
            return Ok(());
        }
        let waiting = state
            .waiting
            .iter()
            .map(|(part, reason)| format!("{part}: {reason}"));
        Err(if state.waiting.is_empty() {
            vec!["runtime".to_owned()]
        } else {
            waiting.collect()
        })
    }

    /// Can one publish?
    pub fn is_outbound_ready(&self) -> bool {
        let state = self.0.read().unwrap_or_else(PoisonError::into_inner);
        state.outbound && state.waiting.is_empty()
    }

    fn change(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.0.write().unwrap_or_else(PoisonError::into_inner));
    }
}
