//! Counters of one sidecar, under daprd's names (tests/spec/observability.md).

use std::collections::HashMap;
use std::fmt;

use parking_lot::RwLock;
use prometheus::core::Collector;
use prometheus::{IntCounter, IntCounterVec, IntGauge, Opts, Registry, TextEncoder};

/// A family of series: its name and its HELP text.
type Family = (&'static str, &'static str);

const EGRESS: Family =
    ("dapr_component_pubsub_egress_count", "The number of outgoing messages published to the pub/sub component.");
const INGRESS: Family =
    ("dapr_component_pubsub_ingress_count", "The number of incoming messages arriving from the pub/sub component.");
const ERRORS: Family =
    ("dapr_error_code_total", "Total number of times an error with a specific error code was encountered.");
/// Ours: what the limits of the ports have refused.
const REFUSED: Family = ("sidestream_refused_total", "Connections and requests that were refused because of a limit.");
/// Our own series, always present, so that a scraper recognises the page at once.
const INFO: Family = ("sidestream_info", "The version of this sidecar.");

/// The series of a topic: their family, and the labels that distinguish them.
const SERIES: [(Family, &[(&str, &str)]); 6] = [
    (EGRESS, &[("success", "false")]),
    (EGRESS, &[("success", "true")]),
    (INGRESS, &[("process_status", "success"), ("status", "success")]),
    (INGRESS, &[("process_status", "retry"), ("status", "retry")]),
    (INGRESS, &[("process_status", "drop"), ("status", "drop")]),
    (INGRESS, &[("process_status", "drop"), ("status", "success")]),
];

/// The registry. The counters of a topic are created once and kept, so that counting is a look-up and an addition.
///
/// They are single counters, not one `IntCounterVec` for each family, which distinguishes series by a hash over all
/// label values without separators: topic `1x` of `p` would be topic `x` of `p1`.
pub struct Metrics {
    registry: Registry,
    app_id: String,
    namespace: String,
    /// Counters by component and topic.
    topics: RwLock<HashMap<String, HashMap<String, Counters>>>,
    errors: IntCounterVec,
    refused: IntCounterVec,
}

/// The counters of one topic, in the order of [`SERIES`]. A series is exported from its first event on, as in daprd.
type Counters = [Option<IntCounter>; SERIES.len()];

/// The outcome of a delivery (tests/spec/delivery.md, "B19. Metrics (Prometheus names)").
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ingress {
    /// Acknowledged by the app.
    Success,
    /// To be delivered again.
    Retry,
    /// Refused by the app.
    Drop,
    /// No route matched, or the app answered DROP.
    DropWithSuccess,
}

impl Metrics {
    /// A registry for this app id and namespace, which every series has as labels.
    pub fn new(app_id: &str, namespace: &str) -> Self {
        let registry = Registry::new();
        let version = env!("CARGO_PKG_VERSION");
        let info = options(INFO, &[("app_id", app_id), ("version", version)]);
        registered(&registry, IntGauge::with_opts(info)).set(1);
        let labels = ["app_id", "category", "error_code"];
        let errors = IntCounterVec::new(options(ERRORS, &[]), &labels);
        let refused = IntCounterVec::new(options(REFUSED, &[("app_id", app_id)]), &["limit"]);
        Self {
            errors: registered(&registry, errors),
            refused: registered(&registry, refused),
            registry,
            app_id: app_id.to_owned(),
            namespace: namespace.to_owned(),
            topics: RwLock::default(),
        }
    }

    /// Count a publish, by its success.
    pub fn published(&self, pubsub: &str, topic: &str, success: bool) {
        self.count(pubsub, topic, usize::from(success));
    }

    /// Count a delivery, by its outcome.
    pub fn delivered(&self, pubsub: &str, topic: &str, ingress: Ingress) {
        let place = match ingress {
            Ingress::Success => 2,
            Ingress::Retry => 3,
            Ingress::Drop => 4,
            Ingress::DropWithSuccess => 5,
        };
        self.count(pubsub, topic, place);
    }

    /// Count an error answer (tests/spec/observability.md, "4.8 Error codes").
    pub fn error_answered(&self, app_id: &str, code: &'static str) {
        self.errors.with_label_values(&[app_id, category(code), code]).inc();
    }

    /// A connection or a request was refused because of this limit.
    pub fn refused(&self, limit: &str) {
        self.refused.with_label_values(&[limit]).inc();
    }

