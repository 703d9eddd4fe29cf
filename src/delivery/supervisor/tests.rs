use std::sync::atomic::Ordering;
use std::time::Duration;

use super::*;
use crate::config::InitEndpoints;
use crate::delivery::testing::{App, RecordingBroker, telemetry, until};
use crate::health::Health;
use crate::message::Settlement;
use crate::pubsub::Catalog;
use crate::resources::kinds::subscription::RuleSpec;
use crate::shutdown::{Stop, Tasks};
use crate::telemetry::trace::Tracing;

const LIST: &str =
    r#"[{"pubsubname":"pubsub","topic":"asked","route":"/x"},{"pubsubname":"nobody","topic":"t","route":"/x"}]"#;

fn declared(topic: &str, path: &str) -> SubscriptionSpec {
    SubscriptionSpec {
        pubsub: "pubsub".to_owned(),
        topic: topic.to_owned(),
        rules: vec![RuleSpec { path: path.to_owned(), ..RuleSpec::default() }],
        ..SubscriptionSpec::default()
    }
}

fn supervisor(broker: &Arc<RecordingBroker>, declared: Vec<SubscriptionSpec>) -> Supervisor {
    let catalog = Catalog::default();
    catalog.insert(broker.pubsub());
    Supervisor::new(SupervisorConfig {
        catalog,
        declared,
        targets: Targets::new(&[], telemetry()).0,
        tracing: Tracing::PassOn,
        disabled: InitEndpoints::default(),
        tasks: Tasks::new(),
        stop: Stop::new(),
        health: Health::default(),
        telemetry: telemetry(),
    })
    .unwrap()
}

fn listed(supervisor: &Supervisor) -> Vec<String> {
    let list = supervisor.listed();
    list.iter().map(|entry| format!("{} {} {:?}", entry.spec.pubsub, entry.spec.topic, entry.origin)).collect()
}

#[tokio::test]
async fn what_is_declared_and_asked_for_runs_until_the_stop() {
    let (broker, app) = (
        Arc::new(RecordingBroker::default()),
        App::start(&[("/dapr/subscribe", 200, LIST), ("/x", 200, ""), ("/y", 200, "")]).await,
    );
    let supervisor = supervisor(&broker, vec![declared("mine", "/y"), declared("asked", "/y")]);
    assert_eq!(listed(&supervisor), ["pubsub mine Declarative", "pubsub asked Declarative"]);
    assert!(broker.topics().is_empty());
    supervisor.start(app.channel.clone(), None).await;
    assert_eq!(listed(&supervisor), ["pubsub mine Declarative", "pubsub asked Programmatic", "nobody t Programmatic"]);
    assert_eq!(broker.hand("asked", "{}").await, Some(Settlement::Ack));
    assert_eq!(broker.hand("mine", "{}").await, Some(Settlement::Ack));
    assert_eq!(app.events(), ["POST /x - {}", "POST /y - {}"]);
    supervisor.stop().await;
    assert!(broker.topics().is_empty());
}

#[tokio::test]
async fn an_answer_that_makes_no_sense_is_asked_for_again() {
    for bad in [
        "{}",
        r#"[{"pubsubname":"pubsub","topic":"asked","routes":{"rules":[{"match":"event.type ==","path":"/x"}]}}]"#,
    ] {
        let (broker, app) =
            (Arc::new(RecordingBroker::default()), App::start(&[("/dapr/subscribe", 200, bad), ("/x", 200, "")]).await);
        let supervisor = supervisor(&broker, vec![declared("mine", "/x")]);
        supervisor.start(app.channel.clone(), None).await;
        assert_eq!(broker.topics(), ["mine"], "{bad}");
        app.answer("/dapr/subscribe", 200, LIST);
        until("subscribed", || broker.topics() == ["asked", "mine"]).await;
        supervisor.stop().await;
    }
}

