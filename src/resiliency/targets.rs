//! Which policy a component has in which direction, and the one breaker it has in both (tests/spec/resources-cli.md,
//! "8.3 Built-in and default policies", "8.4 Execution").

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};

use parking_lot::Mutex;

use super::Policy;
use super::breaker::{Breaker, TRIP_VARIABLES, Template};
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

/// The breaker of one component, made when it is first used: from the template that is first used.
type BreakerCell = Arc<OnceLock<Breaker>>;

/// How a policy gets at the breaker of its component.
pub(super) struct BreakerHandle {
    component: Arc<str>,
    template: Arc<Template>,
    cell: BreakerCell,
    telemetry: Telemetry,
}

impl Targets {
    /// From resources, later ones over earlier ones. A `trip` that does not compile takes the targets of its resource away, like any
    /// other wrong policy; what is said about it comes beside.
    pub fn new(resiliencies: &[Resiliency], telemetry: Telemetry) -> (Self, Vec<Diagnostic>) {
        let (mut policies, mut templates) = (Policies::built_in(), BTreeMap::new());
        let mut diagnostics = Vec::new();
        for resource in resiliencies {
            let mut read = resource.policies.clone();
            let mut is_whole = true;
            for (name, compiled) in compile(resource) {
                match compiled {
                    Ok(template) => {
                        diagnostics.extend(variables_that_nothing_sets(resource, &template));
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

    /// The policies behind it.
    pub fn policies(&self) -> &Policies {
        &self.0.policies
    }

    /// The policy of a component, if it has any. Its retries end with `stop`.
    pub fn policy(&self, component: &str, direction: Direction, stop: Stop) -> Option<Policy> {
        let policies = &self.0.policies;
        let timeout = policies.timeout_of(component, direction);
        let retry = policies.retry_of(component, direction);
        let breaker = policies.breaker_of(component, direction).and_then(|name| self.guard(component, name));
        if timeout.is_none() && retry.is_none() && breaker.is_none() {
            return None;
        }
        if let Some(guard) = &breaker
            && direction == Direction::Inbound
        {
            // Deliveries are looked up when the subscription starts, publishing with each call: who is first decides.
            guard.breaker();
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

    fn guard(&self, component: &str, template: &str) -> Option<BreakerHandle> {
        let template = self.0.templates.get(template)?.clone();
        let mut breakers = self.0.breakers.lock();
        let cell = breakers.entry(component.to_owned()).or_default().clone();
        Some(BreakerHandle { component: component.into(), template, cell, telemetry: self.0.telemetry.clone() })
    }
}

impl BreakerHandle {
    pub(super) fn breaker(&self) -> &Breaker {
        let make = || Breaker::new(self.template.clone(), &self.component, self.telemetry.clone());
        self.cell.get_or_init(make)
    }
}

/// A warning for each variable in `trip` that does not exist: asked for its value, the expression has no answer and does not trip.
fn variables_that_nothing_sets(resource: &Resiliency, template: &Template) -> Vec<Diagnostic> {
    let (Some(trip), Some((text, line))) = (&template.trip, &template.settings.trip) else {
        return Vec::new();
    };
    let location = Location::new(&resource.location.file, *line);
    let unknown = trip.unknown_variables(TRIP_VARIABLES);
    let warnings = unknown.iter().map(|variable| {
        let said = format!("resiliency policy {} ({location}): circuit breaker {:?}: trip {text:?}: {variable}; whenever its value is needed, the breaker does not open", resource.name, template.name);
        Diagnostic::warning(location.clone(), said)
    });
    warnings.collect()
}

/// The breakers of a resource, each compiled or with what is wrong.
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
