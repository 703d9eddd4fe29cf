//! Run files (`dapr.yaml`): the apps of a stack as written (tests/spec/resources-cli.md, "3.5 Run file (`dapr.yaml`)").
//!
//! This module reports what the text alone shows to be wrong. `run::file` merges `common` into the apps, checks the
//! paths and launches the apps.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::diagnostic::{Diagnostic, Location, Severity};
use crate::environment::Environment;
use crate::resources::yaml::diagnostics::Diagnostics;
use crate::resources::yaml::fields::{Dialect, Fields};
use crate::resources::yaml::parse;
use crate::resources::yaml::value::Content;

/// The content of a run file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RunFile {
    /// `name`.
    pub name: String,
    /// `common`.
    pub common: Shared,
    /// `apps`, in order.
    pub apps: Vec<AppEntry>,
}

/// One of `apps`: the keys for this app only.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AppEntry {
    /// Lines of the app and of its keys.
    pub lines: Lines,
    /// `appDirPath`; empty if it is missing, which is reported as an error.
    pub dir: String,
    /// `appID`; empty means the name of the folder.
    pub app_id: String,
    /// `appPort`; 0 for none.
    pub app_port: i64,
    /// `appChannelAddress`.
    pub app_channel_address: String,
    /// `daprHTTPPort`; 0 means a free port, here and below.
    pub http_port: i64,
    /// `daprGRPCPort`.
    pub grpc_port: i64,
    /// `daprInternalGRPCPort`.
    pub internal_grpc_port: i64,
    /// `metricsPort`.
    pub metrics_port: i64,
    /// `profilePort`.
    pub profile_port: i64,
    /// `unixDomainSocket`.
    pub unix_domain_socket: String,
    /// `command`.
    pub command: Vec<String>,
    /// The keys that `common` can have as well.
    pub shared: Shared,
}

/// Keys of `common`, of an app or of both. Empty, 0 and false mean the same as absent.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Shared {
    /// Lines of the keys.
    pub lines: Lines,
    /// `resourcesPaths`, then `resourcesPath`.
    pub resources: Vec<String>,
    /// `configFilePath`.
    pub config: String,
    /// `appProtocol`.
    pub app_protocol: String,
    /// `apiListenAddresses`.
    pub listen_addresses: String,
    /// `enableProfiling`.
    pub enable_profiling: bool,
    /// `logLevel`.
    pub log_level: String,
    /// `appMaxConcurrency`.
    pub app_max_concurrency: i64,
    /// `appSSL`.
    pub app_ssl: bool,
    /// `maxBodySize`.
    pub max_body_size: String,
    /// `readBufferSize`.
    pub read_buffer_size: String,
    /// `enableAppHealthCheck`.
    pub enable_app_health_check: bool,
    /// `appHealthCheckPath`.
    pub app_health_check_path: String,
    /// `appHealthProbeInterval`, in seconds.
    pub app_health_probe_interval: i64,
    /// `appHealthProbeTimeout`, in milliseconds.
    pub app_health_probe_timeout: i64,
    /// `appHealthThreshold`.
    pub app_health_threshold: i64,
    /// `enableApiLogging`.
    pub enable_api_logging: bool,
    /// `runtimePath`.
    pub runtime_path: String,
    /// `env`, with values as written.
    pub env: BTreeMap<String, String>,
    /// `daprdLogDestination`.
    pub sidecar_log: Option<LogDestination>,
    /// `appLogDestination`.
    pub app_log: Option<LogDestination>,
}

/// Where the output of a process goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogDestination {
    /// To the console.
    Console,
    /// To a file in the app's folder.
    File,
    /// To both.
    FileAndConsole,
}

impl LogDestination {
    fn of(word: &str) -> Option<Self> {
        Some(match word {
            "console" => Self::Console,
            "file" => Self::File,
            "fileAndConsole" => Self::FileAndConsole,
            _ => return None,
        })
    }
}

impl AppEntry {
    /// The app id: by default the name of its folder.
    pub fn id(&self, folder: &Path) -> String {
        if !self.app_id.is_empty() {
            return self.app_id.clone();
        }
        // For a path that ends in `..`.
        let folder = folder.canonicalize().unwrap_or_else(|_| folder.to_owned());
        let name = folder.file_name().unwrap_or_default();
        name.to_string_lossy().into_owned()
    }
}

/// The name of the run file in a folder.
pub const USUAL_NAME: &str = "dapr.yaml";

/// A path in a run file: `~/` is the home folder, other relative paths begin at `base`.
pub fn resolved(path: &str, base: &Path, environment: &Environment) -> PathBuf {
    match (path.strip_prefix("~/"), environment.non_empty("HOME")) {
        (Some(rest), Some(home)) => Path::new(home).join(rest),
        _ => base.join(path),
    }
}

