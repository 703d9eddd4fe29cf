//! Checks components and their subscriptions against brokers and scopes, without connecting to anything.

use std::collections::BTreeSet;

use crate::broker::kinds::{self, BrokerContext, BrokerKind, BuildError};
use crate::diagnostic::{Diagnostic, Location};
use crate::metadata::nearest;
use crate::metadata::templates::Templates;
use crate::resources::Resources;
use crate::resources::kinds::component::Component;
use crate::resources::kinds::component_type::PUBSUBS;
use crate::resources::kinds::subscription::SubscriptionSpec;
use crate::scopes::Scopes;
use crate::shutdown::Tasks;
use crate::telemetry::Telemetry;
use crate::telemetry::log::{Level, Log};
use crate::telemetry::metrics::Metrics;

/// The app id if none was given.
const ANY_APP: &str = "<app-id>";

pub(super) fn check(resources: &Resources, app_id: Option<&str>, diagnostics: &mut Vec<Diagnostic>) {
    let pubsubs = || resources.components.iter().filter(|it| it.is_pubsub());
    for component in pubsubs() {
        broker(component, app_id.unwrap_or(ANY_APP), diagnostics);
        diagnostics.extend(url_of_redis(component));
        if component.name.is_empty() {
            diagnostics.push(
                Diagnostic::warning(
                    component.location_of("metadata"),
                    format!("the component of type {} has no name: no app can use it", component.kind),
                )
                .with_help("write metadata.name, which publishes and subscriptions name"),
            );
        }
    }
    for spec in &resources.subscriptions {
        let Some(component) = pubsubs().find(|component| component.name == spec.pubsub) else {
            continue;
        };
        subscription(component, spec, diagnostics);
        topics(component, spec, app_id, diagnostics);
    }
}

/// A hint about URLs, which this sidecar supports and daprd does not.
fn url_of_redis(component: &Component) -> Option<Diagnostic> {
    let host = component.properties.get("redisHost")?;
    (host.contains("redis://") || host.contains("rediss://")).then(|| {
        Diagnostic::hint(
            component.location_of("spec.metadata.redisHost"),
            format!("component {}: redisHost is a URL, which daprd does not understand", component.log_name()),
        )
        .with_help("for both write host:port, and redisPassword, redisDB and enableTLS beside it")
    })
}

/// Check type and settings of a component by making its broker, without connecting it.
fn broker(component: &Component, app_id: &str, diagnostics: &mut Vec<Diagnostic>) {
    let (broker, warnings) = kinds::build(BrokerContext {
        name: &component.name,
        kind: &component.kind,
        version: &component.version,
        properties: &component.properties,
        file: &component.location.file,
        app_id,
        templates: Templates::default(),
        shared_brokers: None,
        tasks: Tasks::new(),
        telemetry: Telemetry::new(Log::new(Level::Fatal, std::io::sink()), Metrics::default()),
    });
    for warning in warnings {
        diagnostics.push(Diagnostic {
            location: Some(location_in(component, &warning.message)),
            message: format!("component {}: {}", component.log_name(), warning.message),
            ..warning
        });
    }
    match broker {
        Ok(_) => {}
        Err(BuildError::Unknown { kind, version }) => {
            diagnostics.push(no_broker(component, &kind, &version));
        }
        Err(BuildError::Settings(error)) => {
            for (text, help) in plain(&error.to_string()) {
                let message = format!("component {}: {text}", component.log_name());
                diagnostics.push(Diagnostic::warning(location_in(component, &text), message).with_help(help));
            }
        }
    }
}

fn no_broker(component: &Component, kind: &str, version: &str) -> Diagnostic {
    let built_in = PUBSUBS.join(" and ");
    if PUBSUBS.iter().any(|known| known.eq_ignore_ascii_case(kind)) {
        let message = format!("component {}: {kind} has no version {version}", component.name);
        return Diagnostic::warning(component.location_of("spec.version"), message).with_help("write version: v1");
    }
    let message = format!("component {}: there is no broker for {kind}", component.log_name());
    let help = match nearest(kind, &PUBSUBS) {
        Some(meant) => format!("this build has {built_in}; did you mean {meant}?"),
        None => format!("this build has {built_in}"),
    };
    Diagnostic::warning(component.location_of("spec.type"), message).with_help(help)
}

