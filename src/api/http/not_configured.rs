//! Building blocks that this sidecar does not have: what daprd says of them when nothing is configured (spec http-api.md 10).

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
    /// Actors, with a body that must be JSON.
    ActorWrite,
    Job(JobCall),
}

/// The error for a call of this block. Every path has the name of its component in third place.
pub(super) async fn error(block: Block, call: Call<'_>) -> ApiError {
    let name = path::segment(call.head.uri.path(), 2).into_owned();
    let settings = &call.context.settings;
    let app_id = settings.app_id.clone();
    let wants = match block {
        Block::Binding => Wants::Object,
        Block::ActorWrite => Wants::Json,
        Block::Secrets
        | Block::Lock
        | Block::Unlock
        | Block::SubtleCrypto
        | Block::Conversation
        | Block::Job(JobCall::Schedule) => Wants::ObjectOrNothing,
        Block::State
        | Block::StateQuery
        | Block::Configuration
        | Block::Crypto
        | Block::Actor
        | Block::Job(_) => Wants::Anything,
    };
    let body = match read(&mut *call.body, wants).await {
        Ok(body) => body,
        Err(error) => return error,
    };
    let members = json::members(&body).unwrap_or_default();
    match block {
        Block::State => ApiError::State {
            store: name,
            app_id: Some(app_id),
        },
        Block::StateQuery => ApiError::State {
            store: name,
            app_id: None,
        },
        Block::Secrets => missing_secret_store(&call, name),
        Block::Binding if text(&members, "operation").is_empty() => {
            let error = "operation field is missing from request".to_owned();
            ApiError::Binding { error, name }
        }
        Block::Binding => ApiError::Binding {
            error: format!("couldn't find output binding {name}"),
            name,
        },
        Block::Configuration => ApiError::Configuration,
        Block::Lock if !is_positive(members.get("expiryInSeconds").copied()) => {
            ApiError::LockExpiry { store: name }
        }
        Block::Lock | Block::Unlock => ApiError::Lock,
        Block::Crypto => ApiError::Crypto,
        Block::SubtleCrypto => ApiError::SubtleCrypto,
        Block::Conversation => ApiError::Conversation { name },
        Block::Actor | Block::ActorWrite => ApiError::Placement,
        Block::Job(job) => {
            let namespace = settings
                .namespace
                .as_deref()
                .unwrap_or("default")
                .to_owned();
            let is_timeless =
                text(&members, "schedule").is_empty() && text(&members, "dueTime").is_empty();
            if job == JobCall::Schedule && is_timeless {
                ApiError::JobWithoutSchedule { app_id, namespace }
            } else {
                ApiError::Job {
                    call: job,
                    app_id,
                    namespace,
                }
            }
        }
    }
}

/// What a body must be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wants {
    /// It is not read.
    Anything,
    /// Any JSON value.
    Json,
    /// A JSON object.
    Object,
    /// A JSON object or no bytes at all.
    ObjectOrNothing,
}

/// The body as text, if it is what it must be.
pub(super) async fn read(
    body: &mut super::body::RequestBody,
    wants: Wants,
) -> Result<String, ApiError> {
    if wants == Wants::Anything {
        return Ok(String::new());
    }
    let bytes = body.read().await.map_err(|error| ApiError::BodyRead {
        error: error.to_string(),
    })?;
    let text = json::valid_text(&bytes).into_owned();
    let parsed = match wants {
        Wants::Json => serde_json::from_str::<serde::de::IgnoredAny>(&text).map(drop),
        Wants::ObjectOrNothing if text.is_empty() => Ok(()),
        Wants::Anything | Wants::Object | Wants::ObjectOrNothing => json::members(&text).map(drop),
    };
    parsed.map_err(|error| ApiError::Malformed {
        error: error.to_string(),
    })?;
    Ok(text)
}

/// Secret stores resolve component properties here; their API is another building block.
fn missing_secret_store(call: &Call<'_>, name: String) -> ApiError {
    let components = call.context.components.get();
    let mut stores = components
        .iter()
        .filter(|component| component.kind.starts_with("secretstores."))
        .peekable();
    if stores.peek().is_some() && !stores.any(|store| store.name == name) {
        ApiError::SecretStore { store: name }
    } else {
        ApiError::Secrets
    }
}

fn text<'a>(members: &BTreeMap<Cow<'_, str>, &'a str>, name: &str) -> Cow<'a, str> {
    members
        .get(name)
        .and_then(|value| json::text_of(value))
        .unwrap_or_default()
}

/// Is it a number above zero, perhaps written as text, as JSON of protobuf allows?
fn is_positive(value: Option<&str>) -> bool {
    value.is_some_and(|value| {
        value
            .trim_matches('"')
            .parse::<f64>()
            .is_ok_and(|number| number > 0.0)
    })
}
