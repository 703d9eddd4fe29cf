use super::*;
use crate::environment::Environment;
use crate::resources::kinds::pipeline::Handler;

const HEAD: &str = "apiVersion: dapr.io/v1alpha1\nkind: Component\n";

fn memory(name: &str, more: &str) -> String {
    format!("{HEAD}metadata: {{name: {name}}}\nspec: {{type: pubsub.in-memory, version: v1}}\n{more}")
}

struct Loaded(Resources, tempfile::TempDir);

fn load_with(files: &[(&str, &str)], environment: &[(&str, &str)], denied: &[&str]) -> Loaded {
    let folder = tempfile::tempdir().unwrap();
    for (name, text) in files {
        let text = text.replace("{dir}", folder.path().to_str().unwrap());
        std::fs::write(folder.path().join(name), text).unwrap();
    }
    let environment: Environment =
        environment.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    let denied: Vec<String> = denied.iter().map(|&denied| denied.to_owned()).collect();
    let resources = Resources::load(&LoadRequest {
        app_id: Some("app"),
        folders: &[folder.path().to_owned()],
        files: &[],
        denied: &denied,
        handlers: &[Handler {
            pipeline: "httpPipeline",
            name: "auth".to_owned(),
            kind: "middleware.http.Bearer".to_owned(),
        }],
        hot_reload: true,
        environment: &environment,
    });
    Loaded(resources, folder)
}

fn load(files: &[(&str, &str)]) -> Loaded {
    load_with(files, &[], &[])
}

#[test]
fn a_middleware_is_refused_if_a_pipeline_asks_for_it() {
    let component =
        |name: &str, kind: &str| format!("{HEAD}metadata: {{name: {name}}}\nspec: {{type: {kind}, version: v1}}\n");
    for (name, kind, expected) in [
        (
            "auth",
            "middleware.http.bearer",
            &[
                "middleware auth (middleware.http.bearer/v1) of spec.httpPipeline is not supported by this sidecar: calls would pass without it, take it out of the pipeline",
            ][..],
        ),
        ("other", "middleware.http.bearer", &[]),
        ("auth", "middleware.http.ratelimit", &[]),
    ] {
        let loaded = load(&[("a.yaml", &component(name, kind))]);
        assert_eq!(loaded.errors(), expected, "{name} {kind}");
    }
}

impl Loaded {
    fn names(&self) -> Vec<&str> {
        let components = self.0.components.iter();
        components.map(|component| component.name.as_str()).collect()
    }

    fn topics(&self) -> Vec<&str> {
        let subscriptions = self.0.subscriptions.iter();
        subscriptions.map(|spec| spec.topic.as_str()).collect()
    }

    fn errors(&self) -> Vec<String> {
        self.0.errors.iter().map(ToString::to_string).collect()
    }

    /// Texts of warnings and errors in the log.
    fn warnings(&self) -> Vec<String> {
        let dir = self.1.path().to_str().unwrap();
        let loud = self.0.diagnostics.iter().filter(|diagnostic| diagnostic.level >= Level::Warn);
        loud.map(|diagnostic| diagnostic.log_text().replace(dir, "DIR")).collect()
    }

    /// Lines of the mistakes that `check` reports.
    fn mistakes(&self) -> Vec<usize> {
        let mistakes = self.0.diagnostics.iter().filter(|diagnostic| diagnostic.severity.is_mistake());
        mistakes.map(|diagnostic| diagnostic.location.as_ref().unwrap().line).collect()
    }
}

#[test]
fn a_broken_document_does_not_hurt_its_neighbours() {
    let text = [memory("a", ""), "foo: [\n".to_owned(), memory("c", "")].join("---\n");
    let loaded = load(&[("1.yaml", &text), ("2.yml", &memory("d", ""))]);
    assert_eq!(loaded.names(), ["a", "c", "d"]);
    assert_eq!(loaded.mistakes(), [6]);
    assert!(
        loaded.warnings()[0].starts_with(
            "resource file DIR/1.yaml: error when parsing manifests yaml resource in DIR/1.yaml: line 6: "
        )
    );
}

