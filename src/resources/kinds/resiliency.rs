//! Kind `Resiliency`: policies and which component uses which, checked as a whole (tests/spec/resources-cli.md, "8.
//! Resiliency (`dapr.io/v1alpha1`)").
//!
//! This is what the files say; nothing is executed here. A breaker's `trip` stays text, it is compiled where CEL is known.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::diagnostic::Location;
use crate::duration;
use crate::resources::kinds::head::{SCOPES_IN_SPEC, head_read, without_effect};
use crate::resources::yaml::fields::{Fields, Remark};
use crate::resources::yaml::key_lines::KeyLines;

/// The built-in policy that no resource may replace (tests/spec/resources-cli.md, "8.3 Built-in and default policies").
const PROTECTED: &str = "DaprBuiltInActorNotFoundRetries";

/// Retries that a resource must grant at least if it replaces a built-in policy.
const LEAST_BUILT_IN: u64 = 3;

/// One resource as read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Resiliency {
    /// `metadata.name`.
    pub name: String,
    /// What it brings in.
    pub policies: Policies,
    /// App ids; empty means all.
    pub scopes: Vec<String>,
    /// Policies that `targets.apps` and `targets.actors` name. They have no effect here: they are about service invocation and actors.
    pub foreign: Vec<PolicyNames>,
    /// Where it stands.
    pub location: Location,
    /// The lines of its keys.
    pub lines: KeyLines,
}

/// Something wrong with a policy, in daprd's words, and its line.
pub type WrongPolicy = (usize, String);

/// Policies by name, and the targets that use them. Later resources add to earlier ones, key by key.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Policies {
    /// `policies.timeouts`; `None` is no timeout.
    pub timeouts: BTreeMap<String, Option<Duration>>,
    /// `policies.retries`.
    pub retries: BTreeMap<String, Retry>,
    /// `policies.circuitBreakers`.
    pub breakers: BTreeMap<String, Breaker>,
    /// `targets.components`.
    pub components: BTreeMap<String, ComponentTarget>,
}

/// How often and how soon to try again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Retry {
    /// The pauses between tries.
    pub pause: Pause,
    /// Tries after the first; `None` is no limit.
    pub most: Option<u64>,
    /// `matching.httpStatusCodes`; empty matches all.
    pub http_codes: Vec<(u16, u16)>,
    /// `matching.gRPCStatusCodes`; empty matches all.
    pub grpc_codes: Vec<(u16, u16)>,
}

/// The pauses of a retry policy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pause {
    /// Always the same.
    Constant(Duration),
    /// From 500 ms growing by half, with jitter, to this; 15 minutes in all.
    Exponential(Duration),
}

/// When to stop trying at all.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Breaker {
    /// Calls that are let through half-open; at least 1.
    pub most_requests: u32,
    /// Counters are cleared so often while closed; `None` is never.
    pub interval: Option<Duration>,
    /// From open to half-open.
    pub timeout: Duration,
    /// The CEL expression with its line; `None` is `consecutiveFailures > 5`.
    pub trip: Option<(String, usize)>,
}

/// The policies of one component.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ComponentTarget {
    /// For deliveries.
    pub inbound: PolicyNames,
    /// For publishing.
    pub outbound: PolicyNames,
}

/// Names of policies; empty is none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PolicyNames {
    /// Of `policies.timeouts`.
    pub timeout: String,
    /// Of `policies.retries`.
    pub retry: String,
    /// Of `policies.circuitBreakers`.
    pub breaker: String,
}

/// The two ways through a component.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// To the app.
    Inbound,
    /// To the broker.
    Outbound,
}

impl Resiliency {
    /// Where a key of it stands, for example `spec.targets`.
    pub fn location_of(&self, key: &str) -> Location {
        self.lines.location(key, &self.location)
    }

    /// Are there targets that are components? A wrong policy takes them away, but they are written.
    pub fn has_targets(&self) -> bool {
        self.lines.has("spec.targets.components")
    }

