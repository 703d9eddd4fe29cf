//! Events of hot reload. Their log lines are daprd's, for those who search logs (tests/spec/resources-cli.md, "10. Hot
//! reload and SIGHUP").

use std::fmt::{self, Display};
use std::path::{Path, PathBuf};

use crate::telemetry::event::Event;
use crate::telemetry::log::{Level, Log};

const HOT_RELOAD: &str = "dapr.runtime.hotreload";
const RECONCILER: &str = "dapr.runtime.hotreload.reconciler";

/// The kind of change of a resource.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// It was removed.
    Deleted,
    /// Its meaning has changed.
    Updated,
    /// It is new.
    Created,
}

/// The resource folders are watched from now on.
pub struct WatchStarted<'a> {
    /// `--resources-path`.
    pub folders: &'a [PathBuf],
}

impl Event for WatchStarted<'_> {
    fn log(&self, log: &Log) {
        let folders: Vec<_> = self.folders.iter().map(|folder| folder.display().to_string()).collect();
        let folders = folders.join(", ");
        hot_reload(log, Level::Info, format_args!("Watching directories: [{folders}]"));
        hot_reload(
            log,
            Level::Info,
            format_args!(
                "Hot reloading enabled. Daprd will reload 'Component', 'Subscription', 'Resiliency' resources when they are added, updated or deleted."
            ),
        );
        for kind in ["Component", "Subscription"] {
            reconciler(log, format_args!("Starting to watch {kind} updates"));
        }
    }
}

/// The folders cannot be watched; they are read at intervals instead.
pub struct WatchFailed<'a> {
    /// The reason.
    pub error: &'a dyn Display,
    /// The interval.
    pub period: &'a dyn Display,
}

impl Event for WatchFailed<'_> {
    fn log(&self, log: &Log) {
        let Self { error, period } = self;
        hot_reload(
            log,
            Level::Warn,
            format_args!("cannot watch the resource folders, they are looked at every {period} instead: {error}"),
        );
    }
}

/// The folders cannot be read for a reload.
pub struct ListingFailed<'a> {
    /// The reason.
    pub error: &'a dyn Display,
}

impl Event for ListingFailed<'_> {
    fn log(&self, log: &Log) {
        hot_reload(log, Level::Error, format_args!("Error listing Component: {}", self.error));
    }
}

/// A component is closed, because it was deleted or changed.
pub struct ComponentClosing<'a> {
    /// `name (type/version)`.
    pub component: &'a dyn Display,
}

impl Event for ComponentClosing<'_> {
    fn log(&self, log: &Log) {
        reconciler(log, format_args!("Closing existing Component to reload: {}", self.component));
    }
}

/// A new or changed component is being loaded.
pub struct ComponentAdding<'a> {
    /// `name (type/version)`.
    pub component: &'a dyn Display,
}

impl Event for ComponentAdding<'_> {
    fn log(&self, log: &Log) {
        reconciler(log, format_args!("Adding Component for processing: {}", self.component));
    }
}

/// A changed component has replaced its earlier version.
pub struct ComponentUpdated<'a> {
    /// `name (type/version)`.
    pub component: &'a dyn Display,
}

impl Event for ComponentUpdated<'_> {
    fn log(&self, log: &Log) {
        reconciler(log, format_args!("Component updated: {}", self.component));
    }
}

/// A declared subscription has changed.
pub struct SubscriptionChanged<'a> {
    /// `metadata.name`.
    pub name: &'a str,
    /// The change.
    pub change: Change,
}

impl Event for SubscriptionChanged<'_> {
    fn log(&self, log: &Log) {
        let Self { name, change } = *self;
        if change != Change::Created {
            reconciler(log, format_args!("Closing existing Subscription to reload: {name}"));
        }
        if change != Change::Deleted {
            reconciler(log, format_args!("Adding Subscription for processing: {name}"));
        }
        if change == Change::Updated {
            reconciler(log, format_args!("Subscription updated: {name}"));
        }
    }
}

/// A new subscription cannot be used, which ends the process.
pub struct SubscriptionRefused<'a> {
    /// `metadata.name`.
    pub name: &'a str,
    /// The reason.
    pub error: &'a dyn Display,
}

impl Event for SubscriptionRefused<'_> {
    fn log(&self, log: &Log) {
        let Self { name, error } = self;
        let message = format_args!("Error adding subscription {name}, daprd will exit gracefully: {error}");
        log.write(Level::Warn, RECONCILER, message, &[]);
    }
}

/// A resiliency resource has changed. daprd restarts for that; here the change takes effect at once.
pub struct ResiliencyChanged<'a> {
    /// `metadata.name`.
    pub name: &'a str,
    /// The change.
    pub change: Change,
}

impl Event for ResiliencyChanged<'_> {
    fn log(&self, log: &Log) {
        let name = self.name;
        let change = match self.change {
            Change::Deleted => "DELETED",
            Change::Updated => "UPDATED",
            Change::Created => "CREATED",
        };
        let message = format_args!("Received Resiliency {change} event: {name} - applied without a restart");
        hot_reload(log, Level::Info, message);
    }
}

/// A file is broken; its last good resources stay in force (D29).
pub struct BrokenFileKept<'a> {
    /// The file.
    pub file: &'a Path,
    /// Its first error.
    pub reason: &'a str,
    /// The resources that stay in force.
    pub resources: &'a str,
}

impl Event for BrokenFileKept<'_> {
    fn log(&self, log: &Log) {
        let Self { reason, resources, .. } = self;
        let file = self.file.display();
        hot_reload(
            log,
            Level::Warn,
            format_args!(
                "resource file {file} is broken ({reason}): the last good version of its resources stays in force until it is corrected or deleted: {resources}"
            ),
        );
    }
}

/// A broken file is valid again.
pub struct BrokenFileCorrected<'a> {
    /// The file.
    pub file: &'a Path,
}

impl Event for BrokenFileCorrected<'_> {
    fn log(&self, log: &Log) {
        let file = self.file.display();
        let message = format_args!("resource file {file} is good again: what it holds now is in force");
        hot_reload(log, Level::Info, message);
    }
}

/// A broken file was deleted, and its resources with it.
pub struct BrokenFileDeleted<'a> {
    /// The file.
    pub file: &'a Path,
}

impl Event for BrokenFileDeleted<'_> {
    fn log(&self, log: &Log) {
        let file = self.file.display();
        let message = format_args!("resource file {file} was broken and is gone: so are its resources");
        hot_reload(log, Level::Info, message);
    }
}

/// Changed files cannot be used. The sidecar keeps running, because its end would lose the events that it holds in memory.
pub struct ReloadRefused<'a> {
    /// The reason.
    pub error: &'a str,
}

impl Event for ReloadRefused<'_> {
    fn log(&self, log: &Log) {
        let error = self.error;
        hot_reload(
            log,
            Level::Error,
            format_args!("not reloaded, and the sidecar goes on because it holds events in memory: {error}"),
        );
    }
}

fn hot_reload(log: &Log, level: Level, message: fmt::Arguments<'_>) {
    log.write(level, HOT_RELOAD, message, &[]);
}

fn reconciler(log: &Log, message: fmt::Arguments<'_>) {
    log.write(Level::Info, RECONCILER, message, &[]);
}
