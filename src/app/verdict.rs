//! From the app's answer to a verdict (spec delivery.md B11).
//!
//! Only the first JSON value of a body counts, and of that only the last `status`, in whatever case its name is written. A body that
//! says nothing readable is success.

pub mod bulk;

use std::borrow::Cow;
use std::fmt;

use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, Visitor};

use crate::app::{Reason, Verdict};

/// So much of the body of an error goes into the log and the dead letter.
const SHOWN: usize = 1024;

/// What an HTTP answer means.
pub fn of_answer(code: u16, body: &[u8]) -> Verdict {
    match code {
        200..=299 => of_body(body),
        404 => Verdict::Drop(of_code(code, body)),
        _ => Verdict::Retry(of_code(code, body)),
    }
}

fn of_body(body: &[u8]) -> Verdict {
    if body.is_empty() {
        return Verdict::Success;
    }
    let mut parser = serde_json::Deserializer::from_slice(body);
    match Answer::deserialize(&mut parser) {
        Ok(Answer {
            status,
            is_readable: true,
        }) => of_status(&status),
        Ok(_) | Err(_) => Verdict::Success,
    }
}

fn of_status(status: &str) -> Verdict {
    match status {
        "" | "SUCCESS" => Verdict::Success,
        "DROP" => Verdict::Drop(Reason::Status(status.to_owned())),
        _ => Verdict::Retry(Reason::Status(status.to_owned())),
    }
}

fn of_code(code: u16, body: &[u8]) -> Reason {
    let shown = &body[..body.len().min(SHOWN)];
    Reason::Code {
        code,
        body: String::from_utf8_lossy(shown).into_owned(),
    }
}

/// The part of a body that matters.
struct Answer<'a> {
    status: Cow<'a, str>,
    /// A status that is no text makes the whole answer unreadable, wherever it stands.
    is_readable: bool,
}

impl<'de> Deserialize<'de> for Answer<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(AnswerVisitor)
    }
}

struct AnswerVisitor;

impl<'de> Visitor<'de> for AnswerVisitor {
    type Value = Answer<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_unit<E>(self) -> Result<Self::Value, E> {
        Ok(Answer {
            status: Cow::Borrowed(""),
            is_readable: true,
        })
    }

    fn visit_map<A: MapAccess<'de>>(self, mut fields: A) -> Result<Self::Value, A::Error> {
        let mut answer = Answer {
            status: Cow::Borrowed(""),
            is_readable: true,
        };
        while let Some(Text(name)) = fields.next_key()? {
            if !name.is_some_and(|name| name.eq_ignore_ascii_case("status")) {
                fields.next_value::<IgnoredAny>()?;
                continue;
            }
            match fields.next_value::<Status<'de>>()? {
                Status::Said(status) => answer.status = status,
                Status::Null => {}
                Status::Other => answer.is_readable = false,
            }
        }
        Ok(answer)
    }
}

/// A text, or something else.
struct Text<'a>(Option<Cow<'a, str>>);

impl<'de> Deserialize<'de> for Text<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(match Status::deserialize(deserializer)? {
            Status::Said(text) => Self(Some(text)),
            Status::Null | Status::Other => Self(None),
        })
    }
}

enum Status<'a> {
    Said(Cow<'a, str>),
    Null,
    Other,
}

impl<'de> Deserialize<'de> for Status<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(StatusVisitor)
    }
}

struct StatusVisitor;

