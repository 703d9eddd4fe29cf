//! From the app's answer to a verdict (spec delivery.md B11).
//!
//! Only the first JSON value of a body counts, and of that only the last `status`, in whatever case its name is written. A body that
//! says nothing readable is success.

pub mod bulk;

use std::borrow::Cow;

use crate::app::{Reason, Verdict};
use crate::json;

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
    match status(&json::valid_text(body)) {
        Some(status) => of_status(&status),
        None => Verdict::Success,
    }
}

/// The last `status` of the first value; `None` if there is none, or one that is no text: that makes the whole answer unreadable,
/// wherever it stands.
fn status(answer: &str) -> Option<Cow<'_, str>> {
    let first = json::first_value(answer).ok()??;
    let mut status = None;
    for (name, value) in json::fields(first).ok()? {
        if name.eq_ignore_ascii_case("status") && value != "null" {
            status = Some(json::text_of(value)?);
        }
    }
    status
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
    fn odd_text_elsewhere_in_an_answer_does_not_hide_its_status() {
        for odd in [
            &b"\"\xff\":1"[..],
            br#""\ud800":1"#,
            br#""a":"\udc00""#,
            b"\"a\":1e999",
            b"\"a\":\"\xc3\"",
        ] {
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
        let Verdict::Retry(reason) = of_answer(500, &[b'x'; 5000]) else {
            panic!("no retry");
        };
        assert_eq!(reason.code(), Some(500));
        assert!(reason.to_string().len() < 1100, "{reason}");
    }
}
