//! Reading of kind `Resiliency` (tests/spec/resources-cli.md, "8. Resiliency (`dapr.io/v1alpha1`)").

use std::time::Duration;

use crate::diagnostic::{Diagnostic, Location};
use crate::duration;
use crate::resources::kinds::common_keys::{SCOPES_IN_SPEC, known_at_root, known_in_metadata};
use crate::resources::kinds::policies::{Breaker, ComponentTarget, Pause, Policies, PolicyNames, Retry};
use crate::resources::yaml::fields::Fields;
use crate::resources::yaml::key_lines::KeyLines;

/// One resource as written.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Resiliency {
    /// `metadata.name`.
    pub name: String,
    /// Its policies and targets.
    pub policies: Policies,
    /// App ids; empty means all.
    pub scopes: Vec<String>,
    /// Policies that `targets.apps` and `targets.actors` name, which have no effect here: they are for service invocation
    /// and actors.
    pub foreign: Vec<PolicyNames>,
    /// File and line of the document.
    pub location: Location,
    /// Lines of its keys.
    pub lines: KeyLines,
}

/// Line and text of an invalid policy, in daprd's words.
pub type WrongPolicy = (usize, String);

impl Resiliency {
    /// The location of a key, for example `spec.targets`.
    pub fn location_of(&self, key: &str) -> Location {
        self.lines.location(key, &self.location)
    }

    /// Whether component targets are written. They stay so if an invalid policy has removed them from `policies`.
    pub fn has_targets(&self) -> bool {
        self.lines.has("spec.targets.components")
    }

    /// Read a document. Wrong types are errors in the diagnostics of `root`. Invalid policies are returned with it and
    /// leave the resource without targets (tests/spec/resources-cli.md, "8.1 Loading").
    pub fn read(root: &Fields<'_>, location: Location) -> (Self, Vec<WrongPolicy>) {
        let mut resource =
            Self { location, lines: root.key_lines(), scopes: root.texts("scopes", false), ..Self::default() };
        if let Some(metadata) = root.fields("metadata") {
            resource.name = metadata.text("name");
            known_in_metadata(&metadata);
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
        known_at_root(root);
        root.done();
        if !wrong.is_empty() {
            resource.policies.components.clear();
        }
        (resource, wrong)
    }
}

impl Policies {
    fn read(&mut self, policies: &Fields<'_>, wrong: &mut Vec<WrongPolicy>) {
        for (name, (text, line)) in policies.text_map("timeouts") {
            report_missing_unit(policies, &format!("spec.policies.timeouts.{name}"), &text, line);
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

/// The policies that targets of service invocation and actors name: known, but without effect here.
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

fn read_names(side: &Fields<'_>) -> PolicyNames {
    side.explain("retries", "did you mean retry?");
    side.explain("timeouts", "did you mean timeout?");
    side.explain("circuitBreakers", "did you mean circuitBreaker?");
    PolicyNames { timeout: side.text("timeout"), retry: side.text("retry"), breaker: side.text("circuitBreaker") }
}

/// Parse milliseconds or a Go duration; `None` for zero and less.
fn length(name: &str, text: &str) -> Result<Option<Duration>, String> {
    let length = duration::parse_or_millis(text);
    length.map(duration::GoDuration::positive).map_err(|error| format!("invalid duration {name:?}, {text}: {error}"))
}

/// Durations without unit below this were most likely meant in seconds.
const SECONDS_BELOW: i64 = 100;

/// Durations without unit from here on were meant in milliseconds.
const MILLIS_FROM: i64 = 1000;

/// Report a duration without unit that was most likely not meant in milliseconds.
fn report_missing_unit(fields: &Fields<'_>, key: &str, text: &str, line: usize) {
    let Ok(number) = text.trim().parse::<i64>() else {
        return;
    };
    let diagnostic = match number {
        1..SECONDS_BELOW => Diagnostic::warning,
        SECONDS_BELOW..MILLIS_FROM => Diagnostic::hint,
        _ => return,
    };
    let message = format!("{key}: {number} has no unit and is taken for {number} milliseconds");
    let help = format!("write {number}s for seconds, or {number}ms if milliseconds are meant");
    fields.report(diagnostic(fields.location(line), message).with_help(help));
}

/// Parse an optional field; the outer `None` means that it is absent or empty.
fn length_of(name: &str, fields: &Fields<'_>, field: &'static str) -> Result<Option<Option<Duration>>, WrongPolicy> {
    let Some(text) = fields.given_text(field).filter(|text| !text.is_empty()) else {
        return Ok(None);
    };
    let line = fields.line_of(field);
    report_missing_unit(fields, &fields.path_of(field), &text, line);
    length(name, &text).map(Some).map_err(|error| (line, error))
}

fn read_retry(name: &str, fields: &Fields<'_>) -> Result<Retry, WrongPolicy> {
    let policy = fields.text("policy");
    let duration = length_of(name, fields, "duration");
    let longest = length_of(name, fields, "maxInterval");
    let max_retries = fields.int("maxRetries").unwrap_or(-1);
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
    Ok(Retry { pause, max_retries: u64::try_from(max_retries).ok(), http_codes: http_codes?, grpc_codes: grpc_codes? })
}

/// Report a known field that has no effect in this policy.
fn no_effect(fields: &Fields<'_>, field: &'static str, why: &str) {
    if fields.has(field) {
        fields.hint(field, &format!("has no effect: {why}"));
    }
}

/// The given duration, zero for one that is not positive.
fn given(length: Option<Option<Duration>>, default: Duration) -> Duration {
    length.map_or(default, Option::unwrap_or_default)
}

fn read_breaker(name: &str, fields: &Fields<'_>) -> Result<Breaker, WrongPolicy> {
    let interval = length_of(name, fields, "interval");
    let timeout = length_of(name, fields, "timeout");
    let max_requests = fields.int("maxRequests").unwrap_or(0);
    let trip = fields.given_text("trip").filter(|text| !text.trim().is_empty());
    let line = fields.line_of("trip");
    Ok(Breaker {
        max_requests: u32::try_from(max_requests).unwrap_or(0).max(1),
        interval: interval?.flatten(),
        timeout: timeout?.flatten().unwrap_or(Duration::from_secs(60)),
        trip: trip.map(|trip| (trip, line)),
    })
}

/// Parse a list of codes and ranges, for example `429,500-599`. Errors are in daprd's words.
fn codes(list: &str, (min, max): (u16, u16)) -> Result<Vec<(u16, u16)>, String> {
    let patterns = list.split(',').filter(|pattern| !pattern.is_empty());
    let valid = |code: i64| u16::try_from(code).ok().filter(|code| (min..=max).contains(code));
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
