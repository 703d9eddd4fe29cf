use std::sync::atomic::Ordering;

use super::*;
use crate::delivery::stage::{App, Shelf, telemetry, until};
use crate::message::Settlement;
use crate::resources::subscription::RuleSpec;

const LIST: &str = r#"[{"pubsubname":"pubsub","topic":"asked","route":"/x"},{"pubsubname":"nobody","topic":"t","route":"/x"}]"#;

fn declared(topic: &str, path: &str) -> SubscriptionSpec {
    SubscriptionSpec {
        pubsub: "pubsub".to_owned(),
        topic: topic.to_owned(),
        rules: vec![RuleSpec {
            path: path.to_owned(),
            ..RuleSpec::default()
        }],
        ..SubscriptionSpec::default()
    }
}

fn supervisor(shelf: &Arc<Shelf>, declared: Vec<SubscriptionSpec>) -> Supervisor {
    let catalog = Catalog::default();
    catalog.insert(shelf.pubsub());
    Supervisor::new(Parts {
        catalog,
        declared,
        targets: Targets::new(&[], telemetry()).0,
        tracing: Tracing::PassOn,
        skip_discovery: false,
        tasks: Tasks::new(),
        stop: Stop::new(),
        telemetry: telemetry(),
    })
    .unwrap()
}

fn listed(supervisor: &Supervisor) -> Vec<String> {
    let list = supervisor.listed();
    list.iter()
        .map(|entry| {
            format!(
                "{} {} {:?}",
                entry.spec.pubsub, entry.spec.topic, entry.origin
            )
        })
        .collect()
}

#[tokio::test]
async fn what_is_declared_and_asked_for_runs_until_the_stop() {
    let (shelf, app) = (
        Arc::new(Shelf::default()),
        App::start(&[
            ("/dapr/subscribe", 200, LIST),
            ("/x", 200, ""),
            ("/y", 200, ""),
        ])
        .await,
    );
    let supervisor = supervisor(
        &shelf,
        vec![declared("mine", "/y"), declared("asked", "/y")],
    );
    assert_eq!(
        listed(&supervisor),
        ["pubsub mine Declarative", "pubsub asked Declarative"]
    );
    assert!(shelf.topics().is_empty());
    supervisor.activate(app.channel.clone()).await;
    assert_eq!(
        listed(&supervisor),
        [
            "pubsub mine Declarative",
            "pubsub asked Programmatic",
            "nobody t Programmatic"
        ]
    );
    assert_eq!(shelf.hand("asked", "{}").await, Some(Settlement::Ack));
    assert_eq!(shelf.hand("mine", "{}").await, Some(Settlement::Ack));
    assert_eq!(app.events(), ["POST /x - {}", "POST /y - {}"]);
    supervisor.stop().await;
    assert!(shelf.topics().is_empty());
}

#[tokio::test]
async fn an_answer_that_makes_no_sense_is_asked_for_again() {
    for bad in [
        "{}",
        r#"[{"pubsubname":"pubsub","topic":"asked","routes":{"rules":[{"match":"event.type ==","path":"/x"}]}}]"#,
    ] {
        let (shelf, app) = (
            Arc::new(Shelf::default()),
            App::start(&[("/dapr/subscribe", 200, bad), ("/x", 200, "")]).await,
        );
        let supervisor = supervisor(&shelf, vec![declared("mine", "/x")]);
        supervisor.activate(app.channel.clone()).await;
        assert_eq!(shelf.topics(), ["mine"], "{bad}");
        app.answer("/dapr/subscribe", 200, LIST);
        until("subscribed", || shelf.topics() == ["asked", "mine"]).await;
        supervisor.stop().await;
    }
}

#[tokio::test]
async fn an_app_that_comes_back_is_asked_again() {
    let (shelf, mut app) = (
        Arc::new(Shelf::default()),
        App::start(&[("/dapr/subscribe", 200, LIST), ("/x", 200, "")]).await,
    );
    let supervisor = supervisor(&shelf, vec![declared("asked", "/y")]);
    supervisor.activate(app.channel.clone()).await;
    app.go().await;
    while shelf.hand("asked", "{}").await == Some(Settlement::Ack) {}
    app.answer(
        "/dapr/subscribe",
        200,
        r#"[{"pubsubname":"pubsub","topic":"new","route":"/x"}]"#,
    );
    app.come_back().await;
    until("asked again", || shelf.topics().contains(&"new".to_owned())).await;
    assert_eq!(
        listed(&supervisor),
        ["pubsub asked Declarative", "pubsub new Programmatic"]
    );
    supervisor.stop().await;
}

#[tokio::test]
async fn a_subscription_that_fails_is_tried_again() {
    let (shelf, app) = (Arc::new(Shelf::default()), App::start(&[]).await);
    let supervisor = supervisor(&shelf, vec![declared("mine", "/x"), declared("", "/x")]);
    shelf.refuses.store(true, Ordering::SeqCst);
    supervisor.activate(app.channel.clone()).await;
    assert!(shelf.topics().is_empty());
    shelf.refuses.store(false, Ordering::SeqCst);
    until("subscribed", || shelf.topics() == ["mine"]).await;
    supervisor.stop().await;
}

#[tokio::test]
async fn nobody_is_asked_without_need() {
    for (skip, is_empty) in [(true, false), (false, true)] {
        let (shelf, app) = (
            Arc::new(Shelf::default()),
            App::start(&[("/dapr/subscribe", 200, LIST)]).await,
        );
        let catalog = Catalog::default();
        if !is_empty {
            catalog.insert(shelf.pubsub());
        }
        let parts = Parts {
            catalog,
            declared: vec![declared("mine", "/x")],
            targets: Targets::new(&[], telemetry()).0,
            tracing: Tracing::PassOn,
            skip_discovery: skip,
            tasks: Tasks::new(),
            stop: Stop::new(),
            telemetry: telemetry(),
        };
        let supervisor = Supervisor::new(parts).unwrap();
        supervisor.activate(app.channel.clone()).await;
        assert!(app.asked.lock().unwrap().is_empty());
        assert_eq!(listed(&supervisor), ["pubsub mine Declarative"]);
        supervisor.stop().await;
    }
}

#[tokio::test]
async fn a_stop_ends_the_first_round() {
    let (shelf, app) = (Arc::new(Shelf::default()), App::start(&[]).await);
    app.go().await;
    let supervisor = supervisor(&shelf, vec![declared("mine", "/x")]);
    tokio::join!(supervisor.activate(app.channel.clone()), async {
        until("declared", || shelf.topics() == ["mine"]).await;
        supervisor.stop().await;
    });
    assert!(shelf.topics().is_empty());
}
