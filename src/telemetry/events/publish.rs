//! Events of the publish path.

use std::fmt::Display;
use std::time::Duration;

use crate::message::EventRef;
use crate::telemetry::event::Event;
use crate::telemetry::log::{Level, Log};
use crate::telemetry::metrics::Metrics;

const RUNTIME: &str = "dapr.runtime";

/// The broker has answered a publish.
pub struct Published<'a> {
    /// The event.
    pub event: EventRef<'a>,
    /// From the call of the broker to its answer, retries included.
    pub duration: Duration,
    /// Why the broker did not store it.
    pub error: Option<&'a dyn Display>,
}

impl Event for Published<'_> {
    fn log(&self, log: &Log) {
        let Some(error) = self.error else { return };
        let EventRef { pubsub, topic, .. } = self.event;
        log.write(
            Level::Debug,
            RUNTIME,
            format_args!("error when publishing to topic {topic} in pubsub {pubsub}: {error}"),
            &[("pubsub", &pubsub), ("topic", &topic)],
        );
    }

    fn count(&self, metrics: &Metrics) {
        metrics.published(self.event.pubsub, self.event.topic, self.error.is_none());
    }
}

/// The broker has answered a bulk publish, which is not counted.
pub struct BulkPublished<'a> {
    /// The component.
    pub pubsub: &'a str,
    /// The topic, without namespace prefix.
    pub topic: &'a str,
    /// The events in the order of the request; those without a position were not stored.
    pub events: &'a [EventRef<'a>],
    /// The number of events that were not stored.
    pub failed: usize,
    /// From the call of the broker to its last answer, retries included.
    pub duration: Duration,
}

impl Event for BulkPublished<'_> {
    fn log(&self, log: &Log) {
        let Self { pubsub, topic, failed, .. } = self;
        if *failed > 0 {
            let count = self.events.len();
            log.write(
                Level::Debug,
                RUNTIME,
                format_args!(
                    "error when publishing to topic {topic} in pubsub {pubsub}: {failed} of {count} entries failed"
                ),
                &[("pubsub", pubsub), ("topic", topic)],
            );
        }
    }
}
