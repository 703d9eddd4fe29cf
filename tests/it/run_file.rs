//! `sidestream run -f`: the real binary with all apps of a run file.

use std::fs;
use std::path::Path;

use nix::sys::signal::Signal;

use super::support::eventually;
use super::support::port::free_port;
use super::support::process::{Process, is_gone, sidestream};

/// A folder with a run file, and one folder each for the apps `a` and `b`.
struct Desk(tempfile::TempDir);

impl Desk {
    /// Writes the run file; `apps` is its list of apps. Everything listens on loopback only.
    fn new(apps: &str) -> Self {
        let desk = Self(tempfile::tempdir().unwrap());
        for folder in ["a", "b"] {
            fs::create_dir(desk.path().join(folder)).unwrap();
        }
        let text = format!(
            "version: 1\nname: stack\ncommon:\n  apiListenAddresses: 127.0.0.1\n  daprdLogDestination: console\n  appLogDestination: console\napps:\n{apps}"
        );
        fs::write(desk.path().join("dapr.yaml"), text).unwrap();
        desk
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    fn run(&self) -> Process {
        run(self.path())
    }
}

fn run(file: &Path) -> Process {
    let file = file.to_str().unwrap();
    Process::start(sidestream(["run", "-f", file, "--metrics-listen-address=127.0.0.1"]))
}

/// An app of the file, which runs this shell script in its folder.
fn app(folder: &str, script: &str) -> String {
    format!("- appDirPath: ./{folder}\n  command: [sh, -c, {}]\n", serde_json::to_string(script).unwrap())
}

#[track_caller]
fn in_order(said: &str, texts: &[&str]) {
    let at = |text: &&str| said.find(*text).unwrap_or_else(|| panic!("{text}: {said}"));
    let places: Vec<usize> = texts.iter().map(at).collect();
    assert!(places.is_sorted(), "{texts:?} {places:?}: {said}");
}

#[tokio::test]
async fn the_example_stack_delivers_with_nothing_installed() {
    let examples = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples");
    let desk = tempfile::tempdir().unwrap();
    fs::create_dir(desk.path().join("resources")).unwrap();
    for name in ["publisher.py", "subscriber.py", "resources/pubsub.yaml"] {
        fs::copy(examples.join(name), desk.path().join(name)).unwrap();
    }
    let text = fs::read_to_string(examples.join("dapr.yaml")).unwrap();
    let text = text.replace("8001", &free_port().to_string());
    fs::write(desk.path().join("dapr.yaml"), text).unwrap();

    let mut stack = run(desk.path());
    stack.says("== APP - shop == published order 2").await;
    // The first order was published before the subscription began.
    let orders = || {
        let said = stack.said();
        let got = said.lines().filter(|line| line.starts_with("== APP - kitchen == got orders "));
        let got: Vec<String> = got.map(str::to_owned).collect();
        got
    };
    eventually("both orders arrive", || async { orders().len() >= 2 }).await;
    assert!(orders()[0].contains("'orderId': 1,"), "{}", stack.said());
    assert!(orders()[1].contains("'orderId': 2,"), "{}", stack.said());
    stack.signal(Signal::SIGINT);
    assert_eq!(stack.ended().await, 0, "{}", stack.said());
}

#[tokio::test]
async fn apps_have_their_own_environment_folder_and_prefix() {
    let script = "echo $APP_ID $APP_PORT $APP_PROTOCOL $APP_CHANNEL_ADDRESS $A $B $(basename $PWD); echo oh >&2; echo \"$0 $1\"; test $DAPR_HTTP_PORT -gt 0 && test $DAPR_GRPC_PORT -gt 0 && test $DAPR_METRICS_PORT -gt 0 && exit 0";
    let words = serde_json::to_string(script).unwrap();
    let desk = Desk::new(&format!(
        "- appDirPath: ./a\n  env: {{A: 010, B: b}}\n  command: [sh, -c, {words}, 'x  y', \"it's\"]\n- appDirPath: ./b\n  appID: kitchen\n  appPort: 18001\n  command: [./app]\n"
    ));
    // A script without a `#!` line.
    let file = desk.path().join("b/app");
    fs::write(&file, "echo $APP_ID $APP_PORT\n").unwrap();
    let all = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    fs::set_permissions(&file, all).unwrap();
    let mut stack = desk.run();
    assert_eq!(stack.ended().await, 0, "{}", stack.said());
    let said = stack.said();
    for line in [
        "== APP - a == a http 127.0.0.1 010 b a\n",
        "== APP - a == oh\n",
        "== APP - a == x  y it's\n",
        "== APP - kitchen == kitchen 18001\n",
        "every app has ended: shutting down\n",
    ] {
        assert!(said.contains(line), "{line}: {said}");
    }
    in_order(
        &said,
        &[
            "Validating config and starting app \"a\"",
            "== DAPR - a == ",
            "Started Dapr with app id \"a\". HTTP Port: ",
            "Validating config and starting app \"kitchen\"",
            "== DAPR - kitchen == ",
            "Started Dapr with app id \"kitchen\". HTTP Port: ",
        ],
    );
}

#[tokio::test]
async fn an_app_that_fails_leaves_the_others_alone_and_shows_in_the_exit_code() {
    let desk = Desk::new(&format!(
        "{}{}",
        app("a", "exit 7"),
        app("b", "trap 'exit 0' TERM; echo up; while :; do sleep 0.05; done")
    ));
    let mut stack = desk.run();
    stack.says("a: The App process exited with error code: 7").await;
    stack.says("== APP - b == up").await;
    stack.signal(Signal::SIGTERM);
    assert_eq!(stack.ended().await, 1, "{}", stack.said());
    let said = stack.said();
    in_order(
        &said,
        &[
            "error code: 7",
            "terminated signal received: shutting down",
            "b: Exited Dapr successfully",
            "b: Exited App successfully",
        ],
    );
    assert!(said.contains("a: Exited Dapr successfully"), "{said}");
}

#[tokio::test]
async fn a_signal_ends_every_sidecar_before_its_app() {
    let script = "trap 'echo ended; exit 0' TERM; echo app $$; while :; do sleep 0.05; done";
    let desk = Desk::new(&format!("{}{}", app("a", script), app("b", script)));
    let mut stack = desk.run();
    let pids = [stack.says("== APP - a == app ").await, stack.says("== APP - b == app ").await];
    stack.says("You're up and running!").await;
    stack.signal(Signal::SIGTERM);
    assert_eq!(stack.ended().await, 0, "{}", stack.said());
    let said = stack.said();
    for id in ["a", "b"] {
        in_order(
            &said,
            &[
                &format!("{id}: Exited Dapr successfully"),
                &format!("== APP - {id} == ended"),
                &format!("{id}: Exited App successfully"),
            ],
        );
    }
    eventually("nothing is left", || async { pids.iter().all(|pid| is_gone(pid)) }).await;
}

#[tokio::test]
async fn logs_go_to_files_beside_the_app_if_they_are_to() {
    let desk = Desk::new(&format!(
        "{}  daprdLogDestination: file\n  appLogDestination: fileAndConsole\n",
        app("a", "printf '\\033[31mred\\033[0m\\n'")
    ));
    let mut stack = desk.run();
    assert_eq!(stack.ended().await, 0, "{}", stack.said());
    let said = stack.said();
    let logs = desk.path().join("a/.dapr/logs");
    let folder = format!("Writing log files to directory : {}\n", logs.display());
    assert!(said.contains(&folder), "{said}");
    assert!(said.contains("== APP - a == \x1b[31mred\x1b[0m\n"), "{said}");
    assert!(!said.contains("== DAPR - a == "), "{said}");
    let read = |what: &str| {
        let is_it = |path: &Path| path.to_str().unwrap().contains(what);
        let mut files = fs::read_dir(&logs).unwrap().map(|entry| entry.unwrap().path());
        fs::read_to_string(files.find(|path| is_it(path)).unwrap()).unwrap()
    };
    assert_eq!(read("/a_app_"), "== APP - a == red\n");
    let log = read("/a_daprd_");
    assert!(log.starts_with("time="), "{log}");
    assert!(log.contains("Daprd shutdown gracefully"), "{log}");
}

#[tokio::test]
async fn a_file_with_mistakes_starts_nothing() {
    let desk = Desk::new(&format!(
        "{}- appDirPath: ./nope\n- {{appDirPath: ./b, appID: a, foo: 1}}\n",
        app("a", "echo started")
    ));
    let mut stack = desk.run();
    assert_eq!(stack.ended().await, 1);
    let said = stack.said();
    assert!(said.contains("2 mistakes, nothing was started\n"), "{said}");
    assert!(said.contains("dapr.yaml:10: error in getting the file info for "), "{said}");
    assert!(said.contains("dapr.yaml:11: app id \"a\" stands twice, first at "), "{said}");
    assert!(said.contains("dapr.yaml:11: unknown field apps[2].foo is ignored"), "{said}");
    assert!(!said.contains("== APP"), "{said}");

    let check = async |arguments: &[&str], expected: &str| {
        let mut run = Process::start(sidestream([&["run"], arguments].concat()));
        assert_eq!(run.ended().await, 1, "{}", run.said());
        assert!(run.said().contains(expected), "{}", run.said());
    };
    let other = desk.path().join("app.json");
    fs::write(&other, "{}").unwrap();
    check(&["-f", other.to_str().unwrap()], "app.json\" is not a YAML file").await;
    check(&["-f", "nosuch"], "no such file or directory; give the file").await;
    check(&["-f", "/no/such/dapr.yaml"], "no such file or directory").await;
    // Standard input is empty in these tests.
    check(&["-f", "-"], "<stdin>: required field 'version' not found").await;
    check(&["-k", "-f", "dapr.yaml"], "--kubernetes is not supported").await;
}

#[tokio::test]
async fn a_sidecar_that_cannot_start_ends_what_was_started() {
    // The log folder cannot be created.
    let desk = Desk::new(&format!(
        "{}{}  appLogDestination: file\n",
        app("a", "echo up; trap 'exit 0' TERM; while :; do sleep 0.05; done"),
        app("b", "echo started")
    ));
    fs::write(desk.path().join("b/.dapr"), "").unwrap();
    let mut stack = desk.run();
    assert_eq!(stack.ended().await, 1);
    let said = stack.said();
    assert!(said.lines().last().unwrap().contains("Error starting app \"b\": cannot write logs to "), "{said}");
    assert!(!said.contains("You're up and running"), "{said}");
    in_order(&said, &["a: Exited Dapr successfully", "a: Exited App successfully"]);
    assert!(!said.contains("== APP - b =="), "{said}");
}
