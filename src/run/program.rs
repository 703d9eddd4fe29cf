//! Checks whether the program of an app can be started, before its sidecar starts, so that nothing has to be stopped
//! again.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use crate::environment::Environment;

/// The search path without `PATH`, as `execvp` has it.
const USUAL_FOLDERS: &str = "/usr/bin:/bin";

/// A program that cannot be started.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Problem {
    /// The error.
    pub(super) text: String,
    /// The remedy.
    pub(super) remedy: String,
}

/// Check the program of an app with this working directory and environment. `None`: it can be started.
pub(super) fn problem(program: &str, folder: &Path, environment: &Environment) -> Option<Problem> {
    let candidates: Vec<PathBuf> = if program.contains('/') {
        vec![folder.join(program)]
    } else {
        let path = environment.get("PATH").unwrap_or(USUAL_FOLDERS);
        let folders = std::env::split_paths(path);
        folders.map(|path| folder.join(path).join(program)).collect()
    };
    if candidates.iter().any(|file| is_executable(file)) {
        return None;
    }
    let found = |text: &str, remedy: String| {
        Some(Problem { text: format!("Failed to find command {program}: {text}"), remedy })
    };
    if candidates.iter().any(|file| file.is_file()) {
        let remedy = format!(
            "make it executable (chmod +x {program}), or name the program that runs it first, for example python3 {program}"
        );
        return found("permission denied", remedy);
    }
    if folder.join(program).is_dir() {
        let remedy = "the command is a program and its arguments; a folder with a run file is given with -f";
        return found("it is a folder", remedy.to_owned());
    }
    found("no such file or directory", remedy_of_absence(program, folder))
}

fn is_executable(file: &Path) -> bool {
    file.metadata().is_ok_and(|about| about.is_file() && about.permissions().mode() & 0o111 != 0)
}

fn remedy_of_absence(program: &str, folder: &Path) -> String {
    let is_yaml = [".yaml", ".yml"].iter().any(|end| program.ends_with(end));
    if is_yaml {
        return format!("a run file is given with -f: sidestream run -f {program}");
    }
    if program.contains(char::is_whitespace) {
        return "program and arguments are words of their own: do not put all of them between one pair of quotes"
            .to_owned();
    }
    if !program.contains('/') && folder.join(program).is_file() {
        return format!("programs are looked for in PATH; for the file of this folder write ./{program}");
    }
    let start = if program.contains('/') {
        format!("the path begins at {}", folder.display())
    } else {
        "it is looked for in PATH".to_owned()
    };
    format!("install it or correct the name: {start}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_that_cannot_be_started_is_told_with_its_cause_and_what_to_do() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(folder.path().join("bin")).unwrap();
        for (name, mode) in [("plain.py", 0o644), ("ready", 0o755), ("bin/tool", 0o755)] {
            let file = folder.path().join(name);
            std::fs::write(&file, "").unwrap();
            std::fs::set_permissions(&file, std::fs::Permissions::from_mode(mode)).unwrap();
        }
        let environment: Environment = [("PATH".to_owned(), "/usr/bin:/bin:bin".to_owned())].into_iter().collect();
        let check = |program: &str, expected: Option<(&str, &str)>| {
            let problem = problem(program, folder.path(), &environment);
            let told = problem.map(|it| (it.text, it.remedy));
            match (told, expected) {
                (None, None) => {}
                (Some((text, remedy)), Some((cause, part))) => {
                    assert_eq!(text, format!("Failed to find command {program}: {cause}"));
                    assert!(remedy.contains(part), "{program}: {remedy}");
                }
                (told, expected) => panic!("{program}: {told:?}, expected {expected:?}"),
            }
        };
        let absent = "no such file or directory";
        check("sh", None);
        check("./ready", None);
        check("tool", None);
        check("no-such-program", Some((absent, "looked for in PATH")));
        check("./no-such", Some((absent, "the path begins at /")));
        check("ready", Some((absent, "write ./ready")));
        check("./plain.py", Some(("permission denied", "python3 ./plain.py")));
        check("./bin", Some(("it is a folder", "-f")));
        check("dapr.yaml", Some((absent, "sidestream run -f dapr.yaml")));
        check("python3 app.py", Some((absent, "words of their own")));
    }
}
