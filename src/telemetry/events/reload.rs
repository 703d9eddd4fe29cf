//! Hot reload: the lines that people grep for (tests/spec/resources-cli.md, "10. Hot reload and SIGHUP").

use std::fmt::Display;
use std::path::{Path, PathBuf};

use crate::telemetry::Telemetry;
use crate::telemetry::log::Level;

const HOT_RELOAD: &str = "dapr.runtime.hotreload";
const RECONCILER: &str = "dapr.runtime.hotreload.reconciler";

/// What has happened to a resource.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// It is gone.
    Deleted,
    /// It says something else.
    Updated,
    /// It is new.
    Created,
}

impl Telemetry {
    /// The folders are watched from now on.
    pub fn watching(&self, folders: &[PathBuf]) {
        let folders: Vec<_> = folders.iter().map(|folder| folder.display().to_string()).collect();
        let folders = folders.join(", ");
        self.hot_reload(Level::Info, format_args!("Watching directories: [{folders}]"));
        self.hot_reload(Level::Info, format_args!("Hot reloading enabled. Daprd will reload 'Component', 'Subscription', 'Resiliency' resources when they are added, updated or deleted."));
        for kind in ["Component", "Subscription"] {
            self.reconciled(format_args!("Starting to watch {kind} updates"));
        }
    }

    /// They cannot be watched.
    pub fn not_watched(&self, error: &dyn Display, period: &dyn Display) {
        self.hot_reload(
            Level::Warn,
            format_args!("cannot watch the resource folders, they are looked at every {period} instead: {error}"),
        );
    }

    /// They could not be read when their time had come.
    pub fn not_listed(&self, error: &dyn Display) {
        self.hot_reload(Level::Error, format_args!("Error listing Component: {error}"));
    }

    /// A component is let go, for good or for what it has become.
    pub fn component_closing_to_reload(&self, component: &dyn Display) {
        self.reconciled(format_args!("Closing existing Component to reload: {component}"));
    }

    /// A component comes in.
    pub fn component_adding(&self, component: &dyn Display) {
        self.reconciled(format_args!("Adding Component for processing: {component}"));
    }

    /// It has taken the place of what it was.
    pub fn component_updated(&self, component: &dyn Display) {
        self.reconciled(format_args!("Component updated: {component}"));
    }

    /// A declared subscription has changed.
    pub fn subscription_changed(&self, name: &str, change: Change) {
        if change != Change::Created {
            self.reconciled(format_args!("Closing existing Subscription to reload: {name}"));
        }
        if change != Change::Deleted {
            self.reconciled(format_args!("Adding Subscription for processing: {name}"));
        }
        if change == Change::Updated {
            self.reconciled(format_args!("Subscription updated: {name}"));
        }
    }

    /// A subscription that appeared cannot be used: the process ends.
    pub fn subscription_refused(&self, name: &str, error: &dyn Display) {
        self.0.log.write(
            Level::Warn,
            RECONCILER,
            format_args!("Error adding subscription {name}, daprd will exit gracefully: {error}"),
            &[],
        );
    }

    /// A resiliency resource has changed; daprd restarts for it, here it takes effect in place.
    pub fn resiliency_changed(&self, name: &str, change: Change) {
        let word = match change {
            Change::Deleted => "DELETED",
            Change::Updated => "UPDATED",
            Change::Created => "CREATED",
        };
        self.hot_reload(
            Level::Info,
            format_args!("Received Resiliency {word} event: {name} - applied without a restart"),
        );
    }

    /// A file is broken; what it held before stays in force (D29).
    pub fn file_kept(&self, file: &Path, reason: &str, resources: &str) {
        let file = file.display();
        self.hot_reload(
            Level::Warn,
            format_args!("resource file {file} is broken ({reason}): the last good version of its resources stays in force until it is corrected or deleted: {resources}"),
        );
    }

    /// It can be read again.
    pub fn file_good_again(&self, file: &Path) {
        let file = file.display();
        self.hot_reload(Level::Info, format_args!("resource file {file} is good again: what it holds now is in force"));
    }

    /// It was broken, and is gone.
    pub fn file_deleted(&self, file: &Path) {
        let file = file.display();
        self.hot_reload(Level::Info, format_args!("resource file {file} was broken and is gone: so are its resources"));
    }

    /// What stands in the files cannot be used. The sidecar goes on, because its end would lose what it holds in memory.
    pub fn reload_refused(&self, error: &str) {
        self.hot_reload(
            Level::Error,
            format_args!("not reloaded, and the sidecar goes on because it holds events in memory: {error}"),
        );
    }

    fn hot_reload(&self, level: Level, message: std::fmt::Arguments<'_>) {
        self.0.log.write(level, HOT_RELOAD, message, &[]);
    }

    fn reconciled(&self, message: std::fmt::Arguments<'_>) {
        self.0.log.write(Level::Info, RECONCILER, message, &[]);
    }
}
