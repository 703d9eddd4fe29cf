use super::*;
use crate::environment::Environment;
use crate::resources::{LoadRequest, Resources};

fn read(folder: &Path, last_good: &LastGood, refused: &[&str]) -> Resources {
    let environment = Environment::default();
    let request = LoadRequest {
        app_id: Some("app"),
        folders: &[folder.to_owned()],
        files: &[],
        denied: &[],
        handlers: &[],
        hot_reload: false,
        environment: &environment,
    };
    let refused = refused.iter().map(|name| folder.join(name));
    Resources::reload(&request, last_good, &refused.collect())
}

fn write(folder: &Path, files: &[(&str, &str)]) {
    for (name, text) in files {
        let text = text.replace("{dir}", folder.to_str().unwrap());
        match text.as_str() {
            "deleted" => std::fs::remove_file(folder.join(name)).unwrap(),
            text => std::fs::write(folder.join(name), text).unwrap(),
        }
    }
}

/// Names and meaning of all that is in force.
fn shown(resources: &Resources) -> String {
    let components = resources.components.iter().map(|component| {
        let note = component.properties.get("note").unwrap_or_default();
        format!("{}{note}", component.name)
    });
    let subscriptions = resources.subscriptions.iter().map(|spec| spec.topic.clone());
    let resiliencies = resources.resiliencies.iter().map(|resource| resource.name.clone());
    let all: Vec<_> = components.chain(subscriptions).chain(resiliencies).collect();
    all.join(" ")
}

/// What is in force of `first`, after `then`, and how many files keep something.
#[track_caller]
fn check(what: &str, first: &[(&str, &str)], then: &[(&str, &str)], expected: &str, kept: usize) {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), first);
    let before = read(folder.path(), &LastGood::default(), &[]);
    write(folder.path(), then);
    let after = read(folder.path(), &before.last_good, &[]);
    assert_eq!(shown(&after), expected, "{what}");
    assert_eq!(after.last_good.kept().len(), kept, "{what}");
    assert_eq!(after.errors, [], "{what}");
    // The next reading keeps the same.
    let later = read(folder.path(), &after.last_good, &[]);
    assert_eq!(shown(&later), expected, "{what}, later");
    assert_eq!(later.last_good.kept(), after.last_good.kept(), "{what}, later");
}

const A: &str =
    "apiVersion: dapr.io/v1alpha1\nkind: Component\nmetadata: {name: a}\nspec: {type: pubsub.in-memory, version: v1}\n";
const B: &str =
    "apiVersion: dapr.io/v1alpha1\nkind: Component\nmetadata: {name: b}\nspec: {type: pubsub.in-memory, version: v1}\n";
const S: &str = "apiVersion: dapr.io/v1alpha1\nkind: Subscription\nmetadata: {name: s}\nspec: {topic: t, route: /t, pubsubname: a}\n";
const R: &str = "apiVersion: dapr.io/v1alpha1\nkind: Resiliency\nmetadata: {name: r}\nspec: {policies: {retries: {two: {duration: 1s}}}}\n";

fn documents(texts: &[&str]) -> String {
    texts.join("---\n")
}

#[test]
fn a_file_that_is_broken_keeps_all_that_it_held() {
    let all = documents(&[R, A, S]);
    for broken in [
        "a: [",
        "",
        " \n\n",
        "# nothing\n",
        "---\n---\n",
        "null\n",
        "apiVer",
        "apiVersion: dapr.io/v1alpha1\n",
        "apiVersion: dapr.io/v1alpha1\nkind: Compo",
        "apiVersion: dapr.io/v1\nkind: Component\nmetadata: {name: a}\nspec: {type: pubsub.in-memory}\n",
        "apiVersion: dapr.io/v1alpha1\nkind: Component\nmetadata:\n  name: a\n",
        "apiVersion: dapr.io/v1alpha1\nkind: Component\n",
        "apiVersion: dapr.io/v1alpha1\nkind: Component\nmetadata: {name: a}\nspec: [1]\n",
        "apiVersion: dapr.io/v1alpha1\nkind: Subscription\nmetadata: {name: s}\nspec: {topic: [x]}\n",
        "kind: Resiliency\nmetadata: {name: r}\nspec: {policies: {retries: {two: {maxRetries: many}}}}\n",
        "kind: Resiliency\nmetadata: {name: r}\nspec: {policies: {retries: {two: {duration: soon}}}}\n",
        "- a\n- b\n",
        "x: .inf\n",
    ] {
        check(broken, &[("f.yaml", &all)], &[("f.yaml", broken)], "a t r", 1);
    }
}

