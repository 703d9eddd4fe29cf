//! From the app's answer to a request with several events to a verdict for each (tests/spec/delivery.md, "B15. Bulk
//! subscribe").
//!
//! Unlike for a single event, an answer that cannot be read is a failure, and so is one that does not mention the event.

use std::borrow::Cow;
use std::collections::HashMap;

use serde::de::Error;

use crate::app::channel::{FailureReason, Verdict};
use crate::json;

/// The verdicts of an answer.
#[derive(Debug, PartialEq, Eq)]
pub struct Verdicts {
    /// One for each entry, in their order.
    pub of_entries: Vec<Verdict>,
    /// The ids in the answer that were not in the request.
    pub unknown_ids: Vec<String>,
}

/// The verdicts of an HTTP answer on the entries with these ids.
pub fn of_answer<'a>(code: u16, body: &[u8], ids: impl Iterator<Item = &'a str>) -> Verdicts {
    let for_all = match code {
        200..=299 => match statuses(&json::valid_text(body)) {
            Ok(statuses) => return of_statuses(statuses, ids),
            Err(error) => Verdict::Retry(FailureReason::Unanswered(format!(
                "failed unmarshalling app response for bulk subscribe: {error}"
            ))),
        },
        404 => Verdict::Drop(FailureReason::of_code(code, body)),
        _ => Verdict::Retry(FailureReason::of_code(code, body)),
    };
    Verdicts { of_entries: ids.map(|_| for_all.clone()).collect(), unknown_ids: Vec::new() }
}

fn of_statuses<'a>(statuses: Vec<Status>, ids: impl Iterator<Item = &'a str>) -> Verdicts {
    // If an entry is mentioned twice, the last mention counts.
    let mut by_id: HashMap<String, String> = statuses.into_iter().map(|status| (status.id, status.status)).collect();
    let of_entries = ids.map(|id| of_status(id, by_id.remove(id))).collect();
    let mut unknown_ids: Vec<_> = by_id.into_keys().collect();
    unknown_ids.sort();
    Verdicts { of_entries, unknown_ids }
}

fn of_status(id: &str, status: Option<String>) -> Verdict {
    let Some(status) = status else {
        return Verdict::Retry(FailureReason::Unanswered(format!(
            "response not received, RETRY required while processing bulk subscribe event for entry id: {id}"
        )));
    };
    match status.as_str() {
        "SUCCESS" => Verdict::Success,
        "DROP" => Verdict::Drop(FailureReason::Status(status)),
        _ => Verdict::Retry(FailureReason::Status(status)),
    }
}

/// The app's answer for one entry. Null and missing values are empty.
#[derive(Default)]
struct Status {
    id: String,
    status: String,
}

fn statuses(answer: &str) -> Result<Vec<Status>, serde_json::Error> {
    let mut list = Vec::new();
    for (name, value) in fields(answer)? {
        if name.eq_ignore_ascii_case("statuses") {
            let items = match value {
                "null" => Vec::new(),
                value => json::items(value)?,
            };
            list = items.into_iter().map(status).collect::<Result<_, _>>()?;
        }
    }
    Ok(list)
}

fn status(item: &str) -> Result<Status, serde_json::Error> {
    let mut status = Status::default();
    for (name, value) in fields(item)? {
        let place = if name.eq_ignore_ascii_case("entryId") {
            &mut status.id
        } else if name.eq_ignore_ascii_case("status") {
            &mut status.status
        } else {
            continue;
        };
        if value != "null" {
            let text = json::text_of(value);
            *place = text.ok_or_else(|| Error::custom(format_args!("{name} must be a string")))?.into_owned();
        }
    }
    Ok(status)
}

