//! The subscriptions of a sidecar: declared in files and asked for by the app, merged into one list
//! (tests/spec/delivery.md, "B5. Merging").

use std::sync::Arc;

use crate::delivery::router::Rules;
use crate::envelope;
use crate::resources::kinds::subscription::SubscriptionSpec;

/// A subscription with its rules compiled.
#[derive(Debug)]
pub(super) struct Subscription {
    pub(super) spec: SubscriptionSpec,
    pub(super) origin: Origin,
    pub(super) rules: Rules,
    /// `rawPayload` of its metadata. The error is the text for log and dead letter.
    pub(super) is_raw: Result<bool, String>,
}

/// A `match` expression that does not compile. The text names the subscription and the position.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct RuleError(pub String);

/// Who declared a subscription.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// A resource file.
    Declarative,
    /// The app.
    Programmatic,
    /// A gRPC stream.
    Streaming,
}

impl Subscription {
    /// # Errors
    /// If a rule does not compile.
    pub(super) fn compile(spec: SubscriptionSpec, origin: Origin) -> Result<Arc<Self>, RuleError> {
        let rules = Rules::compile(&spec.rules).map_err(|error| RuleError(format!("{}: {error}", described(&spec))))?;
        Ok(Arc::new(Self {
            rules,
            origin,
            is_raw: envelope::is_raw(&spec.metadata).map_err(|error| error.to_string()),
            spec,
        }))
    }

    /// Have both the same declaration and origin?
    pub(super) fn equals(&self, other: &Self) -> bool {
        self.origin == other.origin && self.spec == other.spec
    }

    pub(super) fn is_for(&self, pubsub: &str, topic: &str) -> bool {
        self.spec.pubsub == pubsub && self.spec.topic == topic
    }

    /// The topic that dead letters go to.
    pub(super) fn dead_letter_topic(&self) -> Option<&str> {
        Some(self.spec.dead_letter_topic.as_str()).filter(|topic| !topic.is_empty())
    }
}

/// A subscription in words, with its place in a file.
pub(super) fn described(spec: &SubscriptionSpec) -> String {
    let place = spec.location.as_ref().map(|location| format!(" ({location})")).unwrap_or_default();
    match spec.name.as_str() {
        "" => format!("subscription to topic {} of pubsub {}{place}", spec.topic, spec.pubsub),
        name => format!("subscription {name}{place}"),
    }
}

/// All subscriptions of a sidecar.
#[derive(Default)]
pub(super) struct SubscriptionSet {
    declared: Vec<Arc<Subscription>>,
    programmatic: Vec<Arc<Subscription>>,
    merged: Vec<Arc<Subscription>>,
}

impl SubscriptionSet {
    pub(super) fn set_declared(&mut self, declared: Vec<Arc<Subscription>>) {
        self.merged = merge(&declared, &self.programmatic);
        self.declared = declared;
    }

    pub(super) fn set_programmatic(&mut self, programmatic: Vec<Arc<Subscription>>) {
        self.merged = merge(&self.declared, &programmatic);
        self.programmatic = programmatic;
    }

    pub(super) fn declared(&self) -> &[Arc<Subscription>] {
        &self.declared
    }

    /// One subscription for each topic, in the order of the metadata API.
    pub(super) fn merged(&self) -> &[Arc<Subscription>] {
        &self.merged
    }
}

/// One subscription for each topic: the first that is declared, unless the app asks for one; then the last that it asks for. In
/// the order of the metadata API (tests/spec/http-api.md, "7.1 GET /v1.0/metadata").
fn merge(declared: &[Arc<Subscription>], programmatic: &[Arc<Subscription>]) -> Vec<Arc<Subscription>> {
    let mut merged: Vec<Arc<Subscription>> = Vec::with_capacity(declared.len() + programmatic.len());
    let place_of = |merged: &[Arc<Subscription>], new: &Subscription| {
        merged.iter().position(|known| known.is_for(&new.spec.pubsub, &new.spec.topic))
    };
    for subscription in declared {
        if place_of(&merged, subscription).is_none() {
            merged.push(subscription.clone());
        }
    }
    for subscription in programmatic {
        match place_of(&merged, subscription) {
            Some(place) => merged[place] = subscription.clone(),
            None => merged.push(subscription.clone()),
        }
    }
    merged
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::resources::kinds::subscription::RuleSpec;

    fn of(origin: Origin, texts: &[&str]) -> Vec<Arc<Subscription>> {
        let compile = |text: &&str| {
            let parts: Vec<_> = text.split(' ').collect();
            let spec = SubscriptionSpec {
                pubsub: parts[0].to_owned(),
                topic: parts[1].to_owned(),
                rules: vec![RuleSpec { path: parts[2].to_owned(), ..RuleSpec::default() }],
                ..SubscriptionSpec::default()
            };
            Subscription::compile(spec, origin).unwrap()
        };
        texts.iter().map(compile).collect()
    }

    fn check(declared: &[&str], programmatic: &[&str], expected: &[&str]) {
        let merged = merge(&of(Origin::Declarative, declared), &of(Origin::Programmatic, programmatic));
        let shown: Vec<_> = merged
            .iter()
            .map(|entry| {
                format!("{} {} {} {:?}", entry.spec.pubsub, entry.spec.topic, entry.spec.rules[0].path, entry.origin)
            })
            .collect();
        assert_eq!(shown, expected, "{declared:?} {programmatic:?}");
    }

    #[test]
    fn who_wins() {
        check(&["p t /a", "p t /b"], &[], &["p t /a Declarative"]);
        check(&[], &["p t /a", "p t /b"], &["p t /b Programmatic"]);
        check(&["p t /a", "p u /b"], &["p t /c"], &["p t /c Programmatic", "p u /b Declarative"]);
        check(
            &["p t /a"],
            &["q t /b", "p u /c"],
            &["p t /a Declarative", "q t /b Programmatic", "p u /c Programmatic"],
        );
        check(&[], &["p u /1", "p t /2", "p u /3"], &["p u /3 Programmatic", "p t /2 Programmatic"]);
    }

    #[test]
    fn a_bad_rule_names_its_subscription() {
        let spec = SubscriptionSpec {
            name: "orders".to_owned(),
            rules: vec![RuleSpec { match_: "event.type ==".to_owned(), path: "/x".to_owned() }],
            ..SubscriptionSpec::default()
        };
        let error = Subscription::compile(spec, Origin::Declarative).unwrap_err();
        assert!(
            error.0.starts_with("subscription orders: rule 1, match `event.type ==`: ERROR: <input>:1:"),
            "{error}"
        );
    }
}
