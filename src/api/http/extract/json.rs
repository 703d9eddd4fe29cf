//! JSON bodies of building blocks that are not ours, checked as far as daprd checks them before it finds that nothing
//! is configured.

use crate::api::error::ApiError;
use crate::api::http::extract::body::RequestBody;
use crate::json;

/// The form of a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::api::http) enum Expected {
    /// The body is not read.
    Anything,
    /// A JSON object or no bytes at all.
    ObjectOrNothing,
    /// A JSON object whose fields have these types, or an empty body.
    FieldsOrNothing(&'static [Field]),
    /// A JSON value whose fields have these types. Bytes behind it are ignored, as by Go's decoder.
    Fields(&'static [Field]),
    /// A JSON list of such values.
    ListOf(&'static [Field]),
}

/// The name of a field, and the type of its value unless it is null.
pub(in crate::api::http) type Field = (&'static str, FieldType);

/// The type of a field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::api::http) enum FieldType {
    Text,
    /// An object whose values are texts.
    Texts,
    Flag,
    /// A whole number from 0, perhaps written as text, as JSON of protobuf allows.
    Count,
    Object,
}

/// The body as text.
///
/// # Errors
/// If it cannot be read or has another form.
pub(in crate::api::http) async fn read(body: &mut RequestBody, expected: Expected) -> Result<String, ApiError> {
    if expected == Expected::Anything {
        return Ok(String::new());
    }
    let unreadable = |error: String| match expected {
        Expected::Anything | Expected::ObjectOrNothing => ApiError::BodyRead { error },
        // These bodies are decoded while they are read: one that is too large is one that cannot be decoded.
        Expected::FieldsOrNothing(_) | Expected::Fields(_) | Expected::ListOf(_) => ApiError::Malformed { error },
    };
    let bytes = body.read().await.map_err(|error| error.of_route(unreadable))?;
    let text = json::valid_text(&bytes).into_owned();
    match check(&text, expected) {
        Ok(()) => Ok(text),
        Err(error) => Err(ApiError::Malformed { error }),
    }
}

fn check(text: &str, expected: Expected) -> Result<(), String> {
    match expected {
        Expected::Anything => Ok(()),
        Expected::ObjectOrNothing | Expected::FieldsOrNothing(_) if text.is_empty() => Ok(()),
        Expected::ObjectOrNothing => json::members(text).map(drop).map_err(|error| error.to_string()),
        Expected::FieldsOrNothing(fields) => check_fields(text, fields),
        Expected::Fields(fields) => match first_value(text)? {
            "null" => Ok(()),
            value => check_fields(value, fields),
        },
        Expected::ListOf(fields) => match first_value(text)? {
            "null" => Ok(()),
            list => {
                let items = json::items(list).map_err(|error| error.to_string())?;
                let mut objects = items.into_iter().filter(|item| *item != "null");
                objects.try_for_each(|item| check_fields(item, fields))
            }
        },
    }
}

fn first_value(text: &str) -> Result<&str, String> {
    let value = json::first_value(text).map_err(|error| error.to_string())?;
    value.ok_or_else(|| "EOF".to_owned())
}

fn check_fields(object: &str, fields: &[Field]) -> Result<(), String> {
    let members = json::members(object).map_err(|error| error.to_string())?;
    for (name, wanted) in fields {
        let value = members.get(*name).copied().filter(|value| *value != "null");
        if value.is_some_and(|value| !is_of(value, *wanted)) {
            return Err(format!("{name} has a value of the wrong type"));
        }
    }
    Ok(())
}

fn is_of(value: &str, wanted: FieldType) -> bool {
    match wanted {
        FieldType::Text => value.starts_with('"'),
        FieldType::Texts => json::members(value)
            .is_ok_and(|members| members.values().all(|value| *value == "null" || value.starts_with('"'))),
        FieldType::Flag => matches!(value, "true" | "false"),
        FieldType::Count => value
            .trim_matches('"')
            .parse::<f64>()
            .is_ok_and(|number| number.fract() == 0.0 && (0.0..=f64::from(u32::MAX)).contains(&number)),
        FieldType::Object => value.starts_with('{'),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::http::handlers::not_configured::{BINDING, JOB, OPERATION, TIMER};
    use crate::server::BodyMemory;
    use crate::telemetry::Telemetry;
    use crate::telemetry::log::{Level, Log};
    use crate::telemetry::metrics::Metrics;

    #[test]
    fn values_of_a_wrong_type_are_refused() {
        for (expected, text, is_fine) in [
            (Expected::Fields(BINDING), r#"{"operation":"get","data":[1],"metadata":{"a":"b"}}"#, true),
            (Expected::Fields(BINDING), r#"{"operation":null,"metadata":null,"nope":1}"#, true),
            (Expected::Fields(BINDING), "null", true),
            (Expected::Fields(BINDING), r#"{"operation":"get"} more"#, true),
            (Expected::Fields(BINDING), "", false),
            (Expected::Fields(BINDING), "[]", false),
            (Expected::Fields(BINDING), "\"get\"", false),
            (Expected::Fields(BINDING), r#"{"operation":5}"#, false),
            (Expected::Fields(BINDING), r#"{"operation":{}}"#, false),
            (Expected::Fields(BINDING), r#"{"metadata":{"a":1}}"#, false),
            (Expected::Fields(BINDING), r#"{"metadata":["a"]}"#, false),
            (Expected::FieldsOrNothing(JOB), "", true),
            (Expected::FieldsOrNothing(JOB), r#"{"schedule":"@daily","data":1,"repeats":3,"overwrite":true}"#, true),
            (Expected::FieldsOrNothing(JOB), r#"{"repeats":"3","failurePolicy":{"drop":{}}}"#, true),
            (Expected::FieldsOrNothing(JOB), "null", false),
            (Expected::FieldsOrNothing(JOB), r#"{"schedule":1}"#, false),
            (Expected::FieldsOrNothing(JOB), r#"{"dueTime":10}"#, false),
            (Expected::FieldsOrNothing(JOB), r#"{"ttl":false}"#, false),
            (Expected::FieldsOrNothing(JOB), r#"{"repeats":-1}"#, false),
            (Expected::FieldsOrNothing(JOB), r#"{"repeats":1.5}"#, false),
            (Expected::FieldsOrNothing(JOB), r#"{"overwrite":"yes"}"#, false),
            (Expected::FieldsOrNothing(JOB), r#"{"failurePolicy":"drop"}"#, false),
            (Expected::Fields(TIMER), "{}", true),
            (Expected::Fields(TIMER), "[]", false),
            (Expected::Fields(TIMER), r#"{"dueTime":5}"#, false),
            (Expected::Fields(TIMER), r#"{"period":{}}"#, false),
            (Expected::ListOf(OPERATION), "[]", true),
            (Expected::ListOf(OPERATION), r#"[{"operation":"upsert","request":{"key":"a"}}]"#, true),
            (Expected::ListOf(OPERATION), "{}", false),
            (Expected::ListOf(OPERATION), "[1]", false),
            (Expected::ListOf(OPERATION), r#"[{"operation":1}]"#, false),
        ] {
            assert_eq!(check(text, expected).is_ok(), is_fine, "{expected:?} {text}");
        }
    }

    #[tokio::test]
    async fn a_body_that_is_too_large_cannot_be_decoded_or_not_be_read() {
        let telemetry = Telemetry::new(Log::new(Level::Fatal, std::io::sink()), Metrics::default());
        let memory = BodyMemory::new(1 << 20, telemetry);
        for (expected, code) in [
            (Expected::Fields(BINDING), "ERR_MALFORMED_REQUEST"),
            (Expected::FieldsOrNothing(JOB), "ERR_MALFORMED_REQUEST"),
            (Expected::ListOf(OPERATION), "ERR_MALFORMED_REQUEST"),
            (Expected::ObjectOrNothing, "ERR_BODY_READ"),
        ] {
            let long = axum::body::Body::from(" ".repeat(101));
            let mut body = RequestBody::new(long, Some(100), &memory);
            let error = read(&mut body, expected).await.unwrap_err();
            assert_eq!(error.response().code, code, "{expected:?}");
        }
    }
}
