//! `GET /v1.0/metadata` and `PUT /v1.0/metadata/{key}` (tests/spec/http-api.md, "7. Metadata").

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Extension;
use axum::extract::State;
use axum::response::Response;
use http::{StatusCode, Uri};
use serde::Serialize;

use crate::api::context::{API_VERSION, Context, LoadedComponent};
use crate::api::error::ApiError;
use crate::api::http::extract::body::SharedBody;
use crate::api::http::extract::json::{Expected, read};
use crate::api::http::extract::path;
use crate::api::http::response::with_body;
use crate::config::{AppHealthSettings, AppProtocol};
use crate::delivery::supervisor::{Origin, SubscriptionInfo};
use crate::duration::GoDuration;
use crate::json::{self, valid_text};
use crate::message::Metadata;

/// The sidecar, its components and its subscriptions.
pub(in crate::api::http) async fn show(
    State(api): State<Arc<Context>>,
    Extension(body): Extension<SharedBody>,
) -> Result<Response, ApiError> {
    read(&mut *body.lock().await, Expected::ObjectOrNothing).await?;
    let context = &*api;
    let listed = Lists {
        components: context.components.get(),
        subscriptions: context.supervisor.listed(),
        resiliencies: context.resiliencies.get(),
    };
    let page = Page::of(context, &listed);
    let mut body = json::to_vec(&page);
    body.push(b'\n');
    Ok(with_body(StatusCode::OK, "application/json", body))
}

/// Keeps a value of the client.
pub(in crate::api::http) async fn put(
    State(api): State<Arc<Context>>,
    Extension(body): Extension<SharedBody>,
    uri: Uri,
) -> Result<StatusCode, ApiError> {
    let key = path::segment(uri.path(), 2).into_owned();
    let value = body.lock().await.read().await.map_err(|error| error.of_route(|error| ApiError::BodyRead { error }))?;
    api.extended.put(key, valid_text(&value).into_owned());
    Ok(StatusCode::NO_CONTENT)
}

/// The lists that hot reload may change while the page is written.
struct Lists {
    components: Arc<Vec<LoadedComponent>>,
    subscriptions: Vec<SubscriptionInfo>,
    resiliencies: Arc<Vec<String>>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Page<'a> {
    id: &'a str,
    runtime_version: &'static str,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    enabled_features: &'a [String],
    #[serde(skip_serializing_if = "Vec::is_empty")]
    components: Vec<ComponentEntry<'a>>,
    extended: BTreeMap<String, String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    subscriptions: Vec<SubscriptionEntry<'a>>,
    app_connection_properties: Connection<'a>,
    actor_runtime: ActorRuntime,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    resiliencies: Vec<Named<'a>>,
}

#[derive(Serialize)]
struct ComponentEntry<'a> {
    name: &'a str,
    #[serde(rename = "type")]
    kind: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    version: &'a str,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    capabilities: &'a [&'static str],
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct SubscriptionEntry<'a> {
    pubsubname: &'a str,
    topic: &'a str,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    metadata: &'a Metadata,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    rules: Vec<RuleEntry<'a>>,
    dead_letter_topic: &'a str,
    #[serde(rename = "type")]
    origin: &'static str,
}

#[derive(Serialize)]
struct RuleEntry<'a> {
    #[serde(rename = "match", skip_serializing_if = "str::is_empty")]
    match_: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    path: &'a str,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Connection<'a> {
    #[serde(skip_serializing_if = "is_zero")]
    port: i32,
    protocol: &'static str,
    channel_address: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    max_concurrency: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    health: Option<HealthEntry<'a>>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct HealthEntry<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    health_check_path: Option<&'a str>,
    health_probe_interval: String,
    health_probe_timeout: String,
    health_threshold: u32,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ActorRuntime {
    runtime_status: &'static str,
    host_ready: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    placement: Option<&'static str>,
}

#[derive(Serialize)]
struct Named<'a> {
    name: &'a str,
}

impl<'a> Page<'a> {
    fn of(context: &'a Context, lists: &'a Lists) -> Self {
        let component = |component: &'a LoadedComponent| ComponentEntry {
            name: &component.name,
            kind: &component.kind,
            version: &component.version,
            capabilities: &component.capabilities,
        };
        Self {
            id: &context.settings.app_id,
            runtime_version: API_VERSION,
            enabled_features: &context.settings.features,
            components: lists.components.iter().map(component).collect(),
            extended: context.extended.all(),
            subscriptions: lists.subscriptions.iter().map(SubscriptionEntry::of).collect(),
            app_connection_properties: Connection::of(context),
            actor_runtime: ActorRuntime::of(context.health.check().is_ok()),
            resiliencies: lists.resiliencies.iter().map(|name| Named { name }).collect(),
        }
    }
}

impl<'a> SubscriptionEntry<'a> {
    fn of(listed: &'a SubscriptionInfo) -> Self {
        let spec = &listed.spec;
        let rules = spec.rules.iter().map(|rule| RuleEntry { match_: &rule.match_, path: &rule.path });
        Self {
            pubsubname: &spec.pubsub,
            topic: &spec.topic,
            metadata: &spec.metadata,
            rules: rules.collect(),
            dead_letter_topic: &spec.dead_letter_topic,
            origin: match listed.origin {
                Origin::Declarative => "DECLARATIVE",
                Origin::Programmatic => "PROGRAMMATIC",
                Origin::Streaming => "STREAMING",
            },
        }
    }
}

impl<'a> Connection<'a> {
    fn of(context: &'a Context) -> Self {
        let app = &context.settings.app_connection;
        Self {
            port: app.port,
            protocol: app.protocol.name(),
            channel_address: &app.address,
            max_concurrency: app.max_concurrency,
            health: app.health.as_ref().map(|health| HealthEntry::of(health, app.protocol)),
        }
    }
}

impl<'a> HealthEntry<'a> {
    fn of(health: &'a AppHealthSettings, protocol: AppProtocol) -> Self {
        let has_path = match protocol {
            AppProtocol::Http | AppProtocol::Https | AppProtocol::H2c => true,
            AppProtocol::Grpc | AppProtocol::Grpcs => false,
        };
        Self {
            health_check_path: has_path.then_some(&health.path),
            health_probe_interval: GoDuration::from(health.interval).to_string(),
            health_probe_timeout: GoDuration::from(health.timeout).to_string(),
            health_threshold: health.threshold,
        }
    }
}

impl ActorRuntime {
    /// There is no actor runtime. daprd reports that once the app is ready.
    fn of(is_ready: bool) -> Self {
        Self {
            runtime_status: if is_ready { "DISABLED" } else { "INITIALIZING" },
            host_ready: false,
            placement: is_ready.then_some("placement: disconnected"),
        }
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it with a reference")]
fn is_zero(port: &i32) -> bool {
    *port == 0
}
