//! Resource files that change while events flow: no event is lost or stuck (tests/spec/resources-cli.md, "10. Hot
//! reload and SIGHUP"; D16).

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use hyper::StatusCode;
use nix::sys::signal::Signal;
use parking_lot::Mutex;

use crate::support::app::{Answer, App, Delivered};
use crate::support::http;
use crate::support::port::free_port;
use crate::support::process::{Process, sidestream};
use crate::support::redis::RedisServer;
use crate::support::sidecar::{Sidecar, redis_component};
use crate::support::{PATIENCE, eventually};

const NOTHING: &str = "[]";
const MEMORY: &str = "apiVersion: dapr.io/v1alpha1\nkind: Component\nmetadata: {name: pubsub}\nspec:\n  type: pubsub.in-memory\n  version: v1\n  metadata:\n  - {name: note, value: one}\n";

fn subscription(path: &str) -> String {
    format!(
        "apiVersion: dapr.io/v2alpha1\nkind: Subscription\nmetadata: {{name: s}}\nspec:\n  pubsubname: pubsub\n  topic: orders\n  routes: {{default: {path}}}\n"
    )
}

async fn app() -> App {
    App::start(NOTHING, |_| Answer::success().after(Duration::from_millis(3))).await
}

/// Numbers of the events that the app has received, on any path.
fn numbers(app: &App) -> BTreeSet<u64> {
    let seen = app.seen();
    seen.iter().map(number).collect()
}

fn number(delivered: &Delivered) -> u64 {
    let event: serde_json::Value = serde_json::from_slice(&delivered.body).unwrap();
    event["data"].as_u64().unwrap()
}

fn paths(app: &App) -> BTreeSet<String> {
    app.seen().into_iter().map(|delivered| delivered.path).collect()
}

/// Waits until the app receives an event on a path.
async fn arrives(app: &App, path: &str) {
    eventually(path, || async { paths(app).contains(path) }).await;
}

/// Writes as editors do: a new file renamed over the old one, so that no reader sees half of it.
fn save(file: &Path, text: &str) {
    let aside = file.with_extension("new");
    fs::write(&aside, text).unwrap();
    fs::rename(&aside, file).unwrap();
}

