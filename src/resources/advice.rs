//! What is well formed and yet not what its author wants: seen only when all resources are known.
//!
//! `collect` adds it to the notes of a load; for the app's own subscriptions, `delivery` may ask [`retry_before_dead_letter`].

use crate::metadata::nearest;
use crate::resources::note::Note;
use crate::resources::resiliency::{Direction, Policies, PolicyNames, Resiliency};
use crate::resources::subscription::SubscriptionSpec;
use crate::resources::{Place, Resources};
use crate::telemetry::log::Level;

/// All advice about a set of resources.
pub fn of(resources: &Resources) -> Vec<Note> {
    let policies = resources.policies();
    let mut notes = Vec::new();
    for resource in &resources.resiliencies {
        undefined_policies(resource, &policies, &mut notes);
    }
    for (index, spec) in resources.subscriptions.iter().enumerate() {
        notes.extend(same_topic(spec, &resources.subscriptions[..index]));
        notes.extend(unknown_pubsub(spec, resources));
        notes.extend(no_route(spec));
        notes.extend(retry_before_dead_letter(spec, &policies));
    }
    notes
}

/// A dead-letter topic without a retry policy: the first failure moves the event (design.md D25).
pub fn retry_before_dead_letter(spec: &SubscriptionSpec, policies: &Policies) -> Option<Note> {
    let has_retry = policies
        .retry_of(&spec.pubsub, Direction::Inbound)
        .is_some();
    if spec.dead_letter_topic.is_empty() || has_retry {
        return None;
    }
    let text = format!(
        "topic {} on pubsub {} has the dead-letter topic {} and no retry policy: the first failure of an event moves it there",
        spec.topic, spec.pubsub, spec.dead_letter_topic
    );
    let note = Note::hint(Level::Warn, place_of(spec), text);
    Some(note.with_remedy(retry_policy(&spec.pubsub)))
}

/// The resource that would retry deliveries of a component.
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

fn undefined_policies(resource: &Resiliency, policies: &Policies, notes: &mut Vec<Note>) {
    for (component, target) in &resource.policies.components {
        for (way, names) in [("inbound", &target.inbound), ("outbound", &target.outbound)] {
            for (what, name, known) in lookups(names, policies) {
                if name.is_empty() || known.contains(&name) {
                    continue;
                }
                let text = format!(
                    "{way} target of component {component} in resiliency {} names the {what} {name}, which no resource defines: it has none",
                    resource.name
                );
                let remedy = nearest(name, &known).map_or_else(
                    || {
                        format!(
                            "define it under spec.policies, or name one of: {}",
                            known.join(", ")
                        )
                    },
                    |meant| format!("did you mean {meant}?"),
                );
                let note = Note::mistake(Level::Error, resource.place.clone(), text);
                notes.push(note.with_remedy(remedy));
            }
        }
    }
}

/// What is looked up, by which name, among which.
fn lookups<'a>(
    names: &'a PolicyNames,
    policies: &'a Policies,
) -> [(&'static str, &'a str, Vec<&'a str>); 3] {
    let timeouts = policies.timeouts.keys().map(String::as_str).collect();
    let retries = policies.retries.keys().map(String::as_str).collect();
    let breakers = policies.breakers.keys().map(String::as_str).collect();
    [
        ("timeout", &names.timeout, timeouts),
        ("retry policy", &names.retry, retries),
        ("circuit breaker", &names.breaker, breakers),
    ]
}

fn same_topic(spec: &SubscriptionSpec, earlier: &[SubscriptionSpec]) -> Option<Note> {
    let is_same =
        |known: &&SubscriptionSpec| known.pubsub == spec.pubsub && known.topic == spec.topic;
    let first = earlier.iter().find(is_same)?;
    let text = format!(
        "topic {} on pubsub {} is subscribed to twice, this one is not used",
        spec.topic, spec.pubsub
    );
    let remedy = format!(
        "remove it; the one that is used stands at {}",
        place_of(first)
    );
    Some(Note::mistake(Level::Debug, place_of(spec), text).with_remedy(remedy))
}

fn unknown_pubsub(spec: &SubscriptionSpec, resources: &Resources) -> Option<Note> {
    let pubsubs = resources
        .components
        .iter()
        .filter(|component| component.is_pubsub());
    let known: Vec<&str> = pubsubs.map(|component| component.name.as_str()).collect();
    if spec.pubsub.is_empty() || known.contains(&spec.pubsub.as_str()) {
        return None;
    }
    let text = format!(
        "subscription to topic {} waits for a pubsub {}, which does not exist",
        spec.topic, spec.pubsub
    );
    let remedy = nearest(&spec.pubsub, &known).map_or_else(
        || {
            format!(
                "add a component of this name, or use one of: {}",
                known.join(", ")
            )
        },
        |meant| format!("did you mean {meant}?"),
    );
    Some(Note::mistake(Level::Debug, place_of(spec), text).with_remedy(remedy))
}

fn no_route(spec: &SubscriptionSpec) -> Option<Note> {
    if !spec.rules.is_empty() {
        return None;
    }
    let text = format!(
        "subscription to topic {} on pubsub {} has no route: no event gets to the app",
        spec.topic, spec.pubsub
    );
    let note = Note::mistake(Level::Debug, place_of(spec), text);
    Some(note.with_remedy("add spec.routes.default (in dapr.io/v1alpha1: spec.route)"))
}

fn place_of(spec: &SubscriptionSpec) -> Place {
    spec.place.clone().unwrap_or_default()
}
