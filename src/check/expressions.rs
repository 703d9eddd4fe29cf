//! Checks the expressions of routing rules and circuit breakers: they compile, and their variables exist.

use crate::delivery::RULE_VARIABLES;
use crate::diagnostic::{Diagnostic, Location};
use crate::expr::{self, Expression, Subject};
use crate::resiliency::TRIP_VARIABLES;
use crate::resources::Resources;

pub(super) fn check(resources: &Resources, diagnostics: &mut Vec<Diagnostic>) {
    for spec in &resources.subscriptions {
        for (index, rule) in spec.rules.iter().enumerate() {
            if rule.match_.trim().is_empty() {
                continue;
            }
            let location = spec.location_of(&format!("spec.routes.rules[{index}].match"));
            for error in errors_of(&rule.match_, RULE_VARIABLES) {
                let message = format!("rule for {}: match {:?}: {error}", rule.path, rule.match_);
                let help = "write a CEL expression over event, for example event.type == \"order\"";
                diagnostics.push(Diagnostic::warning(location.clone(), message).with_help(help));
            }
        }
    }
    for resource in &resources.resiliencies {
        for (name, breaker) in &resource.policies.breakers {
            let Some((trip, line)) = &breaker.trip else {
                continue;
            };
            let location = Location::new(&resource.location.file, *line);
            let mut errors = errors_of(trip, TRIP_VARIABLES);
            if errors.is_empty() {
                errors.extend(never_opens(trip));
            }
            for error in errors {
                let message = format!("circuit breaker {name}: trip {trip:?}: {error}");
                let help = "write a CEL expression, for example consecutiveFailures > 5";
                diagnostics.push(Diagnostic::warning(location.clone(), message).with_help(help));
            }
        }
    }
}

/// The errors of an expression that may use these variables.
fn errors_of(text: &str, known: &[&str]) -> Vec<String> {
    match expr::unknown_variables(text.trim(), known) {
        Ok(unknown) => unknown.iter().map(ToString::to_string).collect(),
        Err(error) => vec![error.to_string()],
    }
}

/// The reason why a breaker never opens: the value of `trip` is neither true nor false.
fn never_opens(trip: &str) -> Option<String> {
    let numbers: Vec<_> = TRIP_VARIABLES.iter().map(|name| (*name, 1)).collect();
    let expression = Expression::compile(trip).ok()?;
    let error = expression.matches(&Subject::of_numbers(&numbers)).err()?;
    Some(format!("the breaker never opens: {error}"))
}
