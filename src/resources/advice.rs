//! Advice about resources that are valid and still not what their author wants. It needs all resources.
//!
//! [`Resources::add_advice`] adds it to the diagnostics of a load; `delivery` asks for advice about the subscriptions of
//! the app.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use crate::diagnostic::{Diagnostic, Location};
use crate::metadata::nearest;
use crate::resources::kinds::policies::{Direction, Policies, PolicyNames};
use crate::resources::kinds::resiliency::Resiliency;
use crate::resources::kinds::subscription::SubscriptionSpec;
use crate::resources::set::Resources;
use crate::telemetry::log::Level;

/// A warning that the log has with its location.
fn warning(location: &Location, text: String, help: impl Into<String>) -> Diagnostic {
    Diagnostic::warning(location.clone(), text).with_help(help).logged_as_sentence()
}

/// A hint that the log has with its location.
fn hint(location: &Location, text: String, help: impl Into<String>) -> Diagnostic {
    Diagnostic::hint(location.clone(), text).with_help(help).logged_as_sentence()
}

/// All advice about a set of resources.
pub fn of(resources: &Resources) -> Vec<Diagnostic> {
    let policies = resources.policies();
    let mut diagnostics = Vec::new();
    for resource in &resources.resiliencies {
        undefined_policies(resource, &policies, &mut diagnostics);
        unknown_targets(resource, resources, &mut diagnostics);
        diagnostics.extend(only_service_invocation(resource));
    }
    unused_policies(resources, &mut diagnostics);
    for (index, spec) in resources.subscriptions.iter().enumerate() {
        diagnostics.extend(same_topic(spec, &resources.subscriptions[..index]));
        diagnostics.extend(unknown_pubsub(spec, resources));
        diagnostics.extend(no_route(spec));
        useless_rules(spec, &mut diagnostics);
        diagnostics.extend(dead_letters_to_itself(spec));
        diagnostics.extend(dead_letters_in_a_circle(index, &resources.subscriptions));
        if spec.dead_letter_topic != spec.topic {
            diagnostics.extend(retry_before_dead_letter(spec, &policies));
        }
    }
    diagnostics
}

/// The log line about topics of an app's own subscriptions to a pub/sub that is not loaded.
pub fn pubsub_not_loaded(pubsub: &str, topics: &[&str], loaded: &[&str]) -> String {
    let mut text = format!(
        "the app subscribes to {} of the pub/sub {pubsub}, which is not loaded: nothing is delivered from it",
        topics.join(", ")
    );
    // Writing to a String cannot fail.
    let _ = write!(text, "; {}", loaded_or_meant(pubsub, loaded));
    if nearest(pubsub, loaded).is_some() {
        let _ = write!(text, " Loaded: {}", loaded.join(", "));
    }
    text
}

/// The help about a pub/sub name that is not loaded.
fn loaded_or_meant(name: &str, loaded: &[&str]) -> String {
    match (nearest(name, loaded), loaded) {
        (Some(meant), _) => format!("did you mean {meant}?"),
        (None, []) => "no pub/sub is loaded, add a component of this name".to_owned(),
        (None, loaded) => format!("add a component of this name, or use one that is loaded: {}", loaded.join(", ")),
    }
}

/// Advice about a dead-letter topic without a retry policy: the first failure moves the event (D25).
pub fn retry_before_dead_letter(spec: &SubscriptionSpec, policies: &Policies) -> Option<Diagnostic> {
    let has_retry = policies.retry_of(&spec.pubsub, Direction::Inbound).is_some();
    if spec.dead_letter_topic.is_empty() || has_retry {
        return None;
    }
    let text = format!(
        "topic {} on pubsub {} has the dead-letter topic {} and no retry policy: the first failure of an event moves it there",
        spec.topic, spec.pubsub, spec.dead_letter_topic
    );
    let diagnostic = Diagnostic::hint(spec.location_of("spec.deadLetterTopic"), text);
    Some(diagnostic.with_help(retry_policy(&spec.pubsub)))
}