    /// The page for scrapers.
    pub fn render(&self) -> String {
        let families = self.registry.gather();
        // The only errors are families without name or series, which the registry does not return.
        TextEncoder::new().encode_to_string(&families).unwrap_or_default()
    }

    /// Count one event of a topic in the series at this place of [`SERIES`].
    fn count(&self, pubsub: &str, topic: &str, place: usize) {
        let topics = self.topics.read();
        let counters = topics.get(pubsub).and_then(|by| by.get(topic));
        if let Some(counter) = counters.and_then(|counters| counters[place].as_ref()) {
            counter.inc();
            return;
        }
        drop(topics);
        let mut topics = self.topics.write();
        let by_topic = topics.entry(pubsub.to_owned()).or_default();
        by_topic.entry(topic.to_owned()).or_default()[place]
            .get_or_insert_with(|| self.counter(pubsub, topic, place))
            .inc();
    }

    fn counter(&self, pubsub: &str, topic: &str, place: usize) -> IntCounter {
        let (family, labels) = SERIES[place];
        let mut options = options(family, labels);
        for (name, value) in
            [("app_id", self.app_id.as_str()), ("component", pubsub), ("namespace", &self.namespace), ("topic", topic)]
        {
            options = options.const_label(name, value);
        }
        registered(&self.registry, IntCounter::with_opts(options))
    }
}

fn options((name, help): Family, labels: &[(&str, &str)]) -> Opts {
    let options = Opts::new(name, help);
    labels.iter().fold(options, |options, (name, value)| options.const_label(*name, *value))
}

/// Register a counter.
fn registered<C: Collector + Clone + 'static>(registry: &Registry, made: prometheus::Result<C>) -> C {
    let made = made.expect("names of families and labels are constants of this file");
    // Registration fails only on a hash collision, because every series is created once. Such a series is not exported.
    let _ = registry.register(Box::new(made.clone()));
    made
}

/// The category of an error code, for its label.
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
    let found = CATEGORIES.iter().find(|(prefix, _)| code.starts_with(prefix));
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
            .field("app_id", &self.app_id)
            .field("namespace", &self.namespace)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_is_that_of_daprd() {
        let metrics = Metrics::new("app", "ns");
        metrics.published("p", "t", true);
        metrics.published("p", "t", true);
        metrics.published("p", "t", false);
        metrics.delivered("p", "t", Ingress::DropWithSuccess);
        metrics.error_answered("app", "ERR_PUBSUB_NOT_FOUND");
        let expected = r#"# HELP dapr_component_pubsub_egress_count The number of outgoing messages published to the pub/sub component.
# TYPE dapr_component_pubsub_egress_count counter
dapr_component_pubsub_egress_count{app_id="app",component="p",namespace="ns",success="false",topic="t"} 1
dapr_component_pubsub_egress_count{app_id="app",component="p",namespace="ns",success="true",topic="t"} 2
# HELP dapr_component_pubsub_ingress_count The number of incoming messages arriving from the pub/sub component.
# TYPE dapr_component_pubsub_ingress_count counter
dapr_component_pubsub_ingress_count{app_id="app",component="p",namespace="ns",process_status="drop",status="success",topic="t"} 1
# HELP dapr_error_code_total Total number of times an error with a specific error code was encountered.
# TYPE dapr_error_code_total counter
dapr_error_code_total{app_id="app",category="pubsub",error_code="ERR_PUBSUB_NOT_FOUND"} 1
# HELP sidestream_info The version of this sidecar.
# TYPE sidestream_info gauge
sidestream_info{app_id="app",version="VERSION"} 1
"#;
        let expected = expected.replace("VERSION", env!("CARGO_PKG_VERSION"));
        assert_eq!(metrics.render(), expected);
    }

    /// A topic is any text of a client, and no two may share a series.
    #[test]
    fn topics_are_counted_apart_and_escaped() {
        let metrics = Metrics::new("app", "");
        for (pubsub, topic, labels) in [
            ("p", "1x", r#"component="p",namespace="",success="true",topic="1x""#),
            ("p1", "x", r#"component="p1",namespace="",success="true",topic="x""#),
            ("p", "ö\"\\\n", r#"component="p",namespace="",success="true",topic="ö\"\\\n""#),
        ] {
            metrics.published(pubsub, topic, true);
            let line = format!("\ndapr_component_pubsub_egress_count{{app_id=\"app\",{labels}}} 1\n");
            let page = metrics.render();
            assert!(page.contains(&line), "{line} in\n{page}");
        }
    }
}
