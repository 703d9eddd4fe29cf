//! The result of a check: what every app would load, and the findings about it.

use std::collections::BTreeSet;
use std::io::Read;
use std::path::Path;

use super::input::{Input, View};
use super::{expressions, pubsubs};
use crate::cli::CheckArgs;
use crate::diagnostic::{Diagnostic, Severity};
use crate::environment::Environment;
use crate::resources::kinds::configuration::{self, Configuration, ConfigurationError};
use crate::resources::{LoadError, LoadRequest, Resources};

/// The input of one app.
#[derive(Default)]
pub(super) struct Loaded {
    pub(super) app_id: Option<String>,
    pub(super) resources: Resources,
    pub(super) configuration: Configuration,
}

/// The result of a check.
#[derive(Default)]
pub(super) struct Report {
    pub(super) loaded: Vec<Loaded>,
    pub(super) diagnostics: Vec<Diagnostic>,
}

impl Report {
    /// Read the input and check it.
    pub(super) fn make(args: &CheckArgs, environment: &Environment, stdin: &mut dyn Read) -> Self {
        let input = Input::of(args, environment, stdin);
        let mut report = Self { diagnostics: input.diagnostics, ..Self::default() };
        for view in &input.views {
            report.check(view, environment);
        }
        report.diagnostics.sort_by(|a, b| order(a).cmp(&order(b)));
        let mut seen = BTreeSet::new();
        report.diagnostics.retain(|found| {
            let location = found.location.as_ref().map(ToString::to_string);
            seen.insert((location, found.message.clone()))
        });
        report
    }

    fn check(&mut self, view: &View, environment: &Environment) {
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
        self.diagnostics.extend(resources.errors.iter().map(LoadError::diagnostic));
        self.add(&resources.diagnostics);
        pubsubs::check(&resources, view.app_id.as_deref(), &mut self.diagnostics);
        expressions::check(&resources, &mut self.diagnostics);
        self.loaded.push(Loaded { app_id: view.app_id.clone(), resources, configuration });
    }

    /// Add findings about the input, without those that are for the log only.
    fn add(&mut self, diagnostics: &[Diagnostic]) {
        self.diagnostics.extend(diagnostics.iter().filter(|found| found.severity > Severity::Info).cloned());
    }

    fn configuration(&mut self, view: &View, environment: &Environment) -> Configuration {
        match configuration::read(&view.config, environment) {
            Ok((configuration, diagnostics)) => {
                self.add(&diagnostics);
                configuration
            }
            Err(errors) => {
                self.diagnostics.extend(errors.iter().map(ConfigurationError::diagnostic));
                Configuration::default()
            }
        }
    }
}

/// Order of the report: by file and line, so that a file can be corrected from top to bottom.
fn order(found: &Diagnostic) -> (Option<&Path>, usize, &str) {
    let file = found.location.as_ref().map(|location| location.file.as_path());
    (file, found.line(), &found.message)
}
