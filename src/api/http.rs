//! The HTTP API: all routes on one screen, and what is done for each request (tests/spec/http-api.md, "2. Processing
//! order (API server)", "3. Paths and routing").
//!
//! Paths are matched while they are still encoded. Whatever has no route, the wrong methods of known paths included, goes to the fallback.

mod access;
mod answer;
mod body;
mod bulk;
mod call;
mod cors;
mod fallback;
mod health;
mod metadata;
mod not_configured;
mod path;
mod publish;
mod server;
mod shutdown;
mod traced;

use std::sync::Arc;

use axum::body::{Body, HttpBody};
use axum::extract::Request;
use axum::response::Response;
use http::header::CONTENT_LENGTH;
use http::{HeaderValue, Method};

use self::call::SentPath;
use self::not_configured::Block;
use self::server::Server;
use crate::api::Context;
use crate::api::error::{ApiError, JobCall};
use crate::config::HttpSettings;
use crate::server::{Limit, Service, Transport, Versions};

/// A path and what its methods do.
#[derive(Clone, Copy, Debug)]
pub struct Route {
    /// The path, with `{name}` for a segment and `{*name}` for the whole rest.
    pub pattern: &'static str,
    calls: Calls,
}

/// Methods with what they call.
type Calls = &'static [(&'static [&'static str], Endpoint)];

/// What a request is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Endpoint {
    Publish,
    BulkPublish,
    GetMetadata,
    PutMetadata,
    Health,
    OutboundHealth,
    Shutdown,
    Document,
    NotConfigured(Block),
}

impl Route {
    /// All methods of the path.
    pub fn methods(&self) -> impl Iterator<Item = &'static str> {
        self.calls.iter().flat_map(|(methods, _)| methods.iter().copied())
    }
}

const fn route(pattern: &'static str, calls: Calls) -> Route {
    Route { pattern, calls }
}

const GET: &[&str] = &["GET"];
const POST: &[&str] = &["POST"];
const PUT: &[&str] = &["PUT"];
const DELETE: &[&str] = &["DELETE"];
const GET_DELETE: &[&str] = &["GET", "DELETE"];
const POST_PUT: &[&str] = &["POST", "PUT"];
const GET_POST_PUT_DELETE: &[&str] = &["GET", "POST", "PUT", "DELETE"];

use Endpoint::NotConfigured as No;

