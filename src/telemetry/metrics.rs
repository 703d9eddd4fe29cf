//! Counters of one sidecar, in the names of daprd (spec observability.md). More of them, and latencies, come with the metrics issue.

use std::collections::HashMap;
use std::fmt;
use std::sync::{PoisonError, RwLock};

use metrics::{Counter, Key, KeyName, Label, Level, Metadata, Recorder};
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusRecorder};

const EGRESS: &str = "dapr_component_pubsub_egress_count";
const INGRESS: &str = "dapr_component_pubsub_ingress_count";
const ERRORS: &str = "dapr_error_code_total";
/// Ours: always there, so that a scraper sees at once that it has found the right page.
const INFO: &str = "sidestream_info";
const METADATA: Metadata<'static> = Metadata::new("sidestream", Level::INFO, None);

/// The registry. Counters are made once for each topic and kept: counting is a look-up and an addition.
pub struct Metrics {
    recorder: PrometheusRecorder,
    common: Vec<Label>,
    counters: RwLock<HashMap<&'static str, Topics>>,
}

/// By component, topic, and the place of the outcome in its list.
type Topics = HashMap<String, HashMap<String, Vec<Option<Counter>>>>;

/// What became of a delivery (spec delivery.md B19).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ingress {
    /// Acknowledged by the app.
    Success,
    /// To come again.
    Retry,
    /// Not wanted by the app.
    Drop,
    /// No route wanted it, or the app said DROP.
    DropWithSuccess,
}

impl Metrics {
    /// For this app id and namespace, which every series names.
    pub fn new(app_id: &str, namespace: &str) -> Self {
        let recorder = PrometheusBuilder::new().build_recorder();
        recorder.describe_counter(
            KeyName::from(EGRESS),
            None,
            "The number of outgoing messages published to the pub/sub component.".into(),
        );
        recorder.describe_counter(
            KeyName::from(INGRESS),
            None,
            "The number of incoming messages arriving from the pub/sub component.".into(),
        );
        recorder.describe_counter(
            KeyName::from(ERRORS),
            None,
            "Total number of times an error with a specific error code was encountered.".into(),
        );
        recorder.describe_gauge(
            KeyName::from(INFO),
            None,
            "The version of this sidecar.".into(),
        );
        let version = Label::from_static_parts("version", env!("CARGO_PKG_VERSION"));
        let info = Key::from_parts(INFO, vec![Label::new("app_id", app_id.to_owned()), version]);
        recorder.register_gauge(&info, &METADATA).set(1.0);
        let common = vec![
            Label::new("app_id", app_id.to_owned()),
            Label::new("namespace", namespace.to_owned()),
        ];
        Self {
            recorder,
            common,
            counters: RwLock::default(),
        }
    }

    /// An event was published, or not.
    pub fn published(&self, pubsub: &str, topic: &str, success: bool) {
        let labels = || {
            vec![Label::from_static_parts(
                "success",
                if success { "true" } else { "false" },
            )]
        };
        self.count(EGRESS, pubsub, topic, usize::from(success), labels);
    }

    /// A delivery has ended.
    pub fn delivered(&self, pubsub: &str, topic: &str, ingress: Ingress) {
        let (place, process_status, status) = match ingress {
            Ingress::Success => (0, "success", "success"),
            Ingress::Retry => (1, "retry", "retry"),
            Ingress::Drop => (2, "drop", "drop"),
            Ingress::DropWithSuccess => (3, "drop", "success"),
        };
        let labels = || {
            vec![
                Label::from_static_parts("process_status", process_status),
                Label::from_static_parts("status", status),
            ]
        };
        self.count(INGRESS, pubsub, topic, place, labels);
    }

    /// A client was answered with an error (spec observability.md 4.8).
    pub fn error_answered(&self, app_id: &str, code: &'static str) {
        let labels = vec![
            Label::new("app_id", app_id.to_owned()),
            Label::from_static_parts("category", category(code)),
            Label::from_static_parts("error_code", code),
        ];
        let key = Key::from_parts(ERRORS, labels);
        self.recorder.register_counter(&key, &METADATA).increment(1);
    }

    /// The page a scraper reads.
    pub fn render(&self) -> String {
        self.recorder.handle().render()
    }

    fn count(
        &self,
        name: &'static str,
        pubsub: &str,
        topic: &str,
        place: usize,
        labels: impl FnOnce() -> Vec<Label>,
    ) {
        {
            let counters = self.counters.read().unwrap_or_else(PoisonError::into_inner);
            let known = counters
                .get(name)
                .and_then(|by| by.get(pubsub)?.get(topic)?.get(place)?.as_ref());
            if let Some(counter) = known {
                counter.increment(1);
                return;
            }
        }
        let mut all = self.common.clone();
        all.push(Label::new("component", pubsub.to_owned()));
        all.push(Label::new("topic", topic.to_owned()));
        all.extend(labels());
        // The page lists labels as they stand here: by name, as daprd does.
        all.sort_by(|one, other| one.key().cmp(other.key()));
        let counter = self
            .recorder
            .register_counter(&Key::from_parts(name, all), &METADATA);
        counter.increment(1);
        let mut counters = self
            .counters
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        let places = counters
            .entry(name)
            .or_default()
            .entry(pubsub.to_owned())
            .or_default()
            .entry(topic.to_owned())
            .or_default();
        if places.len() <= place {
            places.resize(place + 1, None);
        }
        places[place] = Some(counter);
    }
}

/// What an error code belongs to, for its label.
fn category(code: &str) -> &'static str {
    const CATEGORIES: [(&str, &str); 13] = [
        ("ERR_PUBSUB", "pubsub"),
        ("ERR_TOPIC", "pubsub"),
        ("ERR_HEALTH", "health"),
        ("ERR_OUTBOUND_HEALTH", "health"),
        ("ERR_DIRECT_INVOKE", "service-invocation"),
        ("ERR_STATE", "state"),
        ("ERR_SECRET", "secret"),
        ("ERR_ACTOR", "actor"),
        ("ERR_LOCK", "lock"),
        ("ERR_CONFIGURATION", "configuration"),
        ("ERR_CRYPTO", "cryptography"),
        ("ERR_INVOKE_OUTPUT_BINDING", "binding"),
        ("ERR_CONVERSATION", "conversation"),
    ];
    let found = CATEGORIES
        .iter()
        .find(|(prefix, _)| code.starts_with(prefix));
    found.map_or("common", |(_, category)| category)
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new("", "")
    }
}

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Metrics")
            .field("common", &self.common)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_has_the_names_of_daprd() {
        let metrics = Metrics::new("app", "ns");
        metrics.published("p", "t", true);
        metrics.published("p", "t", true);
        metrics.delivered("p", "t", Ingress::DropWithSuccess);
        let page = metrics.render();
        assert!(page.contains("\ndapr_component_pubsub_egress_count{app_id=\"app\",component=\"p\",namespace=\"ns\",success=\"true\",topic=\"t\"} 2\n"), "{page}");
        assert!(page.contains("\ndapr_component_pubsub_ingress_count{app_id=\"app\",component=\"p\",namespace=\"ns\",process_status=\"drop\",status=\"success\",topic=\"t\"} 1\n"), "{page}");
    }
}
