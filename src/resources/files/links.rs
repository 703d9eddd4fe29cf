//! Symbolic links to resource files: a change outside of a folder can change what is read in it.
//!
//! Used by `watch`. A folder that Kubernetes mounts holds links to `..data`, which is itself a link to a dated folder and
//! is swapped for a new one. Other folders link to files elsewhere.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fs;
use std::path::{Component, Path, PathBuf};

/// Longest chain of links that is followed, as by the operating system.
const MAX_HOPS: usize = 40;

/// The real paths of folders, and the links and files elsewhere that belong to them.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Links {
    /// The folders, without links.
    pub(super) real: BTreeSet<PathBuf>,
    /// Links, and targets of links, in other folders. The paths of their folders have no links.
    pub(super) elsewhere: BTreeSet<PathBuf>,
}

impl Links {
    /// Follow the links to the folders and to the files in them. Unreadable paths are left out.
    pub(super) fn of(folders: &[PathBuf]) -> Self {
        let (mut real, mut passed) = (BTreeSet::new(), BTreeSet::new());
        for folder in folders {
            real.extend(follow(folder, &mut passed));
        }
        for folder in &real {
            for link in links_in(folder) {
                let end = follow(&link, &mut passed);
                passed.extend(end);
            }
        }
        let is_elsewhere = |path: &PathBuf| path.parent().is_some_and(|parent| !real.contains(parent));
        passed.retain(is_elsewhere);
        Self { real, elsewhere: passed }
    }
}

fn links_in(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let is_link = |entry: &fs::DirEntry| entry.file_type().is_ok_and(|kind| kind.is_symlink());
    entries.filter(is_link).map(|entry| entry.path()).collect()
}

/// The end of a path, and every link on the way. `None` for a cycle.
fn follow(path: &Path, passed: &mut BTreeSet<PathBuf>) -> Option<PathBuf> {
    let path = std::path::absolute(path).ok()?;
    let mut rest = steps(&path);
    let (mut at, mut hops) = (PathBuf::new(), 0);
    while let Some(step) = rest.pop() {
        if step == ".." {
            at.pop();
            continue;
        }
        let next = at.join(step);
        match fs::read_link(&next) {
            Ok(target) => {
                hops += 1;
                if hops > MAX_HOPS {
                    return None;
                }
                rest.extend(steps(&target));
                passed.insert(next);
            }
            Err(_) => at = next,
        }
    }
    Some(at)
}

/// The components of a path, the last one first.
fn steps(path: &Path) -> Vec<OsString> {
    path.components().rev().filter(|step| *step != Component::CurDir).map(|step| step.as_os_str().to_owned()).collect()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn every_link_on_the_way_is_found() {
        let root = tempfile::tempdir().unwrap();
        let root = root.path().canonicalize().unwrap();
        for folder in ["mount/..one", "plain", "stock"] {
            fs::create_dir_all(root.join(folder)).unwrap();
        }
        fs::write(root.join("mount/..one/a.yaml"), "x").unwrap();
        fs::write(root.join("stock/b.yaml"), "x").unwrap();
        fs::write(root.join("plain/own.yaml"), "x").unwrap();
        for (target, link) in [
            ("..one", "mount/..data"),
            ("..data/a.yaml", "mount/a.yaml"),
            ("../mount/..data/a.yaml", "plain/a.yaml"),
            ("../stock/./b.yaml", "plain/b.yaml"),
            ("../nowhere/c.yaml", "plain/c.yaml"),
            ("d.yaml", "plain/d.yaml"),
            ("plain", "current"),
        ] {
            symlink(target, root.join(link)).unwrap();
        }
        let check = |folder: &str, real: &str, elsewhere: &[&str]| {
            let found = Links::of(&[root.join(folder)]);
            let all = |paths: &[&str]| paths.iter().map(|path| root.join(path)).collect();
            let expected = Links { real: all(&[real]), elsewhere: all(elsewhere) };
            assert_eq!(found, expected, "{folder}");
        };
        check("mount", "mount", &["mount/..one/a.yaml"]);
        check("stock", "stock", &[]);
        let of_plain = ["mount/..data", "mount/..one/a.yaml", "nowhere/c.yaml", "stock/b.yaml"];
        check("plain", "plain", &of_plain);
        check("current", "plain", &[&["current"][..], &of_plain].concat());
        check("plain/../stock/.", "stock", &[]);
    }
}
