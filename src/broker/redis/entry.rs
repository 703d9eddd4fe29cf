//! Stream entries in the replies of Redis (tests/spec/redis.md, "7. Stream entry format").

use std::fmt;
use std::fmt::Write as _;
use std::str::FromStr;

use bytes::Bytes;
use deadpool_redis::redis::Value;

use super::reply::text;
use crate::json;
use crate::message::{Metadata, Position};

/// The id of a stream entry: milliseconds, and a number within that millisecond.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct EntryId {
    millis: u64,
    sequence: u64,
}

impl EntryId {
    /// The id in a reply.
    pub(super) fn of_reply(reply: &Value) -> Option<Self> {
        match reply {
            Value::BulkString(bytes) => std::str::from_utf8(bytes).ok()?.parse().ok(),
            Value::SimpleString(text) => text.parse().ok(),
            _ => None,
        }
    }
}

impl From<EntryId> for Position {
    fn from(id: EntryId) -> Self {
        Self::Entry { millis: id.millis, sequence: id.sequence }
    }
}

impl FromStr for EntryId {
    type Err = std::num::ParseIntError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (millis, sequence) = text.split_once('-').unwrap_or((text, "0"));
        Ok(Self { millis: millis.parse()?, sequence: sequence.parse()? })
    }
}

impl fmt::Display for EntryId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.millis, self.sequence)
    }
}

/// One entry of a stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) id: EntryId,
    /// The field `data`; empty if there is none.
    pub(super) data: Bytes,
    /// The field `metadata`; `None` if it is missing or cannot be read.
    pub(super) metadata: Option<Metadata>,
    /// What is wrong with the field `metadata`, for a warning.
    pub(super) metadata_error: Option<String>,
    /// The number of this delivery, counted from 1.
    pub(super) attempt: u32,
}

/// The entries in a reply to XREADGROUP, by topic.
pub(super) fn entries_by_topic(reply: Value) -> Vec<(String, Vec<Entry>)> {
    let streams: Vec<(Value, Value)> = match reply {
        Value::Array(streams) => streams.into_iter().filter_map(pair).collect(),
        Value::Map(streams) => streams,
        _ => return Vec::new(),
    };
    streams.into_iter().filter_map(|(topic, entries)| Some((text(topic)?, claimed_entries(entries)))).collect()
}

/// The entries in a reply to XCLAIM. Those that no longer exist are left out.
pub(super) fn claimed_entries(reply: Value) -> Vec<Entry> {
    let Value::Array(entries) = reply else {
        return Vec::new();
    };
    entries.into_iter().filter_map(entry).collect()
}

/// Does a reply to XCLAIM contain nil, as servers before version 7 give for entries that no longer exist?
pub(super) fn has_nil(reply: &Value) -> bool {
    matches!(reply, Value::Array(entries) if entries.contains(&Value::Nil))
}

/// A row of the long form of XPENDING: an entry that a consumer has and has not acknowledged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Pending {
    pub(super) id: EntryId,
    pub(super) consumer: String,
    pub(super) idle_millis: u64,
    /// How often it has been delivered.
    pub(super) deliveries: u32,
}

/// The rows in a reply to the long form of XPENDING.
pub(super) fn pending_entries(reply: Value) -> Vec<Pending> {
    let Value::Array(rows) = reply else {
        return Vec::new();
    };
    let row = |row| {
        let Value::Array(columns) = row else {
            return None;
        };
        let [id, consumer, idle, deliveries] = <[Value; 4]>::try_from(columns).ok()?;
        let (Value::Int(idle), Value::Int(deliveries)) = (idle, deliveries) else {
            return None;
        };
        Some(Pending {
            id: EntryId::of_reply(&id)?,
            consumer: text(consumer)?,
            idle_millis: u64::try_from(idle).unwrap_or(0),
            deliveries: u32::try_from(deliveries).unwrap_or(u32::MAX),
        })
    };
    rows.into_iter().filter_map(row).collect()
}

fn pair(value: Value) -> Option<(Value, Value)> {
    let Value::Array(items) = value else {
        return None;
    };
    let [first, second] = <[Value; 2]>::try_from(items).ok()?;
    Some((first, second))
}

