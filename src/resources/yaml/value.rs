//! Nodes of a YAML document, and the meaning of scalars by Go's rules: YAML 1.1 turned into JSON
//! (tests/spec/resources-cli.md, "4.3 YAML dialect", "5.2 Value typing").
//!
//! `parse` makes the nodes, `fields` reads typed fields from them. Numbers are printed as Go prints them, because they
//! become text in component properties.

use std::fmt::Write as _;

use crate::credentials::masked;
use crate::quantity::integer;

/// A scalar, list or mapping of a document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Node {
    /// Its line in the file, counted from 1.
    pub line: usize,
    /// Its value.
    pub content: Content,
}

/// The value of a node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Content {
    /// A single value.
    Scalar {
        /// As written, with escapes resolved.
        text: String,
        /// Quoted, or tagged as text: never a number, a bool or null.
        is_text: bool,
    },
    /// A list.
    List(Vec<Node>),
    /// A mapping, in file order; the last of equal keys counts.
    Map(Vec<(Node, Node)>),
}

/// The meaning of a scalar.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Scalar<'a> {
    /// `~`, `null` or nothing at all.
    Null,
    /// `yes`, `on`, `true`, ... and their opposites.
    Bool(bool),
    /// A whole number.
    Int(i128),
    /// Any other number.
    Float(f64),
    /// Anything else.
    Text(&'a str),
}

impl Node {
    /// Its meaning; `None` for a list or a mapping.
    pub fn scalar(&self) -> Option<Scalar<'_>> {
        match &self.content {
            Content::Scalar { text, is_text: true } => Some(Scalar::Text(text)),
            Content::Scalar { text, .. } => Some(resolve(text)),
            Content::List(_) | Content::Map(_) => None,
        }
    }

    /// The text of a scalar as written.
    pub fn as_text(&self) -> Option<&str> {
        match &self.content {
            Content::Scalar { text, .. } => Some(text),
            Content::List(_) | Content::Map(_) => None,
        }
    }

    /// Whether it is null: `~`, `null` or empty.
    pub fn is_null(&self) -> bool {
        self.scalar() == Some(Scalar::Null)
    }

    /// The number of nodes in it, itself included.
    pub fn size(&self) -> usize {
        match &self.content {
            Content::Scalar { .. } => 1,
            Content::List(items) => items.iter().map(Self::size).sum::<usize>() + 1,
            Content::Map(entries) => {
                let entry = |(key, value): &(Self, Self)| key.size() + value.size();
                entries.iter().map(entry).sum::<usize>() + 1
            }
        }
    }

    /// A description for messages, for example `the number 3`.
    pub fn kind(&self) -> String {
        match &self.content {
            Content::List(_) => "a list".to_owned(),
            Content::Map(_) => "a mapping".to_owned(),
            Content::Scalar { .. } => match self.scalar() {
                Some(Scalar::Bool(value)) => format!("the bool {value}"),
                Some(Scalar::Int(value)) => format!("the number {value}"),
                Some(Scalar::Float(value)) => format!("the number {}", json_number(value)),
                Some(Scalar::Text(text)) => format!("the text {:?}", masked(text)),
                Some(Scalar::Null) | None => "nothing".to_owned(),
            },
        }
    }

    /// The line of the first number in it that JSON cannot express (`.inf`, `.nan`).
    pub fn not_finite(&self) -> Option<usize> {
        match &self.content {
            Content::Scalar { .. } => {
                let is_bad = matches!(self.scalar(), Some(Scalar::Float(value)) if !value.is_finite());
                is_bad.then_some(self.line)
            }
            Content::List(items) => items.iter().find_map(Self::not_finite),
            Content::Map(entries) => {
                entries.iter().find_map(|(key, value)| key.not_finite().or_else(|| value.not_finite()))
            }
        }
    }

    /// The text of a mapping key: `n` is `false`, `1` is `1`. `None` for null, lists and mappings, which cannot be keys.
    pub fn key(&self) -> Option<String> {
        match self.scalar()? {
            Scalar::Null => None,
            scalar => Some(scalar.to_text()),
        }
    }

    /// As compact JSON with sorted keys and `< > &` escaped, as Go's encoder writes it (tests/spec/resources-cli.md,
    /// "5.2 Value typing").
    pub fn to_json(&self) -> String {
        let mut json = String::new();
        self.write_json(&mut json);
        json
    }

    fn write_json(&self, json: &mut String) {
        match &self.content {
            Content::Scalar { .. } => match self.scalar() {
                Some(Scalar::Text(text)) => write_json_text(text, json),
                Some(Scalar::Float(value)) => json.push_str(&json_number(value)),
                Some(Scalar::Null) | None => json.push_str("null"),
                Some(scalar) => json.push_str(&scalar.to_text()),
            },
            Content::List(items) => {
                json.push('[');
                for (index, item) in items.iter().enumerate() {
                    if index > 0 {
                        json.push(',');
                    }
                    item.write_json(json);
                }
                json.push(']');
            }
            Content::Map(entries) => {
                let sorted: std::collections::BTreeMap<String, &Self> =
                    entries.iter().filter_map(|(key, value)| Some((key.key()?, value))).collect();
                json.push('{');
                for (index, (key, value)) in sorted.into_iter().enumerate() {
                    if index > 0 {
                        json.push(',');
                    }
                    write_json_text(&key, json);
                    json.push(':');
                    value.write_json(json);
                }
                json.push('}');
            }
        }
    }
}

