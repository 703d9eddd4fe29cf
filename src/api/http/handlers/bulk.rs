//! `POST /v1.0/publish/bulk/{pubsub}/{topic...}`, also under `/v1.0-alpha1`: many events (tests/spec/http-api.md, "6.
//! Bulk publish").

mod entries;

use std::sync::Arc;

use axum::Extension;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::{HeaderName, HeaderValue, StatusCode, Uri};

use self::entries::EntriesError;
use crate::api::context::Context;
use crate::api::error::{ApiError, PubsubError};
use crate::api::http::extract::body::SharedBody;
use crate::api::http::extract::path;
use crate::api::http::response::{ErrorCode, with_body};
use crate::envelope::PublishOptions;
use crate::json::push_text;
use crate::publish::bulk::{BulkRequest, FailedEntry};
use crate::telemetry::trace::TraceContext;

const RESPONSE_DATA: HeaderName = HeaderName::from_static("metadata.responsedata");
const ERROR: HeaderName = HeaderName::from_static("metadata.error");

const CODE: &str = "ERR_PUBSUB_PUBLISH_MESSAGE";

/// The longest value of these headers, in bytes. Clients refuse an answer with longer ones, and the body has the same
/// content.
const MAX_HEADER: usize = 4096;

/// 204 once the broker has all events; 500 with those that it does not have.
pub(in crate::api::http) async fn many(
    State(api): State<Arc<Context>>,
    Extension(trace): Extension<TraceContext>,
    Extension(body): Extension<SharedBody>,
    uri: Uri,
) -> Result<Response, ApiError> {
    let (pubsub, topic) = path::pubsub_and_topic(uri.path(), 3);
    let metadata = path::metadata(uri.query());
    let app_id = &api.settings.app_id;
    let unreadable = |error: String| -> ApiError {
        let (pubsub, topic) = (pubsub.to_string(), topic.to_string());
        PubsubError::BulkBody { pubsub, topic, app_id: app_id.clone(), error }.into()
    };

    let Some(component) = api.publisher.pubsub(&pubsub) else {
        return Err(PubsubError::PubsubNotFound { pubsub: pubsub.into_owned(), metadata }.into());
    };
    let options = match PublishOptions::read(&metadata) {
        Ok(options) => options,
        Err(error) => {
            let (pubsub, error) = (pubsub.into_owned(), error.to_string());
            return Err(PubsubError::RequestMetadata { pubsub, metadata, error }.into());
        }
    };
    let body = body.lock().await.read().await.map_err(|error| error.of_route(unreadable))?;
    let entries = entries::parse(&body).map_err(|error| {
        let (pubsub, topic, app_id) = (pubsub.to_string(), topic.to_string(), app_id.clone());
        let text = error.to_string();
        match error {
            EntriesError::Empty | EntriesError::Unreadable(_) => unreadable(text),
            EntriesError::Content(_) => PubsubError::BulkContent { pubsub, topic, app_id, error: text }.into(),
            EntriesError::Ids(_) => PubsubError::BulkEntryIds { pubsub, topic, app_id, error: text }.into(),
        }
    })?;
    let request = BulkRequest { topic: topic.clone().into_owned(), entries, metadata, options, trace };
    let failures = api.publisher.publish_bulk(&component, request).await?;
    Ok(match failures.first() {
        None => StatusCode::NO_CONTENT.into_response(),
        Some(first) => {
            let error = &first.error;
            let text = format!(
                "api error: code = Internal desc = error when publishing to topic {topic} in pubsub {pubsub}: {error}"
            );
            failed(&failures, &text)
        }
    })
}

/// The answer that names the entries that the broker did not take.
fn failed(failures: &[FailedEntry], error: &str) -> Response {
    let body = failed_entries(failures);
    let data = header(&body);
    let mut response = with_body(StatusCode::INTERNAL_SERVER_ERROR, "application/json", body);
    response.extensions_mut().insert(ErrorCode(CODE));
    for (name, value) in [(RESPONSE_DATA, data), (ERROR, header(error.as_bytes()))] {
        if let Some(value) = value {
            response.headers_mut().insert(name, value);
        }
    }
    response
}

fn failed_entries(failures: &[FailedEntry]) -> Vec<u8> {
    let mut body = br#"{"failedEntries":["#.to_vec();
    for (at, failure) in failures.iter().enumerate() {
        if at > 0 {
            body.push(b',');
        }
        body.extend_from_slice(br#"{"entryId":"#);
        push_text(&mut body, failure.entry_id.as_bytes());
        let error = failure.error.to_string();
        if !error.is_empty() {
            body.extend_from_slice(br#","error":"#);
            push_text(&mut body, error.as_bytes());
        }
        body.push(b'}');
    }
    body.extend_from_slice(br#"],"errorCode":"#);
    push_text(&mut body, CODE.as_bytes());
    body.push(b'}');
    body
}

/// A text as the value of a header, in one line; `None` if it is too long or cannot be one.
fn header(text: &[u8]) -> Option<HeaderValue> {
    if text.len() > MAX_HEADER {
        return None;
    }
    let line: Vec<u8> = text.iter().map(|byte| if matches!(byte, b'\r' | b'\n') { b' ' } else { *byte }).collect();
    HeaderValue::from_bytes(&line).ok()
}

#[cfg(test)]
mod properties;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::broker::{BrokerError, BrokerErrorKind};

    fn failure(id: &str, error: &str) -> FailedEntry {
        FailedEntry { entry_id: id.to_owned(), error: BrokerError::new(BrokerErrorKind::Unavailable, error).into() }
    }

    #[test]
    fn failed_entries_are_named_in_body_and_header() {
        let failures = [failure("1", "a\n\"<b>\""), failure("é", "")];
        let response = failed(&failures, "first\r\nline");
        let expected = r#"{"failedEntries":[{"entryId":"1","error":"a\n\"\u003cb\u003e\""},{"entryId":"é"}],"errorCode":"ERR_PUBSUB_PUBLISH_MESSAGE"}"#;
        assert_eq!(failed_entries(&failures), expected.as_bytes());
        let headers = response.headers();
        assert_eq!(headers[RESPONSE_DATA].as_bytes(), expected.as_bytes());
        assert_eq!(headers[ERROR], "first  line");
    }

    #[test]
    fn headers_that_are_too_long_are_left_out() {
        let failures = [failure("1", &"x".repeat(MAX_HEADER))];
        let response = failed(&failures, "short");
        assert!(!response.headers().contains_key(RESPONSE_DATA));
        assert!(response.headers().contains_key(ERROR));
    }
}