fn entry(value: Value) -> Option<Entry> {
    let (id, fields) = pair(value)?;
    let id = EntryId::of_reply(&id)?;
    let Value::Array(fields) = fields else {
        return None;
    };
    let (mut data, mut metadata) = (Bytes::new(), None);
    let mut fields = fields.into_iter();
    // Of several fields with one name the last counts.
    while let (Some(name), Some(value)) = (fields.next(), fields.next()) {
        let (Value::BulkString(name), Value::BulkString(value)) = (name, value) else {
            continue;
        };
        match name.as_slice() {
            b"data" => data = Bytes::from(value),
            b"metadata" => metadata = Some(value),
            _ => {}
        }
    }
    let (metadata, metadata_error) = metadata.map_or_else(Default::default, |bytes| decode_metadata(&bytes));
    Some(Entry { id, data, metadata, metadata_error, attempt: 1 })
}

/// The map in a `metadata` field, and what is wrong with it (tests/spec/redis.md, "7.2 Reader").
fn decode_metadata(bytes: &[u8]) -> (Option<Metadata>, Option<String>) {
    if bytes == b"{}" {
        return (Some(Metadata::new()), None);
    }
    let text = json::valid_text(bytes);
    if json::trimmed(bytes) == b"null" {
        return (None, None);
    }
    let members = match json::members(&text) {
        Ok(members) => members,
        Err(_) if json::one_value(&text).is_some() => {
            return (None, Some("not a JSON object".to_owned()));
        }
        Err(error) => return (None, Some(error.to_string())),
    };
    let mut metadata = Metadata::new();
    let mut not_text = String::new();
    for (key, value) in members {
        let text = json::text_of(value);
        if text.is_none() && value != "null" {
            let _ = write!(not_text, " {key:?}");
        }
        metadata.insert(key.into_owned(), text.unwrap_or_default().into_owned());
    }
    let error = (!not_text.is_empty()).then(|| format!("values that are no text:{not_text}"));
    (Some(metadata), error)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn odd_metadata_never_holds_an_entry_back() {
        #[track_caller]
        fn check(json: &str, expected: Option<&[(&str, &str)]>, odd: bool) {
            let (metadata, error) = decode_metadata(json.as_bytes());
            let expected: Option<Metadata> = expected
                .map(|pairs| pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect());
            assert_eq!((metadata, error.is_some()), (expected, odd), "{json}");
        }
        check("{}", Some(&[]), false);
        check(" { } ", Some(&[]), false);
        check("null", None, false);
        check(r#" {"a":"b"} "#, Some(&[("a", "b")]), false);
        check(r#"{"a":"\ud800","\udc00":"c"}"#, Some(&[("a", "\u{fffd}"), ("\u{fffd}", "c")]), false);
        let deep = format!(r#"{{"a":"b","c":{}{}}}"#, "[".repeat(500), "]".repeat(500));
        check(&deep, Some(&[("a", "b"), ("c", "")]), true);
        check(r#"{"a":"b","c":1e999}"#, Some(&[("a", "b"), ("c", "")]), true);
        check(r#"{"a":null,"b":"c"}"#, Some(&[("a", ""), ("b", "c")]), false);
        check(r#"{"a":1,"b":"c"}"#, Some(&[("a", ""), ("b", "c")]), true);
        check("notjson", None, true);
        check("", None, true);
        check("[]", None, true);
        check(r#"{"a":"b"} trailing"#, None, true);
    }

    #[test]
    fn fields_are_found_in_any_order_and_the_last_of_a_name_counts() {
        let bulk = |text: &str| Value::BulkString(text.as_bytes().to_vec());
        let read = |fields: &[&str]| {
            entry(Value::Array(vec![bulk("5-1"), Value::Array(fields.iter().map(|field| bulk(field)).collect())]))
                .unwrap()
        };
        assert_eq!(
            read(&["metadata", r#"{"a":"b"}"#, "data", "x"]),
            read(&["data", "w", "data", "x", "other", "y", "metadata", r#"{"a":"b"}"#])
        );
        assert_eq!(read(&["Data", "x"]).data, Bytes::new());
    }
}
