//! One API call from head to answer: trace, token, handler, headers, log, in the order of
//! tests/spec/http-api.md, "2. Processing order".
//!
//! `http` makes a server for each listener; the handlers are called here and nowhere else.

use std::any::Any;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use axum::extract::Request;
use axum::response::Response;
use futures_util::FutureExt;
use http::header::{ALLOW, CONNECTION, EXPECT, USER_AGENT};
use http::request::Parts;
use http::{HeaderName, HeaderValue, StatusCode};
use tokio::time::Instant;

use crate::api::Context;
use crate::api::error::ApiError;
use crate::api::http::answer::{empty, text, with_body};
use crate::api::http::body::RequestBody;
use crate::api::http::call::{Call, sent_path};
use crate::api::http::cors::Origins;
use crate::api::http::traced::Traced;
use crate::api::http::{
    Calls, Endpoint, access, answer, bulk, fallback, health, metadata, not_configured, path, publish, shutdown,
};
use crate::config::ApiAccess;
use crate::telemetry::events::api::ApiCall;
use crate::telemetry::trace::TraceContext;

const API_TOKEN: HeaderName = HeaderName::from_static("dapr-api-token");

/// The description of the API that is served at `/openapi.yaml`.
const DOCUMENT: &str = include_str!("../../../openapi/sidestream.yaml");

/// A server and what its handlers need. Clones are handles to the same.
#[derive(Clone)]
pub(super) struct Server(Arc<Inner>);

struct Inner {
    context: Context,
    limit: Option<usize>,
    token: Option<String>,
    origins: Option<Origins>,
    /// Is what has no route an invocation?
    has_invocation: bool,
    is_public: bool,
}

impl Server {
    pub(super) fn api(context: Context) -> Self {
        let http = &context.settings.http;
        Self(Arc::new(Inner {
            limit: http.max_body,
            token: http.token.clone().filter(|token| !token.is_empty()),
            origins: Origins::parse(&http.allowed_origins),
            has_invocation: access::has_invocation(&http.access),
            is_public: false,
            context,
        }))
    }

    pub(super) fn public(context: Context) -> Self {
        Self(Arc::new(Inner {
            limit: None,
            token: None,
            origins: None,
            has_invocation: false,
            is_public: true,
            context,
        }))
    }

    pub(super) fn access(&self) -> &ApiAccess {
        &self.0.context.settings.http.access
    }

    /// Answer a request to a path with these calls; `None` if there is no such path.
    pub(super) async fn answer(&self, calls: Option<Calls>, request: Request) -> Response {
        let start = Instant::now();
        let (head, body) = request.into_parts();
        let mut body = RequestBody::new(body, self.0.limit, &self.0.context.bodies);
        let traced = match Traced::begin(&self.0.context.tracing, &head) {
            Ok(traced) => traced,
            Err(reason) => {
                let refusal = text(StatusCode::BAD_REQUEST, reason);
                return self.finished(&head, &mut body, refusal).await;
            }
        };
        let origins = self.0.origins.as_ref();
        let mut response = match origins.and_then(|origins| origins.preflight(&head)) {
            Some(preflight) => preflight,
            None => {
                let work = self.admitted(calls, &head, &mut body, &traced.context, start);
                let mut response = work.await;
                if let Some(origins) = origins {
                    origins.mark(&head, response.headers_mut());
                }
                response
            }
        };
        traced.put_into(response.headers_mut());
        self.finished(&head, &mut body, response).await
    }

    /// The answer to who has the token.
    async fn admitted(
        &self,
        calls: Option<Calls>,
        head: &Parts,
        body: &mut RequestBody,
        trace: &TraceContext,
        start: Instant,
    ) -> Response {
        if !self.is_admitted(head) {
            return text(StatusCode::UNAUTHORIZED, "invalid api token\n".into());
        }
        let method = head.method.as_str();
        let endpoint = calls
            .unwrap_or_default()
            .iter()
            .find(|(methods, _)| methods.contains(&method))
            .map(|(_, endpoint)| *endpoint);
        let response = self.handled(calls, endpoint, head, body, trace).await;
        self.log(head, endpoint, &response, start);
        response
    }

    async fn handled(
        &self,
        calls: Option<Calls>,
        endpoint: Option<Endpoint>,
        head: &Parts,
        body: &mut RequestBody,
        trace: &TraceContext,
    ) -> Response {
        let call = Call { context: &self.0.context, head, body, trace };
        let answer = match endpoint {
            Some(endpoint) => {
                // What a handler leaves half done is its call's alone: the body, of which the rest is read below.
                let called = AssertUnwindSafe(endpoint.call(call)).catch_unwind();
                called.await.unwrap_or_else(|panic| Err(self.panicked(head, &*panic)))
            }
            None if !self.0.has_invocation => Ok(not_there(calls, head.method.as_str())),
            None => Err(fallback::error(head)),
        };
        answer.unwrap_or_else(|error| self.refused(&error))
    }

