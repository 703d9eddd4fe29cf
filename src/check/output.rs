//! The report as text and as JSON.

use std::io::{self, Write};
use std::time::Duration;

use serde_json::{Value, json};

use super::report::{Loaded, Report};
use crate::diagnostic::{Diagnostic, Location};
use crate::duration::GoDuration;
use crate::resources::Resources;
use crate::resources::kinds::configuration::Configuration;
use crate::resources::kinds::policies::{Breaker, Pause, Policies, PolicyNames, Retry};
use crate::resources::kinds::subscription::SubscriptionSpec;

/// Write what was loaded, then hints, then mistakes and their number.
pub(super) fn text(report: &Report, out: &mut dyn Write) -> io::Result<()> {
    let is_one = report.loaded.len() == 1;
    if report.loaded.is_empty() {
        writeln!(out, "Nothing was read.\n")?;
    }
    for loaded in &report.loaded {
        if let (false, Some(app_id)) = (is_one, &loaded.app_id) {
            writeln!(out, "App {app_id}\n")?;
        }
        write_components(&loaded.resources, out)?;
        write_subscriptions(&loaded.resources, out)?;
        write_policies(&loaded.resources, out)?;
        write_configuration(&loaded.configuration, out)?;
    }
    let (mistakes, hints) = parts(report);
    write_diagnostics("Worth knowing", &hints, out)?;
    write_diagnostics("Mistakes", &mistakes, out)?;
    match mistakes.len() {
        0 => writeln!(out, "No mistakes found."),
        1 => writeln!(out, "1 mistake found."),
        count => writeln!(out, "{count} mistakes found."),
    }
}

/// Write one object. Its names and meanings are stable; others may be added.
pub(super) fn json(report: &Report, out: &mut dyn Write) -> io::Result<()> {
    let (mistakes, hints) = parts(report);
    let findings: Vec<Value> = report.diagnostics.iter().map(diagnostic_json).collect();
    let loaded: Vec<Value> = report.loaded.iter().map(loaded_json).collect();
    let value = json!({
        "mistakes": mistakes.len(),
        "worthKnowing": hints.len(),
        "findings": findings,
        "loaded": loaded,
    });
    writeln!(out, "{value:#}")
}

/// Mistakes, and what is worth knowing.
fn parts(report: &Report) -> (Vec<&Diagnostic>, Vec<&Diagnostic>) {
    report.diagnostics.iter().partition(|found| found.severity.is_mistake())
}

fn diagnostic_json(finding: &Diagnostic) -> Value {
    let severity = if finding.severity.is_mistake() { "mistake" } else { "worth knowing" };
    let (file, line) = location(finding.location.as_ref());
    json!({
        "severity": severity,
        "file": file,
        "line": line,
        "message": finding.message,
        "help": finding.help,
    })
}

/// File and line; null if they are not known.
fn location(location: Option<&Location>) -> (Value, Value) {
    let file = location.map(|location| location.file.display().to_string());
    let line = location.map(|location| location.line).filter(|line| *line > 0);
    (json!(file), json!(line))
}

fn loaded_json(loaded: &Loaded) -> Value {
    let resources = &loaded.resources;
    let components = resources.components.iter().map(|component| {
        let (file, line) = location(Some(&component.location));
        json!({
            "name": component.name,
            "type": component.kind,
            "version": component.version,
            "file": file,
            "line": line,
        })
    });
    let subscriptions = resources.subscriptions.iter().map(|spec| {
        let (file, line) = location(spec.location.as_ref());
        let rules = spec.rules.iter();
        let rules = rules.map(|rule| json!({"match": rule.match_, "path": rule.path}));
        json!({
            "name": spec.name,
            "pubsub": spec.pubsub,
            "topic": spec.topic,
            "rules": rules.collect::<Vec<_>>(),
            "deadLetterTopic": spec.dead_letter_topic,
            "file": file,
            "line": line,
        })
    });
    let resiliencies = resources.resiliencies.iter().map(|resource| {
        let (file, line) = location(Some(&resource.location));
        json!({"name": resource.name, "file": file, "line": line})
    });
    json!({
        "appId": loaded.app_id,
        "components": components.collect::<Vec<_>>(),
        "subscriptions": subscriptions.collect::<Vec<_>>(),
        "resiliencies": resiliencies.collect::<Vec<_>>(),
    })
}

fn write_components(resources: &Resources, out: &mut dyn Write) -> io::Result<()> {
    if resources.components.is_empty() {
        return writeln!(out, "No components.\n");
    }
    writeln!(out, "Components")?;
    for component in &resources.components {
        writeln!(out, "  {}  {}", component.log_name(), component.location)?;
    }
    writeln!(out)
}

