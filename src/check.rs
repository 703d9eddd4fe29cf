//! `sidestream check`: reads resource files, connects to nothing, and reports what is wrong with them, each with place and remedy.
//!
//! `main` calls [`run`]. `input` finds out what there is to read, `pubsubs` and `expressions` look at what the readers of the files
//! cannot judge, `output` writes the report for people or as JSON.

mod expressions;
mod input;
mod output;
mod pubsubs;

use std::collections::BTreeSet;
use std::io::{self, Read, Write};

use self::input::{Input, View};
use crate::cli::CheckArgs;
use crate::diagnostic::{Diagnostic, Location, Weight};
use crate::environment::Environment;
use crate::resources::kinds::configuration::{self, Configuration};
use crate::resources::{LoadRequest, Resources};

/// How much a finding matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Severity {
    /// Nothing has to be changed.
    WorthKnowing,
    /// It cannot work, or does something else than its author wants.
    Mistake,
}

/// One thing to report.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Finding {
    severity: Severity,
    location: Option<Location>,
    message: String,
    help: Option<String>,
}

impl Finding {
    fn mistake(location: Location, message: impl Into<String>, help: impl Into<String>) -> Self {
        Self {
            severity: Severity::Mistake,
            location: Some(location),
            message: message.into(),
            help: Some(help.into()).filter(|help| !help.is_empty()),
        }
    }

    fn hint(location: Location, message: impl Into<String>, help: impl Into<String>) -> Self {
        Self { severity: Severity::WorthKnowing, ..Self::mistake(location, message, help) }
    }

    /// Of a note about the input; `None` for one that is only for the log.
    fn of(note: &Diagnostic) -> Option<Self> {
        let severity = match note.weight {
            Weight::Log => return None,
            Weight::Hint => Severity::WorthKnowing,
            Weight::Mistake => Severity::Mistake,
        };
        Some(Self {
            severity,
            location: note.location.clone(),
            message: note.plain.clone().unwrap_or_else(|| note.text.clone()),
            help: note.remedy.clone(),
        })
    }

    /// By place, so that a file can be corrected from top to bottom.
    fn order(&self) -> (Option<&std::path::Path>, usize, &str) {
        let location = self.location.as_ref();
        let file = location.map(|location| location.file.as_path());
        (file, location.map_or(0, |location| location.line), &self.message)
    }
}

/// What one app would load.
#[derive(Default)]
struct Seen {
    app_id: Option<String>,
    resources: Resources,
    configuration: Configuration,
}

/// Everything to report.
#[derive(Default)]
struct Report {
    seen: Vec<Seen>,
    findings: Vec<Finding>,
}

/// Check, and write what was found. The result is the exit code: 1 if there is a mistake, or with `--strict` anything worth knowing.
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
    let counts = |finding: &Finding| args.strict || finding.severity == Severity::Mistake;
    Ok(u8::from(report.findings.iter().any(counts)))
}

impl Report {
    fn make(args: &CheckArgs, environment: &Environment, stdin: &mut dyn Read) -> Self {
        let input = Input::of(args, environment, stdin);
        let mut report = Self { findings: input.findings, ..Self::default() };
        for view in &input.views {
            report.look(view, environment);
        }
        report.findings.sort_by(|a, b| a.order().cmp(&b.order()));
        let mut said = BTreeSet::new();
        report.findings.retain(|finding| {
            let location = finding.location.as_ref().map(ToString::to_string);
            said.insert((location, finding.message.clone()))
        });
        report
    }

    fn look(&mut self, view: &View, environment: &Environment) {
        let mut environment = environment.clone();
        if let Some(app_id) = &view.app_id {
            environment.set("APP_ID", app_id);
        }
        let configuration = self.configuration(view, &environment);
        let mut resources = Resources::load(&LoadRequest {
            app_id: view.app_id.as_deref(),
            folders: &view.folders,
            files: &view.files,
            denied: &configuration.denied_components,
            handlers: &configuration.handlers,
            hot_reload: false,
            environment: &environment,
        });
        resources.add_advice();
        let errors =
            resources.errors.iter().map(|error| Finding::mistake(error.location(), error.plain(), error.remedy()));
        self.findings.extend(errors);
        self.findings.extend(resources.notes.iter().filter_map(Finding::of));
        pubsubs::look(&resources, view.app_id.as_deref(), &mut self.findings);
        expressions::look(&resources, &mut self.findings);
        self.seen.push(Seen { app_id: view.app_id.clone(), resources, configuration });
    }

    fn configuration(&mut self, view: &View, environment: &Environment) -> Configuration {
        match configuration::read(&view.config, environment) {
            Ok((configuration, notes)) => {
                self.findings.extend(notes.iter().filter_map(Finding::of));
                configuration
            }
            Err(errors) => {
                let findings = errors.into_iter().map(|error| Finding {
                    severity: Severity::Mistake,
                    location: error.location().cloned(),
                    message: error.plain(),
                    help: None,
                });
                self.findings.extend(findings);
                Configuration::default()
            }
        }
    }
}

#[cfg(test)]
mod tests;
