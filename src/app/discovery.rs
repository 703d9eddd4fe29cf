//! What the app answers to `GET /dapr/subscribe` (spec delivery.md B2).
//!
//! Names of keys count in any case, and the last of equal ones; `null` is like nothing said; what is of a wrong type spoils the whole
//! list. Whether the expressions compile is not known here.

use serde_json::{Map, Value};

use crate::app::DiscoveryError;
use crate::message::Metadata;
use crate::resources::subscription::{BulkSpec, RuleSpec, SubscriptionSpec};

/// A list of subscriptions, and the topics of those that were left out because they have no route.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Answer {
    /// What the app subscribes to, in its order.
    pub subscriptions: Vec<SubscriptionSpec>,
    /// Topics of entries without any route.
    pub routeless: Vec<String>,
}

/// Read an answer. Only its first JSON value counts; an empty one means no subscriptions.
///
/// # Errors
/// [`DiscoveryError::Malformed`] if it is no list of subscriptions.
pub fn read(body: &[u8]) -> Result<Answer, DiscoveryError> {
    let first = serde_json::Deserializer::from_slice(body)
        .into_iter::<Value>()
        .next()
        .transpose()
        .map_err(|error| DiscoveryError::Malformed(error.to_string()))?;
    let entries = match first {
        None | Some(Value::Null) => Vec::new(),
        Some(Value::Array(entries)) => entries,
        Some(other) => return Err(mistyped("list of subscriptions", &other)),
    };
    let mut answer = Answer::default();
    for entry in entries {
        let subscription = match entry {
            Value::Null => SubscriptionSpec::default(),
            Value::Object(fields) => subscription(fields)?,
            other => return Err(mistyped("subscription", &other)),
        };
        if subscription.rules.is_empty() {
            answer.routeless.push(subscription.topic);
        } else {
            answer.subscriptions.push(subscription);
        }
    }
    Ok(answer)
}

fn subscription(fields: Map<String, Value>) -> Result<SubscriptionSpec, DiscoveryError> {
    let mut found = SubscriptionSpec::default();
    let mut route = String::new();
    for (name, value) in said(fields) {
        match name.as_str() {
            "pubsubname" => found.pubsub = text(&name, value)?,
            "topic" => found.topic = text(&name, value)?,
            "deadlettertopic" => found.dead_letter_topic = text(&name, value)?,
            "metadata" => found.metadata = texts(&name, value)?,
            "route" => route = text(&name, value)?,
            "routes" => found.rules = rules(object(&name, value)?)?,
            "bulksubscribe" => found.bulk = Some(bulk(object(&name, value)?)?),
            _ => {}
        }
    }
    let has_default = found
        .rules
        .last()
        .is_some_and(|rule| rule.match_ == DEFAULT);
    if !has_default && !route.is_empty() {
        found.rules.push(always(route));
    }
    for rule in &mut found.rules {
        if rule.match_ == DEFAULT {
            rule.match_.clear();
        }
    }
    Ok(found)
}

/// Marks the rule of `routes.default` until `route` has been looked at. No trimmed expression is a single newline.
const DEFAULT: &str = "\n";

fn rules(fields: Map<String, Value>) -> Result<Vec<RuleSpec>, DiscoveryError> {
    let (mut rules, mut default) = (Vec::new(), String::new());
    for (name, value) in said(fields) {
        match (name.as_str(), value) {
            ("rules", Value::Array(entries)) => {
                rules = entries.into_iter().map(rule).collect::<Result<_, _>>()?;
            }
            ("rules", other) => return Err(mistyped("rules", &other)),
            ("default", value) => default = text(&name, value)?,
            _ => {}
        }
    }
    if !default.is_empty() {
        rules.push(RuleSpec {
            match_: DEFAULT.to_owned(),
            path: default,
        });
    }
    Ok(rules)
}

fn rule(entry: Value) -> Result<RuleSpec, DiscoveryError> {
    let mut rule = RuleSpec::default();
    let fields = match entry {
        Value::Null => Map::new(),
        other => object("rules", other)?,
    };
    for (name, value) in said(fields) {
        match name.as_str() {
            "match" => rule.match_ = text(&name, value)?.trim().to_owned(),
            "path" => rule.path = text(&name, value)?,
            _ => {}
        }
    }
    Ok(rule)
}

fn always(path: String) -> RuleSpec {
    RuleSpec {
        match_: String::new(),
        path,
    }
}

fn bulk(fields: Map<String, Value>) -> Result<BulkSpec, DiscoveryError> {
    let mut bulk = BulkSpec::default();
    for (name, value) in said(fields) {
        match (name.as_str(), value) {
            ("enabled", Value::Bool(enabled)) => bulk.enabled = enabled,
            ("enabled", other) => return Err(mistyped(&name, &other)),
            ("maxmessagescount", value) => bulk.max_messages_count = number(&name, &value)?,
            ("maxawaitdurationms", value) => bulk.max_await_duration_ms = number(&name, &value)?,
            _ => {}
        }
    }
    Ok(bulk)
}

/// The fields that say something, names in lower case.
fn said(fields: Map<String, Value>) -> impl Iterator<Item = (String, Value)> {
    fields
        .into_iter()
        .filter(|(_, value)| !value.is_null())
        .map(|(name, value)| (name.to_lowercase(), value))
}

fn object(name: &str, value: Value) -> Result<Map<String, Value>, DiscoveryError> {
    match value {
        Value::Object(fields) => Ok(fields),
        other => Err(mistyped(name, &other)),
    }
}

fn text(name: &str, value: Value) -> Result<String, DiscoveryError> {
    match value {
        Value::String(text) => Ok(text),
        other => Err(mistyped(name, &other)),
    }
}