fn write_subscriptions(resources: &Resources, out: &mut dyn Write) -> io::Result<()> {
    if resources.subscriptions.is_empty() {
        return writeln!(out, "No declared subscriptions; an app may bring its own.\n");
    }
    writeln!(out, "Subscriptions")?;
    for spec in &resources.subscriptions {
        write_subscription(spec, out)?;
    }
    writeln!(out)
}

fn write_configuration(configuration: &Configuration, out: &mut dyn Write) -> io::Result<()> {
    if *configuration == Configuration::default() {
        return Ok(());
    }
    writeln!(out, "Configuration")?;
    writeln!(out, "  features: {}", configuration.enabled_features().join(", "))?;
    if let Some(rate) = &configuration.tracing.sampling_rate {
        writeln!(out, "  tracing.samplingRate: {rate}")?;
    }
    if !configuration.denied_components.is_empty() {
        writeln!(out, "  components.deny: {}", configuration.denied_components.join(", "))?;
    }
    writeln!(out)
}

fn write_subscription(spec: &SubscriptionSpec, out: &mut dyn Write) -> io::Result<()> {
    let location = spec.location.as_ref().map(ToString::to_string).unwrap_or_default();
    writeln!(out, "  topic {} on pubsub {}  {location}", spec.topic, spec.pubsub)?;
    for rule in &spec.rules {
        match rule.match_.as_str() {
            "" => writeln!(out, "    otherwise -> {}", rule.path)?,
            rule_text if rule.path.is_empty() => {
                writeln!(out, "    {rule_text} -> no path: not delivered")?;
            }
            rule_text => writeln!(out, "    {rule_text} -> {}", rule.path)?,
        }
    }
    if !spec.dead_letter_topic.is_empty() {
        writeln!(out, "    dead letters -> topic {}", spec.dead_letter_topic)?;
    }
    Ok(())
}

fn write_policies(resources: &Resources, out: &mut dyn Write) -> io::Result<()> {
    if resources.resiliencies.is_empty() {
        return Ok(());
    }
    let policies = resources.policies();
    writeln!(out, "Resiliency")?;
    for (name, timeout) in &policies.timeouts {
        let text = timeout.map_or_else(|| "none".to_owned(), go);
        writeln!(out, "  timeout {name}: {text}")?;
    }
    let written = |(name, retry): &(&String, &Retry)| !Policies::is_built_in(name, retry);
    for (name, retry) in policies.retries.iter().filter(written) {
        writeln!(out, "  retry {name}: {}", retry_text(retry))?;
    }
    for (name, breaker) in &policies.breakers {
        writeln!(out, "  circuit breaker {name}: {}", breaker_text(breaker))?;
    }
    write_targets(&policies, out)?;
    writeln!(out)
}

fn write_targets(policies: &Policies, out: &mut dyn Write) -> io::Result<()> {
    for (component, target) in &policies.components {
        for (way, names) in [("deliveries", &target.inbound), ("publishing", &target.outbound)] {
            let text = names_text(names);
            if !text.is_empty() {
                writeln!(out, "  component {component}, {way}: {text}")?;
            }
        }
    }
    Ok(())
}

fn names_text(names: &PolicyNames) -> String {
    let all = [("timeout", &names.timeout), ("retry", &names.retry), ("circuit breaker", &names.breaker)];
    let given = all.iter().filter(|(_, name)| !name.is_empty());
    let texts: Vec<String> = given.map(|(what, name)| format!("{what} {name}")).collect();
    texts.join(", ")
}

fn retry_text(retry: &Retry) -> String {
    let pause = match retry.pause {
        Pause::Constant(pause) => format!("every {}", go(pause)),
        Pause::Exponential(most) => format!("from 500ms growing to {}, 15m0s in all", go(most)),
    };
    match retry.max_retries {
        None => format!("{pause}, without limit"),
        Some(most) => format!("{pause}, {most} times after the first"),
    }
}

fn breaker_text(breaker: &Breaker) -> String {
    let trip = breaker.trip.as_ref().map_or("consecutiveFailures > 5", |(trip, _)| trip.as_str());
    format!("opens when {trip}, for {}", go(breaker.timeout))
}

fn go(length: Duration) -> String {
    GoDuration::from(length).to_string()
}

fn write_diagnostics(title: &str, diagnostics: &[&Diagnostic], out: &mut dyn Write) -> io::Result<()> {
    if diagnostics.is_empty() {
        return Ok(());
    }
    writeln!(out, "{title}")?;
    for diagnostic in diagnostics {
        writeln!(out, "  {diagnostic}")?;
    }
    writeln!(out)
}