/// The members of an object in their order; `null` has none. The case of names does not matter, and the last of equal names counts.
fn fields(object: &str) -> Result<Vec<(Cow<'_, str>, &str)>, serde_json::Error> {
    match json::trimmed(object.as_bytes()) {
        b"null" => Ok(Vec::new()),
        _ => json::fields(object),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The verdicts on entries `1`, `2` and `3`: S, D, R, `-` for what is not mentioned, X for what cannot be read, a code; and ids
    /// that nobody knows.
    #[track_caller]
    fn check(code: u16, body: &str, expected: &str) {
        let verdicts = of_answer(code, body.as_bytes(), ["1", "2", "3"].into_iter());
        let shown = verdicts.of_entries.iter().map(|verdict| match verdict {
            Verdict::Success => "S".to_owned(),
            Verdict::Drop(FailureReason::Status(_)) => "D".to_owned(),
            Verdict::Drop(reason) => format!("d{}", reason.code().unwrap_or(0)),
            Verdict::Retry(FailureReason::Unanswered(text)) if text.starts_with("failed") => "X".to_owned(),
            Verdict::Retry(FailureReason::Unanswered(_)) => "-".to_owned(),
            Verdict::Retry(FailureReason::Status(_)) => "R".to_owned(),
            Verdict::Retry(reason) => format!("r{}", reason.code().unwrap_or(0)),
        });
        let unknown = verdicts.unknown_ids.iter().map(|id| format!("?{id}"));
        let all: Vec<_> = shown.chain(unknown).collect();
        assert_eq!(all.join(" "), expected, "{code} {body}");
    }

    #[test]
    fn each_entry_has_its_status() {
        for (statuses, expected) in [
            (
                r#"{"entryId":"1","status":"SUCCESS"},{"entryId":"2","status":"DROP"},{"entryId":"3","status":"RETRY"}"#,
                "S D R",
            ),
            (r#"{"entryId":"3","status":"DROP"},{"entryId":"1","status":"SUCCESS"}"#, "S - D"),
            (r#"{"entryId":"1"},{"entryId":"2","status":null},{"entryId":"3","status":""}"#, "R R R"),
            (
                r#"{"entryId":"1","status":"success"},{"entryId":"2","status":"OK"},{"entryId":"3","status":"drop"}"#,
                "R R R",
            ),
            (r#"{"ENTRYID":"1","Status":"SUCCESS","x":[1]}"#, "S - -"),
            (r#"{"entryId":"1","status":"RETRY"},{"entryId":"1","status":"SUCCESS"}"#, "S - -"),
            (
                r#"{"entryId":"1","status":"RETRY","Status":"SUCCESS"},{"entryId":"2","status":"DROP","status":null}"#,
                "S D -",
            ),
            (r#"{"entryId":"x","status":"DROP"},{"status":"RETRY"},null"#, "- - - ? ?x"),
            (r#"{"entryId":"1","status":1}"#, "X X X"),
            (r#"{"entryId":1,"status":"SUCCESS"}"#, "X X X"),
            (r#""SUCCESS""#, "X X X"),
            (
                r#"{"\ud800":1e999,"entryId":"1","status":"SUCCESS"},{"entryId":"\ud800","status":"DROP"}"#,
                "S - - ?\u{fffd}",
            ),
            ("", "- - -"),
        ] {
            check(200, &format!(r#"{{"statuses":[{statuses}]}}"#), expected);
            check(299, &format!(r#"{{"x":1,"Statuses":[{statuses}]}} "#), expected);
        }
    }

    #[test]
    fn an_answer_that_says_nothing_is_a_failure_of_all() {
        for body in ["", "ok", "[]", "\"SUCCESS\"", "{", r#"{"statuses":{}}"#, r#"{"statuses":[]} x"#] {
            check(200, body, "X X X");
        }
        for body in ["{}", "null", r#"{"statuses":null}"#, r#"{"status":"SUCCESS"}"#] {
            check(204, body, "- - -");
        }
    }

    #[test]
    fn other_codes_count_for_all() {
        let body = r#"{"statuses":[{"entryId":"1","status":"SUCCESS"}]}"#;
        check(404, body, "d404 d404 d404");
        for code in [301, 400, 403, 500, 503] {
            check(code, body, &format!("r{code} r{code} r{code}"));
        }
    }
}
