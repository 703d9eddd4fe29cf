//! The input of a check: folders, files, run files and standard input, as the arguments name them.

use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};

use crate::cli::CheckArgs;
use crate::diagnostic::{Diagnostic, Location};
use crate::environment::Environment;
use crate::resources::files::encoding;
use crate::resources::files::folder::{FileContent, FolderFile, is_yaml, reason};
use crate::resources::kinds::run_file::{self, AppEntry, RunFile, USUAL_NAME};
use crate::resources::yaml::parse;
use crate::resources::yaml::value::{Content, Node};

/// The name of standard input in messages.
const STDIN: &str = "<stdin>";

/// The files and folders of one app.
#[derive(Debug, Default)]
pub(super) struct View {
    /// The app whose scopes apply; `None` reads for every app.
    pub(super) app_id: Option<String>,
    pub(super) folders: Vec<PathBuf>,
    pub(super) files: Vec<FolderFile>,
    pub(super) config: Vec<PathBuf>,
}

/// Everything to read.
#[derive(Debug, Default)]
pub(super) struct Input {
    pub(super) views: Vec<View>,
    /// Findings about the arguments and the run files.
    pub(super) diagnostics: Vec<Diagnostic>,
}

/// The kind of a file.
enum Kind {
    Resources,
    Configuration,
    RunFile,
}

impl Input {
    pub(super) fn of(args: &CheckArgs, environment: &Environment, stdin: &mut dyn Read) -> Self {
        let mut input = Self::default();
        let mut view = View { app_id: args.app_id.clone(), config: args.config.clone(), ..View::default() };
        let mut run_files = Vec::new();
        for path in args.resources_path.iter().chain(&args.paths) {
            if path.as_os_str() == "-" {
                match text_of_stdin(stdin) {
                    Ok(text) => input.add(Path::new(STDIN), text, &mut view, &mut run_files),
                    Err(text) => input.unreadable(Path::new(STDIN), &text),
                }
            } else if path.is_dir() {
                input.folder(path);
                view.folders.push(path.clone());
            } else {
                match text_of(path) {
                    Ok(text) => input.add(path, text, &mut view, &mut run_files),
                    Err(text) => input.unreadable(path, &text),
                }
            }
        }
        if !view.folders.is_empty() || !view.files.is_empty() || !view.config.is_empty() {
            input.views.push(view);
        }
        if let Some(path) = &args.run_file {
            let (path, text) = if path.as_os_str() == "-" {
                (PathBuf::from(STDIN), text_of_stdin(stdin))
            } else if path.is_dir() {
                (path.join(USUAL_NAME), text_of(&path.join(USUAL_NAME)))
            } else {
                (path.clone(), text_of(path))
            };
            match text {
                Ok(text) => run_files.push((path, text)),
                Err(text) => input.unreadable(&path, &text),
            }
        }
        for (path, text) in run_files {
            input.run_file(&path, &text, args, environment);
        }
        input
    }

    fn add(&mut self, path: &Path, text: String, view: &mut View, run_files: &mut Vec<(PathBuf, String)>) {
        match kind(&text) {
            Kind::RunFile => run_files.push((path.to_owned(), text)),
            Kind::Configuration if path != Path::new(STDIN) => view.config.push(path.to_owned()),
            _ if path == Path::new(STDIN) => view.files.extend(documents(&text)),
            Kind::Configuration | Kind::Resources => {
                view.files.push(FolderFile { path: path.to_owned(), content: FileContent::Yaml(text) })
            }
        }
    }

    fn unreadable(&mut self, path: &Path, text: &str) {
        let message = format!("cannot be read: {text}");
        let help = "name a folder, a YAML file, or - for standard input";
        self.diagnostics.push(Diagnostic::warning(Location::new(path, 0), message).with_help(help));
    }

