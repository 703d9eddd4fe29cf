//! Building blocks that are not ours: the errors with which daprd answers when nothing is configured
//! (tests/spec/http-api.md, "10. Other building blocks when not configured").

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Extension;
use axum::extract::State;
use axum::routing::{MethodFilter, MethodRouter, on};
use http::Uri;

use crate::api::context::Context;
use crate::api::error::{ApiError, JobCall, NotConfigured};
use crate::api::http::extract::body::{RequestBody, SharedBody};
use crate::api::http::extract::json::{Expected, Field, FieldType, read};
use crate::api::http::extract::path;
use crate::json;

/// A route of a building block. A path whose methods belong to different calls has several.
pub(in crate::api::http) struct Row {
    pub(in crate::api::http) methods: &'static [&'static str],
    pub(in crate::api::http) pattern: &'static str,
    block: Block,
}

const fn row(methods: &'static [&'static str], pattern: &'static str, block: Block) -> Row {
    Row { methods, pattern, block }
}

const GET: &[&str] = &["GET"];
const POST: &[&str] = &["POST"];
const PUT: &[&str] = &["PUT"];
const DELETE: &[&str] = &["DELETE"];
const GET_DELETE: &[&str] = &["GET", "DELETE"];
const POST_PUT: &[&str] = &["POST", "PUT"];
const GET_POST_PUT_DELETE: &[&str] = &["GET", "POST", "PUT", "DELETE"];

