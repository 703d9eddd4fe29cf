//! Kind `Configuration`: the files of `--config`, later ones merged over earlier ones (tests/spec/resources-cli.md, "9. Configuration
//! files").

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::credentials::masked;
use crate::diagnostic::{Diagnostic, Location};
use crate::duration;
use crate::environment::Environment;
use crate::resources::files::{encoding, folder};
use crate::resources::kinds::common_keys::known_at_root;
use crate::resources::kinds::pipeline::{self, Handler};
use crate::resources::yaml::diagnostics::Diagnostics;
use crate::resources::yaml::fields::{Dialect, Fields};
use crate::resources::yaml::parse;
use crate::resources::yaml::value::Scalar;

/// All files merged.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Configuration {
    /// `tracing`.
    pub tracing: TracingSpec,
    /// `metric`, with `metrics` over it.
    pub metrics: MetricsSpec,
    /// `features` of the last file that has the list.
    pub features: Vec<Feature>,
    /// `api.allowed`.
    pub allowed_apis: Vec<ApiRule>,
    /// `api.denied`.
    pub denied_apis: Vec<ApiRule>,
    /// `logging.apiLogging`.
    pub api_logging: ApiLogging,
    /// `components.deny`.
    pub denied_components: Vec<String>,
    /// `httpPipeline.handlers` and `appHttpPipeline.handlers`.
    pub handlers: Vec<Handler>,
}

/// `spec.tracing`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TracingSpec {
    /// `samplingRate`, as written.
    pub sampling_rate: Option<String>,
    /// `stdout`.
    pub stdout: bool,
    /// `zipkin.endpointAddress`.
    pub zipkin: String,
    /// `otel.endpointAddress`.
    pub otel_address: String,
    /// `otel.protocol`.
    pub otel_protocol: String,
}

/// `spec.metric`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MetricsSpec {
    /// `enabled`; unset means on.
    pub enabled: Option<bool>,
    /// `recordErrorCodes`.
    pub record_error_codes: Option<bool>,
    /// `latencyDistributionBuckets`, in milliseconds.
    pub latency_buckets: Vec<i64>,
    /// `http.increasedCardinality`.
    pub increased_cardinality: Option<bool>,
    /// `http.pathMatching`.
    pub path_matching: Vec<String>,
    /// `http.excludeVerbs`.
    pub exclude_verbs: Option<bool>,
}

/// One of `spec.features`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Feature {
    /// Its name; unknown names have no effect.
    pub name: String,
    /// Whether it is on.
    pub enabled: bool,
}

/// One of `spec.api.allowed` or `denied`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ApiRule {
    /// A group, or a path that begins with one.
    pub name: String,
    /// `v1`, `v1.0`, `v1alpha1`, ...
    pub version: String,
    /// `http` or `grpc`.
    pub protocol: String,
}

/// `spec.logging.apiLogging`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ApiLogging {
    /// Whether every call is logged; unset means no.
    pub enabled: Option<bool>,
    /// Whether operation names replace paths.
    pub obfuscate_urls: bool,
    /// Whether health checks are left out.
    pub omit_health_checks: bool,
}

/// Why a file cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConfigurationError {
    /// It does not exist.
    #[error("error loading configuration: stat {}: {reason}", path.display())]
    Missing {
        /// As given on the command line.
        path: PathBuf,
        /// In the words of the operating system.
        reason: String,
    },
    /// It cannot be read.
    #[error("error loading configuration: read {}: {reason}", path.display())]
    Unreadable {
        /// As given on the command line.
        path: PathBuf,
        /// In the words of the operating system.
        reason: String,
    },
    /// It is not YAML, or a field has a wrong value.
    #[error("error loading configuration: yaml: unmarshal errors:\n  line {}: {text}", location.line)]
    Wrong {
        /// File and line.
        location: Location,
        /// What is wrong.
        text: String,
    },
    /// The protocol of the `OpenTelemetry` exporter is neither `http` nor `grpc`.
    #[error("failed to setup tracing: invalid protocol {} provided for Otel endpoint", masked(protocol))]
    OtelProtocol {
        /// As written.
        protocol: String,
    },
    /// A store occurs twice in `secrets.scopes`.
    #[error("error loading configuration: {store} storeName is repeated in secrets configuration")]
    StoreRepeated {
        /// Its name.
        store: String,
    },
    /// `defaultAccess` is neither `allow` nor `deny`.
    #[error("error loading configuration: defaultAccess {} can be either allow or deny", masked(access))]
    StoreAccess {
        /// As written.
        access: String,
    },
}

