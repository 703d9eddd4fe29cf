//! Every route of the API, on one screen.

use std::sync::Arc;

use axum::Router;
use axum::routing::{MethodFilter, MethodRouter, on};
use http::request::Parts;

use crate::api::context::Context;
use crate::api::http::handlers::not_configured::{self, NOT_CONFIGURED};
use crate::api::http::handlers::{bulk, health, invocation, metadata, openapi, publish, shutdown};
use crate::api::http::operation::Operation;
use crate::api::http::steps::access;
use crate::config::ApiAccess;

/// The methods of a route.
pub type Methods = &'static [&'static str];

/// A route that is ours.
struct Route {
    operation: Operation,
    /// `{name}` is a segment, `{*name}` the whole rest. Paths are matched while they are encoded.
    pattern: &'static str,
    methods: Methods,
    handler: fn(MethodFilter) -> MethodRouter<Arc<Context>>,
    /// Is it on the public port, too?
    is_public: bool,
}

const GET: Methods = &["GET"];
const POST: Methods = &["POST"];
const PUT: Methods = &["PUT"];
const POST_PUT: Methods = &["POST", "PUT"];

use Operation as Op;

/// The routes that are ours. The building blocks that are not are in [`NOT_CONFIGURED`].
static ROUTES: [Route; 9] = [
    // With one name only it is a single publish to a component called `bulk`.
    route(Op::BulkPublish, POST_PUT, "/v1.0/publish/bulk/{pubsub}/{*topic}", |methods| on(methods, bulk::many)),
    route(Op::BulkPublish, POST_PUT, "/v1.0-alpha1/publish/bulk/{pubsub}/{*topic}", |methods| on(methods, bulk::many)),
    route(Op::Publish, POST_PUT, publish::PATTERN, |methods| on(methods, publish::one)),
    route(Op::GetMetadata, GET, "/v1.0/metadata", |methods| on(methods, metadata::show)).public(),
    route(Op::PutMetadata, PUT, "/v1.0/metadata/{key}", |methods| on(methods, metadata::put)).public(),
    route(Op::Health, GET, "/v1.0/healthz", |methods| on(methods, health::all)).public(),
    route(Op::OutboundHealth, GET, "/v1.0/healthz/outbound", |methods| on(methods, health::outbound)).public(),
    route(Op::Shutdown, POST, "/v1.0/shutdown", |methods| on(methods, shutdown::begin)),
    route(Op::Document, GET, "/openapi.yaml", |methods| on(methods, openapi::show)),
];

const fn route(
    operation: Operation,
    methods: Methods,
    pattern: &'static str,
    handler: fn(MethodFilter) -> MethodRouter<Arc<Context>>,
) -> Route {
    Route { operation, pattern, methods, handler, is_public: false }
}

impl Route {
    const fn public(self) -> Self {
        Self { is_public: true, ..self }
    }
}

/// Pattern and methods of all routes.
pub fn all() -> impl Iterator<Item = (&'static str, Methods)> {
    patterns().map(|(_, pattern, methods)| (pattern, methods))
}

fn patterns() -> impl Iterator<Item = (Operation, &'static str, Methods)> {
    let ours = ROUTES.iter().map(|route| (route.operation, route.pattern, route.methods));
    ours.chain(NOT_CONFIGURED.iter().map(|row| (Op::NotConfigured, row.pattern, row.methods)))
}

/// The app of the API port: the routes that `spec.api` of the Configuration allows. Everything else is an invocation,
/// which is not there.
pub(super) fn api(context: Arc<Context>) -> Router {
    let access = &context.settings.http.access;
    let ours = ROUTES.iter().filter(|route| access::is_allowed(access, route.pattern));
    let app = ours.fold(Router::new(), |app, route| app.route(route.pattern, (route.handler)(filter(route.methods))));
    let others = NOT_CONFIGURED.iter().filter(|row| access::is_allowed(access, row.pattern));
    let app = others.fold(app, |app, row| app.route(row.pattern, not_configured::handler(row, filter(row.methods))));
    let app = match access::has_invocation(access) {
        true => app.fallback(invocation::unavailable).method_not_allowed_fallback(invocation::unavailable),
        false => no_invocation(app),
    };
    app.with_state(context)
}

/// The app of the public port (tests/spec/http-api.md, "1. Listeners and transport").
pub(super) fn public(context: Arc<Context>) -> Router {
    let access = &context.settings.http.access;
    let routes = ROUTES.iter().filter(|route| route.is_public && access::is_allowed(access, route.pattern));
    let app = routes.fold(Router::new(), |app, route| app.route(route.pattern, (route.handler)(filter(route.methods))));
    no_invocation(app).with_state(context)
}

fn no_invocation(app: Router<Arc<Context>>) -> Router<Arc<Context>> {
    app.fallback(invocation::no_such_route).method_not_allowed_fallback(invocation::wrong_method)
}

fn filter(methods: Methods) -> MethodFilter {
    let filters = methods.iter().map(|method| match *method {
        "GET" => MethodFilter::GET,
        "POST" => MethodFilter::POST,
        "PUT" => MethodFilter::PUT,
        _ => MethodFilter::DELETE,
    });
    filters.reduce(MethodFilter::or).unwrap_or(MethodFilter::GET)
}

/// The operation of a request, for the log. The app has its own, faster way to find the handler, and does not tell.
pub(super) fn operation(head: &Parts, access: &ApiAccess) -> Operation {
    let method = head.method.as_str();
    let found = patterns().find(|(_, pattern, methods)| {
        methods.contains(&method) && matches(pattern, head.uri.path()) && access::is_allowed(access, pattern)
    });
    found.map_or(Op::Invocation, |(operation, ..)| operation)
}

/// Does a pattern match a clean path?
fn matches(pattern: &str, path: &str) -> bool {
    let mut path = path.split('/');
    for segment in pattern.split('/') {
        let Some(given) = path.next() else { return false };
        if segment.starts_with("{*") {
            return true;
        }
        if segment != given && !segment.starts_with('{') {
            return false;
        }
    }
    path.next().is_none()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn operations_are_found_as_the_app_finds_them() {
        let check = |method: &str, path: &str, expected: Operation| {
            let request = http::Request::builder().method(method).uri(path).body(()).unwrap();
            let (head, ()) = request.into_parts();
            assert_eq!(operation(&head, &ApiAccess::default()), expected, "{method} {path}");
        };
        check("POST", "/v1.0/publish/ps/a/b", Op::Publish);
        check("POST", "/v1.0/publish/bulk/t", Op::Publish);
        check("PUT", "/v1.0/publish/bulk/ps/t", Op::BulkPublish);
        check("POST", "/v1.0-alpha1/publish/bulk/ps/t/u", Op::BulkPublish);
        check("GET", "/v1.0/publish/ps/t", Op::Invocation);
        check("POST", "/v1.0/publish/ps", Op::Invocation);
        check("GET", "/v1.0/metadata", Op::GetMetadata);
        check("PUT", "/v1.0/metadata/key", Op::PutMetadata);
        check("PUT", "/v1.0/metadata/key/more", Op::Invocation);
        check("GET", "/v1.0/state/s/bulk", Op::NotConfigured);
        check("GET", "/", Op::Invocation);
    }
}
