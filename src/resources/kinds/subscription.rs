//! Subscriptions as data, and their reading from files: kind `Subscription` in both versions. Subscriptions that the app
//! declares have the same type.

use crate::diagnostic::Location;
use crate::message::Metadata;
use crate::resources::kinds::common_keys::{SCOPES_IN_SPEC, known_at_root, known_in_metadata};
use crate::resources::yaml::fields::Fields;
use crate::resources::yaml::key_lines::KeyLines;

/// One declared subscription (tests/spec/delivery.md, "B2. Programmatic discovery over HTTP", "B4. Declarative
/// subscriptions").
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SubscriptionSpec {
    /// `metadata.name` in a file; empty for one that the app declares.
    pub name: String,
    /// Name of the pub/sub component.
    pub pubsub: String,
    /// The topic, without the namespace prefix.
    pub topic: String,
    /// The rules in order; the default route is the last one, without `match_`.
    pub rules: Vec<RuleSpec>,
    /// `deadLetterTopic`; empty for none.
    pub dead_letter_topic: String,
    /// Metadata for the broker and for the runtime (`rawPayload`).
    pub metadata: Metadata,
    /// `bulkSubscribe`.
    pub bulk: Option<BulkSpec>,
    /// File and line of the document, if it is from a file.
    pub location: Option<Location>,
    /// Lines of its keys, if it is from a file.
    pub lines: KeyLines,
}

impl SubscriptionSpec {
    /// The location of a key, for example `spec.topic`.
    pub fn location_of(&self, key: &str) -> Location {
        let resource = self.location.clone().unwrap_or_default();
        self.lines.location(key, &resource)
    }

    /// Name, if it has one, and topic, for messages.
    pub fn title(&self) -> String {
        match self.name.as_str() {
            "" => format!("subscription to topic {}", self.topic),
            name => format!("subscription {name} to topic {}", self.topic),
        }
    }
}

/// One routing rule, with its expression as text.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RuleSpec {
    /// The CEL expression, trimmed; empty always matches.
    pub match_: String,
    /// The path of the app, as written.
    pub path: String,
}

/// `bulkSubscribe` as written; values of 0 or less mean the defaults.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BulkSpec {
    /// Whether bulk delivery is on.
    pub enabled: bool,
    /// Most events in one request.
    pub max_messages_count: i32,
    /// Longest wait for a batch to fill, in milliseconds.
    pub max_await_duration_ms: i32,
}

/// A `Subscription` document: a subscription and the apps that it is for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SubscriptionResource {
    /// The subscription.
    pub spec: SubscriptionSpec,
    /// App ids; empty means all.
    pub scopes: Vec<String>,
}

/// The versions of the kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SubscriptionVersion {
    /// `dapr.io/v1alpha1`: one `route`.
    V1Alpha1,
    /// `dapr.io/v2alpha1`: `routes` with rules.
    V2Alpha1,
}

impl SubscriptionResource {
    /// Read a document (tests/spec/resources-cli.md, "7. Subscription resources"). Findings go to the diagnostics of
    /// `root`.
    pub fn read(root: &Fields<'_>, version: SubscriptionVersion, location: Location) -> Self {
        let mut spec =
            SubscriptionSpec { location: Some(location), lines: root.key_lines(), ..SubscriptionSpec::default() };
        if let Some(metadata) = root.fields("metadata") {
            spec.name = metadata.text("name");
            known_in_metadata(&metadata);
            metadata.done();
        }
        if let Some(fields) = root.fields("spec") {
            read_spec(&fields, version, &mut spec);
        }
        let scopes = root.texts("scopes", false);
        known_at_root(root);
        root.done();
        Self { spec, scopes }
    }
}

fn read_spec(fields: &Fields<'_>, version: SubscriptionVersion, spec: &mut SubscriptionSpec) {
    spec.pubsub = fields.text("pubsubname");
    spec.topic = fields.text("topic");
    spec.dead_letter_topic = fields.text("deadLetterTopic");
    let metadata = fields.text_map("metadata").into_iter();
    spec.metadata = metadata.map(|(name, (value, _))| (name, value)).collect();
    spec.bulk = fields.fields("bulkSubscribe").map(|bulk| bulk.done_with(read_bulk));
    let default = match version {
        SubscriptionVersion::V1Alpha1 => fields.text("route"),
        SubscriptionVersion::V2Alpha1 => fields.fields("routes").map_or_else(String::new, |routes| {
            spec.rules = routes.list("rules").iter().map(read_rule).collect();
            routes.done_with(|routes| routes.text("default"))
        }),
    };
    if !default.is_empty() {
        spec.rules.push(RuleSpec { match_: String::new(), path: default });
    }
    fields.explain("scopes", SCOPES_IN_SPEC);
    for dead_letter in ["deadLetter", "deadLetterQueue", "deadLetters", "dlq", "dlt"] {
        fields.explain(dead_letter, "did you mean deadLetterTopic?");
    }
    for bulk in ["bulk", "batch", "bulkSubscription"] {
        fields.explain(bulk, "did you mean bulkSubscribe?");
    }
    for pubsub in ["pubsub", "component"] {
        fields.explain(pubsub, "did you mean pubsubname?");
    }
    match version {
        SubscriptionVersion::V1Alpha1 => {
            let help = "it belongs to apiVersion dapr.io/v2alpha1; here write route, with one path";
            fields.explain("routes", help);
            fields.explain("rules", help);
        }
        SubscriptionVersion::V2Alpha1 => {
            let help = "it belongs to apiVersion dapr.io/v1alpha1; here write routes, with rules or default";
            fields.explain("route", help);
            fields.explain("rules", "it belongs under routes");
            fields.explain("default", "it belongs under routes");
        }
    }
    for policy in ["retry", "retries", "maxRetries", "resiliency", "timeout"] {
        fields.explain(policy, "policies are for a resource of kind Resiliency");
    }
    if spec.pubsub.is_empty() {
        fields.warn("pubsubname", "missing: nothing can be subscribed to");
    }
    if spec.topic.is_empty() {
        fields.warn("topic", "missing: nothing can be subscribed to");
    }
    fields.done();
}

