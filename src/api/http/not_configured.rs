//! Building blocks that this sidecar does not have: what daprd says of them when nothing is configured
//! (tests/spec/http-api.md, "10. Other building blocks when not configured").

use std::borrow::Cow;
use std::collections::BTreeMap;

use crate::api::error::{ApiError, JobCall};
use crate::api::http::call::Call;
use crate::api::http::path;
use crate::json;

/// What is missing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Block {
    State,
    StateQuery,
    Secrets,
    Binding,
    Configuration,
    Lock,
    Unlock,
    Crypto,
    SubtleCrypto,
    Conversation,
    /// Actors and workflows.
    Actor,
    /// State of an actor: a body that lists what to write.
    ActorState,
    /// A reminder or a timer of an actor, with a body that describes it.
    ActorTimer,
    Job(JobCall),
}

/// The error for a call of this block. Every path has the name of its component in third place.
pub(super) async fn error(block: Block, call: Call<'_>) -> ApiError {
    let name = path::segment(call.head.uri.path(), 2).into_owned();
    let settings = &call.context.settings;
    let app_id = settings.app_id.clone();
    let wants = match block {
        Block::Binding => Wants::Fields(BINDING),
        Block::ActorState => Wants::ListOf(OPERATION),
        Block::ActorTimer => Wants::Fields(TIMER),
        Block::Job(JobCall::Schedule) => Wants::FieldsOrNothing(JOB),
        Block::Secrets | Block::Lock | Block::Unlock | Block::SubtleCrypto | Block::Conversation => {
            Wants::ObjectOrNothing
        }
        Block::State | Block::StateQuery | Block::Configuration | Block::Crypto | Block::Actor | Block::Job(_) => {
            Wants::Anything
        }
    };
    let body = match read(&mut *call.body, wants).await {
        Ok(body) => body,
        Err(error) => return error,
    };
    let members = json::members(&body).unwrap_or_default();
    match block {
        Block::State => ApiError::State { store: name, app_id: Some(app_id) },
        Block::StateQuery => ApiError::State { store: name, app_id: None },
        Block::Secrets => missing_secret_store(&call, name),
        Block::Binding if text(&members, "operation").is_empty() => {
            let error = "operation field is missing from request".to_owned();
            ApiError::Binding { error, name }
        }
        Block::Binding => ApiError::Binding { error: format!("couldn't find output binding {name}"), name },
        Block::Configuration => ApiError::Configuration,
        Block::Lock if !is_positive(members.get("expiryInSeconds").copied()) => ApiError::LockExpiry { store: name },
        Block::Lock | Block::Unlock => ApiError::Lock,
        Block::Crypto => ApiError::Crypto,
        Block::SubtleCrypto => ApiError::SubtleCrypto,
        Block::Conversation => ApiError::Conversation { name },
        Block::Actor | Block::ActorState | Block::ActorTimer => ApiError::Placement,
        Block::Job(job) => {
            let namespace = settings.namespace.as_deref().unwrap_or("default").to_owned();
            let is_timeless = text(&members, "schedule").is_empty() && text(&members, "dueTime").is_empty();
            if job == JobCall::Schedule && is_timeless {
                ApiError::JobWithoutSchedule { app_id, namespace }
            } else {
                ApiError::Job { call: job, app_id, namespace }
            }
        }
    }
}

