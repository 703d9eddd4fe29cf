//! Detects possible changes in the resource folders (tests/spec/resources-cli.md, "10. Hot reload and SIGHUP", items 2 and
//! 3).
//!
//! Each folder is watched as a whole, without its subfolders: this covers files that are overwritten or replaced, and
//! symbolic links that are swapped, as Kubernetes does. Links to other folders are followed (`links`); in those folders only
//! the links and their targets count. A regular re-read finds all other changes. `difference` compares the results.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use notify::event::{AccessKind, AccessMode};
use notify::{Event, EventKind, RecommendedWatcher, RecursiveMode, Watcher as _};
use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::time::{Instant, timeout, timeout_at};

use crate::resources::files::links::Links;

/// Quiet time after which a change is complete, so that files are not read while they are written.
const QUIET: Duration = Duration::from_millis(50);
/// Longest wait for that quiet time, for a folder that changes all the time.
const MAX_QUIET_WAIT: Duration = Duration::from_secs(1);

/// The reason for a new reading of the folders.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Occasion {
    /// Something has changed.
    Change,
    /// The interval has passed.
    Time,
}

/// A watch on the folders, from its creation on. Clones are handles to the same watch.
#[derive(Clone)]
pub struct Watch(Arc<Inner>);

struct Inner {
    folders: Vec<PathBuf>,
    changed: Arc<Notify>,
    links: Arc<Mutex<Links>>,
    /// `None` if the operating system refuses to watch.
    watcher: Mutex<Option<Watcher>>,
}

struct Watcher {
    system: RecommendedWatcher,
    /// Folders that are watched because of a link.
    elsewhere: BTreeSet<PathBuf>,
}

impl Watch {
    /// Start to watch. With an error, changes are found by the regular re-read only.
    pub fn begin(folders: &[PathBuf]) -> (Self, Option<String>) {
        let (changed, links) = (Arc::new(Notify::new()), Arc::<Mutex<Links>>::default());
        let (told, known, given) = (changed.clone(), links.clone(), folders.to_owned());
        let system = notify::recommended_watcher(move |event: notify::Result<Event>| {
            let counts = |event: &Event| {
                let links = known.lock();
                is_change(event) && concerns(event, &given, &links)
            };
            // After an error events may be lost, so the folders are read again.
            if event.as_ref().map_or(true, counts) {
                told.notify_one();
            }
        });
        let (watcher, problem) = match system {
            Ok(system) => (Some(system), None),
            Err(error) => (None, Some(error.to_string())),
        };
        let watch = Self(Arc::new(Inner {
            folders: folders.to_owned(),
            changed,
            links,
            watcher: Mutex::new(watcher.map(|system| Watcher { system, elsewhere: BTreeSet::new() })),
        }));
        let problem = problem.or_else(|| watch.renew().err().map(|error| error.to_string()));
        (watch, problem)
    }

    /// Renew the watch: folders may have been replaced, and links changed. Reads folders, so it must not run on a worker
    /// thread that carries events.
    ///
    /// # Errors
    /// The error of the last folder that cannot be watched.
    pub fn renew(&self) -> notify::Result<()> {
        let inner = &self.0;
        let mut watcher = inner.watcher.lock();
        let Some(watcher) = watcher.as_mut() else {
            return Ok(());
        };
        let links = Links::of(&inner.folders);
        let elsewhere = links.elsewhere.iter().filter_map(|path| path.parent());
        let elsewhere = elsewhere.map(Path::to_owned).collect();
        *inner.links.lock() = links;
        watcher.watch_elsewhere(elsewhere);
        let watched = inner.folders.iter().map(|folder| watcher.system.watch(folder, RecursiveMode::NonRecursive));
        watched.fold(Ok(()), Result::and)
    }

    /// Wait for a complete change, or for the interval without one.
    pub async fn occasion(&self, period: Duration) -> Occasion {
        match timeout(period, self.0.changed.notified()).await {
            Ok(()) => {
                self.quiet(QUIET).await;
                Occasion::Change
            }
            Err(_) => Occasion::Time,
        }
    }