    /// Read one. Wrong types are mistakes in the findings of `root`; wrong meanings come beside it, as daprd words
    /// them, each with its line, and leave the resource without its targets (tests/spec/resources-cli.md, "8.1
    /// Loading").
    pub fn read(root: &Fields<'_>, location: Location) -> (Self, Vec<WrongPolicy>) {
        let mut resource =
            Self { location, lines: root.key_lines(), scopes: root.texts("scopes", false), ..Self::default() };
        if let Some(metadata) = root.fields("metadata") {
            resource.name = metadata.text("name");
            without_effect(&metadata);
            metadata.done();
        }
        let mut wrong = Vec::new();
        if let Some(spec) = root.fields("spec") {
            if let Some(policies) = spec.fields("policies") {
                resource.policies.read(&policies, &mut wrong);
            }
            let targets = spec.fields("targets");
            if let Some(targets) = targets {
                resource.policies.read_targets(&targets);
                resource.foreign = foreign_targets(&targets);
                targets.done();
            }
            spec.explain("scopes", SCOPES_IN_SPEC);
            for policies in ["retries", "timeouts", "circuitBreakers"] {
                spec.explain(policies, "it belongs under policies");
            }
            for targets in ["components", "apps"] {
                spec.explain(targets, "it belongs under targets");
            }
            spec.done();
        }
        root.explain("targets", "it belongs under spec");
        root.explain("policies", "it belongs under spec");
        head_read(root);
        root.done();
        if !wrong.is_empty() {
            resource.policies.components.clear();
        }
        (resource, wrong)
    }
}

impl Policies {
    /// What is there without any resource (tests/spec/resources-cli.md, "8.3 Built-in and default policies"): retries
    /// that a target may name.
    pub fn built_in() -> Self {
        let second = Pause::Constant(Duration::from_secs(1));
        let retries = [
            ("DaprBuiltInServiceRetries", second, Some(3)),
            ("DaprBuiltInActorRetries", second, Some(3)),
            ("DaprBuiltInActorReminderRetries", Pause::Exponential(Duration::from_secs(60)), None),
            (PROTECTED, second, Some(5)),
            ("DaprBuiltInInitializationRetries", Pause::Exponential(Duration::from_secs(1)), Some(3)),
        ];
        let retry = |(name, pause, most): (&str, Pause, Option<u64>)| {
            let retry = Retry { pause, most, http_codes: Vec::new(), grpc_codes: Vec::new() };
            (name.to_owned(), retry)
        };
        Self { retries: retries.into_iter().map(retry).collect(), ..Self::default() }
    }

    /// Is this retry policy there without any resource?
    pub fn is_built_in(name: &str, retry: &Retry) -> bool {
        Self::built_in().retries.get(name) == Some(retry)
    }

    /// Hold to the rules for replacing a built-in policy; what was done about it, in daprd's words.
    pub fn respect_built_in(&mut self) -> Vec<String> {
        let mut said = Vec::new();
        if self.retries.remove(PROTECTED).is_some() {
            said.push(format!("Attempted to override protected policy {PROTECTED} which is not allowed. Ignoring provided policy and using default."));
        }
        for name in Self::built_in().retries.into_keys() {
            let Some(retry) = self.retries.get_mut(&name) else {
                continue;
            };
            if retry.most.is_none_or(|most| most < LEAST_BUILT_IN) {
                retry.most = Some(LEAST_BUILT_IN);
                said.push(format!(
                    "Attempted override of {name} did not meet minimum retry count, resetting to {LEAST_BUILT_IN}."
                ));
            }
        }
        said
    }

    /// Add what a later resource says; it wins.
    pub fn add(&mut self, later: &Self) {
        let Self { timeouts, retries, breakers, components } = later.clone();
        self.timeouts.extend(timeouts);
        self.retries.extend(retries);
        self.breakers.extend(breakers);
        self.components.extend(components);
    }

