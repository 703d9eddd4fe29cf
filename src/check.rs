//! `sidestream check`: read everything, connect to nothing, tell what was found and every mistake with place and remedy.
//!
//! `main` calls [`run`]. What needs other rooms (CEL rules, broker settings) is passed in as [`Judges`].

use std::io::{self, Write};
use std::time::Duration;

use crate::cli::CheckArgs;
use crate::duration::GoDuration;
use crate::environment::Environment;
use crate::resources::component::Component;
use crate::resources::configuration::{self, Configuration};
use crate::resources::note::{Note, Weight};
use crate::resources::resiliency::{Breaker, Pause, Policies, PolicyNames, Retry};
use crate::resources::subscription::SubscriptionSpec;
use crate::resources::{LoadRequest, Place, Resources};

/// Who knows what this module does not.
pub struct Judges<'a> {
    /// Compiles a rule's `match`, and looks for variables that nothing sets.
    pub rule: &'a dyn Fn(&str) -> Result<(), String>,
    /// The same for a breaker's `trip`.
    pub trip: &'a dyn Fn(&str) -> Result<(), String>,
    /// Builds the broker of a pub/sub without connecting: what is wrong with its type and settings.
    pub pubsub: &'a dyn Fn(&Component) -> Vec<String>,
    /// Reads the metadata of a subscription as the broker of its pub/sub does: what is wrong with it.
    pub subscription: &'a dyn Fn(&Component, &SubscriptionSpec) -> Vec<String>,
}

/// One thing to tell: where, what, and what to do.
struct Finding {
    place: Option<Place>,
    text: String,
    remedy: Option<String>,
}

/// Everything to tell about.
struct Report {
    resources: Resources,
    configuration: Configuration,
    hints: Vec<Finding>,
    mistakes: Vec<Finding>,
}

/// Check, and write what was found. The result is the exit code: 1 if there is a mistake.
///
/// # Errors
/// `out` cannot be written to.
pub fn run(
    args: &CheckArgs,
    environment: &Environment,
    judges: &Judges<'_>,
    out: &mut dyn Write,
) -> io::Result<u8> {
    let report = Report::make(args, environment, judges);
    report.write(out)?;
    Ok(u8::from(!report.mistakes.is_empty()))
}

impl Report {
    fn make(args: &CheckArgs, environment: &Environment, judges: &Judges<'_>) -> Self {
        let mut environment = environment.clone();
        if let Some(app_id) = &args.app_id {
            environment.set("APP_ID", app_id);
        }
        let (configuration, mut mistakes) = read_configuration(args, &environment);
        let resources = Resources::load(&LoadRequest {
            app_id: args.app_id.as_deref(),
            folders: &args.resources_path,
            denied: &configuration.denied_components,
            handlers: &configuration.handlers,
            hot_reload: false,
            environment: &environment,
        });
        mistakes.extend(resources.errors.iter().map(|error| {
            let text = error.to_string();
            Finding {
                place: Some(error.place()),
                text: text
                    .trim_start_matches("failed to load components: ")
                    .to_owned(),
                remedy: Some(error.remedy()),
            }
        }));
        let of_weight = |weight: Weight| {
            resources
                .notes
                .iter()
                .filter(move |note| note.weight == weight)
                .map(Finding::of)
        };
        mistakes.extend(of_weight(Weight::Mistake));
        let hints = of_weight(Weight::Hint).collect();
        judge(&resources, judges, &mut mistakes);
        mistakes.sort_by(|a, b| a.order().cmp(&b.order()));
        Self {
            resources,
            configuration,
            hints,
            mistakes,
        }
    }

    fn write(&self, out: &mut dyn Write) -> io::Result<()> {
        self.write_components(out)?;
        self.write_subscriptions(out)?;
        write_policies(&self.resources, out)?;
        self.write_configuration(out)?;
        write_findings("Worth knowing", &self.hints, out)?;
        write_findings("Mistakes", &self.mistakes, out)?;
        match self.mistakes.len() {
            0 => writeln!(out, "No mistakes found."),
            1 => writeln!(out, "1 mistake found."),
            count => writeln!(out, "{count} mistakes found."),
        }
    }

    fn write_components(&self, out: &mut dyn Write) -> io::Result<()> {
        if self.resources.components.is_empty() {
            return writeln!(out, "No components.\n");
        }
        writeln!(out, "Components")?;
        for component in &self.resources.components {
            writeln!(out, "  {}  {}", component.log_name(), component.place)?;
        }
        writeln!(out)
    }