/// Publishes one event after the other until `changes` ends; returns how many.
async fn publish_during(sidecar: &Sidecar, changes: impl Future<Output = ()>) -> u64 {
    let published = AtomicUsize::new(0);
    let publishing = async {
        loop {
            let number = published.load(Ordering::Relaxed);
            let status = sidecar.publish(number.to_string()).await;
            assert_eq!(status, Some(StatusCode::NO_CONTENT), "event {number}");
            published.fetch_add(1, Ordering::Relaxed);
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    tokio::select! {
        () = publishing => {}
        () = changes => {}
    }
    // The last publish may still have been in progress.
    published.load(Ordering::Relaxed) as u64
}

#[tokio::test(flavor = "multi_thread")]
async fn over_redis_nothing_is_lost_while_subscriptions_and_components_change() {
    let redis = RedisServer::start().await;
    let app = app().await;
    let component = redis_component(redis.port);
    let sidecar = Sidecar::start(&component, app.port, &[]).await;
    let own = sidecar.folder().join("s.yaml");
    let published = publish_during(&sidecar, async {
        fs::write(&own, subscription("/one")).unwrap();
        arrives(&app, "/one").await;
        save(&own, &subscription("/two"));
        arrives(&app, "/two").await;
        let changed = format!("{component}  - {{name: concurrency, value: '3'}}\n");
        save(&sidecar.folder().join("pubsub.yaml"), &changed);
        fs::remove_file(&own).unwrap();
        let has_stopped = || async {
            let before = app.seen().len();
            tokio::time::sleep(Duration::from_millis(100)).await;
            before == app.seen().len()
        };
        eventually("the subscription has ended", has_stopped).await;
        fs::write(&own, subscription("/three")).unwrap();
        arrives(&app, "/three").await;
    })
    .await;
    eventually("all events", || async { numbers(&app).len() as u64 >= published }).await;
    redis.settled("orders", "app").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn in_memory_nothing_is_lost_while_subscriptions_and_components_change() {
    let app = app().await;
    let with_subscription = |path: &str| format!("{MEMORY}---\n{}", subscription(path));
    let sidecar = Sidecar::start(&with_subscription("/one"), app.port, &[]).await;
    let file = sidecar.folder().join("pubsub.yaml");
    let published = publish_during(&sidecar, async {
        arrives(&app, "/one").await;
        save(&file, &with_subscription("/two"));
        arrives(&app, "/two").await;
        let changed = with_subscription("/three").replace("value: one", "value: two");
        save(&file, &changed);
        arrives(&app, "/three").await;
    })
    .await;
    eventually("all events", || async { numbers(&app).len() as u64 >= published }).await;
}

/// Replaces a symbolic link atomically.
fn link(target: impl AsRef<Path>, at: &Path) {
    let aside = at.with_file_name("aside");
    symlink(target, &aside).unwrap();
    fs::rename(aside, at).unwrap();
}

/// Makes or swaps the contents of a folder as Kubernetes mounts it, with a file `s.yaml`.
fn mount(folder: &Path, dated: &str, text: &str) {
    fs::create_dir(folder.join(dated)).unwrap();
    fs::write(folder.join(dated).join("s.yaml"), text).unwrap();
    link(dated, &folder.join("..data"));
}

/// Publishes until an event arrives on a path; fails if only the check once a minute would find the change.
async fn arrives_soon(sidecar: &Sidecar, app: &App, path: &str) {
    let soon = tokio::time::timeout(PATIENCE, async {
        while !paths(app).contains(path) {
            sidecar.publish("1".to_owned()).await;
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    });
    assert!(soon.await.is_ok(), "{path} in vain");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_that_kubernetes_mounts_is_followed_when_it_is_swapped() {
    let app = app().await;
    let sidecar = Sidecar::start(MEMORY, app.port, &[]).await;
    let folder = sidecar.folder();
    mount(folder, "..2026_01", &subscription("/one"));
    link("..data/s.yaml", &folder.join("s.yaml"));
    arrives_soon(&sidecar, &app, "/one").await;
    mount(folder, "..2026_02", &subscription("/two"));
    arrives_soon(&sidecar, &app, "/two").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn links_that_lead_out_of_the_folder_are_followed_when_they_are_swapped() {
    let app = app().await;
    let outside = tempfile::tempdir().unwrap();
    let sidecar = Sidecar::start(MEMORY, app.port, &[]).await;
    mount(outside.path(), "..2026_01", &subscription("/one"));
    let target = outside.path().join("..data/s.yaml");
    link(target, &sidecar.folder().join("s.yaml"));
    arrives_soon(&sidecar, &app, "/one").await;
    mount(outside.path(), "..2026_02", &subscription("/two"));
    arrives_soon(&sidecar, &app, "/two").await;
    let file = outside.path().join("..2026_02/s.yaml");
    fs::write(file, subscription("/three")).unwrap();
    arrives_soon(&sidecar, &app, "/three").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_that_is_a_link_is_followed_when_it_is_swapped() {
    let app = app().await;
    let outside = tempfile::tempdir().unwrap();
    let current = outside.path().join("current");
    for (folder, route) in [("one", "/one"), ("two", "/two")] {
        fs::create_dir(outside.path().join(folder)).unwrap();
        fs::write(outside.path().join(folder).join("s.yaml"), subscription(route)).unwrap();
    }
    link("one", &current);
    let flags = ["--resources-path", current.to_str().unwrap()];
    let sidecar = Sidecar::start(MEMORY, app.port, &flags).await;
    arrives_soon(&sidecar, &app, "/one").await;
    link("two", &current);
    arrives_soon(&sidecar, &app, "/two").await;
}

/// A change of a file, and the log line it causes.
async fn change(sidecar: &Process, file: &Path, text: Option<&str>, said: &str) {
    let before = sidecar.said().matches(said).count();
    match text {
        Some(text) => fs::write(file, text).unwrap(),
        None => fs::remove_file(file).unwrap(),
    }
    eventually(&format!("it says {said:?}"), || async { sidecar.said().matches(said).count() > before }).await;
}

/// A sidecar with an in-memory component, a subscription, a log, and an app that refuses everything at first.
struct Refusing {
    sidecar: Process,
    app: App,
    accepts: Arc<AtomicBool>,
    accepted: Arc<Mutex<BTreeSet<u64>>>,
    folder: tempfile::TempDir,
    port: u16,
}

impl Refusing {
    async fn start() -> Self {
        let accepts = Arc::new(AtomicBool::new(false));
        let accepted = Arc::new(Mutex::new(BTreeSet::new()));
        let (accepting, kept) = (accepts.clone(), accepted.clone());
        let app = App::start(NOTHING, move |delivered| {
            if !accepting.load(Ordering::Relaxed) {
                return Answer::status(503);
            }
            kept.lock().insert(number(delivered));
            Answer::success()
        })
        .await;
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("pubsub.yaml"), MEMORY).unwrap();
        fs::write(folder.path().join("s.yaml"), subscription("/one")).unwrap();
        let port = free_port();
        let sidecar = Process::start(sidestream([
            "--app-id=app",
            "--dapr-listen-addresses=127.0.0.1",
            "--enable-metrics=false",
            &format!("--dapr-http-port={port}"),
            &format!("--dapr-grpc-port={}", free_port()),
            &format!("--app-port={}", app.port),
            &format!("--resources-path={}", folder.path().display()),
        ]));
        sidecar.says("dapr initialized").await;
        let refusing = Self { sidecar, app, accepts, accepted, folder, port };
        for number in 0..3 {
            refusing.publish(number).await;
        }
        // One event was refused and waits for its redelivery.
        eventually("it was refused", || async { !refusing.app.seen().is_empty() }).await;
        refusing
    }

    async fn publish(&self, number: u64) {
        let headers = [("Content-Type", "application/json")];
        let path = "/v1.0/publish/pubsub/orders";
        let answer = http::call("POST", self.port, path, &headers, &number.to_string()).await;
        assert_eq!(answer.map(|answer| answer.status), Some(204), "event {number}");
    }

    fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Lets the app accept everything, and waits for the events of the beginning and one more.
    async fn nothing_is_lost(&self) {
        self.accepts.store(true, Ordering::Relaxed);
        self.publish(3).await;
        eventually("all events", || async { *self.accepted.lock() == (0..4).collect() }).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_is_broken_for_a_while_takes_nothing_away() {
    let refusing = Refusing::start().await;
    let (file, sidecar) = (refusing.file("pubsub.yaml"), &refusing.sidecar);
    for broken in ["a: [", "", "# nothing\n"] {
        change(sidecar, &file, Some(broken), "pubsub.yaml is broken (").await;
        refusing.publish(0).await;
        change(sidecar, &file, Some(MEMORY), "pubsub.yaml is good again").await;
    }
    let own = refusing.file("s.yaml");
    change(sidecar, &own, Some("spec: ["), "s.yaml is broken (").await;
    refusing.nothing_is_lost().await;
    assert!(!sidecar.said().contains("Closing existing"), "{}", sidecar.said());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_component_in_memory_that_is_deleted_and_comes_back_has_what_it_held() {
    let refusing = Refusing::start().await;
    let (file, sidecar) = (refusing.file("pubsub.yaml"), &refusing.sidecar);
    change(sidecar, &file, None, "Closing existing Component to reload: pubsub").await;
    let changed = MEMORY.replace("value: one", "value: two");
    change(sidecar, &refusing.file("other.yaml"), Some(&changed), "Component loaded: pubsub").await;
    refusing.nothing_is_lost().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_by_sighup_keeps_what_is_in_memory() {
    let refusing = Refusing::start().await;
    refusing.sidecar.signal(Signal::SIGHUP);
    eventually("it has restarted", || async { refusing.sidecar.said().matches("dapr initialized").count() == 2 }).await;
    refusing.nothing_is_lost().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn mistakes_do_not_end_a_sidecar_that_holds_events_in_memory() {
    let refusing = Refusing::start().await;
    let (file, sidecar) = (refusing.file("pubsub.yaml"), &refusing.sidecar);
    let (typo, category) = (MEMORY.replace("in-memory", "in-memroy"), MEMORY.replace("pubsub.in", "pubsbu.in"));
    let wrong = MEMORY.replace("name: note, value: one", "name: ack, value: perhaps");
    for (text, said) in [
        (typo.as_str(), "couldn't find message bus pubsub.in-memroy/v1"),
        (&category, "incorrect type pubsbu.in-memory"),
        (&wrong, "perhaps"),
    ] {
        change(sidecar, &file, Some(text), said).await;
    }
    fs::write(&file, MEMORY).unwrap();
    change(sidecar, &refusing.file("copy.yaml"), Some(MEMORY), "duplicate definition of Component name pubsub").await;
    fs::remove_file(refusing.file("copy.yaml")).unwrap();
    let rule = subscription("/one").replace("{default: /one}", "{rules: [{match: 'event ==', path: /one}]}");
    change(sidecar, &refusing.file("s.yaml"), Some(&rule), "subscription s cannot be used").await;
    refusing.nothing_is_lost().await;
}