#[test]
fn other_files_kinds_and_versions_are_left_alone() {
    let loaded = load(&[
        ("b.json", "{}"),
        ("c.yaml", &memory("c", "").replace("v1alpha1", "v1")),
        ("d.yaml", &memory("d", "").replace("Component", "component")),
        ("e.yaml", "kind: HTTPEndpoint\napiVersion: dapr.io/v1alpha1\n"),
        ("f.yaml", ""),
        ("g.yaml", "# nothing\n"),
        ("h.yaml", &memory("h", "")),
    ]);
    assert_eq!(loaded.names(), ["h"]);
    assert_eq!(
        loaded.warnings(),
        [
            "A non-YAML Component file b.json was detected, it will not be loaded",
            "A non-YAML Subscription file b.json was detected, it will not be loaded",
        ]
    );
    assert_eq!(loaded.mistakes().len(), 2, "check tells about c and d");
}

#[test]
fn names_that_cannot_be_are_skipped() {
    for (name, why) in [
        ("a/b", "may not contain '/'"),
        ("a%b", "may not contain '%'"),
        (".", "may not be '.'"),
        ("..", "may not be '..'"),
    ] {
        let loaded = load(&[("1.yaml", &memory(&format!("'{name}'"), ""))]);
        assert_eq!(loaded.names(), Vec::<&str>::new());
        let text = format!("invalid name {name:?} for \"Component\": {why}");
        assert!(loaded.warnings()[0].ends_with(&text), "{:?}", loaded.warnings());
    }
}

#[test]
fn three_of_one_name_are_one_error_that_lists_every_pair_in_order_of_the_files() {
    let redis = memory("a", "").replace("pubsub.in-memory", "pubsub.redis");
    let loaded = load(&[
        ("1.yaml", &memory("a", "")),
        ("2.yaml", &redis),
        ("3.yaml", &format!("{}---\n{}", memory("b", ""), memory("a", ""))),
    ]);
    assert_eq!(
        loaded.0.error_texts(ToString::to_string),
        [
            "failed to load components: duplicate definition of Component name a (pubsub.redis/v1) with existing a (pubsub.in-memory/v1)\nduplicate definition of Component name a (pubsub.in-memory/v1) with existing a (pubsub.in-memory/v1)"
        ]
    );
}

#[test]
fn a_component_without_name_is_one_whose_name_is_empty() {
    let nameless = memory("a", "").replace("{name: a}", "{namespace: n}");
    let bare = memory("a", "").replace("metadata: {name: a}\n", "");
    for (files, names, errors) in [
        (&[("1.yaml", nameless.as_str())][..], &[""][..], 0),
        (&[("1.yaml", bare.as_str())], &[""], 0),
        (&[("1.yaml", nameless.as_str()), ("2.yaml", bare.as_str())], &[""], 1),
    ] {
        let loaded = load(files);
        assert_eq!((loaded.names(), loaded.errors().len()), (names.to_vec(), errors));
    }
}

#[test]
fn duplicates_scopes_and_namespaces() {
    let other = "scopes: [other]\n";
    let namespaced = |namespace: &str| memory("a", "").replace("name: a", &format!("name: a, namespace: {namespace}"));
    let duplicate = "failed to load components: duplicate definition of Component name a (pubsub.in-memory/v1) with existing a (pubsub.in-memory/v1)";
    for (first, second, namespace, error) in [
        (memory("a", ""), memory("a", ""), None, Some(duplicate)),
        (memory("a", other), memory("a", ""), None, None),
        (memory("a", ""), memory("a", other), None, Some(duplicate)),
        (namespaced("ns"), namespaced("other"), Some("ns"), None),
        (namespaced("ns"), namespaced("other"), None, Some(duplicate)),
        (namespaced("ns"), namespaced("other"), Some(""), Some(duplicate)),
    ] {
        let environment: Vec<_> = namespace.into_iter().map(|namespace| ("NAMESPACE", namespace)).collect();
        let loaded = load_with(&[("1.yaml", &first), ("2.yaml", &second)], &environment, &[]);
        assert_eq!(loaded.names(), ["a"]);
        assert_eq!(loaded.errors(), Vec::from_iter(error));
    }
    let scoped = memory("a", "scopes: []\n")
        + "---\n"
        + &memory("b", "scopes: [App]\n")
        + "---\n"
        + &memory("c", "scopes: [x, app]\n");
    assert_eq!(load(&[("1.yaml", &scoped)]).names(), ["a", "c"]);
}

