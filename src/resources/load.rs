//! All folders together: documents by kind, filters, secret stores before the rest (tests/spec/resources-cli.md, "4.
//! Reading resource directories", "5.5 Init order and errors", "5.6 Categories we do not implement", "7. Subscription
//! resources", "8.1 Loading").

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use crate::diagnostic::{Diagnostic, Location, PROCESSOR};
use crate::environment::Environment;
use crate::metadata::nearest;
use crate::resources::advice;
use crate::resources::files::folder::{self, FileContent, FolderFile};
use crate::resources::kinds::component::{self, Category, Component, ComponentError, log_name};
use crate::resources::kinds::manifest::Manifest;
use crate::resources::kinds::pipeline::Handler;
use crate::resources::kinds::resiliency::Resiliency;
use crate::resources::kinds::subscription::{SubscriptionResource, SubscriptionSpec, SubscriptionVersion};
use crate::resources::last_good::{FileVersion, LastGood};
use crate::resources::load_error::LoadError;
use crate::resources::resolve::{Resolved, Resolver, Stores};
use crate::resources::secrets::{SecretError, SecretStore};
use crate::resources::set::Resources;
use crate::resources::yaml::fields::{Dialect, Fields, Findings, Remark};
use crate::resources::yaml::parse::{self, Document};
use crate::resources::yaml::value::Mistake;
use crate::telemetry::log::Level;

/// Kinds that are read from resource folders.
const KINDS: [&str; 3] = ["Component", "Subscription", "Resiliency"];
/// Kinds of Dapr that have no meaning here; they are not worth a word.
const FOREIGN_KINDS: [&str; 3] = ["HTTPEndpoint", "MCPServer", "WorkflowAccessPolicy"];

/// What to read, and for which app.
#[derive(Clone, Copy, Debug)]
pub struct LoadRequest<'a> {
    /// `--app-id`, for scopes and templates. `None` reads for every app, as `check` does without an app id.
    pub app_id: Option<&'a str>,
    /// `--resources-path`, in order.
    pub folders: &'a [PathBuf],
    /// Single files, read after the folders.
    pub files: &'a [FolderFile],
    /// `components.deny` of the Configuration.
    pub denied: &'a [String],
    /// The pipelines of the Configuration.
    pub handlers: &'a [Handler],
    /// Whether the feature `HotReload` is on: it decides the error for a folder that does not exist.
    pub hot_reload: bool,
    /// The environment of the sidecar, including the variables that it sets for itself.
    pub environment: &'a Environment,
}

impl Resources {
    /// Read the folders. Connects to nothing.
    pub fn load(request: &LoadRequest<'_>) -> Self {
        Self::reload(request, &LastGood::default(), &BTreeSet::new())
    }

    /// Read the folders again. Of a broken file, the resources of the reading before stay in force; so do those of the
    /// files in `refused`, which can be read but not used.
    pub fn reload(request: &LoadRequest<'_>, last_good: &LastGood, refused: &BTreeSet<PathBuf>) -> Self {
        let mut collector = Collector { request, last_good, refused, resources: Self::default(), files: Vec::new() };
        for folder in request.folders {
            collector.folder(folder);
        }
        for file in request.files {
            collector.file(file);
        }
        collector.into_resources()
    }

    /// Add the advice that needs all resources.
    pub fn add_advice(&mut self) {
        let advice = advice::of(self);
        self.notes.extend(advice);
    }
}

struct Collector<'a> {
    request: &'a LoadRequest<'a>,
    last_good: &'a LastGood,
    refused: &'a BTreeSet<PathBuf>,
    resources: Resources,
    /// What stands in the files so far; the last one is being read.
    files: Vec<FileVersion>,
}