impl ConfigurationError {
    /// As a finding, for `check`.
    pub fn diagnostic(&self) -> Diagnostic {
        let error = Diagnostic::error(Location::default(), self.plain());
        Diagnostic { location: self.location().cloned(), ..error }
    }

    /// The text to show beside the location.
    fn plain(&self) -> String {
        match self {
            Self::Wrong { text, .. } => text.clone(),
            error => error.to_string(),
        }
    }

    /// File and line, if the error is about a line.
    pub fn location(&self) -> Option<&Location> {
        match self {
            Self::Wrong { location, .. } => Some(location),
            _ => None,
        }
    }
}

/// Read the files in order and merge them. Also returns findings that do not make them unusable.
///
/// # Errors
/// All errors of all files.
pub fn read(
    files: &[PathBuf],
    environment: &Environment,
) -> Result<(Configuration, Vec<Diagnostic>), Vec<ConfigurationError>> {
    let mut configuration = Configuration::default();
    let (mut errors, mut diagnostics) = (Vec::new(), Vec::new());
    for file in files {
        match text_of(file) {
            Ok(text) => configuration.add(file, &expanded(&text, environment), &mut errors, &mut diagnostics),
            Err(error) => errors.push(error),
        }
    }
    let tracing = &configuration.tracing;
    if !tracing.otel_address.is_empty() && !matches!(tracing.otel_protocol.as_str(), "" | "http" | "grpc") {
        errors.push(ConfigurationError::OtelProtocol { protocol: tracing.otel_protocol.clone() });
    }
    if errors.is_empty() { Ok((configuration, diagnostics)) } else { Err(errors) }
}

impl Configuration {
    /// Names of the enabled features in byte order: those that are on by default, changed by the files.
    pub fn enabled_features(&self) -> Vec<String> {
        let mut features = BTreeMap::from([("HotReload", true), ("WorkflowsRemoteActivityReminder", true)]);
        for feature in &self.features {
            features.insert(&feature.name, feature.enabled);
        }
        let enabled = features.into_iter().filter(|(_, enabled)| *enabled);
        enabled.map(|(name, _)| name.to_owned()).collect()
    }

    fn add(
        &mut self,
        file: &Path,
        text: &str,
        errors: &mut Vec<ConfigurationError>,
        diagnostics: &mut Vec<Diagnostic>,
    ) {
        let wrong = |error: Diagnostic| ConfigurationError::Wrong {
            location: error.location.unwrap_or_default(),
            text: error.message,
        };
        let document = match parse::document(text, 1) {
            Ok(Some(document)) => document,
            Ok(None) => return,
            Err(error) => return errors.push(wrong(error.in_file(file))),
        };
        let found = Diagnostics::new(file);
        let root = Fields::root(&document.root, Dialect::Typed, &found);
        if let Some(spec) = root.fields("spec") {
            self.read_spec(&spec, errors);
        }
        known_at_root(&root);
        root.done();
        let (found_errors, others) = found.into_parts();
        let duplicates = document.duplicates.into_iter().map(|duplicate| duplicate.in_file(file));
        errors.extend(duplicates.chain(found_errors).map(wrong));
        diagnostics.extend(others);
    }