    /// The retry policy of a pub/sub component, with its name (tests/spec/resources-cli.md, "8.3 Built-in and default
    /// policies"): its own target's, or the first default there is.
    pub fn retry_of(&self, component: &str, direction: Direction) -> Option<(&str, &Retry)> {
        let found = self.choose(&self.retries, component, direction, "Retry", |names| &names.retry);
        found.map(|(name, retry)| (name.as_str(), retry))
    }

    /// The timeout of a pub/sub component, if it has one.
    pub fn timeout_of(&self, component: &str, direction: Direction) -> Option<Duration> {
        let found = self.choose(&self.timeouts, component, direction, "Timeout", |names| &names.timeout);
        found.and_then(|(_, timeout)| *timeout)
    }

    /// The name of the circuit breaker of a pub/sub component.
    pub fn breaker_of(&self, component: &str, direction: Direction) -> Option<&str> {
        let kind = "CircuitBreaker";
        let found = self.choose(&self.breakers, component, direction, kind, |names| &names.breaker);
        found.map(|(name, _)| name.as_str())
    }

    /// Does the name of a policy say by itself what it is for (tests/spec/resources-cli.md, "8.3 Built-in and default
    /// policies")?
    pub fn is_default_name(name: &str) -> bool {
        let kinds = ["Retry", "Timeout", "CircuitBreaker"];
        kinds.iter().any(|kind| {
            [Direction::Inbound, Direction::Outbound]
                .iter()
                .any(|direction| default_names(*direction, kind).contains(&name.to_owned()))
        }) || name.starts_with("Default") && name.ends_with("Policy")
            || Self::built_in().retries.contains_key(name)
    }

    /// A component that is a target has what it names, and nothing else; another one has the first default that exists.
    fn choose<'a, T>(
        &'a self,
        policies: &'a BTreeMap<String, T>,
        component: &str,
        direction: Direction,
        kind: &str,
        named: fn(&PolicyNames) -> &str,
    ) -> Option<(&'a String, &'a T)> {
        if let Some(target) = self.components.get(component) {
            return policies.get_key_value(named(target.names(direction)));
        }
        let defaults = default_names(direction, kind);
        defaults.iter().find_map(|name| policies.get_key_value(name))
    }

    fn read(&mut self, policies: &Fields<'_>, wrong: &mut Vec<WrongPolicy>) {
        for (name, (text, line)) in policies.text_map("timeouts") {
            if let Some(remark) = without_unit(&format!("spec.policies.timeouts.{name}"), &text, line) {
                policies.say(remark);
            }
            match length(&name, &text) {
                Ok(length) => {
                    self.timeouts.insert(name, length);
                }
                Err(error) => wrong.push((line, error)),
            }
        }
        for (name, fields) in policies.named("retries") {
            match read_retry(&name, &fields) {
                Ok(retry) => {
                    self.retries.insert(name, retry);
                }
                Err(error) => wrong.push(error),
            }
        }
        for (name, fields) in policies.named("circuitBreakers") {
            match fields.done_with(|fields| read_breaker(&name, fields)) {
                Ok(breaker) => {
                    self.breakers.insert(name, breaker);
                }
                Err(error) => wrong.push(error),
            }
        }
        policies.explain("retry", "did you mean retries?");
        policies.done();
    }

    fn read_targets(&mut self, targets: &Fields<'_>) {
        for (name, fields) in targets.named("components") {
            let side = |name: &'static str| {
                let names = fields.fields(name).map(|side| side.done_with(read_names));
                names.unwrap_or_default()
            };
            let target = ComponentTarget { inbound: side("inbound"), outbound: side("outbound") };
            for policy in ["retry", "timeout", "circuitBreaker"] {
                fields.explain(policy, "it belongs under inbound (deliveries to the app) or outbound (publishing)");
            }
            fields.done();
            self.components.insert(name, target);
        }
    }
}