    fn write_subscriptions(&self, out: &mut dyn Write) -> io::Result<()> {
        if self.resources.subscriptions.is_empty() {
            return writeln!(
                out,
                "No declared subscriptions; an app may bring its own.\n"
            );
        }
        writeln!(out, "Subscriptions")?;
        for spec in &self.resources.subscriptions {
            write_subscription(spec, out)?;
        }
        writeln!(out)
    }

    fn write_configuration(&self, out: &mut dyn Write) -> io::Result<()> {
        let configuration = &self.configuration;
        if *configuration == Configuration::default() {
            return Ok(());
        }
        writeln!(out, "Configuration")?;
        writeln!(
            out,
            "  features: {}",
            configuration.enabled_features().join(", ")
        )?;
        if let Some(rate) = &configuration.tracing.sampling_rate {
            writeln!(out, "  tracing.samplingRate: {rate}")?;
        }
        if !configuration.denied_components.is_empty() {
            writeln!(
                out,
                "  components.deny: {}",
                configuration.denied_components.join(", ")
            )?;
        }
        writeln!(out)
    }
}

impl Finding {
    fn of(note: &Note) -> Self {
        Self {
            place: note.place.clone(),
            text: note.plain.clone().unwrap_or_else(|| note.text.clone()),
            remedy: note.remedy.clone(),
        }
    }

    /// By place, so that a file can be corrected from top to bottom.
    fn order(&self) -> Option<(&std::path::Path, usize)> {
        self.place
            .as_ref()
            .map(|place| (place.file.as_path(), place.line))
    }
}

fn read_configuration(
    args: &CheckArgs,
    environment: &Environment,
) -> (Configuration, Vec<Finding>) {
    match configuration::read(&args.config, environment) {
        Ok((configuration, remarks)) => (configuration, remarks.iter().map(Finding::of).collect()),
        Err(errors) => {
            let found = errors.into_iter().map(|error| Finding {
                place: error.place().cloned(),
                text: error.plain(),
                remedy: None,
            });
            (Configuration::default(), found.collect())
        }
    }
}

/// What only the other rooms can tell.
fn judge_metadata(
    resources: &Resources,
    judges: &Judges<'_>,
    spec: &SubscriptionSpec,
) -> Vec<Finding> {
    let named = |component: &&Component| component.is_pubsub() && component.name == spec.pubsub;
    let Some(component) = resources.components.iter().find(named) else {
        return Vec::new();
    };
    let found = (judges.subscription)(component, spec).into_iter();
    found
        .map(|text| Finding {
            place: spec.place.clone(),
            text: format!("subscription to {}: {text}", spec.topic),
            remedy: Some("correct spec.metadata".to_owned()),
        })
        .collect()
}

fn judge(resources: &Resources, judges: &Judges<'_>, mistakes: &mut Vec<Finding>) {
    for component in resources
        .components
        .iter()
        .filter(|component| component.is_pubsub())
    {
        for text in (judges.pubsub)(component) {
            mistakes.push(Finding {
                place: Some(component.place.clone()),
                text: format!("component {}: {text}", component.log_name()),
                remedy: Some("correct spec.type, spec.version or spec.metadata".to_owned()),
            });
        }
    }
    for spec in &resources.subscriptions {
        mistakes.extend(judge_metadata(resources, judges, spec));
        for rule in spec
            .rules
            .iter()
            .filter(|rule| !rule.match_.trim().is_empty())
        {
            if let Err(error) = (judges.rule)(&rule.match_) {
                mistakes.push(Finding {
                    place: spec.place.clone(),
                    text: format!("rule for {}: match {:?}: {error}", rule.path, rule.match_),
                    remedy: Some(
                        "write a CEL expression over event, for example event.type == \"order\""
                            .to_owned(),
                    ),
                });
            }
        }
    }
    for resource in &resources.resiliencies {
        for (name, breaker) in &resource.policies.breakers {
            let Some((trip, line)) = &breaker.trip else {
                continue;
            };
            if let Err(error) = (judges.trip)(trip) {
                mistakes.push(Finding {
                    place: Some(Place::new(&resource.place.file, *line)),
                    text: format!("circuit breaker {name}: trip {trip:?}: {error}"),
                    remedy: Some(
                        "write a CEL expression, for example consecutiveFailures > 5".to_owned(),
                    ),
                });
            }
        }
    }
}