#[test]
fn what_is_whole_counts_and_what_is_gone_is_gone() {
    let both = documents(&[A, B]);
    let first = [("f.yaml", both.as_str())];
    let a_new = A.replace("version: v1", "version: v1, metadata: [{name: note, value: '2'}]");
    let broken_b = documents(&[&a_new, "b: [\n"]);
    check("one document is broken, the other has changed", &first, &[("f.yaml", &broken_b)], "a2 b", 1);
    check("one document is gone", &first, &[("f.yaml", A)], "a", 0);
    check("the file is gone", &first, &[("f.yaml", "deleted")], "", 0);
    check("another thing stands in it", &first, &[("f.yaml", "a: 1\n")], "", 0);
    check("a foreign kind stands in it", &first, &[("f.yaml", "kind: ConfigMap\napiVersion: v1\n")], "", 0);
    check("it was broken at first", &[("f.yaml", "a: [")], &[("f.yaml", &both)], "a b", 0);
    check("it was empty and is", &[("f.yaml", "")], &[("f.yaml", "# x\n")], "", 0);
    check("another file is broken", &[("f.yaml", A), ("g.yaml", B)], &[("g.yaml", "[")], "a b", 1);
    check("no YAML any more", &first, &[("f.yaml", "deleted"), ("f.txt", "a: [")], "", 0);
}

#[test]
fn what_stands_in_another_file_now_is_taken_from_there() {
    let a_new = A.replace("version: v1", "version: v1, metadata: [{name: note, value: '2'}]");
    let files = [("f.yaml", A), ("g.yaml", B)];
    check("swapped", &files, &[("f.yaml", B), ("g.yaml", A)], "b a", 0);
    check("half swapped", &files, &[("f.yaml", "["), ("g.yaml", &a_new)], "a2", 0);
    check("moved while broken", &files, &[("f.yaml", "["), ("h.yaml", &a_new)], "b a2", 0);
    let other = A.to_owned() + "scopes: [other]\n";
    check("of another app", &[("f.yaml", A)], &[("f.yaml", "["), ("h.yaml", &other)], "a", 1);
}

#[test]
fn a_secret_store_whose_file_is_broken_keeps_its_secrets() {
    let store = "apiVersion: dapr.io/v1alpha1\nkind: Component\nmetadata: {name: store}\nspec:\n  type: secretstores.local.file\n  version: v1\n  metadata: [{name: secretsFile, value: '{dir}/secrets.json'}]\n";
    let user = A.replace("version: v1", "version: v1, metadata: [{name: note, secretKeyRef: {name: g}}]")
        + "auth: {secretStore: store}\n";
    let first = [("a.yaml", user.as_str()), ("s.yaml", store), ("secrets.json", r#"{"g": "1"}"#)];
    for (what, then) in [
        ("broken", ("secrets.json", "{")),
        ("empty", ("secrets.json", "")),
        ("gone", ("secrets.json", "deleted")),
        ("the component is broken", ("s.yaml", "a: [")),
    ] {
        let kept = usize::from(then.0 == "s.yaml");
        check(what, &first, &[then], "store a1", kept);
    }
    check("changed", &first, &[("secrets.json", r#"{"g": "2"}"#)], "store a2", 0);
}

#[test]
fn a_file_that_was_refused_is_as_good_as_broken() {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), &[("f.yaml", A)]);
    let before = read(folder.path(), &LastGood::default(), &[]);
    write(folder.path(), &[("f.yaml", B), ("g.yaml", B)]);
    let duplicate = read(folder.path(), &before.last_good, &[]);
    assert_eq!(duplicate.errors.len(), 1);
    let refused = duplicate.errors[0].location().file;
    let refused = refused.file_name().unwrap().to_str().unwrap();
    assert_eq!(shown(&read(folder.path(), &before.last_good, &[refused])), "b");
    assert_eq!(shown(&read(folder.path(), &before.last_good, &["f.yaml", "g.yaml"])), "a");
}

#[test]
fn what_is_kept_is_said_with_the_reason() {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), &[("f.yaml", &documents(&[A, S]))]);
    let before = read(folder.path(), &LastGood::default(), &[]);
    for (text, reason) in [("x: 1\na: [", "line 2: "), ("", "it is empty")] {
        write(folder.path(), &[("f.yaml", text)]);
        let kept = read(folder.path(), &before.last_good, &[]).last_good.kept();
        assert_eq!(kept[0].path, folder.path().join("f.yaml"));
        assert_eq!(kept[0].resources, ["Component a", "Subscription s"]);
        assert!(kept[0].reason.starts_with(reason), "{kept:?}");
    }
}