    fn read_spec(&mut self, spec: &Fields<'_>, errors: &mut Vec<ConfigurationError>) {
        if let Some(tracing) = self.tracing_section(spec) {
            read_tracing(&tracing, &mut self.tracing);
        }
        for name in ["metric", "metrics"] {
            if let Some(metrics) = spec.fields(name) {
                read_metrics(&metrics, &mut self.metrics);
            }
        }
        if spec.has("features") {
            self.features = spec.list("features").iter().map(read_feature).collect();
        }
        if let Some(api) = spec.fields("api") {
            for (name, rules) in [("allowed", &mut self.allowed_apis), ("denied", &mut self.denied_apis)] {
                if api.has(name) {
                    *rules = api.list(name).iter().map(read_api_rule).collect();
                }
            }
            api.done();
        }
        if let Some(logging) = spec.fields("logging") {
            if let Some(fields) = logging.fields("apiLogging") {
                read_api_logging(&fields, &mut self.api_logging);
            }
            logging.done();
        }
        if let Some(components) = spec.fields("components") {
            if components.has("deny") {
                self.denied_components = components.texts("deny", false);
            }
            components.done();
        }
        pipeline::read(spec, &mut self.handlers);
        check_secret_scopes(spec, errors);
        // Known to daprd, without effect here.
        for name in ["accessControl", "nameResolution", "mtls", "wasm", "workflow"] {
            spec.has(name);
        }
        spec.done();
    }

    /// The tracing section. `tracing:` without a value resets what earlier files set.
    fn tracing_section<'a>(&mut self, spec: &Fields<'a>) -> Option<Fields<'a>> {
        if spec.node("tracing").is_some_and(|node| node.is_null()) {
            self.tracing = TracingSpec::default();
        }
        spec.fields("tracing")
    }
}

fn read_tracing(fields: &Fields<'_>, tracing: &mut TracingSpec) {
    if let Some(rate) = fields.given_text("samplingRate") {
        tracing.sampling_rate = Some(rate);
    }
    tracing.stdout = fields.bool("stdout").unwrap_or(tracing.stdout);
    if let Some(zipkin) = fields.fields("zipkin") {
        if let Some(address) = zipkin.given_text("endpointAddress") {
            tracing.zipkin = address;
        }
        zipkin.done();
    }
    if let Some(otel) = fields.fields("otel") {
        let keep = |name, old: &mut String| {
            if let Some(text) = otel.given_text(name) {
                *old = text;
            }
        };
        keep("endpointAddress", &mut tracing.otel_address);
        keep("protocol", &mut tracing.otel_protocol);
        otel.bool("isSecure");
        check_duration(&otel, "timeout");
        otel.has("headers");
        otel.done();
    }
    fields.done();
}

/// Check that a field is a duration with its unit: daprd takes no number here.
fn check_duration(fields: &Fields<'_>, name: &'static str) {
    let Some(node) = fields.node(name).filter(|node| !node.is_null()) else {
        return;
    };
    match node.scalar() {
        Some(Scalar::Text(text)) => {
            if let Err(error) = duration::parse(text) {
                fields.error(name, &format!("{error}"));
            }
        }
        Some(Scalar::Int(number)) => fields.error(
            name,
            &format!("expected a duration with its unit, found the number {number}: write {number}s for seconds"),
        ),
        _ => fields.error(name, &format!("expected a duration such as 10s, found {}", node.kind())),
    }
}

fn read_metrics(fields: &Fields<'_>, metrics: &mut MetricsSpec) {
    metrics.enabled = fields.bool("enabled").or(metrics.enabled);
    metrics.record_error_codes = fields.bool("recordErrorCodes").or(metrics.record_error_codes);
    let buckets = fields.texts("latencyDistributionBuckets", false);
    if !buckets.is_empty() {
        let numbers: Option<Vec<i64>> = buckets.iter().map(|bucket| bucket.parse().ok()).collect();
        match numbers {
            Some(numbers) => metrics.latency_buckets = numbers,
            None => fields.error("latencyDistributionBuckets", "expected whole numbers"),
        }
    }
    if let Some(http) = fields.fields("http") {
        metrics.increased_cardinality = http.bool("increasedCardinality").or(metrics.increased_cardinality);
        metrics.exclude_verbs = http.bool("excludeVerbs").or(metrics.exclude_verbs);
        if http.has("pathMatching") {
            metrics.path_matching = http.texts("pathMatching", false);
        }
        http.done();
    }
    fields.has("rules");
    fields.done();
}

