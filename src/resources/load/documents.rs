//! Files to documents, each read by its kind. Nothing is resolved here.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use super::request::LoadRequest;
use crate::diagnostic::{Diagnostic, Location};
use crate::metadata::nearest;
use crate::resources::files::folder::{self, FileContent, FolderFile};
use crate::resources::kinds::manifest::Manifest;
use crate::resources::kinds::resiliency::Resiliency;
use crate::resources::kinds::subscription::{SubscriptionResource, SubscriptionVersion};
use crate::resources::last_good::{FileVersion, LastGood};
use crate::resources::load_error::LoadError;
use crate::resources::yaml::diagnostics::Diagnostics;
use crate::resources::yaml::fields::{Dialect, Fields};
use crate::resources::yaml::parse::{self, Document};
use crate::telemetry::log::Level;

/// Kinds that are read from resource folders.
const KINDS: [&str; 3] = ["Component", "Subscription", "Resiliency"];
/// Kinds of Dapr without meaning here; they are ignored silently.
const FOREIGN_KINDS: [&str; 3] = ["HTTPEndpoint", "MCPServer", "WorkflowAccessPolicy"];

/// Reads the files of a request, one after the other.
pub(super) struct DocumentReader<'a> {
    request: &'a LoadRequest<'a>,
    last_good: &'a LastGood,
    refused: &'a BTreeSet<PathBuf>,
    /// What the files hold; the last one is being read.
    pub(super) files: Vec<FileVersion>,
    /// Findings that do not end the process.
    pub(super) diagnostics: Vec<Diagnostic>,
    /// Errors that end the process.
    pub(super) errors: Vec<LoadError>,
}

impl<'a> DocumentReader<'a> {
    pub(super) fn new(request: &'a LoadRequest<'a>, last_good: &'a LastGood, refused: &'a BTreeSet<PathBuf>) -> Self {
        Self { request, last_good, refused, files: Vec::new(), diagnostics: Vec::new(), errors: Vec::new() }
    }

    /// Read all files of a folder.
    pub(super) fn folder(&mut self, path: &Path) {
        let files = match folder::read(path) {
            Ok(files) => files,
            Err(error) => return self.unreadable_folder(path, &error),
        };
        for file in files {
            if matches!(file.content, FileContent::Foreign) {
                self.foreign_file(&file.path);
                continue;
            }
            self.files.push(FileVersion::new(&file.path));
            if self.refused.contains(&file.path) {
                self.version().set_broken("it cannot be used");
            } else {
                self.file(&file);
            }
        }
    }