    /// Wait for quiet time, up to a limit.
    pub async fn quiet(&self, quiet: Duration) {
        let limit = Instant::now() + quiet + MAX_QUIET_WAIT;
        while Instant::now() < limit {
            let next = (Instant::now() + quiet).min(limit);
            if timeout_at(next, self.0.changed.notified()).await.is_err() {
                return;
            }
        }
    }
}

impl Watcher {
    /// Watch these folders because of links, and no others. Missing folders are left to the next reading.
    fn watch_elsewhere(&mut self, folders: BTreeSet<PathBuf>) {
        for folder in self.elsewhere.difference(&folders) {
            // It may have been deleted.
            let _ = self.system.unwatch(folder);
        }
        for folder in &folders {
            let _ = self.system.watch(folder, RecursiveMode::NonRecursive);
        }
        self.elsewhere = folders;
    }
}

/// Whether an event is about a resource folder or the target of a link. Events without path count.
fn concerns(event: &Event, folders: &[PathBuf], links: &Links) -> bool {
    let is_in_folder = |path: &Path| {
        let is_it = |folder: &Path| links.real.contains(folder) || folders.iter().any(|given| given == folder);
        is_it(path) || path.parent().is_some_and(is_it)
    };
    let matters = |path: &PathBuf| links.elsewhere.contains(path) || is_in_folder(path);
    event.paths.is_empty() || event.paths.iter().any(matters)
}

/// Whether an event is a change. Reading is none: the sidecar's own would trigger the next.
fn is_change(event: &Event) -> bool {
    match event.kind {
        EventKind::Access(kind) => kind == AccessKind::Close(AccessMode::Write),
        EventKind::Any | EventKind::Create(_) | EventKind::Modify(_) | EventKind::Remove(_) | EventKind::Other => true,
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use super::*;

    /// Ways to change a file; each of them must be detected.
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
    async fn what_links_lead_to_is_seen_and_its_neighbours_are_not() {
        let root = tempfile::tempdir().unwrap();
        let root = root.path();
        for folder in ["resources", "mount/..one", "mount/..two", "more"] {
            fs::create_dir_all(root.join(folder)).unwrap();
        }
        let link = |target: &str, at: &str| {
            std::os::unix::fs::symlink(target, root.join("aside")).unwrap();
            fs::rename(root.join("aside"), root.join(at)).unwrap();
        };
        link("..one", "mount/..data");
        link("../mount/..data/a.yaml", "resources/a.yaml");
        link("more", "current");
        let folders = [root.join("resources"), root.join("current")];
        let (watch, problem) = Watch::begin(&folders);
        assert_eq!(problem, None);
        let seen = async |what: &str, change: &dyn Fn()| {
            watch.renew().unwrap();
            watch.quiet(QUIET).await;
            change();
            let long = Duration::from_secs(20);
            assert_eq!(watch.occasion(long).await, Occasion::Change, "{what}");
        };
        seen("swapped", &|| link("..two", "mount/..data")).await;
        let write = |at: &str| fs::write(root.join(at), "new").unwrap();
        seen("made where it leads", &|| write("mount/..two/a.yaml")).await;
        fs::create_dir(root.join("other")).unwrap();
        seen("the folder is another", &|| link("other", "current")).await;
        seen("made in that", &|| write("other/b.yaml")).await;
        watch.quiet(QUIET).await;
        write("mount/neighbour");
        let short = Duration::from_millis(100);
        assert_eq!(watch.occasion(short).await, Occasion::Time);
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
        assert_eq!(watch.occasion(Duration::from_secs(20)).await, Occasion::Change);
    }

    #[test]
    fn a_folder_that_is_not_there_is_told() {
        let (_, problem) = Watch::begin(&[PathBuf::from("/nope/nope")]);
        assert!(problem.is_some());
    }
}
