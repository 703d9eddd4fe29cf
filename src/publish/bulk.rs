//! Publishing many events with one request: all are checked and wrapped before the first is sent, then each has an
//! outcome of its own (tests/spec/http-api.md, "6. Bulk publish"; tests/spec/delivery.md, "A9. Bulk publish wrapping").
//!
//! Called by the API servers, which make the entries from what they got. The broker gets them together.

use std::collections::HashSet;

use bytes::Bytes;
use tokio::time::Instant;

use crate::message::Metadata;
use crate::publish::{Parcel, PublishError, Publisher};
use crate::pubsub::{Event, Pubsub, SendError};
use crate::telemetry::trace::TraceContext;

/// Many events to publish to one topic.
#[derive(Clone, Debug, Default)]
pub struct BulkRequest {
    /// The topic, without namespace prefix.
    pub topic: String,
    /// The events.
    pub entries: Entries,
    /// Of the whole request; goes to those entries that have metadata of their own.
    pub metadata: Metadata,
    /// Do the payloads go to the broker as they are? Only the request's metadata says so, never an entry's.
    pub is_raw: bool,
    /// Of the API request.
    pub trace: TraceContext,
}

/// One event of many.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Entry {
    /// What the publisher calls it.
    pub id: String,
    /// The payload.
    pub event: Bytes,
    /// The content type of the payload; may be empty.
    pub content_type: String,
    /// `None` is not the same as empty: the request's metadata does not count for this entry then, and the broker gets none.
    pub metadata: Option<Metadata>,
}

/// Events whose ids are there and differ.
#[derive(Clone, Debug, Default)]
pub struct Entries {
    all: Vec<Entry>,
    ids: HashSet<String>,
}

/// An entry without an id, or with that of another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("entryId is duplicated or not present for entry")]
pub struct EntryIdError;

/// An entry that the broker did not take.
#[derive(Debug)]
pub struct Failure {
    /// What the publisher calls it.
    pub entry_id: String,
    /// Why not.
    pub error: SendError,
}

impl Entries {
    /// Add one.
    ///
    /// # Errors
    /// If its id is empty or taken.
    pub fn push(&mut self, entry: Entry) -> Result<(), EntryIdError> {
        if entry.id.is_empty() || !self.ids.insert(entry.id.clone()) {
            return Err(EntryIdError);
        }
        self.all.push(entry);
        Ok(())
    }

    /// All, in the order they were added.
    pub fn iter(&self) -> impl Iterator<Item = &Entry> {
        self.all.iter()
    }
}

impl Publisher {
    /// Publish all entries; what comes back are those that the broker did not take, in the order of the request.
    ///
    /// # Errors
    /// If an entry cannot be wrapped or the scopes forbid the topic; nothing has been sent then.
    pub async fn publish_bulk(&self, pubsub: &Pubsub, request: &BulkRequest) -> Result<Vec<Failure>, PublishError> {
        let topic = &request.topic;
        let events = self.events(pubsub, request)?;
        pubsub.check_publish(topic)?;
        if events.is_empty() {
            return Ok(Vec::new());
        }
        let (start, count) = (Instant::now(), events.len());
        let failures = send(pubsub, request, events).await;
        let elapsed = start.elapsed();
        self.telemetry.bulk_publish_ended(&pubsub.name, topic, elapsed, count, failures.len());
        Ok(failures)
    }

    /// All entries as the broker is to get them.
    fn events(&self, pubsub: &Pubsub, request: &BulkRequest) -> Result<Vec<Event>, PublishError> {
        let entries = request.entries.iter();
        entries
            .map(|entry| {
                let own = entry.metadata.as_ref();
                let metadata = own.map(|own| merged(own, &request.metadata));
                let data = if request.is_raw {
                    entry.event.clone()
                } else {
                    let none = Metadata::new();
                    let parcel = Parcel {
                        topic: &request.topic,
                        content_type: &entry.content_type,
                        body: &entry.event,
                        metadata: metadata.as_ref().unwrap_or(&none),
                        trace: &self.tracing.of_entry(&request.trace),
                    };
                    self.event(pubsub, &parcel)?
                };
                Ok((data, metadata))
            })
            .collect()
    }
}

/// Send every entry, also after one has failed.
async fn send(pubsub: &Pubsub, request: &BulkRequest, events: Vec<Event>) -> Vec<Failure> {
    let outcomes = pubsub.send_all(&request.topic, events).await;
    let entries = request.entries.all.iter().zip(outcomes);
    entries
        .filter_map(|(entry, outcome)| {
            let error = outcome.err()?;
            let entry_id = entry.id.clone();
            Some(Failure { entry_id, error })
        })
        .collect()
}

/// The metadata of an entry with that of the request under it.
fn merged(own: &Metadata, of_request: &Metadata) -> Metadata {
    let mut merged = of_request.clone();
    merged.extend(own.iter().map(|(name, value)| (name.clone(), value.clone())));
    merged
}

#[cfg(test)]
mod tests {
    use super::*;

    fn metadata(pairs: &[(&str, &str)]) -> Metadata {
        let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        pairs.iter().map(owned).collect()
    }

    #[test]
    fn ids_are_there_and_differ() {
        let mut entries = Entries::default();
        let mut push = |id: &str| entries.push(Entry { id: id.to_owned(), ..Entry::default() });
        assert_eq!(push("1"), Ok(()));
        assert_eq!(push(" "), Ok(()));
        assert_eq!(push(""), Err(EntryIdError));
        assert_eq!(push("1"), Err(EntryIdError));
    }

    #[test]
    fn an_entry_wins_over_the_request() {
        let of_request = metadata(&[("a", "1"), ("b", "2")]);
        assert_eq!(merged(&Metadata::new(), &of_request), of_request);
        assert_eq!(
            merged(&metadata(&[("a", "own"), ("A", "other")]), &of_request),
            metadata(&[("A", "other"), ("a", "own"), ("b", "2")])
        );
    }
}