    /// Report a folder without resource files.
    fn folder(&mut self, folder: &Path) {
        let Ok(entries) = fs::read_dir(folder) else {
            return;
        };
        let paths: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
        if paths.iter().any(|path| !path.is_dir() && is_yaml(path)) {
            return;
        }
        let holds_yaml = |path: &&PathBuf| {
            let entries = fs::read_dir(path).into_iter().flatten().flatten();
            entries.map(|entry| entry.path()).any(|path| !path.is_dir() && is_yaml(&path))
        };
        let mut inside: Vec<String> = paths
            .iter()
            .filter(|path| path.is_dir())
            .filter(holds_yaml)
            .map(|path| path.display().to_string())
            .collect();
        inside.sort();
        let location = Location::new(folder, 0);
        self.diagnostics.push(match inside.first() {
            None => Diagnostic::hint(location, "no resource file is in this folder")
                .with_help("resources are files that end in .yaml or .yml"),
            Some(first) => Diagnostic::hint(
                location,
                "no resource file is in this folder, only in folders inside, which are not read",
            )
            .with_help(format!("name the folder that holds the files, for example {first}")),
        });
    }

    /// Add a view for each app of a run file.
    fn run_file(&mut self, path: &Path, text: &str, args: &CheckArgs, environment: &Environment) {
        let reading = run_file::read(path, text);
        self.diagnostics.extend(reading.diagnostics);
        let base = path.parent().unwrap_or(Path::new("")).to_owned();
        for app in &reading.file.apps {
            let view = self.view_of(app, &reading.file, &base, args, environment);
            self.views.push(view);
        }
    }

    fn view_of(
        &mut self,
        app: &AppEntry,
        file: &RunFile,
        base: &Path,
        args: &CheckArgs,
        environment: &Environment,
    ) -> View {
        let full = |base: &Path, path: &str| run_file::resolved(path, base, environment);
        let folder = full(base, &app.dir);
        let (own, common) = (&app.shared, &file.common);
        let mut view = View { app_id: Some(app.id(&folder)), config: args.config.clone(), ..View::default() };
        let (resources, begin, lines) = if own.resources.is_empty() {
            (&common.resources, base, &common.lines)
        } else {
            (&own.resources, folder.as_path(), &own.lines)
        };
        for path in resources {
            let path = full(begin, path);
            if path.is_dir() {
                self.folder(&path);
                view.folders.push(path);
            } else {
                let location = lines.of("resourcesPaths");
                let message = format!("the resources folder {} cannot be read", path.display());
                let help = "correct the path: in common it begins at the run file, else at appDirPath";
                self.diagnostics.push(Diagnostic::warning(location, message).with_help(help));
            }
        }
        let (config, begin) =
            if own.config.is_empty() { (&common.config, base) } else { (&own.config, folder.as_path()) };
        if !config.is_empty() {
            view.config.push(full(begin, config));
        }
        if !app.dir.is_empty() && !folder.is_dir() {
            let message = format!("appDirPath: {} is not a folder", folder.display());
            let help = "give the folder in which the app is to run, relative to this file";
            let location = app.lines.of("appDirPath");
            self.diagnostics.push(Diagnostic::warning(location, message).with_help(help));
        }
        view
    }
}

/// The kind of a file, by the keys of its first document.
fn kind(text: &str) -> Kind {
    let parts = parse::split(text);
    let first = parts.first().and_then(|(line, text)| parse::document(text, *line).ok().flatten());
    let Some(document) = first else {
        return Kind::Resources;
    };
    let get = |name: &str| entry(&document.root, name);
    match get("kind").and_then(Node::as_text) {
        Some("Configuration") => Kind::Configuration,
        None if get("apps").is_some() => Kind::RunFile,
        _ => Kind::Resources,
    }
}

/// The documents of standard input, each as a file of its own, because they mostly come from several files. Empty lines
/// keep the line numbers.
fn documents(text: &str) -> impl Iterator<Item = FolderFile> {
    let parts = parse::split(text).into_iter();
    parts.map(|(line, text)| FolderFile {
        path: PathBuf::from(STDIN),
        content: FileContent::Yaml("\n".repeat(line - 1) + &text),
    })
}

fn entry<'a>(root: &'a Node, name: &str) -> Option<&'a Node> {
    match &root.content {
        Content::Map(entries) => entries.iter().find(|(key, _)| key.as_text() == Some(name)).map(|(_, value)| value),
        Content::List(_) | Content::Scalar { .. } => None,
    }
}

fn text_of(path: &Path) -> Result<String, String> {
    encoding::read(path).map_err(|error| reason(&error))
}

fn text_of_stdin(stdin: &mut dyn Read) -> Result<String, String> {
    let mut bytes = Vec::new();
    stdin.read_to_end(&mut bytes).map_err(|error| reason(&error))?;
    encoding::text(bytes).map_err(|error| error.to_string())
}