#[test]
fn all_errors_are_told_at_once() {
    let loaded = load(&[
        ("1.yaml", &memory("a", "")),
        ("2.yaml", &memory("a", "")),
        ("3.yaml", &memory("b", "").replace("pubsub.", "foo.")),
        ("4.yaml", &memory("c", "").replace("pubsub.in-memory", "secretstores.local.file")),
        ("5.yaml", &memory("d", "").replace("pubsub.in-memory", "secretstores.local.env").replace("v1}", "v2}")),
    ]);
    assert_eq!(
        loaded.errors(),
        [
            "failed to load components: duplicate definition of Component name a (pubsub.in-memory/v1) with existing a (pubsub.in-memory/v1)",
            "failed to load components: process component c error: [INIT_COMPONENT_FAILURE]: initialization error occurred for c (secretstores.local.file/v1): missing local secrets file in metadata",
            "failed to load components: process component d error: [CREATE_COMPONENT_FAILURE]: initialization error occurred for d (secretstores.local.env/v2): couldn't find secret store secretstores.local.env/v2: only version v1 is there",
            "failed to load components: process component b error: incorrect type foo.in-memory: this build has pubsub.redis and pubsub.in-memory",
        ]
    );
}

#[test]
fn what_is_not_supported_is_skipped_what_is_ignored_is_absent() {
    let loaded = load(&[
        ("1.yaml", &memory("statestore", "").replace("pubsub.in-memory", "state.redis")),
        ("2.yaml", &memory("x", "").replace("pubsub.in-memory", "foo.bar, ignoreErrors: true")),
        ("3.yaml", &memory("mem", "")),
    ]);
    assert_eq!(loaded.names(), ["mem"]);
    assert_eq!(loaded.errors(), Vec::<String>::new());
    assert_eq!(
        loaded.warnings(),
        [
            "component statestore (state.redis/v1) is not supported by this sidecar, ignored",
            "Ignoring error processing component: process component x error: incorrect type foo.bar: this build has pubsub.redis and pubsub.in-memory",
        ]
    );
}

#[test]
fn secret_stores_come_first_wherever_they_stand() {
    let user = format!(
        "{HEAD}metadata: {{name: a}}\nspec:\n  type: pubsub.redis\n  metadata: [{{name: redisHost, secretKeyRef: {{name: g}}}}]\nauth: {{secretstore: store}}\n"
    );
    let store = format!(
        "{HEAD}metadata: {{name: store}}\nspec:\n  type: secretstores.local.file\n  metadata: [{{name: secretsFile, value: '{{dir}}/secrets.json'}}]\n"
    );
    let secrets = ("secrets.json", "{\"g\": \"host\"}");
    let loaded = load(&[("a.yaml", &user), ("z.yaml", &store), secrets]);
    assert_eq!(loaded.names(), ["store", "a"]);
    assert_eq!(loaded.0.components[1].properties.get("redisHost"), Some("host"));
    let loaded = load(&[("a.yaml", &user), secrets]);
    assert_eq!(loaded.names(), Vec::<&str>::new());
    assert_eq!(loaded.errors(), Vec::<String>::new());
}

