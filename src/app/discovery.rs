//! The app's answer to `GET /dapr/subscribe` (tests/spec/delivery.md, "B2. Programmatic discovery over HTTP").
//!
//! Keys are compared without regard to case; the last of equal keys counts; `null` is as if the key were absent. One value of a wrong
//! type makes the whole list invalid. Expressions are not compiled here.

use std::str::FromStr;

use crate::app::channel::DiscoveryError;
use crate::json;
use crate::message::Metadata;
use crate::resources::kinds::subscription::{BulkSpec, RuleSpec, SubscriptionSpec};

/// A list of subscriptions, and the topics of those that were left out because they have no route.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct SubscriptionList {
    /// What the app subscribes to, in its order.
    pub subscriptions: Vec<SubscriptionSpec>,
    /// Topics of entries without any route.
    pub routeless: Vec<String>,
}

/// Read an answer. Only its first JSON value counts; an empty body means no subscriptions.
///
/// # Errors
/// [`DiscoveryError::Malformed`] if it is not a list of subscriptions.
pub fn read(body: &[u8]) -> Result<SubscriptionList, DiscoveryError> {
    let text = json::valid_text(body);
    let first = json::first_value(&text)?;
    let mut answer = SubscriptionList::default();
    for entry in first.map_or(Ok(Vec::new()), |list| items("list of subscriptions", list))? {
        let subscription = subscription(members_of("subscription", entry)?)?;
        if subscription.rules.is_empty() {
            answer.routeless.push(subscription.topic);
        } else {
            answer.subscriptions.push(subscription);
        }
    }
    Ok(answer)
}

fn subscription(fields: Fields<'_>) -> Result<SubscriptionSpec, DiscoveryError> {
    let mut found = SubscriptionSpec::default();
    let mut route = String::new();
    for (name, value) in fields {
        match name.as_str() {
            "pubsubname" => found.pubsub = text(&name, value)?,
            "topic" => found.topic = text(&name, value)?,
            "deadlettertopic" => found.dead_letter_topic = text(&name, value)?,
            "metadata" => found.metadata = texts(&name, value)?,
            "route" => route = text(&name, value)?,
            "routes" => found.rules = rules(members_of(&name, value)?)?,
            "bulksubscribe" => found.bulk = Some(bulk(members_of(&name, value)?)?),
            _ => {}
        }
    }
    let has_default = found.rules.last().is_some_and(|rule| rule.match_ == DEFAULT);
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

fn rules(fields: Fields<'_>) -> Result<Vec<RuleSpec>, DiscoveryError> {
    let (mut rules, mut default) = (Vec::new(), String::new());
    for (name, value) in fields {
        match name.as_str() {
            "rules" => {
                let entries = items(&name, value)?.into_iter();
                rules = entries.map(rule).collect::<Result<_, _>>()?;
            }
            "default" => default = text(&name, value)?,
            _ => {}
        }
    }
    if !default.is_empty() {
        rules.push(RuleSpec { match_: DEFAULT.to_owned(), path: default });
    }
    Ok(rules)
}

fn rule(entry: &str) -> Result<RuleSpec, DiscoveryError> {
    let mut rule = RuleSpec::default();
    for (name, value) in members_of("rules", entry)? {
        match name.as_str() {
            "match" => rule.match_ = text(&name, value)?.trim().to_owned(),
            "path" => rule.path = text(&name, value)?,
            _ => {}
        }
    }
    Ok(rule)
}

fn always(path: String) -> RuleSpec {
    RuleSpec { match_: String::new(), path }
}

fn bulk(fields: Fields<'_>) -> Result<BulkSpec, DiscoveryError> {
    let mut bulk = BulkSpec::default();
    for (name, value) in fields {
        match name.as_str() {
            "enabled" => bulk.enabled = parsed(&name, value)?,
            "maxmessagescount" => bulk.max_messages_count = parsed(&name, value)?,
            "maxawaitdurationms" => bulk.max_await_duration_ms = parsed(&name, value)?,
            _ => {}
        }
    }
    Ok(bulk)
}

/// Keys in lower case with the JSON text of their values.
type Fields<'a> = Vec<(String, &'a str)>;

/// The fields of an object whose values are not `null`, in their order; `null` itself has none.
fn members_of<'a>(name: &str, object: &'a str) -> Result<Fields<'a>, DiscoveryError> {
    let fields = match object {
        "null" => Vec::new(),
        _ if object.starts_with('{') => json::fields(object)?,
        _ => return Err(mistyped(name, object)),
    };
    let fields = fields.into_iter().filter(|(_, value)| *value != "null");
    Ok(fields.map(|(name, value)| (name.to_lowercase(), value)).collect())
}