impl Scalar<'_> {
    /// The text that a field of type string gets; null becomes the empty text.
    pub fn to_text(self) -> String {
        match self {
            Self::Null => String::new(),
            Self::Bool(value) => value.to_string(),
            Self::Int(value) => value.to_string(),
            Self::Float(value) => general_number(value),
            Self::Text(text) => text.to_owned(),
        }
    }
}

/// The meaning of an unquoted scalar in Go's YAML 1.1.
pub fn resolve(text: &str) -> Scalar<'_> {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => return Scalar::Null,
        "y" | "Y" | "yes" | "Yes" | "YES" | "on" | "On" | "ON" | "true" | "True" | "TRUE" => {
            return Scalar::Bool(true);
        }
        "n" | "N" | "no" | "No" | "NO" | "off" | "Off" | "OFF" | "false" | "False" | "FALSE" => {
            return Scalar::Bool(false);
        }
        ".inf" | ".Inf" | ".INF" | "+.inf" | "+.Inf" | "+.INF" => {
            return Scalar::Float(f64::INFINITY);
        }
        "-.inf" | "-.Inf" | "-.INF" => return Scalar::Float(f64::NEG_INFINITY),
        ".nan" | ".NaN" | ".NAN" => return Scalar::Float(f64::NAN),
        _ => {}
    }
    if !text.starts_with(|c: char| c.is_ascii_digit() || matches!(c, '+' | '-' | '.')) {
        return Scalar::Text(text);
    }
    let plain = if text.starts_with('.') { text.to_owned() } else { text.replace('_', "") };
    integer(&plain).map(Scalar::Int).or_else(|| decimal(&plain).map(Scalar::Float)).unwrap_or(Scalar::Text(text))
}

/// A decimal number that fits 64 bits; `1e400` does not, and stays text.
fn decimal(text: &str) -> Option<f64> {
    let digits = text.strip_prefix(['-', '+']).unwrap_or(text);
    let shaped = digits.bytes().all(|byte| byte.is_ascii_digit() || matches!(byte, b'.' | b'e' | b'E' | b'+' | b'-'));
    let has_digit = digits.starts_with(|c: char| c.is_ascii_digit() || c == '.');
    if !shaped || !has_digit {
        return None;
    }
    text.parse().ok().filter(|value: &f64| value.is_finite())
}

/// A number as Go's JSON encoder writes it: with an exponent from 1e21 up and below 1e-6, otherwise plain digits.
pub fn json_number(value: f64) -> String {
    let size = value.abs();
    if size != 0.0 && !(1e-6..1e21).contains(&size) {
        return with_exponent(value, 1);
    }
    format!("{value}")
}

