//! `sidestream check`: reads resource files without connecting to anything, and reports what is wrong with them.
//!
//! `main` calls [`run`]. `input` lists what to read, `report` reads it. `pubsubs` and `expressions` check what the readers
//! of the files cannot: settings of brokers, scopes and expressions. `output` writes the report, as text or as JSON.

mod expressions;
mod input;
mod output;
mod pubsubs;
mod report;

use std::io::{self, Read, Write};

use self::report::Report;
use crate::cli::CheckArgs;
use crate::diagnostic::Diagnostic;
use crate::environment::Environment;

/// Check, and write the report. Returns the exit code: 1 if there is a mistake, or with `--strict` anything worth knowing.
///
/// # Errors
/// `out` cannot be written to.
pub fn run(args: &CheckArgs, environment: &Environment, stdin: &mut dyn Read, out: &mut dyn Write) -> io::Result<u8> {
    let report = Report::make(args, environment, stdin);
    if args.json {
        output::json(&report, out)?;
    } else {
        output::text(&report, out)?;
    }
    let counts = |found: &Diagnostic| args.strict || found.severity.is_mistake();
    Ok(u8::from(report.diagnostics.iter().any(counts)))
}

#[cfg(test)]
mod tests;