/// The values of a list; `null` has none.
fn items<'a>(name: &str, list: &'a str) -> Result<Vec<&'a str>, DiscoveryError> {
    match list {
        "null" => Ok(Vec::new()),
        _ if list.starts_with('[') => Ok(json::items(list)?),
        _ => Err(mistyped(name, list)),
    }
}

fn text(name: &str, value: &str) -> Result<String, DiscoveryError> {
    let text = json::text_of(value).ok_or_else(|| mistyped(name, value))?;
    Ok(text.into_owned())
}

fn texts(name: &str, value: &str) -> Result<Metadata, DiscoveryError> {
    if !value.starts_with('{') {
        return Err(mistyped(name, value));
    }
    let pairs = json::members(value)?.into_iter();
    pairs
        .map(|(key, value)| match value {
            "null" => Ok((key.into_owned(), String::new())),
            value => {
                let value = text(&format!("{name}.{key}"), value)?;
                Ok((key.into_owned(), value))
            }
        })
        .collect()
}

/// A boolean or an integer: JSON writes both as Rust does.
fn parsed<T: FromStr>(name: &str, value: &str) -> Result<T, DiscoveryError> {
    value.parse().map_err(|_| mistyped(name, value))
}

impl From<serde_json::Error> for DiscoveryError {
    fn from(error: serde_json::Error) -> Self {
        Self::Malformed(error.to_string())
    }
}

fn mistyped(name: &str, value: &str) -> DiscoveryError {
    let kind = match value.bytes().next() {
        Some(b'n') => "null",
        Some(b't' | b'f') => "a boolean",
        Some(b'"') => "a text",
        Some(b'[') => "a list",
        Some(b'{') => "an object",
        _ => "a number",
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
        let rules: Vec<_> = entry.rules.iter().map(|rule| format!("{}>{}", rule.match_, rule.path)).collect();
        format!("{} {} {}", entry.pubsub, entry.topic, rules.join(" "))
    }

    #[test]
    fn routes_of_both_versions_become_rules() {
        let entry = |rest: &str| format!(r#"[{{"pubsubname":"p","topic":"t",{rest}}}]"#);
        for (rest, expected) in [
            (r#""route":"/x""#, "p t >/x"),
            (r#""routes":{"default":"/x"}"#, "p t >/x"),
            (r#""route":"/a","routes":{"default":"/b"}"#, "p t >/b"),
            (r#""routes":{"rules":[{"match":" m\n","path":"/m"}],"default":"/d"}"#, "p t m>/m >/d"),
            (r#""routes":{"rules":[{"match":"m","path":"/m"}]},"route":"/x""#, "p t m>/m >/x"),
            (r#""routes":{"rules":[{"match":"  \t","path":"/m"}],"default":"/d"}"#, "p t >/m >/d"),
            (r#""routes":{"rules":[{"path":"/m"}]},"route":"/x""#, "p t >/m >/x"),
            (r#""routes":{"rules":[{"match":"true","path":""}]}"#, "p t true>"),
            (r#""routes":{"rules":[null]}"#, "p t >"),
            (r#""routes":null,"deadLetterTopic":null,"metadata":null,"bulkSubscribe":null,"route":"/x""#, "p t >/x"),
            (r#""Route":"/x","extra":[1]"#, "p t >/x"),
        ] {
            check(&entry(rest), &[expected]);
        }
    }

    #[test]
    fn entries_without_route_are_left_out_and_named() {
        let answer =
            read(br#"[null,{"pubsubname":"p","topic":"t"},{"topic":"u","routes":{}},{"topic":"v","route":""}]"#)
                .unwrap();
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
    fn keys_that_mean_nothing_here_may_hold_anything() {
        let deep = format!("{}{}", "[".repeat(1000), "]".repeat(1000));
        for odd in [r#""x":1e999"#, r#""x":"\ud800""#, r#""\ud800":1"#, &format!(r#""x":{deep}"#)] {
            check(&format!(r#"[{{{odd},"topic":"t","route":"/x"}}]"#), &[" t >/x"]);
        }
        let odd = read(b"[{\"topic\":\"a\xff\",\"route\":\"/\\ud800\"}]").unwrap();
        assert_eq!(shown(&odd.subscriptions[0]), " a\u{fffd} >/\u{fffd}");
    }

    #[test]
    fn of_equal_keys_the_last_counts_in_whatever_case() {
        check(r#"[{"topic":"t","Route":"/a","route":"/b"}]"#, &[" t >/b"]);
        check(r#"[{"topic":"t","route":"/b","Route":"/a"}]"#, &[" t >/a"]);
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
        assert_eq!(entry.metadata, Metadata::from([("A".to_owned(), "b".to_owned()), ("c".to_owned(), String::new())]));
        assert_eq!(entry.bulk, Some(BulkSpec { enabled: true, max_messages_count: 7, max_await_duration_ms: 10 }));
    }
}