/// The help with a resource that retries deliveries of a component.
fn retry_policy(pubsub: &str) -> String {
    format!(
        "to try again first, add this resource:
apiVersion: dapr.io/v1alpha1
kind: Resiliency
metadata:
  name: {pubsub}-retries
spec:
  policies:
    retries:
      again:
        policy: constant
        duration: 1s
        maxRetries: 3
  targets:
    components:
      {pubsub}:
        inbound:
          retry: again"
    )
}

fn undefined_policies(resource: &Resiliency, policies: &Policies, diagnostics: &mut Vec<Diagnostic>) {
    for (component, target) in &resource.policies.components {
        for (way, names) in [("inbound", &target.inbound), ("outbound", &target.outbound)] {
            for (what, name, known) in lookups(names, policies) {
                if name.is_empty() || known.contains(&name) {
                    continue;
                }
                let key = format!("spec.targets.components.{component}.{way}.{}", field_of(what));
                let text = format!(
                    "{way} target of component {component} in resiliency {} names the {what} {name}, which no resource defines: it has none",
                    resource.name
                );
                let own: Vec<&str> =
                    known.iter().copied().filter(|name| !Policies::built_in().retries.contains_key(*name)).collect();
                let remedy = match (nearest(name, &known), own.as_slice()) {
                    (Some(meant), _) => format!("did you mean {meant}?"),
                    (None, []) => "define it under spec.policies".to_owned(),
                    (None, own) => format!("define it under spec.policies, or name one of: {}", own.join(", ")),
                };
                let diagnostic = Diagnostic::warning(resource.location_of(&key), text).at_level(Level::Error);
                diagnostics.push(diagnostic.with_help(remedy));
            }
        }
    }
}

/// The kinds of policies of a target: kind, name in the target, defined names.
fn lookups<'a>(names: &'a PolicyNames, policies: &'a Policies) -> [(&'static str, &'a str, Vec<&'a str>); 3] {
    let timeouts = policies.timeouts.keys().map(String::as_str).collect();
    let retries = policies.retries.keys().map(String::as_str).collect();
    let breakers = policies.breakers.keys().map(String::as_str).collect();
    [
        ("timeout", &names.timeout, timeouts),
        ("retry policy", &names.retry, retries),
        ("circuit breaker", &names.breaker, breakers),
    ]
}

/// The field of a target for a kind of policy.
fn field_of(what: &str) -> &'static str {
    match what {
        "timeout" => "timeout",
        "retry policy" => "retry",
        _ => "circuitBreaker",
    }
}

/// Targets that are no component: their policies are not used.
fn unknown_targets(resource: &Resiliency, resources: &Resources, diagnostics: &mut Vec<Diagnostic>) {
    let loaded = resources.components.iter().map(|it| it.name.as_str());
    let mut known: Vec<&str> = loaded.collect();
    known.extend(resources.component_names.iter().map(String::as_str));
    for component in resource.policies.components.keys() {
        if known.contains(&component.as_str()) {
            continue;
        }
        let location = resource.location_of(&format!("spec.targets.components.{component}"));
        let text = format!(
            "no component {component}: the policies of this target in resiliency {} are not used",
            resource.name
        );
        diagnostics.push(if known.is_empty() {
            hint(&location, text, "no component is loaded")
        } else {
            let help = match nearest(component, &known) {
                Some(meant) => format!("did you mean {meant}?"),
                None => format!("the components are: {}", known.join(", ")),
            };
            warning(&location, text, help)
        });
    }
}

fn only_service_invocation(resource: &Resiliency) -> Option<Diagnostic> {
    if resource.foreign.is_empty() || resource.has_targets() {
        return None;
    }
    let (key, about) =
        if resource.lines.has("spec.targets.apps") { ("apps", "service invocation") } else { ("actors", "actors") };
    let location = resource.location_of(&format!("spec.targets.{key}"));
    let text = format!("targets.{key} is about {about}: it has no effect on deliveries and publishing");
    let help =
        "for those write targets.components.<name of the pub/sub> with inbound (deliveries) or outbound (publishing)";
    Some(hint(&location, text, help))
}