/// Split an error of Go's decoder into one text for each setting, with the help for it.
fn plain(error: &str) -> Vec<(String, String)> {
    const SETTINGS: &str = "correct this setting under spec.metadata";
    let error = error.strip_prefix("redis client configuration error: ").unwrap_or(error);
    let Some((_, rest)) = error.split_once("error(s) decoding:") else {
        return vec![(error.to_owned(), SETTINGS.to_owned())];
    };
    let lines = rest.lines().filter_map(|line| line.trim().strip_prefix("* "));
    lines
        .map(|line| {
            let parts = line.strip_prefix("error decoding '").and_then(|rest| rest.split_once("': "));
            let (text, reason) = match parts {
                Some((name, reason)) => (format!("{name}: {reason}"), reason),
                None => (line.to_owned(), line),
            };
            let help = match reason.to_lowercase() {
                reason if reason.starts_with("invalid bool") => "write true or false",
                reason if reason.starts_with("invalid duration") => {
                    "write a duration such as 30s, or a whole number of milliseconds"
                }
                reason if reason.starts_with("invalid uint") => "write a whole number, 0 or more",
                reason if reason.starts_with("invalid int") => "write a whole number",
                _ => SETTINGS,
            };
            (text, help.to_owned())
        })
        .collect()
}

/// The location of the first setting that a text names.
fn location_in(component: &Component, text: &str) -> Location {
    let is_named = |name: &str| {
        text.match_indices(name).any(|(at, _)| {
            let is_letter = |letter: Option<char>| letter.is_some_and(char::is_alphanumeric);
            !is_letter(text[..at].chars().next_back()) && !is_letter(text[at + name.len()..].chars().next())
        })
    };
    let named = component
        .written
        .iter()
        .map(|(name, _)| name.as_str())
        .filter(|name| !name.is_empty() && is_named(name))
        .min_by_key(|name| text.find(*name));
    match named {
        Some(name) => component.location_of(&format!("spec.metadata.{name}")),
        // daprd's error for a wrong address does not name the setting.
        None if text.contains("redis host") || text.contains("dial tcp") => {
            component.location_of("spec.metadata.redisHost")
        }
        None => component.location.clone(),
    }
}

/// Check the metadata of a subscription against the broker of its pub/sub.
fn subscription(component: &Component, spec: &SubscriptionSpec, diagnostics: &mut Vec<Diagnostic>) {
    let kind = BrokerKind::find(&component.kind);
    for text in kind.map(|kind| kind.options.mistakes(&spec.metadata)).unwrap_or_default() {
        let names = spec.metadata.keys();
        let named = names.filter(|name| text.contains(name.as_str())).min_by_key(|name| text.find(name.as_str()));
        let key = named.map_or_else(|| "spec.metadata".to_owned(), |name| format!("spec.metadata.{name}"));
        let message = format!("subscription to {}: {text}", spec.topic);
        diagnostics.push(Diagnostic::warning(spec.location_of(&key), message).with_help("correct spec.metadata"));
    }
}

/// Report topics that the scopes of the component forbid.
fn topics(component: &Component, spec: &SubscriptionSpec, app_id: Option<&str>, diagnostics: &mut Vec<Diagnostic>) {
    let apps = apps(component, app_id);
    let all = || apps.iter().map(|app| Scopes::of(&component.properties, app));
    let help = format!(
        "correct allowedTopics, protectedTopics, publishingScopes or subscriptionScopes of the component ({})",
        component.location
    );
    let who = app_id.map_or_else(|| "any app".to_owned(), |app| format!("the app {app}"));
    let topic = &spec.topic;
    if !topic.is_empty() && !all().any(|scopes| scopes.may_subscribe(topic)) {
        let message = format!(
            "the scopes of component {} forbid {who} to subscribe to topic {topic}: nothing is delivered",
            component.name
        );
        let location = spec.location_of("spec.topic");
        diagnostics.push(Diagnostic::warning(location, message).with_help(help.clone()));
    }
    let letters = &spec.dead_letter_topic;
    if !letters.is_empty() && !all().any(|scopes| scopes.may_publish(letters)) {
        let message = format!(
            "the scopes of component {} forbid {who} to publish to the dead-letter topic {letters}: an event that fails can never be moved there",
            component.name
        );
        let location = spec.location_of("spec.deadLetterTopic");
        diagnostics.push(Diagnostic::warning(location, message).with_help(help));
    }
}

/// The given app; without one, every app that the scopes name, and one that they do not name.
fn apps(component: &Component, app_id: Option<&str>) -> BTreeSet<String> {
    if let Some(app_id) = app_id {
        return BTreeSet::from([app_id.to_owned()]);
    }
    let lists = ["publishingScopes", "subscriptionScopes"];
    let texts = lists.iter().filter_map(|name| component.properties.get(name));
    let named = texts.flat_map(|text| {
        text.split(';').filter_map(|scope| scope.split('=').next()).map(|app| app.replace(' ', "")).collect::<Vec<_>>()
    });
    named.chain([ANY_APP.to_owned()]).collect()
}
