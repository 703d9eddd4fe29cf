//! `sidestream run`: the real binary with real apps.

use nix::sys::signal::Signal;

use super::support::eventually;
use super::support::port::free_port;
use super::support::process::{Process, example, is_gone, sidestream};

/// Listen on loopback only.
const RUN: [&str; 3] = ["run", "--dapr-listen-addresses=127.0.0.1", "--metrics-listen-address=127.0.0.1"];

/// Runs `sidestream run` with these arguments and a shell script as the app.
fn run(arguments: &[&str], script: &str) -> Process {
    let arguments = [&RUN, arguments, &["--", "sh", "-c", script]].concat();
    Process::start(sidestream(arguments))
}

#[tokio::test]
async fn the_app_gets_its_environment_and_its_exit_code_is_passed_on() {
    let port = free_port().to_string();
    let script = "echo $APP_ID $APP_PORT $APP_PROTOCOL $APP_CHANNEL_ADDRESS $DAPR_HTTP_PORT; exit 7";
    let mut run = run(&["-a", "orders", "-p", "8001", "-H", &port], script);
    assert_eq!(run.ended().await, 7, "{}", run.said());
    let said = run.said();
    let line = format!("\n== APP == orders 8001 http 127.0.0.1 {port}\n");
    assert!(said.contains(&line), "{said}");
    assert!(said.contains("\n== DAPR == "), "{said}");
    assert!(said.contains("The App process exited with error code: 7"), "{said}");
    assert!(said.contains("the app has ended: shutting down"), "{said}");
    assert!(said.contains("Exited Dapr successfully"), "{said}");
    assert!(said.contains("Events do not survive this process"), "{said}");
}

#[tokio::test]
async fn a_signal_ends_the_sidecar_then_the_app_with_all_its_children() {
    for signal in [Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP] {
        let mut run = run(
            &["--app-id", "orders"],
            "trap 'echo ended; exit 0' TERM; sleep 600 & echo child $!; echo app $$; while :; do sleep 0.05; done",
        );
        let child = run.says("== APP == child ").await;
        let app = run.says("== APP == app ").await;
        run.signal(signal);
        assert_eq!(run.ended().await, 0, "{signal}: {}", run.said());
        let said = run.said();
        let at = |text: &str| said.find(text).unwrap_or_else(|| panic!("{text}: {said}"));
        assert!(at("Daprd shutdown gracefully") < at("== APP == ended"), "{said}");
        at("Exited App successfully");
        eventually("nothing is left", || async { is_gone(&child) && is_gone(&app) }).await;
    }
}

#[tokio::test]
async fn without_a_sidecar_there_is_no_app() {
    let check = async |arguments: &[&str], expected: &str| {
        let mut run = run(arguments, "echo started");
        assert_eq!(run.ended().await, 1, "{}", run.said());
        assert!(run.said().contains(expected), "{}", run.said());
        assert!(!run.said().contains("== APP =="), "{}", run.said());
    };
    check(&["-a", "a.b"], "parameter app-id cannot contain dots").await;
    check(&["-P", "pigeon"], "invalid value for 'app-protocol': pigeon").await;
    check(&["--resources-path", "/no/such"], "stat /no/such: ").await;
    check(&["-H", "70000"], "Port 70000 is not available: use 1 to 65535").await;
    check(&["-k"], "--kubernetes is not supported").await;
}

#[tokio::test]
async fn a_program_that_is_not_there_is_said_before_the_sidecar_starts() {
    for program in ["/no/such/program", "no-such-program"] {
        let mut run = Process::start(sidestream([&RUN[..], &["--", program]].concat()));
        assert_eq!(run.ended().await, 1);
        let said = run.said();
        let expected = format!("Failed to find command {program}: no such file or directory; ");
        assert!(said.contains(&expected), "{said}");
        assert_eq!(said.lines().count(), 1, "{said}");
    }
}

