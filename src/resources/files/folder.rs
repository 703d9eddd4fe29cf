//! The files of a resource folder, in the order in which they are read
//! (tests/spec/resources-cli.md, "4.1 Which files").

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::resources::files::encoding;

/// A file of a folder.
#[derive(Debug)]
pub struct FolderFile {
    /// Its path.
    pub path: PathBuf,
    /// Its content.
    pub content: FileContent,
}

/// The content of a file of a folder.
#[derive(Debug)]
pub enum FileContent {
    /// A YAML file, as text.
    Yaml(String),
    /// A YAML file that cannot be read.
    Unreadable(io::Error),
    /// A file with another extension: not read.
    Foreign,
}

/// The files of a folder in byte order of their names, without subfolders.
///
/// # Errors
/// The folder cannot be listed.
pub fn read(folder: &Path) -> io::Result<Vec<FolderFile>> {
    let mut names = Vec::new();
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        if !entry.file_type()?.is_dir() {
            names.push(entry.file_name());
        }
    }
    names.sort();
    Ok(names
        .into_iter()
        .map(|name| {
            let path = folder.join(name);
            let content = content(&path);
            FolderFile { path, content }
        })
        .collect())
}

/// The reason of an I/O error in Go's words, for example `no such file or directory`.
pub fn reason(error: &io::Error) -> String {
    let text = error.to_string();
    let text = text.split(" (os error").next().unwrap_or(&text);
    let mut letters = text.chars();
    match letters.next() {
        Some(first) => first.to_lowercase().chain(letters).collect(),
        None => String::new(),
    }
}

/// Whether the name is that of a YAML file.
pub fn is_yaml(path: &Path) -> bool {
    // Not `Path::extension`: a file named `.yaml` counts, too.
    let name = path.file_name().map(|name| name.to_string_lossy());
    let extension = name.as_deref().and_then(|name| name.rsplit_once('.'));
    let extension = extension.map(|(_, extension)| extension);
    extension.is_some_and(|name| name.eq_ignore_ascii_case("yaml") || name.eq_ignore_ascii_case("yml"))
}

fn content(path: &Path) -> FileContent {
    if !is_yaml(path) {
        return FileContent::Foreign;
    }
    match encoding::read(path) {
        Ok(text) => FileContent::Yaml(text),
        Err(error) => FileContent::Unreadable(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn yaml_files_in_byte_order_hidden_ones_too_folders_not() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["b.yml", "a.YML", ".hidden.yaml", ".yaml", "c.json", "d.yaml.bak", "yaml"] {
            fs::write(folder.path().join(name), "x").unwrap();
        }
        fs::create_dir(folder.path().join("sub.yaml")).unwrap();
        let files = read(folder.path()).unwrap();
        let shown: Vec<_> = files
            .iter()
            .map(|file| {
                let name = file.path.file_name().unwrap().to_str().unwrap();
                (name, matches!(file.content, FileContent::Yaml(_)))
            })
            .collect();
        assert_eq!(
            shown,
            [
                (".hidden.yaml", true),
                (".yaml", true),
                ("a.YML", true),
                ("b.yml", true),
                ("c.json", false),
                ("d.yaml.bak", false),
                ("yaml", false)
            ]
        );
    }

    #[test]
    fn reasons_are_worded_as_in_go() {
        let error = read(Path::new("/nope/nope")).unwrap_err();
        assert_eq!(reason(&error), "no such file or directory");
    }
}
