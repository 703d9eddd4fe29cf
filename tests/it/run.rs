//! `sidestream run`: the real binary with real apps beside it.

use nix::sys::signal::Signal;

use super::support::eventually;
use super::support::port::free_port;
use super::support::process::{Process, example, is_gone, sidestream};

/// On this machine only, as every test.
const RUN: [&str; 3] = [
    "run",
    "--dapr-listen-addresses=127.0.0.1",
    "--metrics-listen-address=127.0.0.1",
];

/// `run` with these arguments and a shell script as the app.
fn run(arguments: &[&str], script: &str) -> Process {
    let arguments = [&RUN, arguments, &["--", "sh", "-c", script]].concat();
    Process::start(sidestream(arguments))
}

#[tokio::test]
async fn the_app_gets_its_environment_and_its_exit_code_is_passed_on() {
    let port = free_port().to_string();
    let script =
        "echo $APP_ID $APP_PORT $APP_PROTOCOL $APP_CHANNEL_ADDRESS $DAPR_HTTP_PORT; exit 7";
    let mut run = run(&["-a", "orders", "-p", "8001", "-H", &port], script);
    assert_eq!(run.ended().await, 7, "{}", run.said());
    let said = run.said();
    let line = format!("\n== APP == orders 8001 http 127.0.0.1 {port}\n");
    assert!(said.contains(&line), "{said}");
    assert!(said.contains("\n== DAPR == "), "{said}");
    assert!(
        said.contains("The App process exited with error code: 7"),
        "{said}"
    );
    assert!(said.contains("Exited Dapr successfully"), "{said}");
    assert!(
        said.contains("Events do not survive this process"),
        "{said}"
    );
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
        assert!(
            at("Daprd shutdown gracefully") < at("== APP == ended"),
            "{said}"
        );
        at("Exited App successfully");
        eventually("nothing is left", || async {
            is_gone(&child) && is_gone(&app)
        })
        .await;
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
    check(
        &["-P", "pigeon"],
        "invalid value for 'app-protocol': pigeon",
    )
    .await;
    check(&["--resources-path", "/no/such"], "stat /no/such: ").await;
    check(&["-H", "70000"], "Port 70000 is not available").await;
    check(&["-k"], "--kubernetes is not supported").await;
}

#[tokio::test]
async fn without_an_app_the_sidecar_ends_too() {
    let mut run = Process::start(sidestream([&RUN[..], &["--", "/no/such/program"]].concat()));
    assert_eq!(run.ended().await, 1);
    let said = run.said();
    assert!(
        said.contains("Failed to find command /no/such/program: "),
        "{said}"
    );
    assert!(said.contains("Daprd shutdown gracefully"), "{said}");
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
