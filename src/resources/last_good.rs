//! What the resource files held when they could last be read (D29).
//!
//! While a file is broken, the last good version of each of its resources stays in force: hot reload hands what one reading found to the
//! next one. A file that is deleted takes its resources away, and so does one that is whole and no longer has them.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use crate::resources::component::Component;
use crate::resources::difference::Resource;
use crate::resources::manifest::Manifest;
use crate::resources::resiliency::Resiliency;
use crate::resources::resolve::Stores;
use crate::resources::secrets::SecretStore;
use crate::resources::subscription::SubscriptionSpec;

/// What a reading found, for the next one.
#[derive(Clone, Debug, Default)]
pub struct LastGood {
    files: BTreeMap<PathBuf, FileVersion>,
    stores: Stores,
}

/// What one file holds, as far as it is in force.
#[derive(Clone, Debug, Default)]
pub(super) struct FileVersion {
    pub(super) path: PathBuf,
    pub(super) components: Vec<Manifest>,
    pub(super) subscriptions: Vec<SubscriptionSpec>,
    pub(super) resiliencies: Vec<Resiliency>,
    /// Why it is not whole: the first thing that is wrong with it.
    pub(super) broken: Option<String>,
    /// Does it hold a document, whatever it says?
    pub(super) has_documents: bool,
    /// How many of the components, at the end, are of an earlier version of it.
    kept_components: usize,
    /// What is in force of an earlier version of it: `Component pubsub`.
    pub(super) kept: Vec<String>,
}

/// A file that is broken, of which something is in force.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeptFile {
    /// The file.
    pub path: PathBuf,
    /// Why it cannot be used as it is.
    pub reason: String,
    /// What stays in force: `Component pubsub`.
    pub resources: Vec<String>,
}

/// Kind and name of a resource.
type Identity = (&'static str, String);

impl LastGood {
    pub(super) fn of(files: &[FileVersion], stores: Stores) -> Self {
        let files = files.iter().map(|file| (file.path.clone(), file.clone()));
        Self { files: files.collect(), stores }
    }

    /// The files that are broken and of which an earlier version is in force.
    pub fn kept(&self) -> Vec<KeptFile> {
        let kept = self.files.values().filter(|file| !file.kept.is_empty());
        kept.map(|file| KeptFile {
            path: file.path.clone(),
            reason: file.broken.clone().unwrap_or_default(),
            resources: file.kept.clone(),
        })
        .collect()
    }

    /// Does the file still exist, as far as the reading has seen?
    pub fn has_file(&self, path: &Path) -> bool {
        self.files.contains_key(path)
    }

    /// The secret store of a component as it was last opened.
    pub(super) fn store(&self, name: &str) -> Option<&(Component, SecretStore)> {
        self.stores.get(name)
    }

    /// Did the file hold a Resiliency of this name?
    pub(super) fn has_resiliency(&self, path: &Path, name: &str) -> bool {
        let file = self.files.get(path);
        file.is_some_and(|file| file.resiliencies.iter().any(|known| known.name == name))
    }

    /// Did the file hold resources?
    pub(super) fn had_resources(&self, path: &Path) -> bool {
        self.files.get(path).is_some_and(|file| {
            !(file.components.is_empty() && file.subscriptions.is_empty() && file.resiliencies.is_empty())
        })
    }

    /// Put into the broken ones of these files what they held and no file holds now. `counts` says whether a component is one of this app.
    pub(super) fn complete(&self, files: &mut [FileVersion], counts: impl Fn(&Manifest) -> bool) {
        for file in files.iter_mut() {
            if !file.has_documents && file.broken.is_none() && self.had_resources(&file.path) {
                file.broken = Some("it is empty".to_owned());
            }
        }
        let mut present: BTreeSet<Identity> = files.iter().flat_map(|file| file.identities(&counts)).collect();
        for file in files.iter_mut().filter(|file| file.broken.is_some()) {
            if let Some(last) = self.files.get(&file.path) {
                file.keep(last, &mut present);
            }
        }
    }
}

impl FileVersion {
    pub(super) fn new(path: &Path) -> Self {
        Self { path: path.to_owned(), ..Self::default() }
    }

    /// Note that it is not whole; the first reason is told.
    pub(super) fn breaks(&mut self, reason: impl Into<String>) {
        self.broken.get_or_insert_with(|| reason.into());
    }

    /// The components that stand in it now, and those of an earlier version.
    pub(super) fn components(&self) -> (&[Manifest], &[Manifest]) {
        let now = self.components.len() - self.kept_components;
        self.components.split_at(now)
    }

    fn identities(&self, counts: impl Fn(&Manifest) -> bool) -> Vec<Identity> {
        let components = self.components.iter().filter(|component| counts(component));
        let components = components.map(|component| ("Component", component.name.clone()));
        let subscriptions = self.subscriptions.iter();
        let subscriptions = subscriptions.map(|spec| ("Subscription", spec.name.clone()));
        let resiliencies = self.resiliencies.iter();
        let resiliencies = resiliencies.map(|resource| ("Resiliency", resource.name.clone()));
        components.chain(subscriptions).chain(resiliencies).collect()
    }

    fn keep(&mut self, last: &Self, present: &mut BTreeSet<Identity>) {
        let mut is_missing = |kind: &'static str, name: &str| {
            let is_new = present.insert((kind, name.to_owned()));
            is_new.then(|| self.kept.push(shown(kind, name))).is_some()
        };
        for component in &last.components {
            if is_missing("Component", &component.name) {
                self.components.push(component.clone());
                self.kept_components += 1;
            }
        }
        for resource in &last.resiliencies {
            if is_missing("Resiliency", &resource.name) {
                self.resiliencies.push(resource.clone());
            }
        }
        for spec in last.subscriptions.iter().filter(|spec| !spec.name.is_empty()) {
            if is_missing("Subscription", &spec.name) {
                self.subscriptions.push(spec.clone());
            }
        }
        // Those without name are told apart by what they say.
        for spec in last.subscriptions.iter().filter(|spec| spec.name.is_empty()) {
            if !self.subscriptions.iter().any(|known| known.says_the_same(spec)) {
                self.kept.push(shown("Subscription", ""));
                self.subscriptions.push(spec.clone());
            }
        }
    }
}

fn shown(kind: &str, name: &str) -> String {
    match name {
        "" => format!("a {kind} without name"),
        name => format!("{kind} {name}"),
    }
}

#[cfg(test)]
mod tests {
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

    const A: &str = "apiVersion: dapr.io/v1alpha1\nkind: Component\nmetadata: {name: a}\nspec: {type: pubsub.in-memory, version: v1}\n";
    const B: &str = "apiVersion: dapr.io/v1alpha1\nkind: Component\nmetadata: {name: b}\nspec: {type: pubsub.in-memory, version: v1}\n";
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
        let refused = duplicate.errors[0].place().file;
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
}
