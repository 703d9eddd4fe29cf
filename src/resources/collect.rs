//! All folders together: documents by kind, filters, secret stores before the rest (tests/spec/resources-cli.md, "4.
//! Reading resource directories", "5.5 Init order and errors", "5.6 Categories we do not implement", "7. Subscription
//! resources", "8.1 Loading").

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use crate::metadata::nearest;
use crate::resources::component::{self, Category, Component, ComponentError, log_name};
use crate::resources::fields::{Dialect, Fields, Findings, Remark};
use crate::resources::folder::{self, FileContent, FolderFile};
use crate::resources::last_good::{FileVersion, LastGood};
use crate::resources::load::{self, Document};
use crate::resources::manifest::Manifest;
use crate::resources::note::{Note, PROCESSOR};
use crate::resources::resiliency::Resiliency;
use crate::resources::resolve::{Resolved, Resolver, Stores};
use crate::resources::secrets::{SecretError, SecretStore};
use crate::resources::subscription::{SubscriptionResource, SubscriptionSpec, SubscriptionVersion};
use crate::resources::value::Mistake;
use crate::resources::{LoadError, LoadRequest, Place, Resources};
use crate::telemetry::log::Level;

/// Kinds that are read from resource folders.
const KINDS: [&str; 3] = ["Component", "Subscription", "Resiliency"];
/// Kinds of Dapr that have no meaning here; they are not worth a word.
const FOREIGN_KINDS: [&str; 3] = ["HTTPEndpoint", "MCPServer", "WorkflowAccessPolicy"];

