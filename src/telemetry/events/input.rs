//! Events of the input: findings while flags, environment and files are read.

use crate::telemetry::event::Event;
use crate::telemetry::log::{Level, Log};

/// A finding about the input. Texts are daprd's where it has one.
#[derive(Clone, Copy, Debug)]
pub struct InputNoted<'a> {
    /// Level of the line.
    pub level: Level,
    /// Its logger.
    pub scope: &'a str,
    /// Its text.
    pub text: &'a str,
}

impl Event for InputNoted<'_> {
    fn log(&self, log: &Log) {
        log.write(self.level, self.scope, format_args!("{}", self.text), &[]);
    }
}
