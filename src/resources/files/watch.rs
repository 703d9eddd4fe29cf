//! Tells when something in the resource folders may have changed (tests/spec/resources-cli.md, "10. Hot reload and
//! SIGHUP", item 2, "10. Hot reload and SIGHUP", item 3).
//!
//! A folder is watched as a whole, and not what lies below it: files that are written over, renamed over, and symbolic links that are
//! swapped (as Kubernetes does) all show there. Links that lead out of it are followed (`links`): of the folders where they and their
//! targets stand, only these count. What cannot be seen that way is found by looking again now and then. What the change is, `difference`
//! says.

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

/// The folders, watched from the moment it is made. Clones are handles to the same.
#[derive(Clone)]
pub struct Watch(Arc<Inner>);

struct Inner {
    folders: Vec<PathBuf>,
    changed: Arc<Notify>,
    links: Arc<Mutex<Links>>,
    /// `None` if the system does not let us watch.
    watcher: Mutex<Option<Watcher>>,
}

struct Watcher {
    system: RecommendedWatcher,
    /// Folders that are watched for the sake of a link.
    elsewhere: BTreeSet<PathBuf>,
}

impl Watch {
    /// Watch from now on. What is wrong comes beside: then changes are only found with time.
    pub fn begin(folders: &[PathBuf]) -> (Self, Option<String>) {
        let (changed, links) = (Arc::new(Notify::new()), Arc::<Mutex<Links>>::default());
        let (told, known, given) = (changed.clone(), links.clone(), folders.to_owned());
        let system = notify::recommended_watcher(move |event: notify::Result<Event>| {
            let counts = |event: &Event| {
                let links = known.lock();
                is_change(event) && concerns(event, &given, &links)
            };
            // An error is a reason to look, too: the system has lost events.
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

    /// Watch again: the folders that stand at these paths now may be others, and links may lead elsewhere. Reads folders: not for a worker
    /// that carries events.
    ///
    /// # Errors
    /// Of the last folder that cannot be watched.
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

    /// Resolves when a change is over, or when so much time has passed without one.
    pub async fn occasion(&self, period: Duration) -> Occasion {
        match timeout(period, self.0.changed.notified()).await {
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
            if timeout_at(next, self.0.changed.notified()).await.is_err() {
                return;
            }
        }
    }
}

impl Watcher {
    /// Watch these for the sake of links, and no others. One that is not there is one less: the next look at the folders finds it.
    fn watch_elsewhere(&mut self, folders: BTreeSet<PathBuf>) {
        for folder in self.elsewhere.difference(&folders) {
            // It may have gone by itself.
            let _ = self.system.unwatch(folder);
        }
        for folder in &folders {
            let _ = self.system.watch(folder, RecursiveMode::NonRecursive);
        }
        self.elsewhere = folders;
    }
}

/// Is it about something in a resource folder, or something that a link leads to? About what, is not always known.
fn concerns(event: &Event, folders: &[PathBuf], links: &Links) -> bool {
    let is_in_folder = |path: &Path| {
        let is_it = |folder: &Path| links.real.contains(folder) || folders.iter().any(|given| given == folder);
        is_it(path) || path.parent().is_some_and(is_it)
    };
    let matters = |path: &PathBuf| links.elsewhere.contains(path) || is_in_folder(path);
    event.paths.is_empty() || event.paths.iter().any(matters)
}

/// Reading is no change; our own would never end.
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