/// The policies that targets of service invocation and actors name: known, without effect here.
fn foreign_targets(targets: &Fields<'_>) -> Vec<PolicyNames> {
    let mut all = Vec::new();
    for kind in ["apps", "actors"] {
        for (_, fields) in targets.named(kind) {
            all.push(read_names(&fields));
            fields.has("circuitBreakerCacheSize");
            if kind == "actors" {
                fields.has("circuitBreakerScope");
            }
            fields.done();
        }
    }
    all
}

impl ComponentTarget {
    /// The names for one direction.
    pub fn names(&self, direction: Direction) -> &PolicyNames {
        match direction {
            Direction::Inbound => &self.inbound,
            Direction::Outbound => &self.outbound,
        }
    }
}

/// The names under which defaults of a kind of policy (`Retry`, `Timeout`, `CircuitBreaker`) are looked up, most special first.
pub fn default_names(direction: Direction, policy: &str) -> [String; 4] {
    let way = match direction {
        Direction::Inbound => "Inbound",
        Direction::Outbound => "Outbound",
    };
    [
        format!("DefaultPubsubComponent{way}{policy}Policy"),
        format!("DefaultComponent{way}{policy}Policy"),
        format!("DefaultComponent{policy}Policy"),
        format!("Default{policy}Policy"),
    ]
}

fn read_names(side: &Fields<'_>) -> PolicyNames {
    side.explain("retries", "did you mean retry?");
    side.explain("timeouts", "did you mean timeout?");
    side.explain("circuitBreakers", "did you mean circuitBreaker?");
    PolicyNames { timeout: side.text("timeout"), retry: side.text("retry"), breaker: side.text("circuitBreaker") }
}

/// Milliseconds or a Go duration; `None` for zero and less.
fn length(name: &str, text: &str) -> Result<Option<Duration>, String> {
    let length = duration::parse_or_millis(text);
    length.map(duration::GoDuration::positive).map_err(|error| format!("invalid duration {name:?}, {text}: {error}"))
}

/// A length of time below this, written as a number alone, was most likely meant in seconds.
const SECONDS_BELOW: i64 = 100;

/// From here on a number alone can hardly be meant in anything but milliseconds.
const MILLIS_FROM: i64 = 1000;

/// What there is to say about a length of time that is a number without unit.
fn without_unit(key: &str, text: &str, line: usize) -> Option<Remark> {
    let number = text.trim().parse::<i64>().ok()?;
    let remark = match number {
        1..SECONDS_BELOW => Remark::mistake,
        SECONDS_BELOW..MILLIS_FROM => Remark::hint,
        _ => return None,
    };
    let text = format!("{key}: {number} has no unit and is taken for {number} milliseconds");
    let help = format!("write {number}s for seconds, or {number}ms if milliseconds are meant");
    Some(remark(line, text).with_help(help))
}

/// The same for a field that may be absent.
fn length_of(name: &str, fields: &Fields<'_>, field: &'static str) -> Result<Option<Option<Duration>>, WrongPolicy> {
    let Some(text) = fields.given_text(field).filter(|text| !text.is_empty()) else {
        return Ok(None);
    };
    let line = fields.line_of(field);
    if let Some(remark) = without_unit(&fields.path_of(field), &text, line) {
        fields.say(remark);
    }
    length(name, &text).map(Some).map_err(|error| (line, error))
}

