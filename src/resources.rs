//! The resource files: what stands in the folders of `--resources-path`, read, checked and filtered.
//!
//! Text becomes typed values here, with file and line for every mistake; nobody above sees YAML. Mirrors
//! tests/spec/resources-cli.md, "4. Reading resource directories" to "9. Configuration files".
//! [`Resources::load`] is the way in: `folder` lists the files, `load` knows YAML, `value` and `fields` know Go's rules, each kind of
//! resource has a file of its own, and `collect` puts them together.

pub mod advice;
pub mod component;
pub mod configuration;
pub mod difference;
pub mod encoding;
pub mod fields;
pub mod folder;
pub mod last_good;
pub mod lines;
pub mod load;
pub mod manifest;
pub mod note;
pub mod pipeline;
pub mod resiliency;
pub mod resolve;
pub mod run_file;
pub mod secrets;
pub mod subscription;
pub mod value;
pub mod watch;

mod collect;
mod kind;
mod links;

use std::collections::BTreeSet;
use std::fmt;
use std::path::{Path, PathBuf};

use self::component::{Component, ProcessError};
use self::folder::FolderFile;
use self::last_good::LastGood;
use self::note::Note;
use self::pipeline::Handler;
use self::resiliency::{Policies, Resiliency};
use self::subscription::SubscriptionSpec;
use crate::environment::Environment;

/// Where something stands: for messages.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Place {
    /// The file.
    pub file: PathBuf,
    /// The line, counted from 1; 0 when it is not known.
    pub line: usize,
}

impl Place {
    /// A line of a file.
    pub fn new(file: &Path, line: usize) -> Self {
        Self { file: file.to_owned(), line }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            0 => write!(f, "{}", self.file.display()),
            line => write!(f, "{}:{line}", self.file.display()),
        }
    }
}

/// What to read, and for whom.
#[derive(Clone, Copy, Debug)]
pub struct LoadRequest<'a> {
    /// `--app-id`: scopes and templates. `None` reads for every app, as `check` does without one.
    pub app_id: Option<&'a str>,
    /// `--resources-path`, in order.
    pub folders: &'a [PathBuf],
    /// Files that are read beside the folders.
    pub files: &'a [FolderFile],
    /// `components.deny` of the Configuration.
    pub denied: &'a [String],
    /// The pipelines of the Configuration.
    pub handlers: &'a [Handler],
    /// Is the feature `HotReload` on? It decides the words about a folder that is missing.
    pub hot_reload: bool,
    /// Of the sidecar, with what it sets for itself.
    pub environment: &'a Environment,
}

/// Everything that the folders hold for one app.
#[derive(Clone, Debug, Default)]
pub struct Resources {
    /// Secret stores first, then pub/subs, each in the order of (folder, file, document). Ready to be used.
    pub components: Vec<Component>,
    /// Declared subscriptions in the same order; one that has the name of an earlier one stands in its place at the end.
    pub subscriptions: Vec<SubscriptionSpec>,
    /// Resiliency resources as they are.
    pub resiliencies: Vec<Resiliency>,
    /// Names of all components in the files, whether they are for this app and can be used or not.
    pub component_names: Vec<String>,
    /// What is said about all this, for the log and for `check`, in order.
    pub notes: Vec<Note>,
    /// What ends the process: all of it, not only the first.
    pub errors: Vec<LoadError>,
    /// For the next reading, which keeps what is in force of files that are broken then.
    pub last_good: LastGood,
}

impl Resources {
    /// Read the folders. Nothing is connected to.
    pub fn load(request: &LoadRequest<'_>) -> Self {
        Self::reload(request, &LastGood::default(), &BTreeSet::new())
    }

    /// Read the folders once more: of a file that is broken, what the reading before has found stays in force. So it does of the files in
    /// `refused`, which can be read and cannot be used.
    pub fn reload(request: &LoadRequest<'_>, last_good: &LastGood, refused: &BTreeSet<PathBuf>) -> Self {
        collect::all(request, last_good, refused)
    }

    /// Add what can only be said when all resources are known, those that need no file included.
    pub fn add_advice(&mut self) {
        let advice = advice::of(self);
        self.notes.extend(advice);
    }