impl<'de> Visitor<'de> for StatusVisitor {
    type Value = Status<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("anything")
    }

    fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Self::Value, E> {
        Ok(Status::Said(Cow::Borrowed(text)))
    }

    fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
        Ok(Status::Said(Cow::Owned(text.to_owned())))
    }

    fn visit_unit<E>(self) -> Result<Self::Value, E> {
        Ok(Status::Null)
    }

    fn visit_bool<E>(self, _: bool) -> Result<Self::Value, E> {
        Ok(Status::Other)
    }

    fn visit_i64<E>(self, _: i64) -> Result<Self::Value, E> {
        Ok(Status::Other)
    }

    fn visit_u64<E>(self, _: u64) -> Result<Self::Value, E> {
        Ok(Status::Other)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Self::Value, E> {
        Ok(Status::Other)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut fields: A) -> Result<Self::Value, A::Error> {
        while fields.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(Status::Other)
    }

    fn visit_seq<A: serde::de::SeqAccess<'de>>(
        self,
        mut items: A,
    ) -> Result<Self::Value, A::Error> {
        while items.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Status::Other)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `success`, `drop` or `retry`.
    fn check(code: u16, body: &[u8], expected: &str) {
        let got = match of_answer(code, body) {
            Verdict::Success => "success",
            Verdict::Drop(_) => "drop",
            Verdict::Retry(_) => "retry",
        };
        assert_eq!(got, expected, "{code} {}", String::from_utf8_lossy(body));
    }

    #[test]
    fn a_success_says_in_its_body_what_it_means() {
        for (body, expected) in [
            ("", "success"),
            ("hello", "success"),
            ("{}", "success"),
            ("null", "success"),
            ("[]", "success"),
            ("<html></html>", "success"),
            ("\"DROP\"", "success"),
            ("5", "success"),
            (r#"{"status":"SUCCESS"}"#, "success"),
            (r#"{"status":""}"#, "success"),
            (r#"{"status":null}"#, "success"),
            (r#"{"status":1}"#, "success"),
            (r#"{"status":true}"#, "success"),
            (r#"{"status":1.5}"#, "success"),
            (r#"{"status":["DROP"]}"#, "success"),
            (r#"{"status":{"status":"DROP"}}"#, "success"),
            (r#"{"status":"DROP","status":1}"#, "success"),
            (r#"{"status":"DROP","status":null}"#, "drop"),
            (r#"{"status":"DROP""#, "success"),
            (r#"{"status":"RETRY",}"#, "success"),
            ("{status:DROP}", "success"),
            ("\u{feff}{\"status\":\"DROP\"}", "success"),
            (r#"{"status":"DROP"}"#, "drop"),
            (r#"{"status":"DR\u004fP"}"#, "drop"),
            (r#"{"st\u0061tus":"DROP"}"#, "drop"),
            (r#"{"status":"RETRY"}"#, "retry"),
            (r#"{"Status":"DROP"}"#, "drop"),
            (r#"{"STATUS":"DROP"}"#, "drop"),
            (r#"{"sTaTus":"SUCCESS"}"#, "success"),
            (r#"{"status":"success"}"#, "retry"),
            (r#"{"status":"drop"}"#, "retry"),
            (r#"{"status":"OK"}"#, "retry"),
            (r#"{"status":"SUCCESS "}"#, "retry"),
            (r#"{"status":" "}"#, "retry"),
            (r#"{"status":"DROP"} trailing"#, "drop"),
            (r#"{"status":"SUCCESS"}{"status":"DROP"}"#, "success"),
            (" \n\t{\"status\":\"DROP\"}", "drop"),
            ("{} DROP", "success"),
            (r#"{"status":"DROP","status":"SUCCESS"}"#, "success"),
            (r#"{"status":"SUCCESS","Status":"DROP"}"#, "drop"),
            (r#"{"a":[1,{"status":"x"}],"status":"DROP"}"#, "drop"),
        ] {
            check(200, body.as_bytes(), expected);
            check(299, body.as_bytes(), expected);
        }
        check(200, b"{\"status\":\"RETRY\",\"a\":\"\xff\"}", "retry");
    }

    #[test]
    fn other_codes_count_whatever_the_body_says() {
        let body = br#"{"status":"SUCCESS"}"#;
        check(404, body, "drop");
        check(404, br#"{"status":"RETRY"}"#, "drop");
        for code in [300, 302, 304, 400, 401, 403, 405, 429, 500, 503, 599] {
            check(code, body, "retry");
            check(code, br#"{"status":"DROP"}"#, "retry");
        }
    }

    #[test]
    fn the_reason_shows_a_bounded_part_of_the_body() {
        let Verdict::Retry(reason) = of_answer(500, &[b'x'; 5000]) else {
            panic!("no retry");
        };
        assert_eq!(reason.code(), Some(500));
        assert!(reason.to_string().len() < 1100, "{reason}");
    }
}