fn texts(name: &str, value: Value) -> Result<Metadata, DiscoveryError> {
    object(name, value)?
        .into_iter()
        .map(|(key, value)| match value {
            Value::Null => Ok((key, String::new())),
            value => text(&format!("{name}.{key}"), value).map(|value| (key, value)),
        })
        .collect()
}

fn number(name: &str, value: &Value) -> Result<i32, DiscoveryError> {
    value
        .as_i64()
        .and_then(|number| i32::try_from(number).ok())
        .ok_or_else(|| mistyped(name, value))
}

fn mistyped(name: &str, value: &Value) -> DiscoveryError {
    let kind = match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a text",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    };
    DiscoveryError::Malformed(format!("{name} cannot be {kind}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `pubsub topic [match>path ..]` of each entry, or `error`.
    fn check(body: &str, expected: &[&str]) {
        let got = match read(body.as_bytes()) {
            Err(_) => vec!["error".to_owned()],
            Ok(answer) => answer.subscriptions.iter().map(shown).collect(),
        };
        assert_eq!(got, expected, "{body}");
    }

    fn shown(entry: &SubscriptionSpec) -> String {
        let rules: Vec<_> = entry
            .rules
            .iter()
            .map(|rule| format!("{}>{}", rule.match_, rule.path))
            .collect();
        format!("{} {} {}", entry.pubsub, entry.topic, rules.join(" "))
    }

    #[test]
    fn routes_of_both_versions_become_rules() {
        let entry = |rest: &str| format!(r#"[{{"pubsubname":"p","topic":"t",{rest}}}]"#);
        for (rest, expected) in [
            (r#""route":"/x""#, "p t >/x"),
            (r#""routes":{"default":"/x"}"#, "p t >/x"),
            (r#""route":"/a","routes":{"default":"/b"}"#, "p t >/b"),
            (
                r#""routes":{"rules":[{"match":" m\n","path":"/m"}],"default":"/d"}"#,
                "p t m>/m >/d",
            ),
            (
                r#""routes":{"rules":[{"match":"m","path":"/m"}]},"route":"/x""#,
                "p t m>/m >/x",
            ),
            (
                r#""routes":{"rules":[{"match":"  \t","path":"/m"}],"default":"/d"}"#,
                "p t >/m >/d",
            ),
            (
                r#""routes":{"rules":[{"path":"/m"}]},"route":"/x""#,
                "p t >/m >/x",
            ),
            (
                r#""routes":{"rules":[{"match":"true","path":""}]}"#,
                "p t true>",
            ),
            (r#""routes":{"rules":[null]}"#, "p t >"),
            (
                r#""routes":null,"deadLetterTopic":null,"metadata":null,"bulkSubscribe":null,"route":"/x""#,
                "p t >/x",
            ),
            (r#""Route":"/x","extra":[1]"#, "p t >/x"),
        ] {
            check(&entry(rest), &[expected]);
        }
    }

    #[test]
    fn entries_without_route_are_left_out_and_named() {
        let answer = read(br#"[null,{"pubsubname":"p","topic":"t"},{"topic":"u","routes":{}},{"topic":"v","route":""}]"#).unwrap();
        assert!(answer.subscriptions.is_empty());
        assert_eq!(answer.routeless, ["", "t", "u", "v"]);
    }

    #[test]
    fn only_the_first_value_counts_and_nothing_means_none() {
        check("", &[]);
        check(" \n", &[]);
        check("null", &[]);
        check("[]", &[]);
        check(r#"[{"topic":"t","route":"/x"}] more"#, &[" t >/x"]);
    }

    #[test]
    fn wrong_types_spoil_the_list() {
        for body in [
            "{}",
            "5",
            "<html>",
            r#"[{"topic":"t","route":"/x"}"#,
            r#"[{"topic":5,"route":"/x"}]"#,
            r#"[{"topic":"t","route":"/x","metadata":{"rawPayload":true}}]"#,
            r#"[{"topic":"t","route":"/x","metadata":["a"]}]"#,
            r#"[{"topic":"t","routes":{"rules":{}}}]"#,
            r#"[{"topic":"t","routes":{"rules":["/x"]}}]"#,
            r#"[{"topic":"t","routes":"/x"}]"#,
            r#"[{"topic":"t","route":"/x","bulkSubscribe":{"enabled":"true"}}]"#,
            r#"[{"topic":"t","route":"/x","bulkSubscribe":{"maxMessagesCount":"7"}}]"#,
            r#"[{"topic":"t","route":"/x","bulkSubscribe":{"maxMessagesCount":4294967296}}]"#,
            r#"["t"]"#,
        ] {
            check(body, &["error"]);
        }
    }

    #[test]
    fn the_other_keys_are_kept() {
        let answer = read(
            br#"[{"PubsubName":"p","TOPIC":"t","Route":"/x","deadlettertopic":"d","Metadata":{"A":"b","c":null},
                "bulkSubscribe":{"enabled":true,"maxMessagesCount":7,"maxAwaitDurationMs":10}}]"#,
        )
        .unwrap();
        let entry = &answer.subscriptions[0];
        assert_eq!(shown(entry), "p t >/x");
        assert_eq!(entry.dead_letter_topic, "d");
        assert_eq!(
            entry.metadata,
            Metadata::from([
                ("A".to_owned(), "b".to_owned()),
                ("c".to_owned(), String::new())
            ])
        );
        assert_eq!(
            entry.bulk,
            Some(BulkSpec {
                enabled: true,
                max_messages_count: 7,
                max_await_duration_ms: 10
            })
        );
    }
}
