//! The expressions of rules and circuit breakers: whether they compile, and whether they ask for variables that exist.

use super::Finding;
use crate::delivery::RULE_VARIABLES;
use crate::diagnostic::Location;
use crate::expr::{self, Expression, Subject};
use crate::resiliency::TRIP_VARIABLES;
use crate::resources::Resources;

pub(super) fn look(resources: &Resources, findings: &mut Vec<Finding>) {
    for spec in &resources.subscriptions {
        for (index, rule) in spec.rules.iter().enumerate() {
            if rule.match_.trim().is_empty() {
                continue;
            }
            let location = spec.location_of(&format!("spec.routes.rules[{index}].match"));
            for error in wrong(&rule.match_, RULE_VARIABLES) {
                let message = format!("rule for {}: match {:?}: {error}", rule.path, rule.match_);
                let help = "write a CEL expression over event, for example event.type == \"order\"";
                findings.push(Finding::mistake(location.clone(), message, help));
            }
        }
    }
    for resource in &resources.resiliencies {
        for (name, breaker) in &resource.policies.breakers {
            let Some((trip, line)) = &breaker.trip else {
                continue;
            };
            let location = Location::new(&resource.location.file, *line);
            let mut errors = wrong(trip, TRIP_VARIABLES);
            if errors.is_empty() {
                errors.extend(without_answer(trip));
            }
            for error in errors {
                let message = format!("circuit breaker {name}: trip {trip:?}: {error}");
                let help = "write a CEL expression, for example consecutiveFailures > 5";
                findings.push(Finding::mistake(location.clone(), message, help));
            }
        }
    }
}

/// What is wrong with an expression that may ask for these variables.
fn wrong(text: &str, known: &[&str]) -> Vec<String> {
    match expr::unknown_variables(text.trim(), known) {
        Ok(unknown) => unknown.iter().map(ToString::to_string).collect(),
        Err(error) => vec![error.to_string()],
    }
}

/// Why the breaker never opens, if the value of `trip` is neither true nor false.
fn without_answer(trip: &str) -> Option<String> {
    let numbers: Vec<_> = TRIP_VARIABLES.iter().map(|name| (*name, 1)).collect();
    let expression = Expression::compile(trip).ok()?;
    let error = expression.matches(&Subject::of_numbers(&numbers)).err()?;
    Some(format!("the breaker never opens: {error}"))
}