    /// The texts of the errors, as `text_of` has them. All duplicates are one error with a line for each pair, as in
    /// daprd (tests/spec/resources-cli.md, "4.4 Filters").
    pub fn error_texts(&self, text_of: impl Fn(&LoadError) -> String) -> Vec<String> {
        let mut texts: Vec<String> = Vec::new();
        let mut first_duplicate = None;
        for error in &self.errors {
            match (error, first_duplicate) {
                (LoadError::Duplicate { .. }, Some(index)) => {
                    let joined: &mut String = &mut texts[index];
                    joined.push('\n');
                    joined.push_str(&error.plain());
                    continue;
                }
                (LoadError::Duplicate { .. }, None) => first_duplicate = Some(texts.len()),
                _ => {}
            }
            texts.push(text_of(error));
        }
        texts
    }

    /// The built-in policies and those of all resiliency resources together, later ones over earlier ones.
    pub fn policies(&self) -> Policies {
        let mut policies = Policies::built_in();
        for resource in &self.resiliencies {
            policies.add(&resource.policies);
        }
        policies
    }
}

/// Why the process cannot start with these folders; the texts are what follows `Fatal error from runtime: `.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LoadError {
    /// A folder is not there, with hot reload on.
    #[error("failed to create watcher: failed to add target {}: {reason}", folder.display())]
    NotWatched {
        /// As given.
        folder: PathBuf,
        /// Of the operating system.
        reason: String,
    },
    /// A folder cannot be listed.
    #[error("failed to load components: open {}: {reason}", folder.display())]
    NotListed {
        /// As given.
        folder: PathBuf,
        /// Of the operating system.
        reason: String,
    },
    /// Two components of one name.
    #[error(
        "failed to load components: duplicate definition of Component name {name} ({second}) with existing {name} ({first})"
    )]
    Duplicate {
        /// Their name.
        name: String,
        /// `type/version` of the one that was there.
        first: String,
        /// Where that stands.
        first_place: Place,
        /// `type/version` of the other.
        second: String,
        /// Where the other stands.
        place: Place,
    },
    /// A middleware that a pipeline of the Configuration asks for.
    #[error(
        "middleware {log_name} of spec.{pipeline} is not supported by this sidecar: calls would pass without it, take it out of the pipeline"
    )]
    Middleware {
        /// Name, type and version.
        log_name: String,
        /// Which of the two.
        pipeline: &'static str,
        /// Where the component stands.
        place: Place,
    },
    /// A component that cannot be used.
    #[error("failed to load components: {0}")]
    Component(#[from] ProcessError),
}

impl LoadError {
    /// Where the mistake stands.
    pub fn place(&self) -> Place {
        match self {
            Self::NotWatched { folder, .. } | Self::NotListed { folder, .. } => Place::new(folder, 0),
            Self::Duplicate { place, .. } | Self::Middleware { place, .. } => place.clone(),
            Self::Component(error) => error.place.clone(),
        }
    }

    /// The text for somebody who is told the place: without the wrapping that daprd puts around it.
    pub fn plain(&self) -> String {
        match self {
            Self::NotListed { reason, .. } | Self::NotWatched { reason, .. } => {
                format!("cannot be read: {reason}")
            }
            Self::Component(error) => error.plain(),
            Self::Duplicate { .. } | Self::Middleware { .. } => {
                let text = self.to_string();
                text.trim_start_matches("failed to load components: ").to_owned()
            }
        }
    }

    /// What to do about it.
    pub fn remedy(&self) -> String {
        match self {
            Self::NotWatched { .. } | Self::NotListed { .. } => {
                "create the folder or correct --resources-path".to_owned()
            }
            Self::Duplicate { first_place, .. } => {
                format!("rename one of the two, the other stands at {first_place}")
            }
            Self::Middleware { .. } => {
                "let a proxy before the sidecar, or the app, do what the middleware does".to_owned()
            }
            Self::Component(error) => error.cause.remedy().to_owned(),
        }
    }
}

#[cfg(test)]
mod properties;