fn read_feature(fields: &Fields<'_>) -> Feature {
    fields.done_with(|fields| Feature { name: fields.text("name"), enabled: fields.bool("enabled").unwrap_or(false) })
}

fn read_api_rule(fields: &Fields<'_>) -> ApiRule {
    fields.done_with(|fields| ApiRule {
        name: fields.text("name"),
        version: fields.text("version"),
        protocol: fields.text("protocol"),
    })
}

fn read_api_logging(fields: &Fields<'_>, logging: &mut ApiLogging) {
    logging.enabled = fields.bool("enabled").or(logging.enabled);
    logging.obfuscate_urls = fields.bool("obfuscateURLs").unwrap_or(logging.obfuscate_urls);
    logging.omit_health_checks = fields.bool("omitHealthChecks").unwrap_or(logging.omit_health_checks);
    fields.done();
}

fn check_secret_scopes(spec: &Fields<'_>, errors: &mut Vec<ConfigurationError>) {
    let Some(secrets) = spec.fields("secrets") else {
        return;
    };
    let mut seen = Vec::new();
    for scope in secrets.list("scopes") {
        let (store, access) = (scope.text("storeName"), scope.text("defaultAccess"));
        if !matches!(access.to_ascii_lowercase().as_str(), "" | "allow" | "deny") {
            errors.push(ConfigurationError::StoreAccess { access });
        }
        if seen.contains(&store) {
            errors.push(ConfigurationError::StoreRepeated { store: store.clone() });
        }
        seen.push(store);
        scope.has("allowedSecrets");
        scope.has("deniedSecrets");
        scope.done();
    }
    secrets.done();
}

fn text_of(file: &Path) -> Result<String, ConfigurationError> {
    let path = file.to_owned();
    match std::fs::metadata(file) {
        Err(error) => {
            return Err(ConfigurationError::Missing { path, reason: folder::reason(&error) });
        }
        Ok(about) if about.is_dir() => {
            let reason = "is a directory".to_owned();
            return Err(ConfigurationError::Unreadable { path, reason });
        }
        Ok(_) => {}
    }
    encoding::read(file).map_err(|error| ConfigurationError::Unreadable { path, reason: folder::reason(&error) })
}

/// Replace `$NAME` and `${NAME}`, without the other rules of a shell (tests/spec/resources-cli.md, "9.1 Loading", item 2).
fn expanded(text: &str, environment: &Environment) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('$') {
        let (before, after) = rest.split_at(at);
        out.push_str(before);
        let after = &after[1..];
        let (name, length) = variable(after);
        match name {
            Some(name) => out.push_str(environment.get(name).unwrap_or_default()),
            None => out.push('$'),
        }
        rest = &after[length..];
    }
    out.push_str(rest);
    out
}

/// The variable at the beginning of a text after `$`, and the length that it takes. Without a name the `$` stays.
fn variable(text: &str) -> (Option<&str>, usize) {
    if let Some(inner) = text.strip_prefix('{') {
        return match inner.find('}') {
            // `${X:-y}` is looked up whole, and no variable has such a name.
            Some(end) => (Some(&inner[..end]), end + 2),
            None => (Some(""), 1),
        };
    }
    let is_name = |c: char| c == '_' || c.is_ascii_alphanumeric();
    match text.chars().next() {
        Some('*' | '#' | '$' | '@' | '!' | '?' | '-' | '0'..='9') => (Some(""), 1),
        Some(first) if is_name(first) => {
            let end = text.find(|c| !is_name(c)).unwrap_or(text.len());
            (Some(&text[..end]), end)
        }
        _ => (None, 0),
    }
}

#[cfg(test)]
mod tests;