/// The lines of a mapping and of its keys.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Lines {
    own: Location,
    keys: BTreeMap<&'static str, usize>,
}

impl Lines {
    /// The location of a key; of the mapping if the key is absent.
    pub fn of(&self, key: &str) -> Location {
        let line = self.keys.get(key).copied().unwrap_or(self.own.line);
        Location::new(&self.own.file, line)
    }

    /// The location of the mapping.
    pub fn own(&self) -> Location {
        self.own.clone()
    }
}

/// A run file and the findings about it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reading {
    /// The file, as far as it could be read.
    pub file: RunFile,
    /// What is wrong, in the order of lines. With an error nothing can be started; warnings are about unknown keys.
    pub diagnostics: Vec<Diagnostic>,
}

/// Read the text of a run file; `path` is for messages.
pub fn read(path: &Path, text: &str) -> Reading {
    let unreadable = |error| Reading { diagnostics: vec![error], ..Reading::default() };
    let document = match parse::document(text, 1) {
        Ok(Some(document)) => document,
        Ok(None) => return unreadable(no_version(Location::new(path, 0))),
        Err(error) => return unreadable(error.in_file(path)),
    };
    let found = Diagnostics::new(path);
    let root = Fields::root(&document.root, Dialect::Typed, &found);
    let mut diagnostics = Vec::new();
    let file = Reader { path }.file(&root, &mut diagnostics);
    let (errors, unknown_keys) = found.into_parts();
    diagnostics.extend(document.duplicates.into_iter().map(|duplicate| duplicate.in_file(path)));
    diagnostics.extend(errors);
    diagnostics.extend(unknown_keys.into_iter().map(unknown_key));
    diagnostics.sort_by_key(Diagnostic::line);
    Reading { file, diagnostics }
}

/// An unknown key, with its help in the message. In a run file each of them is a warning.
fn unknown_key(found: Diagnostic) -> Diagnostic {
    let message = found.sentence().into_owned();
    Diagnostic { severity: Severity::Warning, message, help: None, ..found }
}

fn no_version(location: Location) -> Diagnostic {
    Diagnostic::error(location, "required field 'version' not found in the provided run template file")
        .with_help("add `version: 1` as the first line")
}

struct Reader<'a> {
    path: &'a Path,
}

impl Reader<'_> {
    fn file(&self, root: &Fields<'_>, diagnostics: &mut Vec<Diagnostic>) -> RunFile {
        let location = |line| Location::new(self.path, line);
        // Every number but 0 is accepted, as by the Dapr CLI: there is only one version.
        if root.int("version").unwrap_or(0) == 0 {
            diagnostics.push(no_version(location(root.line())));
        }
        let file = RunFile {
            name: root.text("name"),
            common: root.fields("common").map(|common| common_of(self.path, &common, diagnostics)).unwrap_or_default(),
            apps: root.list("apps").iter().map(|app| self.app(app, diagnostics)).collect(),
        };
        if file.apps.is_empty() {
            let line = root.node("apps").map_or(root.line(), |node| node.line);
            diagnostics.push(
                Diagnostic::error(location(line), "No apps to run")
                    .with_help("add `apps`, a list with `appDirPath` and `command` for each app"),
            );
        }
        root.done();
        file
    }

    fn app(&self, fields: &Fields<'_>, diagnostics: &mut Vec<Diagnostic>) -> AppEntry {
        let int = |name| fields.int(name).unwrap_or_default();
        let entry = AppEntry {
            dir: fields.text("appDirPath"),
            app_id: fields.text("appID"),
            app_port: int("appPort"),
            app_channel_address: fields.text("appChannelAddress"),
            http_port: int("daprHTTPPort"),
            grpc_port: int("daprGRPCPort"),
            internal_grpc_port: int("daprInternalGRPCPort"),
            metrics_port: int("metricsPort"),
            profile_port: int("profilePort"),
            unix_domain_socket: fields.text("unixDomainSocket"),
            command: fields.texts("command", false),
            shared: shared(self.path, fields, diagnostics),
            lines: lines(self.path, fields, &APP_KEYS),
        };
        if entry.dir.is_empty() {
            diagnostics.push(
                Diagnostic::error(
                    entry.lines.of("appDirPath"),
                    "required field 'appDirPath' not found in the provided app config file",
                )
                .with_help("add `appDirPath`, the folder of the app, relative to this file"),
            );
        }
        let policy = fields.text("containerImagePullPolicy");
        if !["", "Always", "Never", "IfNotPresent"].contains(&policy.as_str()) {
            diagnostics.push(
                Diagnostic::error(
                    entry.lines.of("containerImagePullPolicy"),
                    format!("invalid containerImagePullPolicy: {policy}"),
                )
                .with_help("use Always, Never or IfNotPresent, or leave it away: it is for Kubernetes only"),
            );
        }
        // These matter to Kubernetes only.
        for name in ["containerImage", "createService"] {
            fields.has(name);
        }
        fields.done();
        entry
    }
}

