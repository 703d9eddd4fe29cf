//! Tells when something in the resource folders may have changed (spec resources-cli.md 10.2, 10.3).
//!
//! A folder is watched as a whole, and not what lies below it: files that are written over, renamed over, and symbolic links that are
//! swapped (as Kubernetes does) all show there. What cannot be seen that way is found by looking again now and then. What the change is,
//! `difference` says.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use notify::event::{AccessKind, AccessMode};
use notify::{Event, EventKind, RecommendedWatcher, RecursiveMode, Watcher};
use tokio::sync::Notify;
use tokio::time::{Instant, timeout, timeout_at};

/// A change is over when nothing has happened for so long: a file that is being written is not read half.
const QUIET: Duration = Duration::from_millis(50);
/// But a folder in which something always happens is read that often all the same.
const MOST_PATIENCE: Duration = Duration::from_secs(1);

/// Why a look at the folders is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Occasion {
    /// Something has changed.
    Change,
    /// Some time has passed.
    Time,
}

/// The folders, watched from the moment it is made.
pub struct Watch {
    folders: Vec<PathBuf>,
    changed: Arc<Notify>,
    /// `None` if the system does not let us watch.
    watcher: Mutex<Option<RecommendedWatcher>>,
}

impl Watch {
    /// Watch from now on. What is wrong comes beside: then changes are only found with time.
    pub fn begin(folders: &[PathBuf]) -> (Self, Option<String>) {
        let changed = Arc::new(Notify::new());
        let told = changed.clone();
        let watcher = notify::recommended_watcher(move |event: notify::Result<Event>| {
            // An error is a reason to look, too: the system has lost events.
            if event.as_ref().map_or(true, is_change) {
                told.notify_one();
            }
        });
        let (watcher, problem) = match watcher {
            Ok(watcher) => (Some(watcher), None),
            Err(error) => (None, Some(error.to_string())),
        };
        let watch = Self {
            folders: folders.to_owned(),
            changed,
            watcher: Mutex::new(watcher),
        };
        let problem = problem.or_else(|| watch.renew().err().map(|error| error.to_string()));
        (watch, problem)
    }

    /// Watch again: the folders that stand at these paths now may be others.
    ///
    /// # Errors
    /// Of the last folder that cannot be watched.
    pub fn renew(&self) -> notify::Result<()> {
        let mut watcher = self.watcher.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(watcher) = watcher.as_mut() else {
            return Ok(());
        };
        let watched = self
            .folders
            .iter()
            .map(|folder| watcher.watch(folder, RecursiveMode::NonRecursive));
        watched.fold(Ok(()), Result::and)
    }

    /// Resolves when a change is over, or when so much time has passed without one.
    pub async fn occasion(&self, period: Duration) -> Occasion {
        match timeout(period, self.changed.notified()).await {
            Ok(()) => {
                self.quiet(QUIET).await;
                Occasion::Change
            }
            Err(_) => Occasion::Time,
        }
    }

    /// Resolves when nothing has happened for so long, or after much longer.
    pub async fn quiet(&self, quiet: Duration) {
        let limit = Instant::now() + quiet + MOST_PATIENCE;
        while Instant::now() < limit {
            let next = (Instant::now() + quiet).min(limit);
            if timeout_at(next, self.changed.notified()).await.is_err() {
                return;
            }
        }
    }
}

/// Reading is no change; our own would never end.
fn is_change(event: &Event) -> bool {
    match event.kind {
        EventKind::Access(kind) => kind == AccessKind::Close(AccessMode::Write),
        EventKind::Any
        | EventKind::Create(_)
        | EventKind::Modify(_)
        | EventKind::Remove(_)
        | EventKind::Other => true,
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use super::*;

    /// How a file is changed, and whether that is seen.
    async fn check(what: &str, change: impl FnOnce(&Path), expected: Occasion) {
        let root = tempfile::tempdir().unwrap();
        let folder = root.path().join("resources");
        fs::create_dir_all(folder.join("..one")).unwrap();
        fs::create_dir_all(folder.join("..two")).unwrap();
        fs::write(folder.join("a.yaml"), "old").unwrap();
        std::os::unix::fs::symlink("..one", folder.join("..data")).unwrap();
        let (watch, problem) = Watch::begin(std::slice::from_ref(&folder));
        assert_eq!(problem, None);
        change(&folder);
        let period = match expected {
            Occasion::Change => Duration::from_secs(20),
            Occasion::Time => Duration::from_millis(100),
        };
        assert_eq!(watch.occasion(period).await, expected, "{what}");
    }

    #[tokio::test]
    async fn all_ways_of_saving_are_seen_and_reading_is_not() {
        use Occasion::{Change, Time};
        let written = |folder: &Path| fs::write(folder.join("a.yaml"), "new").unwrap();
        let renamed_over = |folder: &Path| {
            fs::write(folder.join("../aside"), "new").unwrap();
            fs::rename(folder.join("../aside"), folder.join("a.yaml")).unwrap();
        };
        let swapped = |folder: &Path| {
            std::os::unix::fs::symlink("..two", folder.join("../aside")).unwrap();
            fs::rename(folder.join("../aside"), folder.join("..data")).unwrap();
        };
        let removed = |folder: &Path| fs::remove_file(folder.join("a.yaml")).unwrap();
        let read = |folder: &Path| {
            fs::read_dir(folder).unwrap().count();
            fs::read(folder.join("a.yaml")).unwrap();
        };
        check("written", written, Change).await;
        check("renamed over", renamed_over, Change).await;
        check("swapped", swapped, Change).await;
        check("removed", removed, Change).await;
        check("read", read, Time).await;
    }

    #[tokio::test]
    async fn a_folder_that_was_replaced_is_watched_after_a_renewal() {
        let root = tempfile::tempdir().unwrap();
        let folder = root.path().join("resources");
        fs::create_dir(&folder).unwrap();
        let (watch, _) = Watch::begin(std::slice::from_ref(&folder));
        fs::rename(&folder, root.path().join("old")).unwrap();
        fs::create_dir(&folder).unwrap();
        watch.renew().unwrap();
        watch.quiet(QUIET).await;
        fs::write(folder.join("a.yaml"), "new").unwrap();
        assert_eq!(
            watch.occasion(Duration::from_secs(20)).await,
            Occasion::Change
        );
    }

    #[test]
    fn a_folder_that_is_not_there_is_told() {
        let (_, problem) = Watch::begin(&[PathBuf::from("/nope/nope")]);
        assert!(problem.is_some());
    }
}