/// Read all folders of a request.
pub(super) fn all(request: &LoadRequest<'_>, last_good: &LastGood, refused: &BTreeSet<PathBuf>) -> Resources {
    let mut collector = Collector { request, last_good, refused, resources: Resources::default(), files: Vec::new() };
    for folder in request.folders {
        collector.folder(folder);
    }
    for file in request.files {
        collector.file(file);
    }
    let mut files = std::mem::take(&mut collector.files);
    last_good.complete(&mut files, |manifest| {
        !collector.is_of_other_namespace(manifest) && collector.is_in_scope(&manifest.scopes)
    });
    for file in &files {
        collector.policies_and_subscriptions(file);
    }
    // Those of earlier versions come last: they are no duplicates of what the files hold now.
    let now = files.iter().flat_map(|file| file.components().0);
    let kept = files.iter().flat_map(|file| file.components().1);
    let manifests: Vec<_> = now.chain(kept).cloned().collect();
    let names = manifests.iter().map(|manifest| manifest.name.clone());
    collector.resources.component_names = names.collect();
    let stores = collector.components(manifests);
    let mut resources = collector.resources;
    resources.last_good = LastGood::of(&files, stores);
    resources
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
            self.resources.notes.push(Note::log(Level::Error, text));
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
                for (index, (line, text)) in load::split(text).iter().enumerate() {
                    match load::document(text, *line) {
                        Ok(Some(document)) => self.document(&file.path, &document, index == 0),
                        Ok(None) => {}
                        Err(mistake) => {
                            if index == 0 {
                                // Policies are looked for in every first document, whatever it may be
                                // (tests/spec/resources-cli.md, "8.1 Loading").
                                let text = format!("Could not determine resource type: {}", mistake.text);
                                let note = Note::log(Level::Error, text);
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
        let note = Note::mistake(Level::Warn, Place::new(path, 0), text);
        let remedy = "make the file a readable YAML text, or move it out of the folder";
        self.resources.notes.push(note.with_remedy(remedy));
    }

    fn foreign_file(&mut self, path: &Path) {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let text = |kind: &str| format!("A non-YAML {kind} file {name} was detected, it will not be loaded");
        let place = Place::new(path, 0);
        let notes = &mut self.resources.notes;
        notes.push(Note::hint(Level::Warn, place, text("Component")).with_remedy("only .yaml and .yml are read"));
        notes.push(Note::log(Level::Warn, text("Subscription")));
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
        let note = Note::mistake(Level::Warn, Place::new(path, mistake.line), text);
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
        let place = Place::new(path, root.line);
        if KINDS.contains(&kind.as_str()) {
            self.duplicates(path, document);
        }
        match (kind.as_str(), version.as_str()) {
            ("Component", "dapr.io/v1alpha1") => self.component(document, place),
            ("Subscription", "dapr.io/v1alpha1") => self.subscription(document, place, SubscriptionVersion::V1Alpha1),
            ("Subscription", "dapr.io/v2alpha1") => self.subscription(document, place, SubscriptionVersion::V2Alpha1),
            ("Resiliency", _) if is_first => self.resiliency(document, place),
            _ => self.skipped(&kind, &version, place),
        }
    }

    /// daprd is silent about documents it does not know; `check` is not.
    fn skipped(&mut self, kind: &str, version: &str, place: Place) {
        if is_almost_a_resource(kind, version) {
            let reason = format!("line {}: kind {kind:?} of apiVersion {version:?} is not known", place.line);
            self.version().breaks(reason);
        }
        let note = match kind {
            _ if FOREIGN_KINDS.contains(&kind) => return,
            "Component" | "Subscription" => {
                Note::mistake(Level::Debug, place, format!("{kind} of apiVersion {version:?} is ignored"))
                    .with_remedy("use apiVersion dapr.io/v1alpha1, or dapr.io/v2alpha1 for a subscription with routes")
            }
            "Resiliency" => Note::mistake(
                Level::Debug,
                place,
                "Resiliency is ignored: only the first document of a file is read for it",
            )
            .with_remedy("give it a file of its own"),
            "Configuration" => Note::hint(Level::Debug, place, "Configuration is ignored in a resource folder")
                .with_remedy("pass it with --config"),
            "" => Note::mistake(Level::Debug, place, "a document without kind is ignored")
                .with_remedy("write what it is, for example kind: Component"),
            _ => match nearest(kind, &KINDS) {
                Some(meant) => Note::mistake(Level::Debug, place, format!("unknown kind {kind:?} is ignored"))
                    .with_remedy(format!("did you mean {meant}?")),
                None => Note::hint(Level::Debug, place, format!("unknown kind {kind:?} is ignored")),
            },
        };
        self.resources.notes.push(note);
    }

    fn component(&mut self, document: &Document, place: Place) {
        let path = place.file.clone();
        let findings = Findings::default();
        let root = Fields::root(&document.root, Dialect::Resource, &findings);
        let manifest = Manifest::read(&root, place);
        self.bad_name(&manifest.name, "Component", &root);
        if !self.report(&path, "Component", findings) {
            return;
        }
        if manifest.name.is_empty() || manifest.kind.is_empty() {
            let line = manifest.place.line;
            let text = format!("line {line}: a Component without metadata.name or spec.type");
            self.version().breaks(text);
            if self.last_good.had_resources(&path) {
                // The first half of what it is to become.
                return;
            }
        }
        self.version().components.push(manifest);
    }

    fn subscription(&mut self, document: &Document, place: Place, version: SubscriptionVersion) {
        let path = place.file.clone();
        let findings = Findings::default();
        let root = Fields::root(&document.root, Dialect::Resource, &findings);
        let resource = SubscriptionResource::read(&root, version, place);
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
        self.resources.notes.push(Note::log(Level::Info, text));
        let subscriptions = &mut self.resources.subscriptions;
        let same = subscriptions.iter().position(|known| known.name == spec.name && !spec.name.is_empty());
        if let Some(earlier) = same.map(|index| subscriptions.remove(index)) {
            let text = format!("Subscription {} replaces an earlier one of the same name", spec.name);
            let note = Note::mistake(Level::Debug, spec.place.clone().unwrap_or_default(), text);
            let earlier = earlier.place.unwrap_or_default();
            let remedy = format!("give it another name, the earlier one stands at {earlier}");
            self.resources.notes.push(note.with_remedy(remedy));
        }
        self.resources.subscriptions.push(spec);
    }

    fn resiliency(&mut self, document: &Document, place: Place) {
        let path = place.file.clone();
        let findings = Findings::default();
        let root = Fields::root(&document.root, Dialect::Resource, &findings);
        let (mut resource, wrong) = Resiliency::read(&root, place);
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
                let note = Note::mistake(Level::Error, Place::new(&path, mistake.line), text);
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
        self.resources.notes.push(Note::log(Level::Info, text));
        let is_whole = wrong.is_empty();
        for (line, error) in wrong {
            let text = format!("Could not read resiliency policy {}: {error}", resource.name);
            let note = Note::mistake(Level::Error, Place::new(&path, line), text);
            self.resources
                .notes
                .push(note.with_remedy("correct it; until then no target of this resource has a policy"));
        }
        for text in resource.policies.respect_built_in() {
            let note = Note::mistake(Level::Warn, resource.place.clone(), text);
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
            let note = Note::hint(Level::Debug, manifest.place.clone(), text);
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
            self.resources.notes.push(Note::hint(Level::Warn, manifest.place.clone(), text));
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
                        place: manifest.place.clone(),
                    });
                }
                let text = format!("component {name} is not supported by this sidecar, ignored");
                let note = Note::hint(Level::Warn, manifest.place.clone(), text).from(PROCESSOR);
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
        let note = Note::mistake(Level::Warn, component.place.clone(), text);
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
        first_place: first.place.clone(),
        second: type_of(second),
        place: second.place.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::environment::Environment;
    use crate::resources::note::Weight;
    use crate::resources::pipeline::Handler;

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
            let loud = self.0.notes.iter().filter(|note| note.level >= Level::Warn);
            loud.map(|note| note.text.replace(dir, "DIR")).collect()
        }

        /// Lines of the mistakes that `check` tells.
        fn mistakes(&self) -> Vec<usize> {
            let mistakes = self.0.notes.iter().filter(|note| note.weight == Weight::Mistake);
            mistakes.map(|note| note.place.as_ref().unwrap().line).collect()
        }
    }

    #[test]
    fn a_broken_document_does_not_hurt_its_neighbours() {
        let text = [memory("a", ""), "foo: [\n".to_owned(), memory("c", "")].join("---\n");
        let loaded = load(&[("1.yaml", &text), ("2.yml", &memory("d", ""))]);
        assert_eq!(loaded.names(), ["a", "c", "d"]);
        assert_eq!(loaded.mistakes(), [6]);
        assert!(loaded.warnings()[0].starts_with(
            "resource file DIR/1.yaml: error when parsing manifests yaml resource in DIR/1.yaml: line 6: "
        ));
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
        let namespaced =
            |namespace: &str| memory("a", "").replace("name: a", &format!("name: a, namespace: {namespace}"));
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
        let texts = |hot_reload| {
            Resources::load(&request(hot_reload)).errors.iter().map(ToString::to_string).collect::<Vec<_>>()
        };
        let not_folder = format!("failed to load components: open {}: not a directory", file.path().display());
        assert_eq!(
            texts(true),
            ["failed to create watcher: failed to add target /nope: no such file or directory", &not_folder]
        );
        assert_eq!(texts(false), ["failed to load components: open /nope: no such file or directory", &not_folder]);
    }
}
