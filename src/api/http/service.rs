//! The HTTP API as a service: the steps around each call, in the order of daprd (tests/spec/http-api.md, "2. Processing
//! order (API server)").
//!
//! They are one function and not layers of axum, which would box the call once for each step and route.

use std::any::Any;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use axum::response::{IntoResponse, Response};
use futures_util::FutureExt;
use http::header::{ALLOW, CONNECTION, CONTENT_LENGTH, EXPECT};
use http::request::Parts;
use http::{HeaderValue, Method, StatusCode};
use tokio::sync::Mutex;
use tokio::time::Instant;
use tower::ServiceExt;

use crate::api::context::Context;
use crate::api::error::ApiError;
use crate::api::http::extract::body::RequestBody;
use crate::api::http::extract::path::{clean_path, decoded_path, sent_path};
use crate::api::http::handlers::{invocation, publish};
use crate::api::http::response::{ErrorCode, text, without_body};
use crate::api::http::routes;
use crate::api::http::steps::cors::Origins;
use crate::api::http::steps::trace_context::RequestTrace;
use crate::api::http::steps::{access, access_log, token};
use crate::config::HttpSettings;
use crate::server::{Limit, Service, Transport, Versions};
use crate::telemetry::events::api::HandlerPanicked;
use crate::telemetry::trace::TraceContext;

/// The service of the API port.
pub fn api(context: Context) -> impl Service {
    let context = Arc::new(context);
    let http = &context.settings.http;
    into_service(Dapr {
        app: routes::api(context.clone()),
        max_body: http.max_body,
        token: http.token.clone().filter(|token| !token.is_empty()),
        origins: Origins::parse(&http.allowed_origins),
        has_publish: access::is_allowed(&http.access, publish::PATTERN),
        is_logged: http.log_calls,
        context,
    })
}

/// The service of the public port: no token, no limit of bodies, no CORS, no log of calls.
pub fn public(context: Context) -> impl Service {
    let context = Arc::new(context);
    into_service(Dapr {
        app: routes::public(context.clone()),
        max_body: None,
        token: None,
        origins: None,
        has_publish: false,
        is_logged: false,
        context,
    })
}

/// How HTTP is spoken on the API port.
pub fn transport(settings: &HttpSettings) -> Transport {
    let versions = if settings.http2 { Versions::Http1And2 } else { Versions::Http1 };
    Transport::http(versions, settings.read_buffer)
}

/// The answer to a request beyond a limit of a port.
pub fn overloaded(limit: Limit) -> Response {
    ApiError::Overloaded { limit }.into_response()
}

fn into_service(dapr: Dapr) -> impl Service {
    let dapr = Arc::new(dapr);
    tower::service_fn(move |request| {
        let dapr = dapr.clone();
        async move { Ok(dapr.answer(request).await) }
    })
}

/// The app of a port with the steps around it.
struct Dapr {
    context: Arc<Context>,
    app: Router,
    /// The largest body, in bytes.
    max_body: Option<usize>,
    token: Option<String>,
    origins: Option<Origins>,
    /// Is the route of a single publish there?
    has_publish: bool,
    is_logged: bool,
}

impl Dapr {
    /// One call, in the order of daprd: clean path, trace, preflight, token, handler, access log, CORS, rest of the
    /// body.
    async fn answer(&self, request: Request) -> Response {
        let start = Instant::now();
        let (mut head, body) = request.into_parts();
        clean_path(&mut head);
        let mut body = RequestBody::new(body, self.max_body, &self.context.bodies);
        let mut response = match RequestTrace::begin(&self.context.tracing, &head) {
            Err(reason) => text(StatusCode::BAD_REQUEST, reason),
            Ok(trace) => {
                let mut response = self.preflight_or_call(&head, &mut body, &trace.context, start).await;
                trace.put_into(response.headers_mut());
                response
            }
        };
        discard_rest(&head, &mut body, &mut response).await;
        if head.method == Method::HEAD { without_body(response) } else { response }
    }
    async fn preflight_or_call(
        &self,
        head: &Parts,
        body: &mut RequestBody,
        trace: &TraceContext,
        start: Instant,
    ) -> Response {
        let Some(origins) = &self.origins else {
            return self.call(head, body, trace, start).await;
        };
        if let Some(preflight) = origins.preflight(head) {
            return preflight;
        }
        let mut response = self.call(head, body, trace, start).await;
        origins.add_headers(head, response.headers_mut());
        response
    }

