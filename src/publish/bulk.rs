//! Publishing many events with one request: all are checked and wrapped before the first is sent, then each has an
//! outcome of its own (tests/spec/http-api.md, "6. Bulk publish"; tests/spec/delivery.md, "A9. Bulk publish wrapping").

use std::collections::HashSet;
use std::mem;

use bytes::Bytes;
use tokio::time::Instant;
use uuid::Uuid;

use crate::envelope::{self, EventId, Publication, PublishOptions, Wrapped};
use crate::message::{EventRef, Metadata};
use crate::publish::error::PublishError;
use crate::publish::publisher::Publisher;
use crate::pubsub::{Pubsub, SendError};
use crate::telemetry::events::publish::BulkPublished;
use crate::telemetry::trace::TraceContext;

/// Many events to publish to one topic.
#[derive(Clone, Debug, Default)]
pub struct BulkRequest {
    /// The topic, without namespace prefix.
    pub topic: String,
    /// The events.
    pub entries: Entries,
    /// The metadata of the whole request. It counts for those entries that have metadata of their own.
    pub metadata: Metadata,
    /// The options in the metadata of the whole request.
    pub options: PublishOptions,
    /// The trace of the API request.
    pub trace: TraceContext,
}

/// One event of many.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Entry {
    /// The publisher's name for it.
    pub id: String,
    /// The payload.
    pub event: Bytes,
    /// The content type of the payload; may be empty.
    pub content_type: String,
    /// `None` is not the same as empty: the entry is then stored without metadata, that of the request included.
    pub metadata: Option<Metadata>,
}

/// Entries that all have an id, and no two the same.
#[derive(Clone, Debug, Default)]
pub struct Entries {
    all: Vec<Entry>,
    ids: HashSet<String>,
}

/// An entry without an id, or with the id of another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("entryId is duplicated or not present for entry")]
pub struct EntryIdError;

/// An entry that was not stored.
#[derive(Debug)]
pub struct FailedEntry {
    /// The publisher's name for it.
    pub entry_id: String,
    /// The failure.
    pub error: SendError,
}

impl Entries {
    /// Add an entry.
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

    /// All entries, in the order of the request.
    pub fn iter(&self) -> impl Iterator<Item = &Entry> {
        self.all.iter()
    }
}

impl Publisher {
    /// Publish all entries. Returns those that were not stored, in the order of the request.
    ///
    /// # Errors
    /// If an entry cannot be wrapped or the scopes forbid the topic; nothing has been sent then.
    pub async fn publish_bulk(&self, pubsub: &Pubsub, request: BulkRequest) -> Result<Vec<FailedEntry>, PublishError> {
        let BulkRequest { topic, entries: Entries { all: mut entries, .. }, metadata, options, trace } = request;
        let (mut messages, mut ids) = (Vec::with_capacity(entries.len()), Vec::with_capacity(entries.len()));
        for Entry { id: entry_id, event: body, content_type, metadata: own } in &mut entries {
            let metadata = own.take().map(|own| merged(own, &metadata));
            let (trace, none) = (self.tracing.of_entry(&trace), Metadata::new());
            let Wrapped { bytes, id } = if options.is_raw {
                Wrapped { bytes: mem::take(body), id: None }
            } else {
                let metadata = metadata.as_ref().unwrap_or(&none);
                let publication = Publication {
                    app_id: &self.app_id,
                    pubsub: &pubsub.name,
                    topic: &topic,
                    content_type,
                    metadata,
                    lifetime: options.for_entry(metadata).lifetime,
                    trace: self.event_trace(&trace),
                    id: Uuid::new_v4(),
                    now: self.clock.now(),
                };
                envelope::wrap(body, &publication).map_err(|error| self.unfit_payload(pubsub, error))?
            };
            messages.push((bytes, metadata));
            ids.push((entry_id, id));
        }
        let permitted = pubsub.publishing(&topic)?;
        if messages.is_empty() {
            return Ok(Vec::new());
        }
        let start = Instant::now();
        let outcomes = permitted.send_all(messages).await;
        let duration = start.elapsed();

        let events: Vec<_> = ids
            .iter()
            .zip(&outcomes)
            .map(|((_, id), outcome)| EventRef {
                pubsub: &pubsub.name,
                topic: &topic,
                id: id.as_ref().map(EventId::as_str),
                position: outcome.as_ref().ok().copied().flatten(),
                ..EventRef::default()
            })
            .collect();
        let entries = ids.iter().zip(outcomes);
        let failed: Vec<_> = entries
            .filter_map(|((entry_id, _), outcome)| {
                Some(FailedEntry { entry_id: entry_id.to_string(), error: outcome.err()? })
            })
            .collect();
        self.telemetry.emit(BulkPublished {
            pubsub: &pubsub.name,
            topic: &topic,
            events: &events,
            failed: failed.len(),
            duration,
        });
        Ok(failed)
    }
}

/// The metadata of an entry, completed by that of the request.
fn merged(own: Metadata, request: &Metadata) -> Metadata {
    let mut merged = request.clone();
    merged.extend(own);
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
    fn ids_are_present_and_differ() {
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
        assert_eq!(merged(Metadata::new(), &of_request), of_request);
        assert_eq!(
            merged(metadata(&[("a", "own"), ("A", "other")]), &of_request),
            metadata(&[("A", "other"), ("a", "own"), ("b", "2")])
        );
    }
}