#[tokio::test]
async fn up_and_running_is_said_only_once_it_is_true() {
    const UP: &str = "You're up and running!";
    // An app that ends at once is not reported as running.
    let mut failing = run(&["-a", "orders"], "exit 3");
    assert_eq!(failing.ended().await, 3);
    assert!(!failing.said().contains(UP), "{}", failing.said());

    // An app that does not listen yet is waited for, and the output says so.
    let app_port = free_port().to_string();
    let mut silent = run(&["-a", "orders", "-p", &app_port], "exec sleep 600");
    silent.says(&format!("the app does not listen on 127.0.0.1:{app_port}. ")).await;
    assert!(!silent.said().contains(UP), "{}", silent.said());
    silent.signal(Signal::SIGTERM);
    silent.ended().await;

    // A listener that is there before the app starts is not the app.
    let other = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let other_port = other.local_addr().unwrap().port().to_string();
    let mut second = run(&["-a", "orders", "-p", &other_port], "exec sleep 600");
    second.says(&format!("another program listens on 127.0.0.1:{other_port} already. ")).await;
    second.signal(Signal::SIGTERM);
    second.ended().await;

    // The broker is waited for, too.
    let closed = free_port();
    let folder = tempfile::tempdir().unwrap();
    let component = format!(
        "apiVersion: dapr.io/v1alpha1\nkind: Component\nmetadata: {{name: orders}}\nspec:\n  type: pubsub.redis\n  version: v1\n  metadata:\n  - {{name: redisHost, value: '127.0.0.1:{closed}'}}\n"
    );
    std::fs::write(folder.path().join("pubsub.yaml"), component).unwrap();
    let folder = folder.path().display().to_string();
    let mut alone = run(&["--resources-path", &folder], "exec sleep 600");
    alone.says("Not up yet: orders: ").await;
    assert!(!alone.said().contains(UP), "{}", alone.said());
    alone.signal(Signal::SIGTERM);
    alone.ended().await;

    let mut good = run(&["-a", "orders"], "exec sleep 600");
    good.says(UP).await;
    good.signal(Signal::SIGTERM);
    assert_eq!(good.ended().await, 0, "{}", good.said());
}

#[tokio::test]
async fn the_reason_of_a_failed_start_is_the_last_line_and_there_once() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("dapr.yaml"), "version: 1\napps:\n- {appDirPath: ., appID: a.b}\n").unwrap();
    let file = folder.path().display().to_string();
    let check = async |arguments: &[&str], reason: &str| {
        let mut run = Process::start(sidestream(arguments));
        assert_eq!(run.ended().await, 1, "{}", run.said());
        let said = run.said();
        assert_eq!(said.matches(reason).count(), 1, "{said}");
        assert!(said.lines().last().unwrap().contains(reason), "{said}");
    };
    check(&[&RUN[..], &["-a", "a.b"]].concat(), "The sidecar did not start: parameter app-id cannot contain dots")
        .await;
    check(&["run", "-H", &port], "another program has it. ").await;
    check(&["run", "--metrics-port", &port], "another program has it. ").await;
    check(&["run", "-f", &file], "parameter app-id cannot contain dots").await;
    check(&["demo", "--port", &port], "--port 0 takes one that is free").await;
    let sidecar = [
        "--app-id=a",
        "--dapr-listen-addresses=127.0.0.1",
        "--metrics-listen-address=127.0.0.1",
        "--metrics-port",
        &port,
    ];
    check(&sidecar, "choose another port with --metrics-port").await;
}

#[tokio::test]
async fn an_app_gets_what_is_published_to_its_sidecar() {
    let port = free_port().to_string();
    let mut words = [&RUN[..], &["-a", "kitchen", "-p", &port, "--"]].concat();
    let subscriber = example("subscriber.py");
    let app: Vec<&str> = std::iter::once(subscriber.get_program())
        .chain(subscriber.get_args())
        .map(|word| word.to_str().unwrap())
        .collect();
    words.extend(app);
    let mut run = Process::start(sidestream(words));
    run.says("dapr initialized").await;
    let http = run.says("HTTP Port: ").await;
    let http = http.split('.').next().unwrap().to_owned();

    let mut publisher = example("publisher.py");
    publisher.env("DAPR_HTTP_PORT", http);
    let mut publisher = Process::start(publisher);
    run.says("== APP == got orders ").await;
    publisher.signal(Signal::SIGTERM);
    publisher.ended().await;
    run.signal(Signal::SIGTERM);
    assert_eq!(run.ended().await, 0, "{}", run.said());
}