fn read_rule(rule: &Fields<'_>) -> RuleSpec {
    rule.done_with(|rule| RuleSpec { match_: rule.text("match").trim().to_owned(), path: rule.text("path") })
}

fn read_bulk(bulk: &Fields<'_>) -> BulkSpec {
    let count = |name: &'static str| {
        let number = bulk.int(name).unwrap_or(0);
        i32::try_from(number).unwrap_or_else(|_| {
            bulk.error(name, "does not fit 32 bits");
            0
        })
    };
    BulkSpec {
        enabled: bulk.bool("enabled").unwrap_or(false),
        max_messages_count: count("maxMessagesCount"),
        max_await_duration_ms: count("maxAwaitDurationMs"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::resources::yaml::diagnostics::Diagnostics;
    use crate::resources::yaml::fields::Dialect;
    use crate::resources::yaml::parse;

    fn read(spec: &str, version: SubscriptionVersion) -> (SubscriptionSpec, Vec<String>) {
        let yaml = format!("metadata: {{name: s}}\nspec: {spec}");
        let document = parse::document(&yaml, 1).unwrap().unwrap();
        let diagnostics = Diagnostics::default();
        let root = Fields::root(&document.root, Dialect::Resource, &diagnostics);
        let resource = SubscriptionResource::read(&root, version, Location::default());
        let (errors, others) = diagnostics.into_parts();
        let found = errors.iter().chain(&others);
        (resource.spec, found.map(|found| found.sentence().into_owned()).collect())
    }

    fn rules(spec: &SubscriptionSpec) -> Vec<(&str, &str)> {
        let rules = spec.rules.iter();
        rules.map(|rule| (rule.match_.as_str(), rule.path.as_str())).collect()
    }

    #[test]
    fn rules_come_in_order_and_the_default_last() {
        let (spec, found) = read(
            "{pubsubname: p, topic: 12, routes: {rules: [{match: ' a == 1 ', path: /a}, {path: /b}], default: /c}, metadata: {k: true, m: 1.50}}",
            SubscriptionVersion::V2Alpha1,
        );
        assert_eq!(rules(&spec), [("a == 1", "/a"), ("", "/b"), ("", "/c")]);
        assert_eq!(spec.topic, "12");
        assert_eq!(spec.metadata["m"], "1.5");
        assert_eq!(found, Vec::<String>::new());
    }

    #[test]
    fn the_old_version_has_one_route() {
        let (spec, _) = read("{pubsubname: p, topic: t, route: a, deadLetterTopic: d}", SubscriptionVersion::V1Alpha1);
        assert_eq!(rules(&spec), [("", "a")]);
        assert_eq!(spec.dead_letter_topic, "d");
        let (spec, _) = read("{pubsubname: p, topic: t, route: ''}", SubscriptionVersion::V1Alpha1);
        assert_eq!(rules(&spec), []);
    }

    #[test]
    fn bulk_settings_must_be_a_mapping_of_numbers_that_fit() {
        let bulk = |text: &str| {
            read(&format!("{{pubsubname: p, topic: t, bulkSubscribe: {text}}}"), SubscriptionVersion::V2Alpha1)
        };
        let (spec, _) = bulk("{enabled: true, maxMessagesCount: 10}");
        assert_eq!(spec.bulk, Some(BulkSpec { enabled: true, max_messages_count: 10, max_await_duration_ms: 0 }));
        assert_eq!(bulk("[a]").1.len(), 1);
        assert_eq!(bulk("{maxMessagesCount: 3000000000}").1.len(), 1);
    }

    #[test]
    fn keys_of_other_names_are_explained() {
        let old = SubscriptionVersion::V1Alpha1;
        let new = SubscriptionVersion::V2Alpha1;
        let route = "it belongs to apiVersion dapr.io/v1alpha1; here write routes, with rules or default";
        let routes = "it belongs to apiVersion dapr.io/v2alpha1; here write route, with one path";
        for (version, key, help) in [
            (new, "route", route),
            (old, "routes", routes),
            (new, "deadLetter", "did you mean deadLetterTopic?"),
            (new, "dlq", "did you mean deadLetterTopic?"),
            (old, "deadletertopic", "did you mean deadLetterTopic?"),
            (new, "bulk", "did you mean bulkSubscribe?"),
            (new, "pubsub", "did you mean pubsubname?"),
            (old, "scopes", SCOPES_IN_SPEC),
            (old, "retries", "policies are for a resource of kind Resiliency"),
        ] {
            let (_, found) = read(&format!("{{pubsubname: p, topic: t, {key}: x}}"), version);
            assert_eq!(found, [format!("unknown field spec.{key} is ignored, {help}")]);
        }
        let (_, found) = read("{pubsubname: p, topic: t, colour: x}", old);
        assert_eq!(found, ["unknown field spec.colour is ignored"]);
    }
}
