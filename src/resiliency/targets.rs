//! Which policy a component has in which direction, and the one breaker it has in both (tests/spec/resources-cli.md,
//! "8.3 Built-in and default policies", "8.4 Execution").

use std::collections::BTreeMap;
use std::sync::Arc;

use parking_lot::Mutex;

use super::breaker::{BreakerCell, BreakerHandle, TRIP_VARIABLES, Template};
use super::policy::Policy;
use crate::diagnostic::{Diagnostic, Location};
use crate::expr::Expression;
use crate::resources::kinds::policies::{Direction, Policies};
use crate::resources::kinds::resiliency::Resiliency;
use crate::shutdown::Stop;
use crate::telemetry::Telemetry;
use crate::telemetry::log::Level;

/// All policies of a sidecar. Clones are handles to the same.
#[derive(Clone)]
pub struct Targets(Arc<Inner>);

struct Inner {
    policies: Policies,
    templates: BTreeMap<String, Arc<Template>>,
    breakers: Mutex<BTreeMap<String, BreakerCell>>,
    telemetry: Telemetry,
}

impl Targets {
    /// The policies of all resources; later ones replace earlier ones of the same name. If a `trip` does not compile, the targets of
    /// its resource are ignored, as with any other wrong policy. The diagnostics say so.
    pub fn new(resiliencies: &[Resiliency], telemetry: Telemetry) -> (Self, Vec<Diagnostic>) {
        let (mut policies, mut templates) = (Policies::built_in(), BTreeMap::new());
        let mut diagnostics = Vec::new();
        for resource in resiliencies {
            let mut read = resource.policies.clone();
            let mut is_whole = true;
            for (name, compiled) in compile(resource) {
                match compiled {
                    Ok(template) => {
                        diagnostics.extend(unknown_variables(resource, &template));
                        templates.insert(name, Arc::new(template));
                    }
                    Err(diagnostic) => {
                        read.breakers.remove(&name);
                        diagnostics.push(*diagnostic);
                        is_whole = false;
                    }
                }
            }
            if !is_whole {
                read.components.clear();
            }
            policies.add(&read);
        }
        let targets = Self(Arc::new(Inner { policies, templates, breakers: Mutex::default(), telemetry }));
        (targets, diagnostics)
    }

    /// The policies as they were declared.
    pub fn policies(&self) -> &Policies {
        &self.0.policies
    }

    /// The policy of a component, if it has one. `stop` ends its retries.
    pub fn policy(&self, component: &str, direction: Direction, stop: Stop) -> Option<Policy> {
        let policies = &self.0.policies;
        let timeout = policies.timeout_of(component, direction);
        let retry = policies.retry_of(component, direction);
        let breaker = policies.breaker_of(component, direction).and_then(|name| self.breaker(component, name));
        if timeout.is_none() && retry.is_none() && breaker.is_none() {
            return None;
        }
        if let Some(handle) = &breaker
            && direction == Direction::Inbound
        {
            // The first use decides which template the breaker has. A subscription asks for its policy when it starts, so this is
            // its first use; publishing asks with each call.
            handle.breaker();
        }
        Some(Policy {
            component: component.into(),
            direction,
            timeout,
            retry: retry.map(|(_, retry)| retry.clone()),
            breaker,
            stop,
            telemetry: self.0.telemetry.clone(),
        })
    }

    fn breaker(&self, component: &str, template: &str) -> Option<BreakerHandle> {
        let template = self.0.templates.get(template)?.clone();
        let mut breakers = self.0.breakers.lock();
        let cell = breakers.entry(component.to_owned()).or_default().clone();
        Some(BreakerHandle { component: component.into(), template, cell, telemetry: self.0.telemetry.clone() })
    }
}

/// A warning for each variable in `trip` that does not exist: an expression that reads it fails and does not open the breaker.
fn unknown_variables(resource: &Resiliency, template: &Template) -> Vec<Diagnostic> {
    let (Some(trip), Some((text, line))) = (&template.trip, &template.settings.trip) else {
        return Vec::new();
    };
    let location = Location::new(&resource.location.file, *line);
    let unknown = trip.unknown_variables(TRIP_VARIABLES);
    let warnings = unknown.iter().map(|variable| {
        let text = format!("resiliency policy {} ({location}): circuit breaker {:?}: trip {text:?}: {variable}; whenever its value is needed, the breaker does not open", resource.name, template.name);
        Diagnostic::warning(location.clone(), text)
    });
    warnings.collect()
}

/// The breakers of a resource, each compiled or with the mistake in it.
fn compile(resource: &Resiliency) -> impl Iterator<Item = (String, Result<Template, Box<Diagnostic>>)> + use<'_> {
    resource.policies.breakers.iter().map(|(name, settings)| {
        let trip = settings.trip.as_ref().map(|(text, line)| {
            Expression::compile(text).map_err(|error| {
                let location = Location::new(&resource.location.file, *line);
                let text = format!(
                    "Could not read resiliency policy {}: circuit breaker {name:?}: trip {text:?}: {error}",
                    resource.name
                );
                Box::new(Diagnostic::warning(location, text).at_level(Level::Error))
            })
        });
        let template = trip.transpose().map(|trip| Template { name: name.clone(), settings: settings.clone(), trip });
        (name.clone(), template)
    })
}