#[tokio::test]
async fn an_app_that_comes_back_is_asked_again() {
    let (broker, mut app) =
        (Arc::new(RecordingBroker::default()), App::start(&[("/dapr/subscribe", 200, LIST), ("/x", 200, "")]).await);
    let supervisor = supervisor(&broker, vec![declared("asked", "/y")]);
    supervisor.start(app.channel.clone(), None).await;
    app.go().await;
    while broker.hand("asked", "{}").await == Some(Settlement::Ack) {}
    app.answer("/dapr/subscribe", 200, r#"[{"pubsubname":"pubsub","topic":"new","route":"/x"}]"#);
    app.come_back().await;
    until("asked again", || broker.topics().contains(&"new".to_owned())).await;
    assert_eq!(listed(&supervisor), ["pubsub asked Declarative", "pubsub new Programmatic"]);
    supervisor.stop().await;
}

#[tokio::test]
async fn a_subscription_that_fails_is_tried_again() {
    let (broker, app) = (Arc::new(RecordingBroker::default()), App::start(&[]).await);
    let supervisor = supervisor(&broker, vec![declared("mine", "/x"), declared("", "/x")]);
    broker.refuses.store(true, Ordering::SeqCst);
    supervisor.start(app.channel.clone(), None).await;
    assert!(broker.topics().is_empty());
    broker.refuses.store(false, Ordering::SeqCst);
    until("subscribed", || broker.topics() == ["mine"]).await;
    supervisor.stop().await;
}

#[tokio::test]
async fn nobody_is_asked_without_need() {
    for (skip, is_empty) in [(true, false), (false, true)] {
        let (broker, app) = (Arc::new(RecordingBroker::default()), App::start(&[("/dapr/subscribe", 200, LIST)]).await);
        let catalog = Catalog::default();
        if !is_empty {
            catalog.insert(broker.pubsub());
        }
        let config = SupervisorConfig {
            catalog,
            declared: vec![declared("mine", "/x")],
            targets: Targets::new(&[], telemetry()).0,
            tracing: Tracing::PassOn,
            disabled: InitEndpoints { config: true, subscribe: skip },
            tasks: Tasks::new(),
            stop: Stop::new(),
            health: Health::default(),
            telemetry: telemetry(),
        };
        let supervisor = Supervisor::new(config).unwrap();
        supervisor.start(app.channel.clone(), None).await;
        assert!(app.asked.lock().is_empty());
        assert_eq!(listed(&supervisor), ["pubsub mine Declarative"]);
        supervisor.stop().await;
    }
}

#[tokio::test]
async fn a_stop_ends_the_first_round() {
    let (broker, app) = (Arc::new(RecordingBroker::default()), App::start(&[]).await);
    app.go().await;
    let supervisor = supervisor(&broker, vec![declared("mine", "/x")]);
    tokio::join!(supervisor.start(app.channel.clone(), None), async {
        until("declared", || broker.topics() == ["mine"]).await;
        supervisor.stop().await;
    });
    assert!(broker.topics().is_empty());
}

fn checks() -> AppHealthSettings {
    AppHealthSettings {
        path: "/healthz".to_owned(),
        interval: Duration::from_millis(10),
        timeout: Duration::from_secs(5),
        threshold: 2,
    }
}

fn questions(app: &App) -> usize {
    let asked = app.asked.lock();
    asked.iter().filter(|line| line.starts_with("GET /dapr/subscribe")).count()
}

#[tokio::test]
async fn subscriptions_run_while_the_app_is_healthy() {
    let (broker, app) = (
        Arc::new(RecordingBroker::default()),
        App::start(&[("/dapr/subscribe", 200, LIST), ("/x", 200, ""), ("/healthz", 503, "")]).await,
    );
    let supervisor = supervisor(&broker, vec![declared("mine", "/x")]);
    assert!(supervisor.app_health().is_none());
    supervisor.start(app.channel.clone(), Some(checks())).await;
    let health = supervisor.app_health().unwrap();
    health.unhealthy().await;
    assert_eq!((questions(&app), broker.topics().len()), (0, 0));

    for _ in 0..2 {
        app.answer("/healthz", 200, "");
        until("started", || broker.topics() == ["asked", "mine"]).await;
        assert_eq!(broker.hand("mine", "{}").await, Some(Settlement::Ack));
        app.answer("/healthz", 503, "");
        until("stopped", || broker.topics().is_empty()).await;
        assert!(!health.is_healthy());
    }
    assert_eq!(questions(&app), 1);
    assert_eq!(listed(&supervisor).len(), 3);
    supervisor.reconciler.config.stop.trigger();
}

#[tokio::test]
async fn an_app_that_probes_found_gone_is_asked_again() {
    let (broker, mut app) = (
        Arc::new(RecordingBroker::default()),
        App::start(&[("/dapr/subscribe", 200, LIST), ("/healthz", 200, "")]).await,
    );
    let supervisor = supervisor(&broker, Vec::new());
    supervisor.start(app.channel.clone(), Some(checks())).await;
    until("started", || broker.topics() == ["asked"]).await;
    app.go().await;
    until("stopped", || broker.topics().is_empty()).await;
    app.answer("/dapr/subscribe", 200, r#"[{"pubsubname":"pubsub","topic":"new","route":"/x"}]"#);
    app.come_back().await;
    until("asked again", || broker.topics() == ["new"]).await;
    supervisor.reconciler.config.stop.trigger();
}

#[tokio::test]
async fn probes_go_on_after_the_subscriptions_have_ended() {
    let (broker, app) = (Arc::new(RecordingBroker::default()), App::start(&[("/healthz", 200, "")]).await);
    let supervisor = supervisor(&broker, vec![declared("mine", "/x")]);
    supervisor.start(app.channel.clone(), Some(checks())).await;
    let health = supervisor.app_health().unwrap();
    until("started", || broker.topics() == ["mine"]).await;
    supervisor.stop().await;
    assert!(health.is_healthy() && broker.topics().is_empty());
    app.answer("/healthz", 500, "");
    health.unhealthy().await;
    app.answer("/healthz", 200, "");
    health.healthy().await;
    assert!(broker.topics().is_empty());
    supervisor.reconciler.config.stop.trigger();
    supervisor.reconciler.config.tasks.ended().await;
}

#[tokio::test]
async fn what_the_files_declare_anew_runs_and_the_rest_goes_on() {
    let (broker, app) =
        (Arc::new(RecordingBroker::default()), App::start(&[("/dapr/subscribe", 200, LIST), ("/x", 200, "")]).await);
    let named =
        |name: &str, topic: &str, path: &str| SubscriptionSpec { name: name.to_owned(), ..declared(topic, path) };
    let kept = named("kept", "kept", "/x");
    let supervisor = supervisor(&broker, vec![kept.clone(), named("old", "old", "/x")]);
    supervisor.start(app.channel.clone(), None).await;
    assert_eq!(broker.topics(), ["asked", "kept", "old"]);
    let before = supervisor.reconciler.address_of("kept").await;
    supervisor.declare(vec![kept.clone(), named("new", "new", "/x")]).unwrap();
    supervisor.resume().await;
    assert_eq!(broker.topics(), ["asked", "kept", "new"]);
    assert_eq!(supervisor.reconciler.address_of("kept").await, before);

    let mut bad = named("bad", "bad", "/x");
    bad.rules[0].match_ = "event ==".to_owned();
    let error = supervisor.declare(vec![bad]).unwrap_err();
    assert_eq!(error.name, "bad");
    assert_eq!(listed(&supervisor).len(), 4);

    supervisor.stop_component("pubsub").await;
    assert!(broker.topics().is_empty());
    supervisor.resume().await;
    assert_eq!(broker.topics(), ["asked", "kept", "new"]);
    supervisor.stop().await;
}

#[tokio::test]
async fn the_app_is_asked_when_the_first_component_comes() {
    let (broker, app) =
        (Arc::new(RecordingBroker::default()), App::start(&[("/dapr/subscribe", 200, LIST), ("/x", 200, "")]).await);
    let catalog = Catalog::default();
    let supervisor = Supervisor::new(SupervisorConfig {
        catalog: catalog.clone(),
        declared: vec![declared("mine", "/x")],
        targets: Targets::new(&[], telemetry()).0,
        tracing: Tracing::PassOn,
        disabled: InitEndpoints::default(),
        tasks: Tasks::new(),
        stop: Stop::new(),
        health: Health::default(),
        telemetry: telemetry(),
    })
    .unwrap();
    supervisor.start(app.channel.clone(), None).await;
    assert_eq!((questions(&app), broker.topics().len()), (0, 0));
    for _ in 0..2 {
        let pubsub = broker.pubsub();
        catalog.insert(pubsub.clone());
        supervisor.stop_component(&pubsub.name).await;
        supervisor.resume().await;
        until("asked", || broker.topics() == ["asked", "mine"]).await;
    }
    assert_eq!(questions(&app), 1);
    supervisor.stop().await;
}