    /// Read one file.
    pub(super) fn file(&mut self, file: &FolderFile) {
        match &file.content {
            FileContent::Yaml(text) => {
                for (index, (line, text)) in parse::split(text).iter().enumerate() {
                    match parse::document(text, *line) {
                        Ok(Some(document)) => self.document(&file.path, &document, index == 0),
                        Ok(None) => {}
                        Err(error) => {
                            if index == 0 {
                                // daprd looks for policies in every first document, whatever its kind
                                // (tests/spec/resources-cli.md, "8.1 Loading").
                                let text = format!("Could not determine resource type: {}", error.message);
                                self.diagnostics.push(Diagnostic::info(Level::Error, text));
                            }
                            self.broken("", error.in_file(&file.path));
                        }
                    }
                }
            }
            FileContent::Unreadable(error) => self.unreadable_file(&file.path, error),
            FileContent::Foreign => {}
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

    fn unreadable_folder(&mut self, path: &Path, error: &std::io::Error) {
        let reason = folder::reason(error);
        if error.kind() == std::io::ErrorKind::NotADirectory {
            let path = path.display();
            let text = format!("Failed to read resiliency files from path {path}: open {path}: {reason}");
            self.diagnostics.push(Diagnostic::info(Level::Error, text));
        }
        let folder = path.to_owned();
        let is_missing = error.kind() == std::io::ErrorKind::NotFound;
        self.errors.push(if is_missing && self.request.hot_reload {
            LoadError::NotWatched { folder, reason }
        } else {
            LoadError::NotListed { folder, reason }
        });
    }

    fn unreadable_file(&mut self, path: &Path, error: &std::io::Error) {
        let (shown, reason) = (path.display(), folder::reason(error));
        let message = format!("resource file {shown} cannot be read: {reason}");
        self.version().set_broken(reason);
        let help = "make the file a readable YAML text, or move it out of the folder";
        self.diagnostics.push(Diagnostic::error(Location::new(path, 0), message).with_help(help));
    }

    fn foreign_file(&mut self, path: &Path) {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let text = |kind: &str| format!("A non-YAML {kind} file {name} was detected, it will not be loaded");
        let hint = Diagnostic::hint(Location::new(path, 0), text("Component"));
        self.diagnostics.push(hint.with_help("only .yaml and .yml are read"));
        self.diagnostics.push(Diagnostic::info(Level::Warn, text("Subscription")));
    }

    /// Report a document that is not YAML or not valid for its kind. `kind` is empty if it is not known.
    fn broken(&mut self, kind: &str, error: Diagnostic) {
        let line = error.line();
        let file = error.location.as_ref().map(|location| location.file.display().to_string()).unwrap_or_default();
        self.version().set_broken(format!("line {line}: {}", error.message));
        let load = match kind {
            "" => format!("resource file {file}:"),
            kind => format!("daprd load {kind} {file}"),
        };
        let text =
            format!("{load} error when parsing manifests yaml resource in {file}: line {line}: {}", error.message);
        self.diagnostics.push(error.with_help("correct this line; the document is skipped as it is").logged_as(text));
    }

    fn document(&mut self, path: &Path, document: &Document, is_first: bool) {
        let root = &document.root;
        if root.is_null() {
            return;
        }
        self.version().has_documents = true;
        let found = Diagnostics::new(path);
        if let Some(line) = root.not_finite() {
            let message = "infinity and not-a-number are no JSON";
            return self.broken("", Diagnostic::error(found.location(line), message));
        }
        let fields = Fields::root(root, Dialect::Resource, &found);
        let (version, kind) = (fields.text("apiVersion"), fields.text("kind"));
        if let Some(error) = found.into_parts().0.into_iter().next() {
            return self.broken("", error);
        }
        let location = Location::new(path, root.line);
        if KINDS.contains(&kind.as_str()) {
            self.duplicate_keys(path, document);
        }
        match (kind.as_str(), version.as_str()) {
            ("Component", "dapr.io/v1alpha1") => self.component(document, location),
            ("Subscription", "dapr.io/v1alpha1") => {
                self.subscription(document, location, SubscriptionVersion::V1Alpha1);
            }
            ("Subscription", "dapr.io/v2alpha1") => {
                self.subscription(document, location, SubscriptionVersion::V2Alpha1);
            }
            ("Resiliency", _) if is_first => self.resiliency(document, location),
            _ => self.skipped(&kind, &version, location),
        }
    }

    /// Report a document of an unknown kind or version, about which daprd is silent.
    fn skipped(&mut self, kind: &str, version: &str, location: Location) {
        if is_almost_a_resource(kind, version) {
            let reason = format!("line {}: kind {kind:?} of apiVersion {version:?} is not known", location.line);
            self.version().set_broken(reason);
        }
        let diagnostic = match kind {
            _ if FOREIGN_KINDS.contains(&kind) => return,
            "Component" | "Subscription" => {
                Diagnostic::warning(location, format!("{kind} of apiVersion {version:?} is ignored"))
                    .with_help("use apiVersion dapr.io/v1alpha1, or dapr.io/v2alpha1 for a subscription with routes")
            }
            "Resiliency" => {
                let message = "Resiliency is ignored: only the first document of a file is read for it";
                Diagnostic::warning(location, message).with_help("give it a file of its own")
            }
            "Configuration" => Diagnostic::hint(location, "Configuration is ignored in a resource folder")
                .with_help("pass it with --config"),
            "" => Diagnostic::warning(location, "a document without kind is ignored")
                .with_help("write what it is, for example kind: Component"),
            _ => match nearest(kind, &KINDS) {
                Some(meant) => Diagnostic::warning(location, format!("unknown kind {kind:?} is ignored"))
                    .with_help(format!("did you mean {meant}?")),
                None => Diagnostic::hint(location, format!("unknown kind {kind:?} is ignored")),
            },
        };
        self.diagnostics.push(diagnostic.at_level(Level::Debug));
    }

    fn component(&mut self, document: &Document, location: Location) {
        let path = location.file.clone();
        let found = Diagnostics::new(&path);
        let root = Fields::root(&document.root, Dialect::Resource, &found);
        let manifest = Manifest::read(&root, location);
        refuse_bad_name(&manifest.name, "Component", &root);
        if !self.report("Component", found) {
            return;
        }
        if manifest.name.is_empty() || manifest.kind.is_empty() {
            let line = manifest.location.line;
            self.version().set_broken(format!("line {line}: a Component without metadata.name or spec.type"));
            if self.last_good.had_resources(&path) {
                // The file is probably only half written.
                return;
            }
        }
        self.version().components.push(manifest);
    }

    fn subscription(&mut self, document: &Document, location: Location, version: SubscriptionVersion) {
        let found = Diagnostics::new(&location.file);
        let root = Fields::root(&document.root, Dialect::Resource, &found);
        let resource = SubscriptionResource::read(&root, version, location);
        refuse_bad_name(&resource.spec.name, "Subscription", &root);
        if self.report("Subscription", found) && self.request.is_in_scope(&resource.scopes) {
            self.version().subscriptions.push(resource.spec);
        }
    }

    fn resiliency(&mut self, document: &Document, location: Location) {
        let path = location.file.clone();
        let found = Diagnostics::new(&path);
        let root = Fields::root(&document.root, Dialect::Resource, &found);
        let (mut resource, wrong) = Resiliency::read(&root, location);
        let (errors, others) = found.into_parts();
        self.diagnostics.extend(others);
        let first_error = errors.first().map(|error| format!("line {}: {}", error.line(), error.message));
        let first_wrong = wrong.first().map(|(line, error)| format!("line {line}: {error}"));
        if let Some(reason) = first_error.or(first_wrong) {
            self.version().set_broken(reason);
        }
        if !errors.is_empty() {
            let file = path.file_name().unwrap_or_default().to_string_lossy();
            let unparsed = errors.into_iter().map(|error| {
                let (line, message) = (error.line(), &error.message);
                let text = format!("Could not parse resiliency file {file}: line {line}: {message}");
                error
                    .with_help("correct this line; the resource is skipped as it is")
                    .at_level(Level::Error)
                    .logged_as(text)
            });
            return self.diagnostics.extend(unparsed);
        }
        if !self.request.is_in_scope(&resource.scopes) {
            return;
        }
        let text = format!("Loading Resiliency configuration: {}", resource.name);
        self.diagnostics.push(Diagnostic::info(Level::Info, text));
        let is_whole = wrong.is_empty();
        for (line, error) in wrong {
            let message = format!("Could not read resiliency policy {}: {error}", resource.name);
            let diagnostic = Diagnostic::warning(Location::new(&path, line), message)
                .with_help("correct it; until then no target of this resource has a policy")
                .at_level(Level::Error);
            self.diagnostics.push(diagnostic);
        }
        for text in resource.policies.restrict_overrides() {
            let help = "give the policy a name of its own, and name it in the target";
            self.diagnostics.push(Diagnostic::warning(resource.location.clone(), text).with_help(help));
        }
        // An earlier version of the resource is better than one with invalid policies.
        if is_whole || !self.last_good.has_resiliency(&path, &resource.name) {
            self.version().resiliencies.push(resource);
        }
    }

    /// Keep the findings about a document. Returns whether it can be used.
    fn report(&mut self, kind: &str, found: Diagnostics) -> bool {
        let (errors, others) = found.into_parts();
        let is_usable = errors.is_empty();
        for error in errors {
            self.broken(kind, error);
        }
        self.diagnostics.extend(others);
        is_usable
    }

    /// Report keys that are written twice. The last one counts, as in daprd.
    fn duplicate_keys(&mut self, path: &Path, document: &Document) {
        let duplicates = document.duplicates.iter().map(|duplicate| {
            let message = format!("{}: the last one counts", duplicate.message);
            Diagnostic::warning(Location::new(path, duplicate.line), message)
                .with_help("remove one of them")
                .logged_as_sentence()
        });
        self.diagnostics.extend(duplicates);
    }
}

/// Refuse a name that Kubernetes does not allow (tests/spec/resources-cli.md, "4.2 Multi-document files", item 3).
fn refuse_bad_name(name: &str, kind: &str, root: &Fields<'_>) {
    let why = match name {
        "." => "may not be '.'",
        ".." => "may not be '..'",
        name if name.contains('/') => "may not contain '/'",
        name if name.contains('%') => "may not contain '%'",
        _ => return,
    };
    root.refuse(format!("invalid name {name:?} for {kind:?}: {why}"));
}

/// Whether a document was most likely meant as a resource, or is only half written.
fn is_almost_a_resource(kind: &str, version: &str) -> bool {
    match kind {
        "Resiliency" | "Configuration" => false,
        "Component" | "Subscription" => true,
        kind if FOREIGN_KINDS.contains(&kind) => false,
        "" => !version.is_empty(),
        kind => KINDS.iter().any(|known| known.starts_with(kind)) || nearest(kind, &KINDS).is_some(),
    }
}
