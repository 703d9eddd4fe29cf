//! Resource files that change while events flow: none is lost, none is stuck (spec resources-cli.md 10, design.md D16).

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use hyper::StatusCode;

use crate::support::app::{Answer, App};
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
    App::start(NOTHING, |_| {
        Answer::success().after(Duration::from_millis(3))
    })
    .await
}

/// The events that the app has got, by their number, whatever the path.
fn numbers(app: &App) -> BTreeSet<u64> {
    let seen = app.seen();
    let numbers = seen.iter().map(|delivered| {
        let event: serde_json::Value = serde_json::from_slice(&delivered.body).unwrap();
        event["data"].as_u64().unwrap()
    });
    numbers.collect()
}

fn paths(app: &App) -> BTreeSet<String> {
    app.seen()
        .into_iter()
        .map(|delivered| delivered.path)
        .collect()
}

/// Wait until the app gets events at a path.
async fn arrives(app: &App, path: &str) {
    eventually(path, || async { paths(app).contains(path) }).await;
}

/// As editors save: renamed over, so that nobody sees half of the file.
fn save(file: &Path, text: &str) {
    let aside = file.with_extension("new");
    fs::write(&aside, text).unwrap();
    fs::rename(&aside, file).unwrap();
}

/// Publish one event after the other, as long as `changes` last; how many.
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
    // The last one may have been under way.
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
    eventually("all events", || async {
        numbers(&app).len() as u64 >= published
    })
    .await;
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
    eventually("all events", || async {
        numbers(&app).len() as u64 >= published
    })
    .await;
}

/// Put a link where perhaps another one is, at once.
fn link(target: impl AsRef<Path>, at: &Path) {
    let aside = at.with_file_name("aside");
    symlink(target, &aside).unwrap();
    fs::rename(aside, at).unwrap();
}

/// A folder as Kubernetes mounts it, with a file `s.yaml`; or what is new in it, swapped in at once.
fn mount(folder: &Path, dated: &str, text: &str) {
    fs::create_dir(folder.join(dated)).unwrap();
    fs::write(folder.join(dated).join("s.yaml"), text).unwrap();
    link(dated, &folder.join("..data"));
}

/// Publish until an event arrives at a path; that must not take long, because nobody wants to wait for the look once a minute.
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
        fs::write(
            outside.path().join(folder).join("s.yaml"),
            subscription(route),
        )
        .unwrap();
    }
    link("one", &current);
    let flags = ["--resources-path", current.to_str().unwrap()];
    let sidecar = Sidecar::start(MEMORY, app.port, &flags).await;
    arrives_soon(&sidecar, &app, "/one").await;
    link("two", &current);
    arrives_soon(&sidecar, &app, "/two").await;
}