fn read_retry(name: &str, fields: &Fields<'_>) -> Result<Retry, WrongPolicy> {
    let policy = fields.text("policy");
    let duration = length_of(name, fields, "duration");
    let longest = length_of(name, fields, "maxInterval");
    let most = fields.int("maxRetries").unwrap_or(-1);
    let matching = fields.fields("matching");
    let codes = |field: &'static str, valid| {
        let Some(matching) = &matching else {
            return Ok(Vec::new());
        };
        codes(&matching.text(field), valid).map_err(|error| (matching.line_of(field), error))
    };
    let (http_codes, grpc_codes) = (codes("httpStatusCodes", (100, 599)), codes("gRPCStatusCodes", (0, 16)));
    if let Some(matching) = &matching {
        matching.done();
    }
    for interval in ["interval", "delay", "backoff"] {
        fields.explain(interval, "did you mean duration?");
    }
    for attempts in ["attempts", "maxAttempts", "maxRetry", "retries"] {
        fields.explain(attempts, "did you mean maxRetries?");
    }
    fields.done();
    let pause = match policy.to_ascii_lowercase().as_str() {
        "" | "constant" => {
            no_effect(fields, "maxInterval", "it is for the policy exponential, this one is constant");
            Pause::Constant(given(duration?, Duration::from_secs(5)))
        }
        "exponential" => {
            no_effect(
                fields,
                "duration",
                "it is for the policy constant; exponential begins with 500ms and grows up to maxInterval",
            );
            Pause::Exponential(given(longest?, Duration::from_secs(60)))
        }
        _ => {
            let text = format!("unrecognized policy {policy:?} of retry {name:?}: use constant or exponential");
            return Err((fields.line_of("policy"), text));
        }
    };
    Ok(Retry { pause, most: u64::try_from(most).ok(), http_codes: http_codes?, grpc_codes: grpc_codes? })
}

/// A known field that the rest of its policy leaves without effect.
fn no_effect(fields: &Fields<'_>, field: &'static str, why: &str) {
    if fields.has(field) {
        fields.hint(field, &format!("has no effect: {why}"));
    }
}

/// What is given, no time at all if that is zero or less.
fn given(length: Option<Option<Duration>>, default: Duration) -> Duration {
    length.map_or(default, Option::unwrap_or_default)
}

fn read_breaker(name: &str, fields: &Fields<'_>) -> Result<Breaker, WrongPolicy> {
    let interval = length_of(name, fields, "interval");
    let timeout = length_of(name, fields, "timeout");
    let most_requests = fields.int("maxRequests").unwrap_or(0);
    let trip = fields.given_text("trip").filter(|text| !text.trim().is_empty());
    let line = fields.line_of("trip");
    Ok(Breaker {
        most_requests: u32::try_from(most_requests).unwrap_or(0).max(1),
        interval: interval?.flatten(),
        timeout: timeout?.flatten().unwrap_or(Duration::from_secs(60)),
        trip: trip.map(|trip| (trip, line)),
    })
}

/// A list of codes and ranges, `429,500-599`; errors in daprd's words.
fn codes(list: &str, (least, most): (u16, u16)) -> Result<Vec<(u16, u16)>, String> {
    let patterns = list.split(',').filter(|pattern| !pattern.is_empty());
    let valid = |code: i64| u16::try_from(code).ok().filter(|code| (least..=most).contains(code));
    patterns
        .map(|pattern| {
            let mut parts = pattern.split('-');
            let (start, end) = (parts.next().unwrap_or_default(), parts.next());
            if parts.next().is_some() {
                return Err(format!("invalid pattern {pattern}, more than one '-' exists"));
            }
            let number = |code: &str, which: &str| {
                code.parse::<i64>().map_err(|_| {
                    format!("failed to parse {which} code {code} from pattern {pattern} to int, strconv.Atoi: parsing {code:?}: invalid syntax")
                })
            };
            let first = number(start, "start")?;
            let last = end.map_or(Ok(first), |end| number(end, "end"))?;
            let start = valid(first).ok_or_else(|| format!("invalid pattern {pattern}, start code {first} is not valid"))?;
            let end = valid(last).ok_or_else(|| format!("invalid pattern {pattern}, end code {last} is not valid"))?;
            if start > end {
                return Err(format!("invalid pattern {pattern}, start value should not bigger than end value"));
            }
            Ok((start, end))
        })
        .collect()
}

#[cfg(test)]
mod tests;
