//! Events of the server that all ports share.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::telemetry::event::Event;
use crate::telemetry::log::{Level, Log};
use crate::telemetry::metrics::Metrics;

const SCOPE: &str = "dapr.runtime.server";

/// A listener cannot accept connections; only the first failure of a row is reported.
pub struct AcceptFailed<'a> {
    /// The kind of its connections: `http connection`.
    pub name: &'a str,
    /// The reason.
    pub error: &'a io::Error,
}

/// A listener accepts connections again.
pub struct AcceptRecovered<'a> {
    /// The kind of its connections.
    pub name: &'a str,
}

impl Event for AcceptFailed<'_> {
    fn log(&self, log: &Log) {
        let Self { name, error } = self;
        log.write(Level::Warn, SCOPE, format_args!("cannot accept a new {name}, trying again: {error}"), &[]);
    }
}

impl Event for AcceptRecovered<'_> {
    fn log(&self, log: &Log) {
        let name = self.name;
        log.write(Level::Info, SCOPE, format_args!("accepting every new {name} again"), &[]);
    }
}

/// Something beyond a limit of a server was refused. The first of each limit is logged, all are counted.
pub struct Refused {
    limit: &'static str,
    is_first: bool,
}

impl Refused {
    /// `label` names the limit, `reported` whether this has been logged before.
    pub fn new(label: &'static str, reported: &AtomicBool) -> Self {
        Self { limit: label, is_first: !reported.swap(true, Ordering::Relaxed) }
    }
}

impl Event for Refused {
    fn log(&self, log: &Log) {
        if self.is_first {
            let limit = self.limit.replace('_', "-");
            log.write(
                Level::Warn,
                SCOPE,
                format_args!(
                    "overloaded: more than --max-{limit} allows, the rest is refused; further ones are counted as sidestream_refused_total"
                ),
                &[],
            );
        }
    }

    fn count(&self, metrics: &Metrics) {
        metrics.refused(self.limit);
    }
}