#[test]
fn denied_types_are_not_loaded() {
    let text = memory("a", "")
        + "---\n"
        + &memory("b", "").replace(", version: v1", "")
        + "---\n"
        + &memory("c", "").replace("v1}", "v0}");
    for (denied, names) in [
        ("pubsub.in-memory", vec![]),
        ("pubsub.in-memory/v1", vec!["c"]),
        ("pubsub.In-Memory", vec!["a", "c"]),
        ("pubsub.kafka", vec!["a", "c"]),
    ] {
        let loaded = load_with(&[("1.yaml", &text)], &[], &[denied]);
        assert_eq!(loaded.names(), names, "{denied}");
    }
}

#[test]
fn subscriptions_are_filtered_by_scope_and_replaced_by_name() {
    let subscription = |name: &str, topic: &str, more: &str| {
        format!(
            "apiVersion: dapr.io/v2alpha1\nkind: Subscription\nmetadata: {{name: {name}}}\nspec: {{pubsubname: p, topic: {topic}, routes: {{default: /a}}}}\n{more}"
        )
    };
    let topics = |texts: &[String]| {
        let text = texts.join("---\n");
        let loaded = load(&[("1.yaml", &text)]);
        loaded.topics().iter().map(|&topic| topic.to_owned()).collect::<Vec<_>>()
    };
    let other = "scopes: [other]\n";
    assert_eq!(topics(&[subscription("s", "a", other), subscription("t", "b", "scopes: [1, app]\n")]), ["b"]);
    assert_eq!(
        topics(&[subscription("s", "a", ""), subscription("t", "b", ""), subscription("s", "c", "")]),
        ["b", "c"]
    );
    assert_eq!(topics(&[subscription("''", "a", ""), subscription("''", "b", "")]), ["a", "b"]);
    assert_eq!(topics(&[subscription("s", "a", "").replace("v2alpha1", "v2")]), Vec::<String>::new());
    assert_eq!(topics(&[subscription("s/t", "a", "")]), Vec::<String>::new());
}

#[test]
fn resiliency_is_read_from_first_documents_only() {
    let resiliency = "kind: Resiliency\nmetadata: {name: r}\nspec: {policies: {retries: {two: {maxRetries: 2}}}}\n";
    let names = |files: &[(&str, &str)]| {
        let loaded = load(files);
        loaded.0.resiliencies.iter().map(|resource| resource.name.clone()).collect::<Vec<_>>()
    };
    assert_eq!(names(&[("r.yaml", resiliency)]), ["r"]);
    assert_eq!(names(&[("r.yaml", &format!("kind: Foo\n---\n{resiliency}"))]), Vec::<String>::new());
    assert_eq!(names(&[("r.yaml", &format!("{resiliency}scopes: [other]\n"))]), Vec::<String>::new());
    let loaded = load(&[("r.yaml", &resiliency.replace("maxRetries: 2", "maxRetries: many"))]);
    assert!(loaded.warnings()[0].starts_with("Could not parse resiliency file r.yaml: line 3: "));
    let loaded = load(&[("r.yaml", &resiliency.replace("maxRetries: 2", "duration: soon"))]);
    assert_eq!(
        loaded.warnings(),
        ["Could not read resiliency policy r: invalid duration \"two\", soon: time: invalid duration \"soon\""]
    );
}

#[test]
fn folders_that_cannot_be_read_are_errors() {
    let environment = Environment::default();
    let file = tempfile::NamedTempFile::new().unwrap();
    let folders = ["/nope".into(), file.path().to_owned()];
    let request = |hot_reload| LoadRequest {
        app_id: None,
        folders: &folders,
        files: &[],
        denied: &[],
        handlers: &[],
        hot_reload,
        environment: &environment,
    };
    let texts =
        |hot_reload| Resources::load(&request(hot_reload)).errors.iter().map(ToString::to_string).collect::<Vec<_>>();
    let not_folder = format!("failed to load components: open {}: not a directory", file.path().display());
    assert_eq!(
        texts(true),
        ["failed to create watcher: failed to add target /nope: no such file or directory", &not_folder]
    );
    assert_eq!(texts(false), ["failed to load components: open /nope: no such file or directory", &not_folder]);
}