/// What a body must be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wants {
    /// It is not read.
    Anything,
    /// A JSON object or no bytes at all.
    ObjectOrNothing,
    /// A JSON object whose fields have these types, or no bytes at all.
    FieldsOrNothing(&'static [Field]),
    /// A JSON value whose fields have these types. What follows it is ignored, as by Go's decoder.
    Fields(&'static [Field]),
    /// The same for a list of such values.
    ListOf(&'static [Field]),
}

/// The name of a field and the type that its value must have, unless it is null.
type Field = (&'static str, Type);

/// What the value of a field must be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Type {
    Text,
    /// An object whose values are texts.
    Texts,
    Flag,
    /// A whole number from 0, perhaps written as text, as JSON of protobuf allows.
    Count,
    Object,
}

const BINDING: &[Field] = &[("operation", Type::Text), ("metadata", Type::Texts)];

const OPERATION: &[Field] = &[("operation", Type::Text)];

const TIMER: &[Field] =
    &[("dueTime", Type::Text), ("period", Type::Text), ("ttl", Type::Text), ("callback", Type::Text)];

const JOB: &[Field] = &[
    ("schedule", Type::Text),
    ("dueTime", Type::Text),
    ("ttl", Type::Text),
    ("repeats", Type::Count),
    ("overwrite", Type::Flag),
    ("failurePolicy", Type::Object),
];

/// The body as text, if it is what it must be.
pub(super) async fn read(body: &mut super::body::RequestBody, wants: Wants) -> Result<String, ApiError> {
    if wants == Wants::Anything {
        return Ok(String::new());
    }
    let unreadable = |error: String| match wants {
        Wants::Anything | Wants::ObjectOrNothing => ApiError::BodyRead { error },
        // These bodies are decoded while they are read: one that is too large is one that cannot be decoded.
        Wants::FieldsOrNothing(_) | Wants::Fields(_) | Wants::ListOf(_) => ApiError::Malformed { error },
    };
    let bytes = body.read().await.map_err(|error| error.of_route(unreadable))?;
    let text = json::valid_text(&bytes).into_owned();
    match check(&text, wants) {
        Ok(()) => Ok(text),
        Err(error) => Err(ApiError::Malformed { error }),
    }
}

fn check(text: &str, wants: Wants) -> Result<(), String> {
    match wants {
        Wants::Anything => Ok(()),
        Wants::ObjectOrNothing | Wants::FieldsOrNothing(_) if text.is_empty() => Ok(()),
        Wants::ObjectOrNothing => json::members(text).map(drop).map_err(|error| error.to_string()),
        Wants::FieldsOrNothing(fields) => check_fields(text, fields),
        Wants::Fields(fields) => match first_value(text)? {
            "null" => Ok(()),
            value => check_fields(value, fields),
        },
        Wants::ListOf(fields) => match first_value(text)? {
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

fn is_of(value: &str, wanted: Type) -> bool {
    match wanted {
        Type::Text => value.starts_with('"'),
        Type::Texts => json::members(value)
            .is_ok_and(|members| members.values().all(|value| *value == "null" || value.starts_with('"'))),
        Type::Flag => matches!(value, "true" | "false"),
        Type::Count => value
            .trim_matches('"')
            .parse::<f64>()
            .is_ok_and(|number| number.fract() == 0.0 && (0.0..=f64::from(u32::MAX)).contains(&number)),
        Type::Object => value.starts_with('{'),
    }
}

/// Secret stores resolve component properties here; their API is another building block.
fn missing_secret_store(call: &Call<'_>, name: String) -> ApiError {
    let components = call.context.components.get();
    let mut stores = components.iter().filter(|component| component.kind.starts_with("secretstores.")).peekable();
    if stores.peek().is_some() && !stores.any(|store| store.name == name) {
        ApiError::SecretStore { store: name }
    } else {
        ApiError::Secrets
    }
}

fn text<'a>(members: &BTreeMap<Cow<'_, str>, &'a str>, name: &str) -> Cow<'a, str> {
    members.get(name).and_then(|value| json::text_of(value)).unwrap_or_default()
}

/// Is it a number above zero, perhaps written as text, as JSON of protobuf allows?
fn is_positive(value: Option<&str>) -> bool {
    value.is_some_and(|value| value.trim_matches('"').parse::<f64>().is_ok_and(|number| number > 0.0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::server::BodyMemory;
    use crate::telemetry::Telemetry;
    use crate::telemetry::log::{Level, Log};
    use crate::telemetry::metrics::Metrics;

    #[test]
    fn values_of_a_wrong_type_are_refused() {
        for (wants, text, is_fine) in [
            (Wants::Fields(BINDING), r#"{"operation":"get","data":[1],"metadata":{"a":"b"}}"#, true),
            (Wants::Fields(BINDING), r#"{"operation":null,"metadata":null,"nope":1}"#, true),
            (Wants::Fields(BINDING), "null", true),
            (Wants::Fields(BINDING), r#"{"operation":"get"} more"#, true),
            (Wants::Fields(BINDING), "", false),
            (Wants::Fields(BINDING), "[]", false),
            (Wants::Fields(BINDING), "\"get\"", false),
            (Wants::Fields(BINDING), r#"{"operation":5}"#, false),
            (Wants::Fields(BINDING), r#"{"operation":{}}"#, false),
            (Wants::Fields(BINDING), r#"{"metadata":{"a":1}}"#, false),
            (Wants::Fields(BINDING), r#"{"metadata":["a"]}"#, false),
            (Wants::FieldsOrNothing(JOB), "", true),
            (Wants::FieldsOrNothing(JOB), r#"{"schedule":"@daily","data":1,"repeats":3,"overwrite":true}"#, true),
            (Wants::FieldsOrNothing(JOB), r#"{"repeats":"3","failurePolicy":{"drop":{}}}"#, true),
            (Wants::FieldsOrNothing(JOB), "null", false),
            (Wants::FieldsOrNothing(JOB), r#"{"schedule":1}"#, false),
            (Wants::FieldsOrNothing(JOB), r#"{"dueTime":10}"#, false),
            (Wants::FieldsOrNothing(JOB), r#"{"ttl":false}"#, false),
            (Wants::FieldsOrNothing(JOB), r#"{"repeats":-1}"#, false),
            (Wants::FieldsOrNothing(JOB), r#"{"repeats":1.5}"#, false),
            (Wants::FieldsOrNothing(JOB), r#"{"overwrite":"yes"}"#, false),
            (Wants::FieldsOrNothing(JOB), r#"{"failurePolicy":"drop"}"#, false),
            (Wants::Fields(TIMER), "{}", true),
            (Wants::Fields(TIMER), "[]", false),
            (Wants::Fields(TIMER), r#"{"dueTime":5}"#, false),
            (Wants::Fields(TIMER), r#"{"period":{}}"#, false),
            (Wants::ListOf(OPERATION), "[]", true),
            (Wants::ListOf(OPERATION), r#"[{"operation":"upsert","request":{"key":"a"}}]"#, true),
            (Wants::ListOf(OPERATION), "{}", false),
            (Wants::ListOf(OPERATION), "[1]", false),
            (Wants::ListOf(OPERATION), r#"[{"operation":1}]"#, false),
        ] {
            assert_eq!(check(text, wants).is_ok(), is_fine, "{wants:?} {text}");
        }
    }

    #[tokio::test]
    async fn a_body_that_is_too_large_cannot_be_decoded_or_not_be_read() {
        let telemetry = Telemetry::new(Log::new(Level::Fatal, std::io::sink()), Metrics::default());
        let memory = BodyMemory::new(1 << 20, telemetry);
        for (wants, code) in [
            (Wants::Fields(BINDING), "ERR_MALFORMED_REQUEST"),
            (Wants::FieldsOrNothing(JOB), "ERR_MALFORMED_REQUEST"),
            (Wants::ListOf(OPERATION), "ERR_MALFORMED_REQUEST"),
            (Wants::ObjectOrNothing, "ERR_BODY_READ"),
        ] {
            let long = axum::body::Body::from(" ".repeat(101));
            let mut body = super::super::body::RequestBody::new(long, Some(100), &memory);
            let error = read(&mut body, wants).await.unwrap_err();
            assert_eq!(error.shape().code, code, "{wants:?}");
        }
    }
}