/// The routes of all building blocks that are not ours.
pub(in crate::api::http) const NOT_CONFIGURED: &[Row] = &[
    row(POST_PUT, "/v1.0/state/{store}", Block::State),
    row(GET_DELETE, "/v1.0/state/{store}/{key}", Block::State),
    row(GET_POST_PUT_DELETE, "/v1.0/state/{store}/bulk", Block::State),
    row(GET_POST_PUT_DELETE, "/v1.0/state/{store}/transaction", Block::State),
    row(POST_PUT, "/v1.0-alpha1/state/{store}/query", Block::StateQuery),
    row(GET, "/v1.0/secrets/{store}/{key}", Block::Secrets),
    row(POST_PUT, "/v1.0/bindings/{name}", Block::Binding),
    row(GET, "/v1.0/configuration/{store}", Block::Configuration),
    row(GET, "/v1.0/configuration/{store}/subscribe", Block::Configuration),
    row(GET, "/v1.0/configuration/{store}/{id}/unsubscribe", Block::Configuration),
    row(GET, "/v1.0-alpha1/configuration/{store}", Block::Configuration),
    row(GET, "/v1.0-alpha1/configuration/{store}/subscribe", Block::Configuration),
    row(GET, "/v1.0-alpha1/configuration/{store}/{id}/unsubscribe", Block::Configuration),
    row(POST, "/v1.0-alpha1/lock/{store}", Block::Lock),
    row(POST, "/v1.0-alpha1/unlock/{store}", Block::Unlock),
    row(PUT, "/v1.0-alpha1/crypto/{name}/encrypt", Block::Crypto),
    row(PUT, "/v1.0-alpha1/crypto/{name}/decrypt", Block::Crypto),
    row(POST, "/v1.0-alpha1/subtlecrypto/{name}/getkey", Block::SubtleCrypto),
    row(POST, "/v1.0-alpha1/subtlecrypto/{name}/encrypt", Block::SubtleCrypto),
    row(POST, "/v1.0-alpha1/subtlecrypto/{name}/decrypt", Block::SubtleCrypto),
    row(POST, "/v1.0-alpha1/subtlecrypto/{name}/wrapkey", Block::SubtleCrypto),
    row(POST, "/v1.0-alpha1/subtlecrypto/{name}/unwrapkey", Block::SubtleCrypto),
    row(POST, "/v1.0-alpha1/subtlecrypto/{name}/sign", Block::SubtleCrypto),
    row(POST, "/v1.0-alpha1/subtlecrypto/{name}/verify", Block::SubtleCrypto),
    row(POST, "/v1.0-alpha1/conversation/{name}/converse", Block::Conversation),
    row(POST, "/v1.0-alpha2/conversation/{name}/converse", Block::Conversation),
    row(POST_PUT, "/v1.0/actors/{type}/{id}/state", Block::ActorState),
    row(GET, "/v1.0/actors/{type}/{id}/state/{key}", Block::Actor),
    row(GET_POST_PUT_DELETE, "/v1.0/actors/{type}/{id}/method/{method}", Block::Actor),
    row(GET_DELETE, "/v1.0/actors/{type}/{id}/reminders/{name}", Block::Actor),
    row(POST_PUT, "/v1.0/actors/{type}/{id}/reminders/{name}", Block::ActorTimer),
    row(DELETE, "/v1.0/actors/{type}/{id}/timers/{name}", Block::Actor),
    row(POST_PUT, "/v1.0/actors/{type}/{id}/timers/{name}", Block::ActorTimer),
    row(GET, "/v1.0/workflows/{component}/{id}", Block::Actor),
    row(POST, "/v1.0/workflows/{component}/{id}/raiseEvent/{event}", Block::Actor),
    row(POST, "/v1.0/workflows/{component}/{id}/start", Block::Actor),
    row(POST, "/v1.0/workflows/{component}/{id}/pause", Block::Actor),
    row(POST, "/v1.0/workflows/{component}/{id}/resume", Block::Actor),
    row(POST, "/v1.0/workflows/{component}/{id}/terminate", Block::Actor),
    row(POST, "/v1.0/workflows/{component}/{id}/purge", Block::Actor),
    row(GET, "/v1.0-beta1/workflows/{component}/{id}", Block::Actor),
    row(POST, "/v1.0-beta1/workflows/{component}/{id}/raiseEvent/{event}", Block::Actor),
    row(POST, "/v1.0-beta1/workflows/{component}/{id}/start", Block::Actor),
    row(POST, "/v1.0-beta1/workflows/{component}/{id}/pause", Block::Actor),
    row(POST, "/v1.0-beta1/workflows/{component}/{id}/resume", Block::Actor),
    row(POST, "/v1.0-beta1/workflows/{component}/{id}/terminate", Block::Actor),
    row(POST, "/v1.0-beta1/workflows/{component}/{id}/purge", Block::Actor),
    row(GET, "/v1.0-alpha1/workflows/{component}/{id}", Block::Actor),
    row(POST, "/v1.0-alpha1/workflows/{component}/{id}/raiseEvent/{event}", Block::Actor),
    row(POST, "/v1.0-alpha1/workflows/{component}/{id}/start", Block::Actor),
    row(POST, "/v1.0-alpha1/workflows/{component}/{id}/pause", Block::Actor),
    row(POST, "/v1.0-alpha1/workflows/{component}/{id}/resume", Block::Actor),
    row(POST, "/v1.0-alpha1/workflows/{component}/{id}/terminate", Block::Actor),
    row(POST, "/v1.0-alpha1/workflows/{component}/{id}/purge", Block::Actor),
    row(POST, "/v1.0/jobs/{name}", Block::Job(JobCall::Schedule)),
    row(GET, "/v1.0/jobs/{name}", Block::Job(JobCall::Get)),
    row(DELETE, "/v1.0/jobs/{name}", Block::Job(JobCall::Delete)),
    row(POST, "/v1.0-alpha1/jobs/{name}", Block::Job(JobCall::Schedule)),
    row(GET, "/v1.0-alpha1/jobs/{name}", Block::Job(JobCall::Get)),
    row(DELETE, "/v1.0-alpha1/jobs/{name}", Block::Job(JobCall::Delete)),
];

/// The handler of a row, for these methods.
pub(in crate::api::http) fn handler(row: &Row, methods: MethodFilter) -> MethodRouter<Arc<Context>> {
    let block = row.block;
    on(methods, move |State(api): State<Arc<Context>>, Extension(body): Extension<SharedBody>, uri: Uri| async move {
        error(block, &api, &uri, &mut *body.lock().await).await
    })
}

/// A building block, or a call of one with a body of its own form.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Block {
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
    /// State of an actor: a body with a list of operations.
    ActorState,
    /// A reminder or a timer of an actor, with a body that describes it.
    ActorTimer,
    Job(JobCall),
}