/// A number as Go's `FormatFloat(value, 'g', -1, 64)` writes it, for fields of type string.
fn general_number(value: f64) -> String {
    let size = value.abs();
    if size != 0.0 && !(1e-4..1e6).contains(&size) {
        return with_exponent(value, 2);
    }
    format!("{value}")
}

fn with_exponent(value: f64, least_digits: usize) -> String {
    let text = format!("{value:e}");
    let (digits, exponent) = text.split_once('e').unwrap_or((&text, "0"));
    match exponent.strip_prefix('-') {
        Some(exponent) => format!("{digits}e-{exponent:0>least_digits$}"),
        None => format!("{digits}e+{exponent:0>2}"),
    }
}

fn write_json_text(text: &str, json: &mut String) {
    json.push('"');
    for c in text.chars() {
        match c {
            '"' => json.push_str("\\\""),
            '\\' => json.push_str("\\\\"),
            '\n' => json.push_str("\\n"),
            '\r' => json.push_str("\\r"),
            '\t' => json.push_str("\\t"),
            '<' | '>' | '&' | '\u{2028}' | '\u{2029}' | '\0'..='\x1f' => {
                // Writing to a String cannot fail.
                let _ = write!(json, "\\u{:04x}", u32::from(c));
            }
            c => json.push(c),
        }
    }
    json.push('"');
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::resources::yaml::parse;

    #[test]
    fn plain_scalars_become_json_as_in_go() {
        for (text, json) in [
            ("10", "10"),
            ("+5", "5"),
            ("1.0", "1"),
            ("1.10", "1.1"),
            (".5", "0.5"),
            ("1e3", "1000"),
            ("1e21", "1e+21"),
            ("1e-7", "1e-7"),
            ("0777", "511"),
            ("010", "8"),
            ("0o14", "12"),
            ("0x1F", "31"),
            ("-0x1F", "-31"),
            ("0b101", "5"),
            ("0123456789", "123456789"),
            ("0", "0"),
            ("00", "0"),
            ("-1", "-1"),
            ("1_000", "1000"),
            ("12345678901234567890", "12345678901234567890"),
            ("123456789012345678901234567890", "1.2345678901234568e+29"),
            ("1e400", "\"1e400\""),
            ("yes", "true"),
            ("on", "true"),
            ("y", "true"),
            ("True", "true"),
            ("no", "false"),
            ("Off", "false"),
            ("n", "false"),
            ("tRuE", "\"tRuE\""),
            ("~", "null"),
            ("null", "null"),
            ("2020-01-01", "\"2020-01-01\""),
            ("1:30", "\"1:30\""),
            ("-", "\"-\""),
            (".", "\".\""),
            ("+", "\"+\""),
            ("0x", "\"0x\""),
            ("5s", "\"5s\""),
            ("infinity", "\"infinity\""),
            ("<a&b>", "\"\\u003ca\\u0026b\\u003e\""),
        ] {
            let content = Content::Scalar { text: text.to_owned(), is_text: false };
            let node = Node { line: 1, content };
            assert_eq!(node.to_json(), json, "{text}");
        }
    }

    #[test]
    fn lists_and_mappings_become_compact_sorted_json() {
        for (yaml, json) in [
            ("[1, a]", "[1,\"a\"]"),
            ("{b: 1, a: x}", "{\"a\":\"x\",\"b\":1}"),
            ("{a: 1, a: 2}", "{\"a\":2}"),
            ("{n: 1, 1: ~}", "{\"1\":null,\"false\":1}"),
            ("['yes', yes]", "[\"yes\",true]"),
        ] {
            let document = parse::document(yaml, 1).unwrap().unwrap();
            assert_eq!(document.root.to_json(), json, "{yaml}");
        }
    }

    #[test]
    fn a_field_of_type_text_receives_numbers_as_go_writes_them() {
        for (text, expected) in [
            ("1.50", "1.5"),
            ("123", "123"),
            ("1e21", "1e+21"),
            ("1234567.5", "1.2345675e+06"),
            ("0.00001", "1e-05"),
            ("y", "true"),
        ] {
            assert_eq!(resolve(text).to_text(), expected);
        }
    }
}