/// Policies that no target names and that are no defaults by their names.
fn unused_policies(resources: &Resources, diagnostics: &mut Vec<Diagnostic>) {
    let (mut used, mut is_sure) = (BTreeSet::new(), true);
    for resource in &resources.resiliencies {
        let targets = resource.policies.components.values();
        let sides = targets.flat_map(|target| [&target.inbound, &target.outbound]);
        for names in sides.chain(&resource.foreign) {
            used.insert(("timeouts", names.timeout.as_str()));
            used.insert(("retries", names.retry.as_str()));
            used.insert(("circuitBreakers", names.breaker.as_str()));
        }
        // The targets of a resource with an invalid policy are not known.
        is_sure &= resource.has_targets() != resource.policies.components.is_empty();
    }
    if !is_sure {
        return;
    }
    for resource in &resources.resiliencies {
        let Policies { timeouts, retries, breakers, .. } = &resource.policies;
        let timeouts = timeouts.keys().map(|name| ("timeouts", "timeout", name));
        let retries = retries.keys().map(|name| ("retries", "retry policy", name));
        let breakers = breakers.keys();
        let breakers = breakers.map(|name| ("circuitBreakers", "circuit breaker", name));
        for (key, what, name) in timeouts.chain(retries).chain(breakers) {
            if used.contains(&(key, name.as_str())) || Policies::is_default_name(name) {
                continue;
            }
            let location = resource.location_of(&format!("spec.policies.{key}.{name}"));
            let text = format!("the {what} {name} is used by no target");
            let help = "name it under spec.targets.components.<name of the pub/sub>.inbound or outbound, or remove it";
            diagnostics.push(hint(&location, text, help));
        }
    }
}

fn same_topic(spec: &SubscriptionSpec, earlier: &[SubscriptionSpec]) -> Option<Diagnostic> {
    let is_same = |known: &&SubscriptionSpec| known.pubsub == spec.pubsub && known.topic == spec.topic;
    let first = earlier.iter().find(is_same)?;
    let text = format!("topic {} on pubsub {} is subscribed to twice, this one is not used", spec.topic, spec.pubsub);
    let help = format!("remove it; the one that is used stands at {}", first.location_of("spec.topic"));
    let location = spec.location_of("spec.topic");
    Some(warning(&location, text, help))
}

fn unknown_pubsub(spec: &SubscriptionSpec, resources: &Resources) -> Option<Diagnostic> {
    let pubsubs = resources.components.iter().filter(|component| component.is_pubsub());
    let known: Vec<&str> = pubsubs.map(|component| component.name.as_str()).collect();
    if spec.pubsub.is_empty() || known.contains(&spec.pubsub.as_str()) {
        return None;
    }
    let location = spec.location_of("spec.pubsubname");
    if resources.component_names.contains(&spec.pubsub) {
        let text = format!(
            "subscription to topic {} waits for a pubsub {}, which is not loaded for this app",
            spec.topic, spec.pubsub
        );
        let help = "see the scopes, the type and the mistakes of that component";
        return Some(hint(&location, text, help));
    }
    let text = format!("subscription to topic {} waits for a pubsub {}, which does not exist", spec.topic, spec.pubsub);
    let help = loaded_or_meant(&spec.pubsub, &known);
    let is_alone = resources.component_names.is_empty() && known.is_empty();
    Some(if is_alone { hint(&location, text, help) } else { warning(&location, text, help) })
}

fn no_route(spec: &SubscriptionSpec) -> Option<Diagnostic> {
    if !spec.rules.is_empty() {
        return None;
    }
    let text = format!(
        "subscription to topic {} on pubsub {} has no route: no event gets to the app",
        spec.topic, spec.pubsub
    );
    let location = spec.location_of("spec.routes");
    let help = "add spec.routes.default (in dapr.io/v1alpha1: spec.route)";
    Some(warning(&location, text, help))
}