/// Every route of the API server.
pub const ROUTES: &[Route] = &[
    route("/v1.0/publish/{pubsub}/{*topic}", &[(POST_PUT, Endpoint::Publish)]),
    // Not to be taken for a single publish to a component called `bulk`, which is what it is with one name only.
    route("/v1.0/publish/bulk/{pubsub}/{*topic}", &[(POST_PUT, Endpoint::BulkPublish)]),
    route("/v1.0-alpha1/publish/bulk/{pubsub}/{*topic}", &[(POST_PUT, Endpoint::BulkPublish)]),
    route("/v1.0/metadata", &[(GET, Endpoint::GetMetadata)]),
    route("/v1.0/metadata/{key}", &[(PUT, Endpoint::PutMetadata)]),
    route("/v1.0/healthz", &[(GET, Endpoint::Health)]),
    route("/v1.0/healthz/outbound", &[(GET, Endpoint::OutboundHealth)]),
    route("/v1.0/shutdown", &[(POST, Endpoint::Shutdown)]),
    route("/openapi.yaml", &[(GET, Endpoint::Document)]),
    // Other building blocks: the answers that clients expect when nothing is configured.
    route("/v1.0/state/{store}", &[(POST_PUT, No(Block::State))]),
    route("/v1.0/state/{store}/{key}", &[(GET_DELETE, No(Block::State))]),
    route("/v1.0/state/{store}/bulk", &[(GET_POST_PUT_DELETE, No(Block::State))]),
    route("/v1.0/state/{store}/transaction", &[(GET_POST_PUT_DELETE, No(Block::State))]),
    route("/v1.0-alpha1/state/{store}/query", &[(POST_PUT, No(Block::StateQuery))]),
    route("/v1.0/secrets/{store}/{key}", &[(GET, No(Block::Secrets))]),
    route("/v1.0/bindings/{name}", &[(POST_PUT, No(Block::Binding))]),
    route("/v1.0/configuration/{store}", &[(GET, No(Block::Configuration))]),
    route("/v1.0/configuration/{store}/subscribe", &[(GET, No(Block::Configuration))]),
    route("/v1.0/configuration/{store}/{id}/unsubscribe", &[(GET, No(Block::Configuration))]),
    route("/v1.0-alpha1/configuration/{store}", &[(GET, No(Block::Configuration))]),
    route("/v1.0-alpha1/configuration/{store}/subscribe", &[(GET, No(Block::Configuration))]),
    route("/v1.0-alpha1/configuration/{store}/{id}/unsubscribe", &[(GET, No(Block::Configuration))]),
    route("/v1.0-alpha1/lock/{store}", &[(POST, No(Block::Lock))]),
    route("/v1.0-alpha1/unlock/{store}", &[(POST, No(Block::Unlock))]),
    route("/v1.0-alpha1/crypto/{name}/encrypt", &[(PUT, No(Block::Crypto))]),
    route("/v1.0-alpha1/crypto/{name}/decrypt", &[(PUT, No(Block::Crypto))]),
    route("/v1.0-alpha1/subtlecrypto/{name}/getkey", &[(POST, No(Block::SubtleCrypto))]),
    route("/v1.0-alpha1/subtlecrypto/{name}/encrypt", &[(POST, No(Block::SubtleCrypto))]),
    route("/v1.0-alpha1/subtlecrypto/{name}/decrypt", &[(POST, No(Block::SubtleCrypto))]),
    route("/v1.0-alpha1/subtlecrypto/{name}/wrapkey", &[(POST, No(Block::SubtleCrypto))]),
    route("/v1.0-alpha1/subtlecrypto/{name}/unwrapkey", &[(POST, No(Block::SubtleCrypto))]),
    route("/v1.0-alpha1/subtlecrypto/{name}/sign", &[(POST, No(Block::SubtleCrypto))]),
    route("/v1.0-alpha1/subtlecrypto/{name}/verify", &[(POST, No(Block::SubtleCrypto))]),
    route("/v1.0-alpha1/conversation/{name}/converse", &[(POST, No(Block::Conversation))]),
    route("/v1.0-alpha2/conversation/{name}/converse", &[(POST, No(Block::Conversation))]),
    route("/v1.0/actors/{type}/{id}/state", &[(POST_PUT, No(Block::ActorState))]),
    route("/v1.0/actors/{type}/{id}/state/{key}", &[(GET, No(Block::Actor))]),
    route("/v1.0/actors/{type}/{id}/method/{method}", &[(GET_POST_PUT_DELETE, No(Block::Actor))]),
    route(
        "/v1.0/actors/{type}/{id}/reminders/{name}",
        &[(GET_DELETE, No(Block::Actor)), (POST_PUT, No(Block::ActorTimer))],
    ),
    route("/v1.0/actors/{type}/{id}/timers/{name}", &[(DELETE, No(Block::Actor)), (POST_PUT, No(Block::ActorTimer))]),
    route("/v1.0/workflows/{component}/{id}", &[(GET, No(Block::Actor))]),
    route("/v1.0/workflows/{component}/{id}/raiseEvent/{event}", &[(POST, No(Block::Actor))]),
    route("/v1.0/workflows/{component}/{id}/start", &[(POST, No(Block::Actor))]),
    route("/v1.0/workflows/{component}/{id}/pause", &[(POST, No(Block::Actor))]),
    route("/v1.0/workflows/{component}/{id}/resume", &[(POST, No(Block::Actor))]),
    route("/v1.0/workflows/{component}/{id}/terminate", &[(POST, No(Block::Actor))]),
    route("/v1.0/workflows/{component}/{id}/purge", &[(POST, No(Block::Actor))]),
    route("/v1.0-beta1/workflows/{component}/{id}", &[(GET, No(Block::Actor))]),
    route("/v1.0-beta1/workflows/{component}/{id}/raiseEvent/{event}", &[(POST, No(Block::Actor))]),
    route("/v1.0-beta1/workflows/{component}/{id}/start", &[(POST, No(Block::Actor))]),
    route("/v1.0-beta1/workflows/{component}/{id}/pause", &[(POST, No(Block::Actor))]),
    route("/v1.0-beta1/workflows/{component}/{id}/resume", &[(POST, No(Block::Actor))]),
    route("/v1.0-beta1/workflows/{component}/{id}/terminate", &[(POST, No(Block::Actor))]),
    route("/v1.0-beta1/workflows/{component}/{id}/purge", &[(POST, No(Block::Actor))]),
    route("/v1.0-alpha1/workflows/{component}/{id}", &[(GET, No(Block::Actor))]),
    route("/v1.0-alpha1/workflows/{component}/{id}/raiseEvent/{event}", &[(POST, No(Block::Actor))]),
    route("/v1.0-alpha1/workflows/{component}/{id}/start", &[(POST, No(Block::Actor))]),
    route("/v1.0-alpha1/workflows/{component}/{id}/pause", &[(POST, No(Block::Actor))]),
    route("/v1.0-alpha1/workflows/{component}/{id}/resume", &[(POST, No(Block::Actor))]),
    route("/v1.0-alpha1/workflows/{component}/{id}/terminate", &[(POST, No(Block::Actor))]),
    route("/v1.0-alpha1/workflows/{component}/{id}/purge", &[(POST, No(Block::Actor))]),
    route(
        "/v1.0/jobs/{name}",
        &[
            (POST, No(Block::Job(JobCall::Schedule))),
            (GET, No(Block::Job(JobCall::Get))),
            (DELETE, No(Block::Job(JobCall::Delete))),
        ],
    ),
    route(
        "/v1.0-alpha1/jobs/{name}",
        &[
            (POST, No(Block::Job(JobCall::Schedule))),
            (GET, No(Block::Job(JobCall::Get))),
            (DELETE, No(Block::Job(JobCall::Delete))),
        ],
    ),
];

