//! From the app's answer to a verdict (tests/spec/delivery.md, "B11. HTTP response mapping").
//!
//! Only the first JSON value of a body counts, and of that only the last `status`; the case of its name does not matter. A body that
//! cannot be read is success, as in daprd; the caller logs it, because the app most likely meant something by it.

pub mod bulk;

use super::channel::{FailureReason, Verdict};
use crate::json;

/// The verdict of an HTTP answer. If the body of a success cannot be read, `unread` is called with the reason, as words that follow
/// "the body".
pub fn of_answer(code: u16, body: &[u8], unread: impl FnOnce(&'static str)) -> Verdict {
    match code {
        200..=299 => match status(body) {
            Ok(status) => of_status(&status),
            Err(what) => {
                unread(what);
                Verdict::Success
            }
        },
        404 => Verdict::Drop(FailureReason::of_code(code, body)),
        _ => Verdict::Retry(FailureReason::of_code(code, body)),
    }
}

/// The last `status` of the first value; empty if there is none, as in `{}`. One status that is not a string makes the whole answer
/// unreadable.
///
/// # Errors
/// A description of the body, if it is not an answer to an event.
fn status(body: &[u8]) -> Result<String, &'static str> {
    let text = json::valid_text(body);
    let Some(first) = json::first_value(&text).map_err(|_| no_json(body))? else {
        return Ok(String::new());
    };
    if first == "null" {
        return Ok(String::new());
    }
    if !first.starts_with('{') {
        return Err("is JSON but no object");
    }
    let fields = json::fields(first).map_err(|_| "is no valid JSON")?;
    let (mut status, mut is_empty) = (None, true);
    for (name, value) in fields {
        is_empty = false;
        if name.eq_ignore_ascii_case("status") {
            match value {
                "null" => status = status.or_else(|| Some(String::new())),
                value => {
                    let text = json::text_of(value).ok_or("has a status that is no text")?;
                    status = Some(text.into_owned());
                }
            }
        }
    }
    match status {
        Some(status) => Ok(status),
        None if is_empty => Ok(String::new()),
        None => Err("is a JSON object without status"),
    }
}

/// Describe a body that does not begin with a JSON value.
fn no_json(body: &[u8]) -> &'static str {
    match body {
        [0xef, 0xbb, 0xbf, ..] => "begins with a byte order mark, which JSON must not have",
        [0xff, 0xfe, ..] | [0xfe, 0xff, ..] | [0, _, ..] | [_, 0, ..] => {
            "is in UTF-16 or UTF-32, while JSON must be in UTF-8"
        }
        [0x1f, 0x8b, ..] => "is compressed with gzip, and no Content-Encoding says so",
        _ if is_html(body) => "is HTML",
        _ => "is no valid JSON",
    }
}

/// Does a body begin like HTML or XML?
pub fn is_html(body: &[u8]) -> bool {
    body.trim_ascii_start().starts_with(b"<")
}

fn of_status(status: &str) -> Verdict {
    match status {
        "" | "SUCCESS" => Verdict::Success,
        "DROP" => Verdict::Drop(FailureReason::Status(status.to_owned())),
        _ => Verdict::Retry(FailureReason::Status(status.to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `success`, `drop` or `retry`.
    fn check(code: u16, body: &[u8], expected: &str) {
        let got = match of_answer(code, body, |_| ()) {
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
    fn odd_text_elsewhere_in_an_answer_does_not_hide_its_status() {
        for odd in [&b"\"\xff\":1"[..], br#""\ud800":1"#, br#""a":"\udc00""#, b"\"a\":1e999", b"\"a\":\"\xc3\""] {
            let before = [b"{", odd, br#","status":"RETRY"}"#].concat();
            let behind = [br#"{"status":"RETRY","#, odd, b"}"].concat();
            check(200, &before, "retry");
            check(200, &behind, "retry");
        }
        check(200, b"{\"status\":\"\xff\"}", "retry");
        check(200, br#"{"status":"\ud800"}"#, "retry");
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
        let Verdict::Retry(reason) = of_answer(500, &[b'x'; 5000], |_| ()) else {
            panic!("no retry");
        };
        assert_eq!(reason.code(), Some(500));
        assert!(reason.to_string().len() < 1100, "{reason}");
    }

    #[test]
    fn a_body_that_is_no_answer_is_told_and_one_that_says_nothing_is_not() {
        for (body, expected) in [
            (&b""[..], ""),
            (b" \n", ""),
            (b"null", ""),
            (b"{}", ""),
            (br#"{"status":null}"#, ""),
            (br#"{"status":""}"#, ""),
            (br#"{"status":"RETRY"}"#, ""),
            (br#"{"success":false,"STATUS":"DROP"}"#, ""),
            (br#"{"success":false}"#, "is a JSON object without status"),
            (br#"{"data":{"status":"RETRY"}}"#, "is a JSON object without status"),
            (br#"{"status":5}"#, "has a status that is no text"),
            (b"[]", "is JSON but no object"),
            (b"\"RETRY\"", "is JSON but no object"),
            (b"5", "is JSON but no object"),
            (b"OK", "is no valid JSON"),
            (br#"{"status":"RETRY""#, "is no valid JSON"),
            (br#"{"status":"RETRY",}"#, "is no valid JSON"),
            (b" <!doctype html>", "is HTML"),
            (b"\xef\xbb\xbf{\"status\":\"RETRY\"}", "begins with a byte order mark, which JSON must not have"),
            (b"\xff\xfe{\0\"\0", "is in UTF-16 or UTF-32, while JSON must be in UTF-8"),
            (b"\xfe\xff\0{\0\"", "is in UTF-16 or UTF-32, while JSON must be in UTF-8"),
            (b"{\0\"\0", "is in UTF-16 or UTF-32, while JSON must be in UTF-8"),
            (b"\0\0\0{", "is in UTF-16 or UTF-32, while JSON must be in UTF-8"),
            (b"\x1f\x8b\x08", "is compressed with gzip, and no Content-Encoding says so"),
        ] {
            let mut told = "";
            of_answer(200, body, |what| told = what);
            assert_eq!(told, expected, "{}", String::from_utf8_lossy(body));
        }
        of_answer(500, b"<html>", |what| panic!("{what}"));
    }
}