    /// A panic ends its call, and neither the connection nor the process.
    fn panicked(&self, head: &Parts, panic: &(dyn Any + Send)) -> ApiError {
        let text = panic.downcast_ref::<String>().map(String::as_str);
        let text = text.or_else(|| panic.downcast_ref::<&str>().copied());
        let call = format!("{} {}", head.method, path::decoded_path(sent_path(head)));
        let telemetry = &self.0.context.telemetry;
        telemetry.api_handler_panicked(&call, text.unwrap_or("no text"));
        ApiError::Panic
    }

    /// An error as the client sees it.
    fn refused(&self, error: &ApiError) -> Response {
        self.0.context.error_answered(error.shape().code);
        answer::error(error)
    }

    /// Does the request carry the token, or need none (tests/spec/http-api.md, "11.1 API token")?
    fn is_admitted(&self, head: &Parts) -> bool {
        let Some(token) = &self.0.token else {
            return true;
        };
        let given = head.headers.get(API_TOKEN);
        given.is_some_and(|given| given.as_bytes() == token.as_bytes()) || is_health_check(head)
    }

    fn log(&self, head: &Parts, endpoint: Option<Endpoint>, response: &Response, start: Instant) {
        let context = &self.0.context;
        let http = &context.settings.http;
        let is_health = matches!(endpoint, Some(Endpoint::Health | Endpoint::OutboundHealth));
        let is_left_out = is_health && http.call_log.omit_health_checks;
        if self.0.is_public || !http.log_calls || is_left_out {
            return;
        }
        let name = if http.call_log.obfuscate_urls {
            endpoint.map_or("InvokeService", Endpoint::name).to_owned()
        } else {
            let path = path::decoded_path(sent_path(head));
            format!("{} {path}", head.method)
        };
        context.telemetry.api_called(&ApiCall {
            method: &name,
            duration: start.elapsed(),
            code: response.status().as_u16(),
            size: axum::body::HttpBody::size_hint(response.body()).lower(),
            user_agent: head.headers.get(USER_AGENT).and_then(|agent| agent.to_str().ok()),
        });
    }

    /// See to it that what is left of the body does not get in the way of the answer.
    async fn finished(&self, head: &Parts, body: &mut RequestBody, mut response: Response) -> Response {
        if body.is_at_end() {
            return response;
        }
        // Who waits to be told to go on is not told: the answer is there already.
        if head.headers.contains_key(EXPECT) || !body.discard().await {
            response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
        }
        response
    }
}

impl Endpoint {
    /// What the log calls it where paths are not to be shown; empty for what this sidecar does not have.
    fn name(self) -> &'static str {
        match self {
            Self::Publish => "PublishEvent",
            Self::BulkPublish => "BulkPublishEvent",
            Self::GetMetadata => "GetMetadata",
            Self::PutMetadata => "PutMetadata",
            Self::Health => "Healthz",
            Self::OutboundHealth => "HealthzOutbound",
            Self::Shutdown => "Shutdown",
            Self::Document => "GetOpenapi",
            Self::NotConfigured(_) => "",
        }
    }

    async fn call(self, call: Call<'_>) -> Result<Response, ApiError> {
        match self {
            Self::Publish => publish::single(call).await,
            Self::BulkPublish => bulk::many(call).await,
            Self::GetMetadata => metadata::get(call).await,
            Self::PutMetadata => metadata::put(call).await,
            Self::Health => health::all(&call),
            Self::OutboundHealth => health::outbound(&call),
            Self::Shutdown => Ok(shutdown::request(&call)),
            Self::Document => Ok(with_body(StatusCode::OK, "application/yaml", DOCUMENT)),
            Self::NotConfigured(block) => Err(not_configured::error(block, call).await),
        }
    }
}

fn is_health_check(head: &Parts) -> bool {
    let decoded = path::decoded_path(sent_path(head));
    head.method == http::Method::GET && matches!(decoded.trim_matches('/'), "v1.0/healthz" | "v1.0/healthz/outbound")
}

/// What is said to everything without route where that is no invocation, as on the public server
/// (tests/spec/http-api.md, "11.4 When `invoke` itself is not allowed").
fn not_there(calls: Option<Calls>, method: &str) -> Response {
    let is_standard =
        matches!(method, "GET" | "HEAD" | "POST" | "PUT" | "PATCH" | "DELETE" | "CONNECT" | "OPTIONS" | "TRACE");
    let Some(calls) = calls.filter(|_| is_standard) else {
        if is_standard {
            return text(StatusCode::NOT_FOUND, "404 page not found\n".into());
        }
        return empty(StatusCode::METHOD_NOT_ALLOWED);
    };
    let mut response = empty(StatusCode::METHOD_NOT_ALLOWED);
    for method in calls.iter().flat_map(|(methods, _)| methods.iter()) {
        response.headers_mut().append(ALLOW, HeaderValue::from_static(method));
    }
    response
}