/// Keys of an app that messages may be about.
const APP_KEYS: [&str; 10] = [
    "appDirPath",
    "appID",
    "appPort",
    "daprHTTPPort",
    "daprGRPCPort",
    "daprInternalGRPCPort",
    "metricsPort",
    "unixDomainSocket",
    "command",
    "containerImagePullPolicy",
];

/// Keys of `common` that messages may be about.
const SHARED_KEYS: [&str; 6] =
    ["resourcesPaths", "resourcesPath", "configFilePath", "runtimePath", "daprdLogDestination", "appLogDestination"];

fn lines(path: &Path, fields: &Fields<'_>, keys: &[&'static str]) -> Lines {
    let line = |key: &&'static str| Some((*key, fields.node(key)?.line));
    Lines { own: Location::new(path, fields.line()), keys: keys.iter().filter_map(line).collect() }
}

fn common_of(path: &Path, fields: &Fields<'_>, diagnostics: &mut Vec<Diagnostic>) -> Shared {
    let common = shared(path, fields, diagnostics);
    fields.done();
    common
}

fn shared(path: &Path, fields: &Fields<'_>, diagnostics: &mut Vec<Diagnostic>) -> Shared {
    let lines = lines(path, fields, &SHARED_KEYS);
    let int = |name| fields.int(name).unwrap_or_default();
    let bool = |name| fields.bool(name).unwrap_or_default();
    let mut destination = |name| {
        let word = fields.text(name);
        let destination = LogDestination::of(&word);
        if destination.is_none() && !word.is_empty() {
            diagnostics.push(
                Diagnostic::error(lines.of(name), format!("invalid log destination type: {word}"))
                    .with_help("use console, file or fileAndConsole"),
            );
        }
        destination
    };
    // Without effect: there is no placement and no scheduler service.
    for name in ["placementHostAddress", "schedulerHostAddress"] {
        fields.text(name);
    }
    Shared {
        resources: resources(fields),
        config: fields.text("configFilePath"),
        app_protocol: fields.text("appProtocol"),
        listen_addresses: fields.text("apiListenAddresses"),
        enable_profiling: bool("enableProfiling"),
        log_level: fields.text("logLevel"),
        app_max_concurrency: int("appMaxConcurrency"),
        app_ssl: bool("appSSL"),
        max_body_size: fields.text("maxBodySize"),
        read_buffer_size: fields.text("readBufferSize"),
        enable_app_health_check: bool("enableAppHealthCheck"),
        app_health_check_path: fields.text("appHealthCheckPath"),
        app_health_probe_interval: int("appHealthProbeInterval"),
        app_health_probe_timeout: int("appHealthProbeTimeout"),
        app_health_threshold: int("appHealthThreshold"),
        enable_api_logging: bool("enableApiLogging"),
        runtime_path: fields.text("runtimePath"),
        env: fields.text_map("env").into_iter().map(|(name, (value, _))| (name, value)).collect(),
        sidecar_log: destination("daprdLogDestination"),
        app_log: destination("appLogDestination"),
        lines,
    }
}