/// The routes of the public server: the same handlers, and nothing else.
const PUBLIC_ROUTES: &[Route] = &[
    route("/v1.0/metadata", &[(GET, Endpoint::GetMetadata)]),
    route("/v1.0/metadata/{key}", &[(PUT, Endpoint::PutMetadata)]),
    route("/v1.0/healthz", &[(GET, Endpoint::Health)]),
    route("/v1.0/healthz/outbound", &[(GET, Endpoint::OutboundHealth)]),
];

/// A server and the routes that it has. Clones are handles to the same.
///
/// Paths are matched by what axum matches them with, and handlers are called directly: they take the path apart themselves, and need no
/// extractors. All that axum does around a handler would be a twelfth of a publish.
#[derive(Clone)]
pub struct Router {
    server: Server,
    routes: Arc<matchit::Router<Calls>>,
}

/// The routes of the API server.
pub fn router(context: Context) -> Router {
    Router::new(Server::api(context), ROUTES)
}

/// The routes of the public server (tests/spec/http-api.md, "1. Listeners and transport"): no token, no limit, no
/// fallback.
pub fn public_router(context: Context) -> Router {
    Router::new(Server::public(context), PUBLIC_ROUTES)
}

impl Router {
    fn new(server: Server, routes: &'static [Route]) -> Self {
        let mut known = matchit::Router::new();
        let is_there = |route: &&Route| access::has_route(server.access(), route.pattern);
        for route in routes.iter().filter(is_there) {
            let inserted = known.insert(route.pattern, route.calls);
            debug_assert!(inserted.is_ok(), "{}: {inserted:?}", route.pattern);
        }
        Self { server, routes: Arc::new(known) }
    }

    /// The routes as a service for a [`crate::server::Server`].
    pub fn into_service(self) -> impl Service {
        tower::service_fn(move |request| {
            let router = self.clone();
            async move { Ok(router.answer(request).await) }
        })
    }

    /// Every path answers all methods: which one calls what is decided in one place, the fallback included.
    async fn answer(&self, mut request: Request) -> Response {
        if let Some(clean) = path::cleaned(request.uri()) {
            let sent = SentPath(request.uri().path().to_owned());
            request.extensions_mut().insert(sent);
            *request.uri_mut() = clean;
        }
        let calls = self.routes.at(request.uri().path());
        let calls = calls.ok().map(|found| *found.value);
        let is_head = request.method() == Method::HEAD;
        let response = self.server.answer(calls, request).await;
        if is_head { without_body(response) } else { response }
    }
}

/// How HTTP is spoken on the port of the API.
pub fn transport(settings: &HttpSettings) -> Transport {
    let versions = if settings.http2 { Versions::Http1And2 } else { Versions::Http1 };
    Transport::http(versions, settings.read_buffer)
}

/// The answer to a request beyond a limit of a port.
pub fn overloaded(limit: Limit) -> Response {
    answer::error(&ApiError::Overloaded { limit })
}

/// The head of an answer, with the length that its body would have.
fn without_body(mut response: Response) -> Response {
    let length = response.body().size_hint().exact();
    *response.body_mut() = Body::empty();
    if let Some(length) = length {
        let headers = response.headers_mut();
        headers.insert(CONTENT_LENGTH, HeaderValue::from(length));
    }
    response
}

#[cfg(test)]
mod properties;
#[cfg(test)]
mod tests;
