//! `POST /v1.0/publish/{pubsub}/{topic...}`: one event (tests/spec/http-api.md, "5. Single publish").

use axum::response::Response;
use http::StatusCode;
use http::header::CONTENT_TYPE;

use crate::api::error::ApiError;
use crate::api::http::answer::empty;
use crate::api::http::call::Call;
use crate::api::http::path;
use crate::json::valid_text;
use crate::publish::Request;

/// 204 once the broker has the event.
pub(super) async fn single(call: Call<'_>) -> Result<Response, ApiError> {
    let uri = &call.head.uri;
    let (pubsub, topic) = path::pubsub_and_topic(uri.path(), 2);
    let metadata = path::metadata(uri.query());
    let publisher = &call.context.publisher;

    let Some(component) = publisher.pubsub(&pubsub) else {
        return Err(ApiError::PubsubNotFound { pubsub: pubsub.into_owned(), metadata });
    };
    let body = call.body.read().await.map_err(|error| {
        error.of_route(|error| ApiError::Publish {
            pubsub: pubsub.clone().into_owned(),
            topic: topic.clone().into_owned(),
            error,
        })
    })?;
    let content_type = call.head.headers.get(CONTENT_TYPE);
    let request = Request {
        topic: topic.into_owned(),
        content_type: content_type.map_or_else(String::new, |value| valid_text(value.as_bytes()).into_owned()),
        body,
        metadata,
        trace: call.trace.clone(),
    };
    publisher.publish(&component, request).await?;
    Ok(empty(StatusCode::NO_CONTENT))
}
