//! What to read, and for which app.

use std::path::PathBuf;

use crate::environment::Environment;
use crate::resources::files::folder::FolderFile;
use crate::resources::kinds::pipeline::Handler;

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

impl LoadRequest<'_> {
    /// Whether a resource with these scopes is for the app.
    pub(super) fn is_in_scope(&self, scopes: &[String]) -> bool {
        self.app_id.is_none_or(|app_id| scopes.is_empty() || scopes.iter().any(|scope| scope == app_id))
    }

    /// Whether a component of this namespace is for others than this sidecar.
    pub(super) fn is_of_other_namespace(&self, namespace: &str) -> bool {
        let own = self.environment.non_empty("NAMESPACE");
        !namespace.is_empty() && own.is_some_and(|own| own != namespace)
    }
}