/// Rules without path, and rules behind one that always matches.
fn useless_rules(spec: &SubscriptionSpec, diagnostics: &mut Vec<Diagnostic>) {
    let mut earlier: Vec<&str> = Vec::new();
    for (index, rule) in spec.rules.iter().enumerate() {
        let path = format!("spec.routes.rules[{index}]");
        let mut key = if spec.lines.has(&path) { path } else { "spec.routes.default".to_owned() };
        if rule.path.is_empty() {
            key.push_str(".match");
            let text = format!("rule {} has no path: what it matches is not delivered", index + 1);
            let help = "add path, for example path: /orders";
            diagnostics.push(warning(&spec.location_of(&key), text, help));
        } else if earlier.contains(&"") {
            let text = format!(
                "the route to {} is never used: a rule before it has no match, so that every event fits it",
                rule.path
            );
            let help = "move the rule without match to the end";
            diagnostics.push(hint(&spec.location_of(&key), text, help));
        } else if earlier.contains(&rule.match_.as_str()) {
            let text = format!("the route to {} is never used: a rule before it has the same match", rule.path);
            diagnostics.push(hint(&spec.location_of(&key), text, "remove one of the two"));
        }
        earlier.push(&rule.match_);
    }
}

/// A dead-letter topic that is the topic itself.
pub fn dead_letters_to_itself(spec: &SubscriptionSpec) -> Option<Diagnostic> {
    if spec.dead_letter_topic.is_empty() || spec.dead_letter_topic != spec.topic {
        return None;
    }
    let text = format!(
        "the dead-letter topic of topic {0} on pubsub {1} is {0} itself, a loop: an event that fails comes again at once, for ever",
        spec.topic, spec.pubsub
    );
    let help = format!("give it a topic of its own, for example {}-dead", spec.topic);
    let location = spec.location_of("spec.deadLetterTopic");
    let diagnostic = match &spec.location {
        Some(_) => warning(&location, text, help),
        None => Diagnostic::warning(location, format!("{text}; {help}")),
    };
    Some(diagnostic)
}

/// Dead letters that come back by way of other subscriptions. Reported at the first subscription of the circle.
fn dead_letters_in_a_circle(start: usize, all: &[SubscriptionSpec]) -> Option<Diagnostic> {
    let first = &all[start];
    let mut topics = vec![first.topic.as_str()];
    let mut current = first;
    while !current.dead_letter_topic.is_empty() && current.dead_letter_topic != current.topic {
        let next = current.dead_letter_topic.as_str();
        if topics.contains(&next) {
            break;
        }
        topics.push(next);
        let of_topic = |spec: &SubscriptionSpec| spec.pubsub == first.pubsub && spec.topic == next;
        let index = all.iter().position(of_topic)?;
        if index < start {
            return None;
        }
        current = &all[index];
    }
    if topics.len() < 2 || current.dead_letter_topic != first.topic {
        return None;
    }
    topics.push(&first.topic);
    let text = format!(
        "dead letters on pubsub {} go in a circle, {}: an event that fails everywhere is never done with",
        first.pubsub,
        topics.join(" -> ")
    );
    let location = first.location_of("spec.deadLetterTopic");
    let help = "let the last dead-letter topic have no dead-letter topic of its own";
    Some(hint(&location, text, help))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pubsub_that_is_not_loaded_is_named_with_what_is() {
        let start =
            "the app subscribes to a, b of the pub/sub pubsb, which is not loaded: nothing is delivered from it; ";
        for (loaded, rest) in [
            (vec!["other", "pubsub"], "did you mean pubsub? Loaded: other, pubsub"),
            (vec!["kitchen", "other"], "add a component of this name, or use one that is loaded: kitchen, other"),
            (vec![], "no pub/sub is loaded, add a component of this name"),
        ] {
            let text = pubsub_not_loaded("pubsb", &["a", "b"], &loaded);
            assert_eq!(text, format!("{start}{rest}"));
        }
    }
}
