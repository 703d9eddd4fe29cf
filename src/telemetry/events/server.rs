//! Events of the server that all ports share.

use std::io;

use crate::telemetry::event::Event;
use crate::telemetry::log::{Level, Log};

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