    /// Asks for the token, calls the handler, counts an error and logs the call.
    async fn call(&self, head: &Parts, body: &mut RequestBody, trace: &TraceContext, start: Instant) -> Response {
        if !token::is_admitted(self.token.as_deref(), head) {
            return text(StatusCode::UNAUTHORIZED, "invalid api token\n".into());
        }
        // A handler that panics leaves at most the body half read, of which the rest is discarded.
        let called = AssertUnwindSafe(self.dispatch(head, body, trace)).catch_unwind();
        let response = called.await.unwrap_or_else(|panic| self.panicked(head, &*panic).into_response());
        if let Some(ErrorCode(code)) = response.extensions().get() {
            self.context.error_answered(code);
        }
        if self.is_logged {
            let http = &self.context.settings.http;
            let operation = routes::operation(head, &http.access);
            access_log::write(&self.context.telemetry, http, operation, head, &response, start);
        }
        response
    }

    /// Calls the handler of a request. A single publish does not go through the table of routes, which would cost a
    /// twentieth of a publish; the handler in the table calls the same function.
    async fn dispatch(&self, head: &Parts, body: &mut RequestBody, trace: &TraceContext) -> Response {
        if self.has_publish && publish::is_single(head) {
            return publish::publish(&self.context, head, trace, body).await.into_response();
        }
        let lent = Arc::new(Mutex::new(body.take()));
        let mut request = Request::from_parts(head.clone(), Body::empty());
        if head.method == Method::HEAD {
            // axum would answer it as GET. daprd has no route for it, nor for TRACE.
            *request.method_mut() = Method::TRACE;
        }
        request.extensions_mut().insert(lent.clone());
        request.extensions_mut().insert(trace.clone());
        let mut response = self.app.clone().oneshot(request).await.unwrap_or_else(|never| match never {});
        if let Some(rest) = Arc::into_inner(lent) {
            *body = rest.into_inner();
        }
        remove_headers_of_axum(head, &mut response);
        response
    }

    /// A panic ends its call, and neither the connection nor the process.
    fn panicked(&self, head: &Parts, panic: &(dyn Any + Send)) -> ApiError {
        let text = panic.downcast_ref::<String>().map(String::as_str);
        let text = text.or_else(|| panic.downcast_ref::<&str>().copied());
        let call = format!("{} {}", head.method, decoded_path(sent_path(head)));
        self.context.telemetry.emit(HandlerPanicked { call: &call, panic: text.unwrap_or("no text") });
        ApiError::Panic
    }
}

/// Removes the headers that axum adds to an answer: a length where there is no body, and all methods of a route in one
/// `Allow`. daprd has one `Allow` for each method, sorted, without HEAD, and none where a wrong method is an invocation.
fn remove_headers_of_axum(head: &Parts, response: &mut Response) {
    let status = response.status();
    let headers = response.headers_mut();
    if status == StatusCode::NO_CONTENT {
        headers.remove(CONTENT_LENGTH);
    }
    let Some(allow) = headers.remove(ALLOW) else {
        return;
    };
    if status == StatusCode::METHOD_NOT_ALLOWED && invocation::is_standard(&head.method) {
        let mut methods: Vec<&str> = allow.to_str().unwrap_or_default().split(',').collect();
        methods.retain(|method| *method != "HEAD");
        methods.sort_unstable();
        for method in methods.into_iter().filter_map(|method| HeaderValue::from_str(method).ok()) {
            headers.append(ALLOW, method);
        }
    }
}

/// Discards the rest of a body, so that the client gets to read the answer, or has the connection closed behind the
/// answer.
async fn discard_rest(head: &Parts, body: &mut RequestBody, response: &mut Response) {
    if body.is_at_end() {
        return;
    }
    // A client that sent `Expect: 100-continue` gets the final answer instead of a 100.
    if head.headers.contains_key(EXPECT) || !body.discard().await {
        response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    }
}
