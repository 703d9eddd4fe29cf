use super::*;

fn read_texts(texts: &[&str]) -> Result<Configuration, Vec<String>> {
    let folder = tempfile::tempdir().unwrap();
    let mut files = Vec::new();
    for (index, text) in texts.iter().enumerate() {
        let file = folder.path().join(format!("{index}.yaml"));
        std::fs::write(&file, text).unwrap();
        files.push(file);
    }
    let environment = [("ONE".to_owned(), "one".to_owned())].into_iter().collect();
    let read = read(&files, &environment);
    read.map(|(configuration, _)| configuration).map_err(|errors| errors.iter().map(ToString::to_string).collect())
}

fn shown(diagnostic: &Diagnostic) -> String {
    format!("{} {}", diagnostic.line(), diagnostic.message)
}

#[test]
fn every_key_that_nothing_reads_is_named() {
    let file = tempfile::NamedTempFile::new().unwrap();
    for (text, expected) in [
        ("kind: Configuration\nspecs: {}\n", "2 unknown field specs is ignored"),
        ("colour: blue\n", "1 unknown field colour is ignored"),
        ("spec:\n  Tracing: {}\n", "2 unknown field spec.Tracing is ignored"),
        ("spec: {foo: 1}\n", "1 unknown field spec.foo is ignored"),
        ("spec: {logging: {apiLoging: {}}}\n", "1 unknown field spec.logging.apiLoging is ignored"),
        ("spec: {components: {denied: []}}\n", "1 unknown field spec.components.denied is ignored"),
        ("spec: {tracing: {zipkin: {endpoint: x}}}\n", "1 unknown field spec.tracing.zipkin.endpoint is ignored"),
        (
            "spec: {secrets: {scopes: [{storeName: a, allow: []}]}}\n",
            "1 unknown field spec.secrets.scopes[0].allow is ignored",
        ),
        ("spec: {metric: {http: {paths: []}}}\n", "1 unknown field spec.metric.http.paths is ignored"),
    ] {
        std::fs::write(file.path(), text).unwrap();
        let (_, diagnostics) = read(&[file.path().to_owned()], &Environment::default()).unwrap();
        assert_eq!(diagnostics.iter().map(shown).collect::<Vec<_>>(), [expected]);
    }
}

fn features(texts: &[&str]) -> Vec<String> {
    let features = read_texts(texts).unwrap().enabled_features();
    features.into_iter().filter(|name| !name.starts_with("Workflows")).collect()
}

#[test]
fn the_environment_is_filled_in() {
    let environment: Environment = [("ONE".to_owned(), "one".to_owned())].into_iter().collect();
    for (text, expected) in [
        ("$ONE ${ONE} $ONEX", "one one "),
        ("a$-b$1c$$d", "abcd"),
        ("x$NONE.y${NONE}z", "x.yz"),
        ("c$.d${}e", "c$.de"),
        ("${ONE:-y}|", "|"),
        ("end$", "end$"),
        ("${open", "open"),
    ] {
        assert_eq!(expanded(text, &environment), expected, "{text}");
    }
}

#[test]
fn features_of_the_last_list_count() {
    assert_eq!(features(&["\n"]), ["HotReload"]);
    assert_eq!(features(&["spec: {features: [{name: Foo, enabled: yes}]}"]), ["Foo", "HotReload"]);
    assert_eq!(features(&["spec: {features: [{name: HotReload, enabled: false}]}"]), Vec::<String>::new());
    assert_eq!(
        features(&["spec: {features: [{name: A, enabled: true}]}", "spec: {features: [{name: B, enabled: true}]}"]),
        ["B", "HotReload"]
    );
    assert_eq!(
        features(&["spec: {features: [{name: A, enabled: true}]}\n---\nspec: {features: []}"]),
        ["A", "HotReload"]
    );
    assert_eq!(features(&["spec: {Features: [{name: A, enabled: true}]}"]), ["HotReload"]);
    assert_eq!(features(&["spec: {features: [{name: $ONE, enabled: true}]}"]), ["HotReload", "one"]);
}

#[test]
fn sections_merge_and_an_empty_one_clears() {
    let rate = |texts: &[&str]| read_texts(texts).unwrap().tracing.sampling_rate;
    assert_eq!(rate(&["spec: {tracing: {samplingRate: 0.10}}"]).as_deref(), Some("0.10"));
    assert_eq!(
        rate(&["spec: {tracing: {samplingRate: '1'}}", "spec: {tracing: {stdout: true}}"]).as_deref(),
        Some("1")
    );
    assert_eq!(rate(&["spec: {tracing: {samplingRate: '1'}}", "spec:\n  tracing:\n"]), None);
    let metrics = read_texts(&["spec: {metric: {enabled: false}, metrics: {enabled: true}}"]).unwrap().metrics;
    assert_eq!(metrics.enabled, Some(true));
}

#[test]
fn every_middleware_is_named_with_its_line() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let text = "spec:\n  httpPipeline:\n    handlers:\n    - {name: auth, type: middleware.http.bearer, version: v1, selector: {}}\n    - name: limit\n      type: middleware.http.ratelimit\n  appHttpPipeline: {handlers: [{name: x, type: y}]}\n";
    std::fs::write(file.path(), text).unwrap();
    let files = [file.path().to_owned(), file.path().to_owned()];
    let (configuration, diagnostics) = read(&files, &Environment::default()).unwrap();
    let named: Vec<_> = diagnostics[..3].iter().map(shown).collect();
    assert_eq!(
        named,
        [
            "4 spec.httpPipeline.handlers[0].name: middleware auth (middleware.http.bearer) is left out, this sidecar has no middleware",
            "5 spec.httpPipeline.handlers[1].name: middleware limit (middleware.http.ratelimit) is left out, this sidecar has no middleware",
            "7 spec.appHttpPipeline.handlers[0].name: middleware x (y) is left out, this sidecar has no middleware",
        ]
    );
    // A later file stands in the place of an earlier one.
    assert_eq!(configuration.handlers.len(), 3);
    assert!(configuration.handlers[0].means("auth", "Middleware.http.bearer"));
}

#[test]
fn all_mistakes_are_told_with_their_lines() {
    let error = |text: &str| read_texts(&[text]).unwrap_err();
    assert_eq!(
        error("spec:\n  metric:\n    enabled: 'false'\n  features: 1\n"),
        [
            "error loading configuration: yaml: unmarshal errors:\n  line 3: spec.metric.enabled: expected true or false, found the text \"false\"",
            "error loading configuration: yaml: unmarshal errors:\n  line 4: spec.features: expected a list, found the number 1",
        ]
    );
    for text in [
        "- a\n",
        "spec: [\n",
        "spec: {features: [], features: []}",
        "spec: {tracing: {otel: {timeout: 5}}}",
        "spec: {tracing: {otel: {timeout: soon}}}",
        "spec: {tracing: {otel: {endpointAddress: a, protocol: tcp}}}",
        "spec: {secrets: {scopes: [{storeName: a}, {storeName: a}]}}",
        "spec: {secrets: {scopes: [{storeName: a, defaultAccess: x}]}}",
    ] {
        assert_eq!(error(text).len(), 1, "{text}");
    }
}

#[test]
fn a_missing_file_is_named_as_in_daprd() {
    let errors = read(&[PathBuf::from("/nope.yaml")], &Environment::default()).unwrap_err();
    assert_eq!(errors[0].to_string(), "error loading configuration: stat /nope.yaml: no such file or directory");
}
