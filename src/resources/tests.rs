//! Properties of every file in a resource folder and of every Configuration.

use std::path::PathBuf;

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{Index, select};

use super::*;
use crate::environment::Environment;
use crate::json::arbitrary::{NASTY, cases, in_time, wounded};
use crate::resources::kinds::configuration;

const DOCUMENTS: [&str; 6] = [
    "apiVersion: dapr.io/v1alpha1\nkind: Component\nmetadata:\n  name: a\n  namespace: default\nspec:\n  type: pubsub.redis\n  version: v1\n  initTimeout: 5s\n  metadata:\n  - name: redisHost\n    value: localhost:6379\n  - name: concurrency\n    value: 10\n  - name: redisPassword\n    secretKeyRef:\n      name: S\n      key: k\n  - name: redisUsername\n    envRef: U\nscopes:\n- app\nauth:\n  secretStore: env\n",
    "apiVersion: dapr.io/v1alpha1\nkind: Component\nmetadata:\n  name: env\nspec:\n  type: secretstores.local.env\n  version: v1\n  metadata:\n  - name: prefix\n    value: P_{appID}_{uuid}\n",
    "apiVersion: dapr.io/v2alpha1\nkind: Subscription\nmetadata:\n  name: s\nspec:\n  topic: orders\n  pubsubname: a\n  deadLetterTopic: dead\n  routes:\n    rules:\n    - match: event.type == 'x'\n      path: /x\n    default: /d\n  bulkSubscribe:\n    enabled: true\n    maxMessagesCount: 10\n    maxAwaitDurationMs: 100\n  metadata:\n    rawPayload: 'true'\nscopes: [app]\n",
    "apiVersion: dapr.io/v1alpha1\nkind: Subscription\nmetadata: {name: t}\nspec: {topic: t, route: /t, pubsubname: a}\n",
    "apiVersion: dapr.io/v1alpha1\nkind: Resiliency\nmetadata:\n  name: r\nspec:\n  policies:\n    timeouts:\n      t: 5s\n    retries:\n      r:\n        policy: exponential\n        duration: 5s\n        maxInterval: 15s\n        maxRetries: 3\n        matching:\n          httpStatusCodes: 429,500-599\n          gRPCStatusCodes: 1-3\n    circuitBreakers:\n      b:\n        maxRequests: 1\n        interval: 8s\n        timeout: 45s\n        trip: consecutiveFailures > 8\n  targets:\n    components:\n      a:\n        outbound:\n          retry: r\n          timeout: t\n          circuitBreaker: b\n",
    "apiVersion: dapr.io/v1alpha1\nkind: Configuration\nmetadata:\n  name: c\nspec:\n  tracing:\n    samplingRate: '1'\n    otel:\n      endpointAddress: ${HOST}:4317\n      isSecure: false\n      protocol: grpc\n  metrics:\n    enabled: true\n    http:\n      pathMatching:\n      - /a\n  logging:\n    apiLogging:\n      enabled: true\n  api:\n    allowed:\n    - name: publish\n      version: v1\n      protocol: http\n  features:\n  - name: HotReload\n    enabled: true\n  secrets:\n    scopes:\n    - storeName: env\n      defaultAccess: allow\n",
];

/// Values, and whole structures, where another was expected.
const STRANGE: [&str; 14] = [
    "[1, 2]",
    "{a: b}",
    "&a [*a]",
    "*a",
    "!!int x",
    "!!binary AA==",
    "|",
    ">\n  x",
    "? x",
    "<<: {}",
    "0777",
    "1_000",
    "12e99999",
    "yes",
];

#[derive(Clone, Debug)]
enum Change {
    Value(&'static str),
    Remove,
    Repeat,
    Indent,
}

/// Change some lines of a document, so that most of the rest still means what it did.
fn document() -> impl Strategy<Value = String> {
    let strange: Vec<_> = NASTY.into_iter().chain(STRANGE).collect();
    let change = prop_oneof![
        4 => select(strange).prop_map(Change::Value),
        1 => Just(Change::Remove),
        1 => Just(Change::Repeat),
        1 => Just(Change::Indent),
    ];
    (select(DOCUMENTS.to_vec()), vec((any::<Index>(), change), 0..4)).prop_map(|(document, changes)| {
        let mut lines: Vec<String> = document.lines().map(str::to_owned).collect();
        for (at, change) in changes {
            let at = at.index(lines.len().max(1));
            let Some(line) = lines.get(at).cloned() else {
                continue;
            };
            match change {
                Change::Value(value) => {
                    let key = line.split_once(':').map_or("- ", |(key, _)| key);
                    lines[at] = format!("{key}: {value}");
                }
                Change::Remove => drop(lines.remove(at)),
                Change::Repeat => lines.insert(at, line),
                Change::Indent => lines[at] = format!(" {line}"),
            }
        }
        lines.join("\n") + "\n"
    })
}

fn file() -> impl Strategy<Value = Vec<u8>> {
    wounded(vec(document(), 1..4).prop_map(|documents| documents.join("---\n")))
}

fn environment() -> Environment {
    [("S", "secret"), ("U", "\"user\""), ("HOST", "{uuid}: [")]
        .into_iter()
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect()
}

/// A folder of one file, and the file.
fn folder(content: &[u8]) -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.yaml");
    std::fs::write(&path, content).unwrap();
    (folder, path)
}

fn loaded(folder: &tempfile::TempDir) -> Resources {
    Resources::load(&LoadRequest {
        app_id: Some("app"),
        folders: &[folder.path().to_owned()],
        files: &[],
        denied: &[],
        hot_reload: true,
        handlers: &[],
        environment: &environment(),
    })
}

proptest! {
    #![proptest_config(cases())]

    #[test]
    fn any_file_is_read_or_told_about(content in file()) {
        let (folder, _) = folder(&content);
        in_time(|| {
            let resources = loaded(&folder);
            let _ = resources.policies();
            let said = resources.diagnostics.iter().map(|diagnostic| diagnostic.log_text().len());
            assert!(said.sum::<usize>() < 100_000 + 1_000 * content.len());
            for error in &resources.errors {
                let _ = (error.to_string(), error.diagnostic());
            }
        });
    }

    #[test]
    fn any_configuration_is_read_or_told_about(content in file()) {
        let (_folder, path) = folder(&content);
        in_time(|| match configuration::read(&[path], &environment()) {
            Ok((configuration, _)) => drop(configuration.enabled_features()),
            Err(errors) => errors.iter().for_each(|error| drop(error.to_string())),
        });
    }

    /// A broken document takes nothing away from the one before it.
    #[test]
    fn a_document_stands_whatever_follows(content in document()) {
        let memory = "apiVersion: dapr.io/v1alpha1\nkind: Component\nmetadata: {name: first}\nspec: {type: pubsub.in-memory, version: v1}\n";
        let (folder, _) = folder(format!("{memory}---\n{content}").as_bytes());
        let resources = in_time(|| loaded(&folder));
        let is_refused = resources.errors.iter().any(|error| matches!(error, LoadError::Duplicate { .. }));
        prop_assert!(is_refused || resources.components.iter().any(|component| component.name == "first"));
    }
}
