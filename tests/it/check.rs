//! `sidestream check` as a pipeline uses it: input, output, exit code.

use std::io::Write;
use std::process::{Output, Stdio};

use serde_json::Value;

use super::support::process::sidestream;

const MEMORY: &str = "apiVersion: dapr.io/v1alpha1\nkind: Component\nmetadata: {name: pubsub}\nspec: {type: pubsub.in-memory, version: v1}\n";

/// A file with a finding that is worth knowing but no mistake.
const UNKNOWN_SETTING: &str = "apiVersion: dapr.io/v1alpha1\nkind: Component\nmetadata: {name: pubsub}\nspec:\n  type: pubsub.in-memory\n  version: v1\n  metadata:\n  - {name: colour, value: blue}\n";

const UNKNOWN_TYPE: &str = "apiVersion: dapr.io/v1alpha1\nkind: Component\nmetadata: {name: pubsub}\nspec: {type: pubsub.kafka, version: v1}\n";

/// Runs `sidestream check` with these arguments and this standard input.
fn check(arguments: &[&str], input: &str) -> Output {
    let mut child = sidestream(std::iter::once("check").chain(arguments.iter().copied()))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // A check that does not read its input may have ended already.
    let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
    child.wait_with_output().unwrap()
}

#[test]
fn mistakes_fail_and_what_is_worth_knowing_does_so_only_if_that_is_asked_for() {
    for (arguments, input, code, says) in [
        (&["-"][..], MEMORY, 0, "No mistakes found."),
        (&["-"], UNKNOWN_SETTING, 0, "\"colour\" is not known"),
        (&["-", "--strict"], UNKNOWN_SETTING, 1, "\"colour\" is not known"),
        (&["-"], UNKNOWN_TYPE, 1, "this build has pubsub.redis and pubsub.in-memory"),
        (&["--resources-path", "/nonexistent/folder"], "", 1, "/nonexistent/folder"),
        (&["/nonexistent/file.yaml"], "", 1, "/nonexistent/file.yaml"),
    ] {
        let output = check(arguments, input);
        let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {said}");
        assert!(said.contains(says), "{arguments:?}: {said}");
    }
}

#[test]
fn a_folder_a_file_and_a_run_file_are_read_and_json_has_every_finding() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let resources = folder.path().join("resources");
    std::fs::create_dir(&resources).unwrap();
    let file = write("resources/pubsub.yaml", UNKNOWN_TYPE);
    let run = write(
        "dapr.yaml",
        "version: 1\napps:\n- appID: shop\n  appDirPath: .\n  resourcesPaths: [./resources]\n  command: [\"true\"]\n",
    );
    for arguments in [&["--json", resources.to_str().unwrap()][..], &["--json", &file], &["--json", "-f", &run]] {
        let output = check(arguments, "");
        let report: Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(output.status.code(), Some(1), "{report}");
        let finding = &report["findings"][0];
        assert_eq!(finding["severity"], "mistake", "{report}");
        assert!(finding["file"].as_str().unwrap().ends_with("pubsub.yaml"), "{report}");
        assert_eq!((&finding["line"], &report["mistakes"]), (&4.into(), &1.into()), "{report}");
    }
}
