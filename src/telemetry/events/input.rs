//! Events of the input: what is found while flags, environment and files are read.

use crate::telemetry::Telemetry;
use crate::telemetry::log::Level;

impl Telemetry {
    /// Something was said about the input; the texts are daprd's where it has one.
    pub fn input_noted(&self, level: Level, scope: &str, text: &str) {
        self.0.log.write(level, scope, format_args!("{text}"), &[]);
    }
}
