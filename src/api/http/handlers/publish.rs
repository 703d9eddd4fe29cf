//! `POST /v1.0/publish/{pubsub}/{topic...}`: one event (tests/spec/http-api.md, "5. Single publish: POST or PUT
//! /v1.0/publish/{pubsubname}/{topic...}").

use std::sync::Arc;

use axum::Extension;
use axum::extract::{Request, State};
use http::header::CONTENT_TYPE;
use http::request::Parts;
use http::{Method, StatusCode};

use crate::api::context::Context;
use crate::api::error::{ApiError, PubsubError};
use crate::api::http::extract::body::{RequestBody, SharedBody};
use crate::api::http::extract::path;
use crate::json::valid_text;
use crate::publish::Request as Publish;
use crate::telemetry::trace::TraceContext;

pub(in crate::api::http) const PATTERN: &str = "/v1.0/publish/{pubsub}/{*topic}";

/// The handler of the route.
pub(in crate::api::http) async fn one(
    State(api): State<Arc<Context>>,
    Extension(trace): Extension<TraceContext>,
    Extension(body): Extension<SharedBody>,
    request: Request,
) -> Result<StatusCode, ApiError> {
    let (head, _) = request.into_parts();
    publish(&api, &head, &trace, &mut *body.lock().await).await
}

/// Is this a single publish? A path that may be one of a bulk publish is left to the table of routes.
pub(in crate::api::http) fn is_single(head: &Parts) -> bool {
    let names = head.uri.path().strip_prefix("/v1.0/publish/").filter(|names| !names.starts_with("bulk/"));
    let has_both = names.and_then(|names| names.split_once('/')).is_some_and(|(pubsub, topic)| {
        // The path is clean, so that only its end can be missing.
        !pubsub.is_empty() && !topic.is_empty()
    });
    has_both && (head.method == Method::POST || head.method == Method::PUT)
}

/// 204 once the broker has the event.
pub(in crate::api::http) async fn publish(
    api: &Context,
    head: &Parts,
    trace: &TraceContext,
    body: &mut RequestBody,
) -> Result<StatusCode, ApiError> {
    let (pubsub, topic) = path::pubsub_and_topic(head.uri.path(), 2);
    let metadata = path::metadata(head.uri.query());
    let Some(component) = api.publisher.pubsub(&pubsub) else {
        return Err(PubsubError::PubsubNotFound { pubsub: pubsub.into_owned(), metadata }.into());
    };
    let body = body.read().await.map_err(|error| {
        error.of_route(|error| {
            PubsubError::Publish { pubsub: pubsub.to_string(), topic: topic.to_string(), error }.into()
        })
    })?;
    let content_type = head.headers.get(CONTENT_TYPE);
    let request = Publish {
        topic: topic.into_owned(),
        content_type: content_type.map_or_else(String::new, |value| valid_text(value.as_bytes()).into_owned()),
        body,
        metadata,
        trace: trace.clone(),
    };
    api.publisher.publish(&component, request).await?;
    Ok(StatusCode::NO_CONTENT)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_single_publish_overtakes_the_table() {
        let check = |method: &str, path: &str, expected: bool| {
            let request = http::Request::builder().method(method).uri(path).body(()).unwrap();
            assert_eq!(is_single(&request.into_parts().0), expected, "{method} {path}");
        };
        check("POST", "/v1.0/publish/ps/t", true);
        check("PUT", "/v1.0/publish/ps/a/b%2Fc?x", true);
        check("POST", "/v1.0/publish/bulky/t", true);
        check("GET", "/v1.0/publish/ps/t", false);
        check("POST", "/v1.0/publish/ps", false);
        check("POST", "/v1.0/publish/bulk/ps/t", false);
        check("POST", "/v1.0/publish/bulk/t", false);
        check("POST", "/v1.0-alpha1/publish/ps/t", false);
    }
}