/// `resourcesPaths`, which may be a single text in older files, and after it the deprecated `resourcesPath`.
fn resources(fields: &Fields<'_>) -> Vec<String> {
    let is_single = fields.node("resourcesPaths").is_some_and(|node| matches!(node.content, Content::Scalar { .. }));
    let mut paths = if is_single { vec![fields.text("resourcesPaths")] } else { fields.texts("resourcesPaths", false) };
    paths.push(fields.text("resourcesPath"));
    paths.retain(|path| !path.is_empty());
    paths
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reading(text: &str) -> Reading {
        read(Path::new("dapr.yaml"), text)
    }

    #[test]
    fn apps_and_what_they_have_in_common() {
        let reading = reading(
            "version: 1\nname: shop\ncommon:\n  resourcesPath: ./old\n  env: {A: 010, B: 1.50, C: true, D: }\n  logLevel: debug\napps:\n- appDirPath: ./a\n  appID: kitchen\n  appPort: 8001\n  command: [python3, -u, app.py, 5]\n  resourcesPaths: ./x\n  env: {A: x}\n  enableApiLogging: yes\n- appDirPath: ./b\n  daprdLogDestination: console\n",
        );
        assert_eq!(reading.diagnostics, []);
        let file = reading.file;
        assert_eq!(file.name, "shop");
        assert_eq!(file.common.resources, ["./old"]);
        assert_eq!(file.common.log_level, "debug");
        let env: Vec<_> = file.common.env.values().collect();
        assert_eq!(env, ["010", "1.50", "true", ""]);
        let kitchen = &file.apps[0];
        assert_eq!((kitchen.app_id.as_str(), kitchen.app_port), ("kitchen", 8001));
        assert_eq!(kitchen.command, ["python3", "-u", "app.py", "5"]);
        assert_eq!(kitchen.shared.resources, ["./x"]);
        assert!(kitchen.shared.enable_api_logging);
        assert_eq!(kitchen.lines.of("appPort").to_string(), "dapr.yaml:10");
        assert_eq!(file.apps[1].shared.sidecar_log, Some(LogDestination::Console));
        assert_eq!(file.apps[1].lines.of("appPort").to_string(), "dapr.yaml:15");
    }

    #[test]
    fn every_mistake_is_told_with_its_line_and_what_to_do() {
        #[track_caller]
        fn check(text: &str, expected: &[&str]) {
            let told: Vec<String> = reading(text).diagnostics.iter().map(ToString::to_string).collect();
            assert_eq!(told, expected, "{text}");
        }
        const APP: &str = "apps: [{appDirPath: .}]";
        let no_version = "required field 'version' not found in the provided run template file\n      add `version: 1` as the first line";
        check("", &[&format!("dapr.yaml: {no_version}")]);
        check(APP, &[&format!("dapr.yaml:1: {no_version}")]);
        check(&format!("version: 0\n{APP}"), &[&format!("dapr.yaml:1: {no_version}")]);
        check(&format!("version: 2\n{APP}"), &[]);
        let no_apps = "No apps to run\n      add `apps`, a list with `appDirPath` and `command` for each app";
        check("version: 1", &[&format!("dapr.yaml:1: {no_apps}")]);
        check("version: 1\napps: []", &[&format!("dapr.yaml:2: {no_apps}")]);
        check(
            "version: 1\napps:\n- appID: a\n- appDirPath: ''\n",
            &[
                "dapr.yaml:3: required field 'appDirPath' not found in the provided app config file\n      add `appDirPath`, the folder of the app, relative to this file",
                "dapr.yaml:4: required field 'appDirPath' not found in the provided app config file\n      add `appDirPath`, the folder of the app, relative to this file",
            ],
        );
        check(
            "version: 1\napps:\n- appDirPath: .\n  appPort: '80'\n  command: python3 app.py\n  env: [A]\n  appSSL: maybe\n",
            &[
                "dapr.yaml:4: apps[0].appPort: expected a whole number, found the text \"80\"",
                "dapr.yaml:5: apps[0].command: expected a list, found the text \"python3 app.py\"",
                "dapr.yaml:6: apps[0].env: expected a mapping, found a list",
                "dapr.yaml:7: apps[0].appSSL: expected true or false, found the text \"maybe\"",
            ],
        );
        check(
            "version: 1\ncommon: {appLogDestination: paper}\napps:\n- appDirPath: .\n  daprdLogDestination: File\n  containerImagePullPolicy: Sometimes\n",
            &[
                "dapr.yaml:2: invalid log destination type: paper\n      use console, file or fileAndConsole",
                "dapr.yaml:5: invalid log destination type: File\n      use console, file or fileAndConsole",
                "dapr.yaml:6: invalid containerImagePullPolicy: Sometimes\n      use Always, Never or IfNotPresent, or leave it away: it is for Kubernetes only",
            ],
        );
        check(
            "version: 1\napps:\n- appDirPath: .\n  appDirPath: ./b\n",
            &["dapr.yaml:4: mapping key \"appDirPath\" already defined at line 3"],
        );
        check(
            "version: 1\napps: {a: 1}\n",
            &[&format!("dapr.yaml:2: {no_apps}"), "dapr.yaml:2: apps: expected a list, found a mapping"],
        );
        assert_eq!(reading("version: 1\napps: [\n").diagnostics[0].line(), 2);
    }

    #[test]
    fn unknown_keys_are_named_and_ignored() {
        let reading = reading(
            "version: 1\nfoo: 1\ncommon: {envs: {}}\napps:\n- appDirPath: .\n  appId: a\n  createService: true\n",
        );
        assert!(reading.diagnostics.iter().all(|found| found.severity == Severity::Warning));
        let remarks: Vec<String> = reading.diagnostics.iter().map(ToString::to_string).collect();
        assert_eq!(
            remarks,
            [
                "dapr.yaml:2: unknown field foo is ignored",
                "dapr.yaml:3: unknown field common.envs is ignored, did you mean env?",
                "dapr.yaml:6: unknown field apps[0].appId is ignored, did you mean appID?",
            ]
        );
    }
}
