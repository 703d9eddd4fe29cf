//! The resources of each file when it was last valid (D29).
//!
//! While a file is broken, the last good version of each of its resources stays in force: hot reload hands the result of
//! one reading to the next. Resources end when their file is deleted, or valid without them.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use crate::resources::difference::Resource;
use crate::resources::kinds::component::Component;
use crate::resources::kinds::manifest::Manifest;
use crate::resources::kinds::resiliency::Resiliency;
use crate::resources::kinds::subscription::SubscriptionSpec;
use crate::resources::resolve::Stores;
use crate::resources::secrets::SecretStore;

/// The result of a reading, for the next one.
#[derive(Clone, Debug, Default)]
pub struct LastGood {
    files: BTreeMap<PathBuf, FileVersion>,
    stores: Stores,
}

/// The resources of one file that are in force.
#[derive(Clone, Debug, Default)]
pub(super) struct FileVersion {
    pub(super) path: PathBuf,
    pub(super) components: Vec<Manifest>,
    pub(super) subscriptions: Vec<SubscriptionSpec>,
    pub(super) resiliencies: Vec<Resiliency>,
    /// The first error, if it is broken.
    pub(super) broken: Option<String>,
    /// Whether it holds a document of any kind.
    pub(super) has_documents: bool,
    /// The number of components from an earlier version of the file; they are the last ones.
    kept_components: usize,
    /// Resources from an earlier version of the file, for example `Component pubsub`.
    pub(super) kept: Vec<String>,
}

/// A broken file with resources that stay in force.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeptFile {
    /// The file.
    pub path: PathBuf,
    /// Its first error.
    pub reason: String,
    /// The resources that stay in force, for example `Component pubsub`.
    pub resources: Vec<String>,
}

/// Kind and name of a resource.
type Identity = (&'static str, String);

impl LastGood {
    pub(super) fn of(files: &[FileVersion], stores: Stores) -> Self {
        let files = files.iter().map(|file| (file.path.clone(), file.clone()));
        Self { files: files.collect(), stores }
    }

    /// The broken files of which an earlier version is in force.
    pub fn kept(&self) -> Vec<KeptFile> {
        let kept = self.files.values().filter(|file| !file.kept.is_empty());
        kept.map(|file| KeptFile {
            path: file.path.clone(),
            reason: file.broken.clone().unwrap_or_default(),
            resources: file.kept.clone(),
        })
        .collect()
    }

    /// Whether the reading found the file.
    pub fn has_file(&self, path: &Path) -> bool {
        self.files.contains_key(path)
    }

    /// The secret store of a component, as last opened.
    pub(super) fn store(&self, name: &str) -> Option<&(Component, SecretStore)> {
        self.stores.get(name)
    }

    /// Whether the file held a Resiliency of this name.
    pub(super) fn has_resiliency(&self, path: &Path, name: &str) -> bool {
        let file = self.files.get(path);
        file.is_some_and(|file| file.resiliencies.iter().any(|known| known.name == name))
    }

    /// Whether the file held resources.
    pub(super) fn had_resources(&self, path: &Path) -> bool {
        self.files.get(path).is_some_and(|file| {
            !(file.components.is_empty() && file.subscriptions.is_empty() && file.resiliencies.is_empty())
        })
    }

    /// Add to the broken files the resources that they held and that no file holds now. `counts` tells whether a component
    /// is for this app.
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

    /// Mark the file as broken. The first reason is kept.
    pub(super) fn set_broken(&mut self, reason: impl Into<String>) {
        self.broken.get_or_insert_with(|| reason.into());
    }

    /// The components of the file now, and those of an earlier version.
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
        // Subscriptions without name are compared by meaning.
        for spec in last.subscriptions.iter().filter(|spec| spec.name.is_empty()) {
            if !self.subscriptions.iter().any(|known| known.means_the_same(spec)) {
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
mod tests;