/// The error for a call of this block. Every path has the name of its component in third place.
async fn error(block: Block, api: &Context, uri: &Uri, body: &mut RequestBody) -> ApiError {
    let name = path::segment(uri.path(), 2).into_owned();
    let settings = &api.settings;
    let app_id = settings.app_id.clone();
    let expected = match block {
        Block::Binding => Expected::Fields(BINDING),
        Block::ActorState => Expected::ListOf(OPERATION),
        Block::ActorTimer => Expected::Fields(TIMER),
        Block::Job(JobCall::Schedule) => Expected::FieldsOrNothing(JOB),
        Block::Secrets | Block::Lock | Block::Unlock | Block::SubtleCrypto | Block::Conversation => {
            Expected::ObjectOrNothing
        }
        Block::State | Block::StateQuery | Block::Configuration | Block::Crypto | Block::Actor | Block::Job(_) => {
            Expected::Anything
        }
    };
    let body = match read(body, expected).await {
        Ok(body) => body,
        Err(error) => return error,
    };
    let members = json::members(&body).unwrap_or_default();
    let missing = match block {
        Block::State => NotConfigured::State { store: name, app_id: Some(app_id) },
        Block::StateQuery => NotConfigured::State { store: name, app_id: None },
        Block::Secrets => missing_secret_store(api, name),
        Block::Binding if text(&members, "operation").is_empty() => NotConfigured::BindingOperation { name },
        Block::Binding => NotConfigured::Binding { name },
        Block::Configuration => NotConfigured::Configuration,
        Block::Lock if !is_positive(members.get("expiryInSeconds").copied()) => {
            NotConfigured::LockExpiry { store: name }
        }
        Block::Lock | Block::Unlock => NotConfigured::Lock,
        Block::Crypto => NotConfigured::Crypto,
        Block::SubtleCrypto => NotConfigured::SubtleCrypto,
        Block::Conversation => NotConfigured::Conversation { name },
        Block::Actor | Block::ActorState | Block::ActorTimer => NotConfigured::Placement,
        Block::Job(job) => {
            let namespace = settings.namespace.as_deref().unwrap_or("default").to_owned();
            let is_timeless = text(&members, "schedule").is_empty() && text(&members, "dueTime").is_empty();
            if job == JobCall::Schedule && is_timeless {
                NotConfigured::JobWithoutSchedule { app_id, namespace }
            } else {
                NotConfigured::Job { call: job, app_id, namespace }
            }
        }
    };
    missing.into()
}

pub(in crate::api::http) const BINDING: &[Field] = &[("operation", FieldType::Text), ("metadata", FieldType::Texts)];

pub(in crate::api::http) const OPERATION: &[Field] = &[("operation", FieldType::Text)];

pub(in crate::api::http) const TIMER: &[Field] = &[
    ("dueTime", FieldType::Text),
    ("period", FieldType::Text),
    ("ttl", FieldType::Text),
    ("callback", FieldType::Text),
];

pub(in crate::api::http) const JOB: &[Field] = &[
    ("schedule", FieldType::Text),
    ("dueTime", FieldType::Text),
    ("ttl", FieldType::Text),
    ("repeats", FieldType::Count),
    ("overwrite", FieldType::Flag),
    ("failurePolicy", FieldType::Object),
];

/// Secret stores resolve component properties here; their API is another building block.
fn missing_secret_store(api: &Context, name: String) -> NotConfigured {
    let components = api.components.get();
    let mut stores = components.iter().filter(|component| component.kind.starts_with("secretstores.")).peekable();
    if stores.peek().is_some() && !stores.any(|store| store.name == name) {
        NotConfigured::SecretStore { store: name }
    } else {
        NotConfigured::Secrets
    }
}

fn text<'a>(members: &BTreeMap<Cow<'_, str>, &'a str>, name: &str) -> Cow<'a, str> {
    members.get(name).and_then(|value| json::text_of(value)).unwrap_or_default()
}

/// Is it a number above zero, perhaps written as text, as JSON of protobuf allows?
fn is_positive(value: Option<&str>) -> bool {
    value.is_some_and(|value| value.trim_matches('"').parse::<f64>().is_ok_and(|number| number > 0.0))
}
