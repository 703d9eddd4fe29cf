//! Replies of Redis as Rust values.

use deadpool_redis::redis::Value;

/// The text of a reply; `None` if it is no text, or not valid UTF-8.
pub(super) fn text(value: Value) -> Option<String> {
    match value {
        Value::BulkString(bytes) => String::from_utf8(bytes).ok(),
        Value::SimpleString(text) => Some(text),
        _ => None,
    }
}