fn write_subscription(spec: &SubscriptionSpec, out: &mut dyn Write) -> io::Result<()> {
    let place = spec
        .place
        .as_ref()
        .map(ToString::to_string)
        .unwrap_or_default();
    writeln!(
        out,
        "  topic {} on pubsub {}  {place}",
        spec.topic, spec.pubsub
    )?;
    for rule in &spec.rules {
        match rule.match_.as_str() {
            "" => writeln!(out, "    otherwise -> {}", rule.path)?,
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
        for (way, names) in [
            ("deliveries", &target.inbound),
            ("publishing", &target.outbound),
        ] {
            let text = names_text(names);
            if !text.is_empty() {
                writeln!(out, "  component {component}, {way}: {text}")?;
            }
        }
    }
    Ok(())
}

fn names_text(names: &PolicyNames) -> String {
    let all = [
        ("timeout", &names.timeout),
        ("retry", &names.retry),
        ("circuit breaker", &names.breaker),
    ];
    let given = all.iter().filter(|(_, name)| !name.is_empty());
    let texts: Vec<String> = given.map(|(what, name)| format!("{what} {name}")).collect();
    texts.join(", ")
}

fn retry_text(retry: &Retry) -> String {
    let pause = match retry.pause {
        Pause::Constant(pause) => format!("every {}", go(pause)),
        Pause::Exponential(most) => format!("from 500ms growing to {}, 15m0s in all", go(most)),
    };
    match retry.most {
        None => format!("{pause}, without limit"),
        Some(most) => format!("{pause}, {most} times after the first"),
    }
}

fn breaker_text(breaker: &Breaker) -> String {
    let trip = breaker
        .trip
        .as_ref()
        .map_or("consecutiveFailures > 5", |(trip, _)| trip.as_str());
    format!("opens when {trip}, for {}", go(breaker.timeout))
}

fn go(length: Duration) -> String {
    GoDuration::from(length).to_string()
}

fn write_findings(title: &str, findings: &[Finding], out: &mut dyn Write) -> io::Result<()> {
    if findings.is_empty() {
        return Ok(());
    }
    writeln!(out, "{title}")?;
    for finding in findings {
        match &finding.place {
            Some(place) => writeln!(out, "  {place}: {}", finding.text)?,
            None => writeln!(out, "  {}", finding.text)?,
        }
        for line in finding.remedy.iter().flat_map(|remedy| remedy.lines()) {
            writeln!(out, "      {line}")?;
        }
    }
    writeln!(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(files: &[(&str, &str)], config: Option<&str>) -> (u8, String) {
        let folder = tempfile::tempdir().unwrap();
        for (name, text) in files {
            std::fs::write(folder.path().join(name), text).unwrap();
        }
        let config_file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(config_file.path(), config.unwrap_or_default()).unwrap();
        let args = CheckArgs {
            resources_path: vec![folder.path().to_owned()],
            config: config
                .iter()
                .map(|_| config_file.path().to_owned())
                .collect(),
            app_id: None,
        };
        let judges = Judges {
            rule: &|text| {
                if text.ends_with("==") {
                    Err("unexpected end".to_owned())
                } else {
                    Ok(())
                }
            },
            trip: &|_| Ok(()),
            pubsub: &|component| {
                if component.kind == "pubsub.foo" {
                    vec!["couldn't find message bus".to_owned()]
                } else {
                    Vec::new()
                }
            },
            subscription: &|_, spec| {
                let odd = spec.metadata.keys().map(|name| format!("{name} is odd"));
                odd.collect()
            },
        };
        let mut out = Vec::new();
        let code = run(&args, &Environment::default(), &judges, &mut out).unwrap();
        let text = String::from_utf8(out).unwrap();
        let text = text.replace(folder.path().to_str().unwrap(), "DIR");
        (
            code,
            text.replace(config_file.path().to_str().unwrap(), "CONFIG"),
        )
    }

    const PUBSUB: &str = "apiVersion: dapr.io/v1alpha1\nkind: Component\nmetadata: {name: pubsub}\nspec: {type: pubsub.in-memory, version: v1}\n";
    const SUBSCRIPTION: &str = "apiVersion: dapr.io/v2alpha1\nkind: Subscription\nmetadata: {name: s}\nspec:\n  pubsubname: pubsub\n  topic: orders\n  routes: {rules: [{match: event.type == 'x', path: /x}], default: /orders}\n  deadLetterTopic: dead\n";

    #[test]
    fn what_was_found_is_told_and_the_policy_that_is_missing() {
        let (code, text) = check(&[("a.yaml", PUBSUB), ("b.yaml", SUBSCRIPTION)], None);
        assert_eq!(code, 0, "{text}");
        let expected = "Components
  pubsub (pubsub.in-memory/v1)  DIR/a.yaml:1

Subscriptions
  topic orders on pubsub pubsub  DIR/b.yaml:1
    event.type == 'x' -> /x
    otherwise -> /orders
    dead letters -> topic dead

Worth knowing
  DIR/b.yaml:1: topic orders on pubsub pubsub has the dead-letter topic dead and no retry policy: the first failure of an event moves it there
      to try again first, add this resource:
      apiVersion: dapr.io/v1alpha1
";
        assert!(text.starts_with(expected), "{text}");
        assert!(text.ends_with("No mistakes found.\n"), "{text}");
    }

    #[test]
    fn the_policy_that_is_shown_is_a_good_one() {
        let (_, text) = check(&[("a.yaml", PUBSUB), ("b.yaml", SUBSCRIPTION)], None);
        let lines = text.lines().filter_map(|line| line.strip_prefix("      "));
        let policy: Vec<&str> = lines
            .skip_while(|line| !line.starts_with("apiVersion"))
            .collect();
        let (code, text) = check(
            &[
                ("a.yaml", PUBSUB),
                ("b.yaml", SUBSCRIPTION),
                ("c.yaml", &policy.join("\n")),
            ],
            None,
        );
        assert_eq!(code, 0, "{text}");
        assert!(!text.contains("Worth knowing"), "{text}");
        assert!(text.contains("  retry again: every 1s, 3 times after the first\n  component pubsub, deliveries: retry again\n"), "{text}");
    }

    #[test]
    fn every_mistake_has_file_line_and_remedy() {
        let files = [
            ("a.yaml", PUBSUB.to_owned()),
            ("b.yaml", PUBSUB.to_owned()),
            ("c.yaml", "foo: [\n".to_owned()),
            ("d.yaml", PUBSUB.replace("name: pubsub", "name: other").replace("in-memory", "foo")),
            ("e.yaml", SUBSCRIPTION.replace("pubsubname: pubsub", "pubsubname: pubsubs").replace("== 'x'", "==")),
            ("f.yaml", "kind: Resiliency\nspec: {policies: {retries: {two: {}}}, targets: {components: {pubsub: {inbound: {retry: tow}}}}}\n".to_owned()),
            ("g.yaml", PUBSUB.replace("Component", "Compnent")),
            ("h.yaml", SUBSCRIPTION.replace("{name: s}", "{name: h}").replace("topic: orders", "topic: odd\n  metadata: {startForm: new}")),
        ];
        let files: Vec<(&str, &str)> = files
            .iter()
            .map(|(name, text)| (*name, text.as_str()))
            .collect();
        let (code, text) = check(&files, Some("spec: {metric: {enabled: 'false'}}"));
        assert_eq!(code, 1);
        for expected in [
            "DIR/b.yaml:1: duplicate definition of Component name pubsub (pubsub.in-memory/v1) with existing pubsub (pubsub.in-memory/v1)\n      rename one of the two, the other stands at DIR/a.yaml:1",
            "DIR/c.yaml:1: ",
            "DIR/d.yaml:1: component other (pubsub.foo/v1): couldn't find message bus",
            "DIR/e.yaml:1: rule for /x: match \"event.type ==\": unexpected end",
            "DIR/e.yaml:1: subscription to topic orders waits for a pubsub pubsubs, which does not exist\n      did you mean pubsub?",
            "names the retry policy tow, which no resource defines: it has none\n      did you mean two?",
            "DIR/g.yaml:1: unknown kind \"Compnent\" is ignored\n      did you mean Component?",
            "CONFIG:1: spec.metric.enabled: expected true or false, found the text \"false\"",
            "DIR/h.yaml:1: subscription to odd: startForm is odd\n      correct spec.metadata",
            "9 mistakes found.",
        ] {
            assert!(text.contains(expected), "{expected}\nis not in\n{text}");
        }
    }

    #[test]
    fn a_folder_that_is_missing_is_a_mistake() {
        let args = CheckArgs {
            resources_path: vec!["/nope".into()],
            ..CheckArgs::default()
        };
        let judges = Judges {
            rule: &|_| Ok(()),
            trip: &|_| Ok(()),
            pubsub: &|_| Vec::new(),
            subscription: &|_, _| Vec::new(),
        };
        let mut out = Vec::new();
        assert_eq!(
            run(&args, &Environment::default(), &judges, &mut out).unwrap(),
            1
        );
        assert!(
            String::from_utf8(out)
                .unwrap()
                .contains("/nope: open /nope: no such file or directory")
        );
    }
}
