//! Moves an event to the dead-letter topic (tests/spec/delivery.md, "B13. Dead letter publish"; D3, D5).
//!
//! The payload stays as it is. The metadata, if there is any, gets the reason, the number of attempts, the topic and the app. The event
//! may be acknowledged only after `Ok`.

use std::time::Duration;

use bytes::Bytes;
use chrono::{SecondsFormat, Utc};

use crate::delivery::outcome::DeadLetterReason;
use crate::message::Metadata;
use crate::pubsub::{Forbidden, Pubsub, SendError};

/// Time limit for writing a dead letter, as in daprd. No policy changes it.
const TIMEOUT: Duration = Duration::from_secs(30);

/// Longest detail, in characters: it becomes a header.
const LONGEST_DETAIL: usize = 500;

/// An event on its way to the dead-letter topic.
#[derive(Debug)]
pub(super) struct DeadLetter<'a> {
    /// The bytes as the broker had them.
    pub(super) data: Bytes,
    /// The metadata as it was delivered; for single deliveries with `pubsubName`. `None`: the letter has none, either.
    pub(super) metadata: Option<Metadata>,
    /// The topic that it was read from, without prefix.
    pub(super) origin: &'a str,
    /// How often the broker has delivered it to this sidecar.
    pub(super) attempts: u32,
    /// The reason.
    pub(super) reason: &'a DeadLetterReason,
}

/// Why a dead letter was not written.
#[derive(Debug, thiserror::Error)]
pub(super) enum DeadLetterError {
    #[error(transparent)]
    Forbidden(#[from] Forbidden),
    #[error(transparent)]
    Send(#[from] SendError),
    #[error("not confirmed within {} s", TIMEOUT.as_secs())]
    Timeout,
}

impl DeadLetter<'_> {
    /// Write it to the dead-letter topic. `Ok` once the broker has confirmed it.
    pub(super) async fn send(self, pubsub: &Pubsub, topic: &str) -> Result<(), DeadLetterError> {
        let metadata = self.marked(pubsub.app_id(), &Utc::now().to_rfc3339_opts(SecondsFormat::Secs, true));
        let permitted = pubsub.publishing(topic)?;
        match tokio::time::timeout(TIMEOUT, permitted.send(self.data, metadata)).await {
            Ok(sent) => Ok(sent.map(drop)?),
            Err(_) => Err(DeadLetterError::Timeout),
        }
    }

    /// The metadata of the dead letter. Entries of an earlier dead letter are replaced.
    fn marked(&self, subscriber: &str, time: &str) -> Option<Metadata> {
        let mut metadata = self.metadata.clone()?;
        for (name, value) in [
            ("deadletterreason", self.reason.code.to_owned()),
            ("deadletterdetail", in_one_line(&self.reason.detail)),
            ("deadletterattempts", self.attempts.to_string()),
            ("deadlettertopic", self.origin.to_owned()),
            ("deadlettertime", time.to_owned()),
            ("deadlettersubscriber", subscriber.to_owned()),
        ] {
            metadata.insert(name.to_owned(), value);
        }
        Some(metadata)
    }
}

/// A text as a valid header value.
fn in_one_line(text: &str) -> String {
    let visible = |c: char| if c.is_control() { ' ' } else { c };
    text.chars().take(LONGEST_DETAIL).map(visible).collect::<String>().trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_metadata_says_why_and_keeps_the_rest() {
        let reason = DeadLetterReason::new("http-500", "line one\nline two\0");
        let letter = DeadLetter {
            data: Bytes::from_static(b"{}"),
            metadata: Some(
                [("a", "b"), ("pubsubName", "p"), ("deadlettertopic", "older")]
                    .map(|(k, v)| (k.to_owned(), v.to_owned()))
                    .into(),
            ),
            origin: "orders",
            attempts: 3,
            reason: &reason,
        };
        let marked: Vec<_> = letter
            .marked("app", "2024-05-01T12:00:00Z")
            .unwrap()
            .into_iter()
            .map(|(k, v)| format!("{k}={v}"))
            .collect();
        assert_eq!(
            marked,
            [
                "a=b",
                "deadletterattempts=3",
                "deadletterdetail=line one line two",
                "deadletterreason=http-500",
                "deadlettersubscriber=app",
                "deadlettertime=2024-05-01T12:00:00Z",
                "deadlettertopic=orders",
                "pubsubName=p",
            ]
        );
    }
}
