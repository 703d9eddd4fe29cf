//! `POST /v1.0/publish/bulk/{pubsub}/{topic...}`, also under `/v1.0-alpha1`: many events (tests/spec/http-api.md, "6.
//! Bulk publish").

mod entries;

use axum::response::Response;
use http::{HeaderName, HeaderValue, StatusCode};

use self::entries::EntriesError;
use crate::api::error::ApiError;
use crate::api::http::answer::{empty, with_body};
use crate::api::http::call::Call;
use crate::api::http::path;
use crate::envelope::PublishOptions;
use crate::json::push_text;
use crate::publish::bulk::{BulkRequest, FailedEntry};

const RESPONSE_DATA: HeaderName = HeaderName::from_static("metadata.responsedata");
const ERROR: HeaderName = HeaderName::from_static("metadata.error");

/// The longest value of these headers: beyond it clients refuse the whole answer, whose body says the same.
const LONGEST_HEADER: usize = 4096;

/// 204 once the broker has all events; 500 with those that it does not have.
pub(super) async fn many(call: Call<'_>) -> Result<Response, ApiError> {
    let uri = &call.head.uri;
    let (pubsub, topic) = path::pubsub_and_topic(uri.path(), 3);
    let metadata = path::metadata(uri.query());
    let publisher = &call.context.publisher;
    let app_id = &call.context.settings.app_id;
    let unreadable = |error: String| ApiError::BulkBody {
        pubsub: pubsub.clone().into_owned(),
        topic: topic.clone().into_owned(),
        app_id: app_id.clone(),
        error,
    };

    let Some(component) = publisher.pubsub(&pubsub) else {
        return Err(ApiError::PubsubNotFound { pubsub: pubsub.into_owned(), metadata });
    };
    let options = match PublishOptions::read(&metadata) {
        Ok(options) => options,
        Err(error) => {
            let error = error.to_string();
            return Err(ApiError::RequestMetadata { pubsub: pubsub.into_owned(), metadata, error });
        }
    };
    let body = call.body.read().await.map_err(|error| error.of_route(unreadable))?;
    let entries = entries::parse(&body).map_err(|error| match error {
        EntriesError::Empty | EntriesError::Unreadable(_) => unreadable(error.to_string()),
        EntriesError::Content(_) => ApiError::BulkContent {
            pubsub: pubsub.clone().into_owned(),
            topic: topic.clone().into_owned(),
            app_id: app_id.clone(),
            error: error.to_string(),
        },
        EntriesError::Ids(_) => ApiError::BulkEntryIds {
            pubsub: pubsub.clone().into_owned(),
            topic: topic.clone().into_owned(),
            app_id: app_id.clone(),
            error: error.to_string(),
        },
    })?;
    let request =
        BulkRequest { topic: topic.clone().into_owned(), entries, metadata, options, trace: call.trace.clone() };
    let failures = publisher.publish_bulk(&component, request).await?;
    Ok(match failures.first() {
        None => empty(StatusCode::NO_CONTENT),
        Some(first) => {
            call.context.error_answered("ERR_PUBSUB_PUBLISH_MESSAGE");
            let error = &first.error;
            let text = format!(
                "api error: code = Internal desc = error when publishing to topic {topic} in pubsub {pubsub}: {error}"
            );
            failed(&failures, &text)
        }
    })
}

/// The answer that says what the broker did not take.
fn failed(failures: &[FailedEntry], error: &str) -> Response {
    let body = failed_entries(failures);
    let data = header(&body);
    let mut response = with_body(StatusCode::INTERNAL_SERVER_ERROR, "application/json", body);
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
    body.extend_from_slice(br#"],"errorCode":"ERR_PUBSUB_PUBLISH_MESSAGE"}"#);
    body
}

/// A text as the value of a header, in one line; `None` if it is too long or cannot be one.
fn header(text: &[u8]) -> Option<HeaderValue> {
    if text.len() > LONGEST_HEADER {
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
        let failures = [failure("1", &"x".repeat(LONGEST_HEADER))];
        let response = failed(&failures, "short");
        assert!(!response.headers().contains_key(RESPONSE_DATA));
        assert!(response.headers().contains_key(ERROR));
    }
}