impl Collector<'_> {
    fn into_resources(mut self) -> Resources {
        let mut files = std::mem::take(&mut self.files);
        self.last_good.complete(&mut files, |manifest| {
            !self.is_of_other_namespace(manifest) && self.is_in_scope(&manifest.scopes)
        });
        for file in &files {
            self.policies_and_subscriptions(file);
        }
        // Components kept from earlier versions come last: they are no duplicates of what the files hold now.
        let now = files.iter().flat_map(|file| file.components().0);
        let kept = files.iter().flat_map(|file| file.components().1);
        let manifests: Vec<_> = now.chain(kept).cloned().collect();
        let names = manifests.iter().map(|manifest| manifest.name.clone());
        self.resources.component_names = names.collect();
        let stores = self.components(manifests);
        self.resources.last_good = LastGood::of(&files, stores);
        self.resources
    }

    fn folder(&mut self, path: &Path) {
        let files = match folder::read(path) {
            Ok(files) => files,
            Err(error) => return self.no_folder(path, &error),
        };
        for file in files {
            if matches!(file.content, FileContent::Foreign) {
                self.foreign_file(&file.path);
                continue;
            }
            self.files.push(FileVersion::new(&file.path));
            if self.refused.contains(&file.path) {
                self.version().breaks("it cannot be used");
            } else {
                self.file(&file);
            }
        }
    }

    /// What has been found in the file that is being read.
    fn version(&mut self) -> &mut FileVersion {
        if self.files.is_empty() {
            self.files.push(FileVersion::default());
        }
        let last = self.files.len() - 1;
        &mut self.files[last]
    }

    fn no_folder(&mut self, path: &Path, error: &std::io::Error) {
        let reason = folder::reason(error);
        if error.kind() == std::io::ErrorKind::NotADirectory {
            let path = path.display();
            let text = format!("Failed to read resiliency files from path {path}: open {path}: {reason}");
            self.resources.notes.push(Diagnostic::log(Level::Error, text));
        }
        let folder = path.to_owned();
        let is_missing = error.kind() == std::io::ErrorKind::NotFound;
        self.resources.errors.push(if is_missing && self.request.hot_reload {
            LoadError::NotWatched { folder, reason }
        } else {
            LoadError::NotListed { folder, reason }
        });
    }

    fn file(&mut self, file: &FolderFile) {
        match &file.content {
            FileContent::Yaml(text) => {
                for (index, (line, text)) in parse::split(text).iter().enumerate() {
                    match parse::document(text, *line) {
                        Ok(Some(document)) => self.document(&file.path, &document, index == 0),
                        Ok(None) => {}
                        Err(mistake) => {
                            if index == 0 {
                                // Policies are looked for in every first document, whatever it may be
                                // (tests/spec/resources-cli.md, "8.1 Loading").
                                let text = format!("Could not determine resource type: {}", mistake.text);
                                let note = Diagnostic::log(Level::Error, text);
                                self.resources.notes.push(note);
                            }
                            self.broken(&file.path, "", mistake);
                        }
                    }
                }
            }
            FileContent::Unreadable(error) => self.unreadable(&file.path, error),
            FileContent::Foreign => {}
        }
    }

    fn unreadable(&mut self, path: &Path, error: &std::io::Error) {
        let (shown, reason) = (path.display(), folder::reason(error));
        let text = format!("resource file {shown} cannot be read: {reason}");
        self.version().breaks(reason);
        let note = Diagnostic::mistake(Level::Warn, Location::new(path, 0), text);
        let remedy = "make the file a readable YAML text, or move it out of the folder";
        self.resources.notes.push(note.with_remedy(remedy));
    }

    fn foreign_file(&mut self, path: &Path) {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let text = |kind: &str| format!("A non-YAML {kind} file {name} was detected, it will not be loaded");
        let location = Location::new(path, 0);
        let notes = &mut self.resources.notes;
        notes.push(
            Diagnostic::hint(Level::Warn, location, text("Component")).with_remedy("only .yaml and .yml are read"),
        );
        notes.push(Diagnostic::log(Level::Warn, text("Subscription")));
    }

    /// A document, or a part of one, that is not what its kind asks for.
    fn broken(&mut self, path: &Path, kind: &str, mistake: Mistake) {
        let shown = path.display();
        self.version().breaks(format!("line {}: {}", mistake.line, mistake.text));
        // The kind of a document that cannot be read is not known.
        let load = match kind {
            "" => format!("resource file {shown}:"),
            kind => format!("daprd load {kind} {shown}"),
        };
        let text = format!(
            "{load} error when parsing manifests yaml resource in {shown}: line {}: {}",
            mistake.line, mistake.text
        );
        let note = Diagnostic::mistake(Level::Warn, Location::new(path, mistake.line), text);
        let remedy = "correct this line; the document is skipped as it is";
        let note = note.with_remedy(remedy).plainly(mistake.text);
        self.resources.notes.push(note);
    }

    fn document(&mut self, path: &Path, document: &Document, is_first: bool) {
        let root = &document.root;
        if root.is_null() {
            return;
        }
        self.version().has_documents = true;
        if let Some(line) = root.not_finite() {
            let text = "infinity and not-a-number are no JSON".to_owned();
            return self.broken(path, "", Mistake { line, text });
        }
        let head = Findings::default();
        let fields = Fields::root(root, Dialect::Resource, &head);
        let (version, kind) = (fields.text("apiVersion"), fields.text("kind"));
        if let Some(mistake) = head.into_parts().0.into_iter().next() {
            return self.broken(path, "", mistake);
        }
        let location = Location::new(path, root.line);
        if KINDS.contains(&kind.as_str()) {
            self.duplicates(path, document);
        }
        match (kind.as_str(), version.as_str()) {
            ("Component", "dapr.io/v1alpha1") => self.component(document, location),
            ("Subscription", "dapr.io/v1alpha1") => {
                self.subscription(document, location, SubscriptionVersion::V1Alpha1)
            }
            ("Subscription", "dapr.io/v2alpha1") => {
                self.subscription(document, location, SubscriptionVersion::V2Alpha1)
            }
            ("Resiliency", _) if is_first => self.resiliency(document, location),
            _ => self.skipped(&kind, &version, location),
        }
    }

    /// daprd is silent about documents it does not know; `check` is not.
    fn skipped(&mut self, kind: &str, version: &str, location: Location) {
        if is_almost_a_resource(kind, version) {
            let reason = format!("line {}: kind {kind:?} of apiVersion {version:?} is not known", location.line);
            self.version().breaks(reason);
        }
        let note = match kind {
            _ if FOREIGN_KINDS.contains(&kind) => return,
            "Component" | "Subscription" => {
                Diagnostic::mistake(Level::Debug, location, format!("{kind} of apiVersion {version:?} is ignored"))
                    .with_remedy("use apiVersion dapr.io/v1alpha1, or dapr.io/v2alpha1 for a subscription with routes")
            }
            "Resiliency" => Diagnostic::mistake(
                Level::Debug,
                location,
                "Resiliency is ignored: only the first document of a file is read for it",
            )
            .with_remedy("give it a file of its own"),
            "Configuration" => {
                Diagnostic::hint(Level::Debug, location, "Configuration is ignored in a resource folder")
                    .with_remedy("pass it with --config")
            }
            "" => Diagnostic::mistake(Level::Debug, location, "a document without kind is ignored")
                .with_remedy("write what it is, for example kind: Component"),
            _ => match nearest(kind, &KINDS) {
                Some(meant) => Diagnostic::mistake(Level::Debug, location, format!("unknown kind {kind:?} is ignored"))
                    .with_remedy(format!("did you mean {meant}?")),
                None => Diagnostic::hint(Level::Debug, location, format!("unknown kind {kind:?} is ignored")),
            },
        };
        self.resources.notes.push(note);
    }

    fn component(&mut self, document: &Document, location: Location) {
        let path = location.file.clone();
        let findings = Findings::default();
        let root = Fields::root(&document.root, Dialect::Resource, &findings);
        let manifest = Manifest::read(&root, location);
        self.bad_name(&manifest.name, "Component", &root);
        if !self.report(&path, "Component", findings) {
            return;
        }
        if manifest.name.is_empty() || manifest.kind.is_empty() {
            let line = manifest.location.line;
            let text = format!("line {line}: a Component without metadata.name or spec.type");
            self.version().breaks(text);
            if self.last_good.had_resources(&path) {
                // The first half of what it is to become.
                return;
            }
        }
        self.version().components.push(manifest);
    }

    fn subscription(&mut self, document: &Document, location: Location, version: SubscriptionVersion) {
        let path = location.file.clone();
        let findings = Findings::default();
        let root = Fields::root(&document.root, Dialect::Resource, &findings);
        let resource = SubscriptionResource::read(&root, version, location);
        self.bad_name(&resource.spec.name, "Subscription", &root);
        if !self.report(&path, "Subscription", findings) || !self.is_in_scope(&resource.scopes) {
            return;
        }
        self.version().subscriptions.push(resource.spec);
    }

    /// Take up what a file holds of the kinds that are in force at once.
    fn policies_and_subscriptions(&mut self, file: &FileVersion) {
        let resiliencies = file.resiliencies.iter().cloned();
        self.resources.resiliencies.extend(resiliencies);
        for spec in &file.subscriptions {
            self.subscribed(spec.clone());
        }
    }

    fn subscribed(&mut self, spec: SubscriptionSpec) {
        let text = format!("Found Subscription: {}", spec.name);
        self.resources.notes.push(Diagnostic::log(Level::Info, text));
        let subscriptions = &mut self.resources.subscriptions;
        let same = subscriptions.iter().position(|known| known.name == spec.name && !spec.name.is_empty());
        if let Some(earlier) = same.map(|index| subscriptions.remove(index)) {
            let text = format!("Subscription {} replaces an earlier one of the same name", spec.name);
            let note = Diagnostic::mistake(Level::Debug, spec.location.clone().unwrap_or_default(), text);
            let earlier = earlier.location.unwrap_or_default();
            let remedy = format!("give it another name, the earlier one stands at {earlier}");
            self.resources.notes.push(note.with_remedy(remedy));
        }
        self.resources.subscriptions.push(spec);
    }

    fn resiliency(&mut self, document: &Document, location: Location) {
        let path = location.file.clone();
        let findings = Findings::default();
        let root = Fields::root(&document.root, Dialect::Resource, &findings);
        let (mut resource, wrong) = Resiliency::read(&root, location);
        let (mistakes, remarks) = findings.into_parts();
        self.remarks(&path, remarks);
        let first_wrong = wrong.first();
        let first_wrong = first_wrong.map(|(line, error)| format!("line {line}: {error}"));
        let first_mistake = mistakes.first();
        let first_mistake = first_mistake.map(|mistake| format!("line {}: {}", mistake.line, mistake.text));
        if let Some(reason) = first_mistake.or(first_wrong) {
            self.version().breaks(reason);
        }
        if !mistakes.is_empty() {
            for mistake in mistakes {
                let text = format!(
                    "Could not parse resiliency file {}: line {}: {}",
                    path.file_name().unwrap_or_default().to_string_lossy(),
                    mistake.line,
                    mistake.text
                );
                let note = Diagnostic::mistake(Level::Error, Location::new(&path, mistake.line), text);
                let remedy = "correct this line; the resource is skipped as it is";
                let note = note.with_remedy(remedy).plainly(mistake.text);
                self.resources.notes.push(note);
            }
            return;
        }
        if !self.is_in_scope(&resource.scopes) {
            return;
        }
        let text = format!("Loading Resiliency configuration: {}", resource.name);
        self.resources.notes.push(Diagnostic::log(Level::Info, text));
        let is_whole = wrong.is_empty();
        for (line, error) in wrong {
            let text = format!("Could not read resiliency policy {}: {error}", resource.name);
            let note = Diagnostic::mistake(Level::Error, Location::new(&path, line), text);
            self.resources
                .notes
                .push(note.with_remedy("correct it; until then no target of this resource has a policy"));
        }
        for text in resource.policies.respect_built_in() {
            let note = Diagnostic::mistake(Level::Warn, resource.location.clone(), text);
            let remedy = "give the policy a name of its own, and name it in the target";
            self.resources.notes.push(note.with_remedy(remedy));
        }
        // With policies that cannot be read, an earlier version of it is better.
        if is_whole || !self.last_good.has_resiliency(&path, &resource.name) {
            self.version().resiliencies.push(resource);
        }
    }

    /// Keep what was found in a document; can it be used?
    fn report(&mut self, path: &Path, kind: &str, findings: Findings) -> bool {
        let (mistakes, remarks) = findings.into_parts();
        let usable = mistakes.is_empty();
        for mistake in mistakes {
            self.broken(path, kind, mistake);
        }
        self.remarks(path, remarks);
        usable
    }

    fn remarks(&mut self, path: &Path, remarks: Vec<Remark>) {
        let notes = remarks.into_iter().map(|remark| remark.at(path));
        self.resources.notes.extend(notes);
    }

    /// Of a key that is written twice the last one counts, as in daprd.
    fn duplicates(&mut self, path: &Path, document: &Document) {
        let remarks = document.duplicates.iter().map(|duplicate| {
            Remark::mistake(duplicate.line, format!("{}: the last one counts", duplicate.text))
                .with_help("remove one of them")
        });
        self.remarks(path, remarks.collect());
    }

    /// The file name rules of Kubernetes hold for names (tests/spec/resources-cli.md, "4.2 Multi-document files", item
    /// 3).
    fn bad_name(&self, name: &str, kind: &str, root: &Fields<'_>) {
        let why = match name {
            "." => "may not be '.'",
            ".." => "may not be '..'",
            name if name.contains('/') => "may not contain '/'",
            name if name.contains('%') => "may not contain '%'",
            _ => return,
        };
        root.refuse(format!("invalid name {name:?} for {kind:?}: {why}"));
    }

    fn is_in_scope(&self, scopes: &[String]) -> bool {
        let named = |app_id: &str| scopes.is_empty() || scopes.iter().any(|scope| scope == app_id);
        self.request.app_id.is_none_or(named)
    }

    /// Filter, then secret stores first, then the rest.
    fn components(&mut self, manifests: Vec<Manifest>) -> Stores {
        let manifests = self.filtered(manifests);
        let is_store = |manifest: &Manifest| Category::of(&manifest.kind) == Some(Category::SecretStore);
        let (stores, others): (Vec<_>, Vec<_>) = manifests.into_iter().partition(is_store);
        let mut opened = BTreeMap::new();
        for manifest in stores {
            if let Some(component) = self.resolve(&manifest, &opened)
                && let Some(store) = self.open_store(component)
            {
                opened.insert(manifest.name, store);
            }
        }
        for manifest in others {
            self.component_of(&manifest, &opened);
        }
        opened
    }

    /// The filters of tests/spec/resources-cli.md, "4.4 Filters (Components)", in their order: namespace, duplicate,
    /// scope; then "9.4 Deny list of component types".
    fn filtered(&mut self, manifests: Vec<Manifest>) -> Vec<Manifest> {
        let mut accepted: Vec<Manifest> = Vec::new();
        for manifest in manifests {
            if self.is_of_other_namespace(&manifest) {
                continue;
            }
            if let Some(first) = accepted.iter().find(|first| first.name == manifest.name) {
                let error = duplicate(first, &manifest);
                self.resources.errors.push(error);
            } else if self.is_in_scope(&manifest.scopes) {
                accepted.push(manifest);
            }
        }
        accepted.retain(|manifest| self.is_allowed(manifest));
        accepted
    }

    fn is_of_other_namespace(&self, manifest: &Manifest) -> bool {
        let namespace = self.request.environment.non_empty("NAMESPACE");
        let is_other = namespace.is_some_and(|namespace| manifest.namespace != namespace);
        is_other && !manifest.namespace.is_empty()
    }

    fn is_allowed(&mut self, manifest: &Manifest) -> bool {
        let denied = self.request.denied;
        if denied.is_empty() {
            return true;
        }
        if manifest.kind.is_empty() || manifest.version.is_empty() {
            let text = format!(
                "component {:?} is not loaded: with a list of denied types, type and version must be given",
                manifest.name
            );
            let note = Diagnostic::hint(Level::Debug, manifest.location.clone(), text);
            self.resources.notes.push(note);
            return false;
        }
        let versioned = format!("{}/{}", manifest.kind, manifest.version);
        let is_denied = denied.iter().any(|denied| *denied == manifest.kind || *denied == versioned);
        if is_denied {
            let name = log_name(&manifest.name, &manifest.kind, &manifest.version);
            let text = format!(
                "component '{}' cannot be loaded because components of type '{name}' are not allowed",
                manifest.name
            );
            self.resources.notes.push(Diagnostic::hint(Level::Warn, manifest.location.clone(), text));
        }
        !is_denied
    }

    fn component_of(&mut self, manifest: &Manifest, stores: &Stores) {
        match Category::of(&manifest.kind) {
            Some(Category::Pubsub) => {
                if let Some(component) = self.resolve(manifest, stores) {
                    self.resources.components.push(component);
                }
            }
            Some(Category::Foreign | Category::SecretStore) => {
                let name = log_name(&manifest.name, &manifest.kind, &manifest.version);
                let mut handlers = self.request.handlers.iter();
                if let Some(handler) = handlers.find(|handler| handler.means(&manifest.name, &manifest.kind)) {
                    return self.resources.errors.push(LoadError::Middleware {
                        log_name: name,
                        pipeline: handler.pipeline,
                        location: manifest.location.clone(),
                    });
                }
                let text = format!("component {name} is not supported by this sidecar, ignored");
                let note = Diagnostic::hint(Level::Warn, manifest.location.clone(), text).from(PROCESSOR);
                self.resources.notes.push(note);
            }
            None => {
                let error = ComponentError::Category(manifest.kind.clone());
                let component = manifest.component();
                self.failed(&component, error);
            }
        }
    }

    fn resolve(&mut self, manifest: &Manifest, stores: &Stores) -> Option<Component> {
        let resolver = Resolver {
            app_id: self.request.app_id.unwrap_or("<app-id>"),
            environment: self.request.environment,
            stores,
        };
        match resolver.resolve(manifest, &mut self.resources.notes) {
            Resolved::Ready(component) => Some(component),
            Resolved::Parked => None,
            Resolved::Failed(component, error) => {
                self.failed(&component, error);
                None
            }
        }
    }

    fn open_store(&mut self, component: Component) -> Option<(Component, SecretStore)> {
        if !component::is_first_version(&component.version) {
            let error = ComponentError::unknown_secret_store(&component);
            self.failed(&component, error);
            return None;
        }
        match SecretStore::open(&component.kind, &component.properties, self.request.environment) {
            Ok(store) => {
                self.resources.notes.push(component.loaded());
                self.resources.components.push(component.clone());
                Some((component, store))
            }
            Err(cause) => {
                if let Some(last) = self.last_good.store(&component.name) {
                    return Some(self.keep_store(last.clone(), &component, &cause));
                }
                let error = ComponentError::init(&component, cause);
                self.failed(&component, error);
                None
            }
        }
    }

    /// A store that cannot be read (again) goes on with what it held before.
    fn keep_store(
        &mut self,
        last: (Component, SecretStore),
        component: &Component,
        cause: &SecretError,
    ) -> (Component, SecretStore) {
        let text = format!(
            "secret store {} cannot be read again, the secrets that it held before stay in force: {cause}",
            component.log_name()
        );
        let note = Diagnostic::mistake(Level::Warn, component.location.clone(), text);
        self.resources.notes.push(note);
        self.resources.components.push(last.0.clone());
        last
    }

    fn failed(&mut self, component: &Component, error: ComponentError) {
        let (notes, fatal) = component.failed(error);
        self.resources.notes.extend(notes);
        self.resources.errors.extend(fatal.map(LoadError::from));
    }
}

/// Was this document most likely meant as a resource of ours, or is it the first half of one?
fn is_almost_a_resource(kind: &str, version: &str) -> bool {
    match kind {
        "Resiliency" | "Configuration" => false,
        "Component" | "Subscription" => true,
        kind if FOREIGN_KINDS.contains(&kind) => false,
        "" => !version.is_empty(),
        kind => {
            let is_beginning = KINDS.iter().any(|known| known.starts_with(kind));
            is_beginning || nearest(kind, &KINDS).is_some()
        }
    }
}

fn duplicate(first: &Manifest, second: &Manifest) -> LoadError {
    let type_of = |manifest: &Manifest| match manifest.version.as_str() {
        "" => manifest.kind.clone(),
        version => format!("{}/{version}", manifest.kind),
    };
    LoadError::Duplicate {
        name: first.name.clone(),
        first: type_of(first),
        first_location: first.location.clone(),
        second: type_of(second),
        location: second.location.clone(),
    }
}

#[cfg(test)]
mod tests;
