//! A run file resolved into apps that can be started: `common` merged into the apps, paths and ports fixed
//! (tests/spec/resources-cli.md, "3.5 Run file (`dapr.yaml`)").
//!
//! Everything is checked before anything starts, sidecar settings and resource files included, so that all errors are
//! reported at once and nothing has to be stopped again.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::Read;
use std::path::{Component, Path, PathBuf};

use super::launch::{self, Launch};
use super::output::Output;
use super::ports::Ports;
use super::program;
use crate::cli::subcommands::RunExtra;
use crate::cli::{Flags, RunArgs};
use crate::config::{LogSettings, Settings};
use crate::diagnostic::{Diagnostic, Location, Severity};
use crate::environment::Environment;
use crate::resources::files::encoding;
use crate::resources::files::folder::reason;
use crate::resources::kinds::run_file::{self, AppEntry, LogDestination, RunFile, Shared, USUAL_NAME};
use crate::resources::{LoadRequest, Resources};

/// The apps of a run file, ready to start.
pub(super) struct Stack {
    /// The file, absolute; empty if it came from standard input.
    pub(super) path: PathBuf,
    /// The `name` of the run file.
    pub(super) name: String,
    /// In the order of the file.
    pub(super) members: Vec<Member>,
    /// Warnings: unknown keys, apps that share a port.
    pub(super) remarks: Vec<String>,
}

/// One app and its sidecar.
pub(super) struct Member {
    pub(super) launch: Launch,
    /// Their working directory.
    pub(super) folder: PathBuf,
    pub(super) command: Vec<String>,
    /// The log of the sidecar.
    pub(super) environment: Environment,
    /// The log of the app.
    pub(super) app_environment: Environment,
    pub(super) sidecar_output: Output,
    pub(super) app_output: Output,
}

impl Member {
    /// Whether there are log files.
    pub(super) fn has_files(&self) -> bool {
        self.sidecar_output.path().is_some() || self.app_output.path().is_some()
    }
}

impl Stack {
    /// Read the file that the arguments name, and resolve everything.
    ///
    /// # Errors
    /// A text for the console with all errors.
    pub(super) fn of(args: &RunArgs, environment: &Environment) -> Result<Self, String> {
        let asked = args.extra.run_file.as_deref().unwrap_or(Path::new("-"));
        let (shown, text) = text_of(asked)?;
        let reading = run_file::read(&shown, &text);
        let is_stdin = asked == Path::new("-");
        let path = if is_stdin { PathBuf::new() } else { absolute(&shown)? };
        let base = match path.parent() {
            Some(folder) => folder.to_owned(),
            None => absolute(Path::new("."))?,
        };
        let mut settler = Settler {
            args,
            environment,
            base: &base,
            file: &reading.file,
            diagnostics: reading.diagnostics,
            ports: Ports::default(),
        };
        let members = settler.members();
        if settler.errors() > 0 {
            return Err(all(&shown, settler.diagnostics));
        }
        let remarks = settler.diagnostics.iter().map(ToString::to_string).collect();
        Ok(Self { path, name: reading.file.name, members, remarks })
    }
}

/// All errors in one text, in the order of the file, and the warnings with them: a misspelt key is often the reason why
/// another one is missing.
fn all(shown: &Path, mut diagnostics: Vec<Diagnostic>) -> String {
    let count = match errors(&diagnostics) {
        1 => "one mistake".to_owned(),
        more => format!("{more} mistakes"),
    };
    let mut text = format!("error in parsing the provided app config file: {count}, nothing was started");
    diagnostics.sort_by_key(|found| {
        let is_elsewhere = found.location.as_ref().is_some_and(|location| location.file != shown);
        (is_elsewhere, found.line(), found.severity != Severity::Error)
    });
    for diagnostic in diagnostics {
        // Writing to a `String` cannot fail.
        let _ = write!(text, "\n  {diagnostic}");
    }
    text
}

fn errors(diagnostics: &[Diagnostic]) -> usize {
    diagnostics.iter().filter(|found| found.severity == Severity::Error).count()
}

/// The name to show, and the text (tests/spec/resources-cli.md, "3.1 Flags", `--run-file`).
fn text_of(asked: &Path) -> Result<(PathBuf, String), String> {
    if asked == Path::new("-") {
        let mut bytes = Vec::new();
        let read = std::io::stdin().read_to_end(&mut bytes);
        let not_read = |error: &dyn std::fmt::Display| format!("cannot read a run file from stdin: {error}");
        read.map_err(|error| not_read(&reason(&error)))?;
        let text = encoding::text(bytes).map_err(|error| not_read(&error))?;
        return Ok((PathBuf::from("<stdin>"), text));
    }
    let file = if asked.is_dir() { asked.join(USUAL_NAME) } else { asked.to_owned() };
    if !file.exists() {
        let remedy = if file == asked {
            "give the file, or the folder that holds it"
        } else {
            "the folder is there, the file is not: give its name"
        };
        return Err(format!(
            "error in getting the file info for {}: no such file or directory; {remedy}",
            file.display()
        ));
    }
    let is_yaml = file.extension().is_some_and(|it| it == "yaml" || it == "yml");
    if !is_yaml {
        return Err(format!(
            "file {:?} is not a YAML file: give a file that ends in .yaml or .yml, or a folder that holds {USUAL_NAME}",
            file.display().to_string()
        ));
    }
    let text = encoding::read(&file)
        .map_err(|error| format!("error in getting the file info for {}: {}", file.display(), reason(&error)))?;
    Ok((file, text))
}

fn absolute(path: &Path) -> Result<PathBuf, String> {
    std::path::absolute(path).map_err(|error| format!("{}: {}", path.display(), reason(&error)))
}

struct Settler<'a> {
    args: &'a RunArgs,
    environment: &'a Environment,
    /// The folder that relative paths start from.
    base: &'a Path,
    file: &'a RunFile,
    /// Errors keep everything from starting, warnings do not.
    diagnostics: Vec<Diagnostic>,
    ports: Ports,
}

/// An app port of the file: its host, and its place in the file.
struct AppPort {
    host: String,
    location: Location,
}

impl Settler<'_> {
    fn members(&mut self) -> Vec<Member> {
        let mut apps = self.file.apps.clone();
        self.find_ports_named_twice(&mut apps);
        let common = self.common();
        let mut ids: BTreeMap<String, Location> = BTreeMap::new();
        let mut members = Vec::new();
        for app in &apps {
            let Some(folder) = self.folder(app) else {
                continue;
            };
            let app_id = app.id(&folder);
            let location = app.lines.of("appID");
            if let Some(first) = ids.get(&app_id) {
                let text = format!("app id {app_id:?} stands twice, first at {first}");
                self.error(location.clone(), text, "give one of the two another `appID`");
            } else {
                ids.insert(app_id.clone(), location);
            }
            members.extend(self.member(app, &app_id, folder, &common));
        }
        members
    }

    fn error(&mut self, location: Location, message: impl Into<String>, help: &str) {
        self.diagnostics.push(Diagnostic::error(location, message).with_help(help));
    }

    fn errors(&self) -> usize {
        errors(&self.diagnostics)
    }

    /// `common` with absolute paths.
    fn common(&mut self) -> Shared {
        let mut common = self.file.common.clone();
        self.settle_paths(&mut common, self.base);
        common
    }

    fn folder(&mut self, app: &AppEntry) -> Option<PathBuf> {
        // A missing one has been reported.
        if app.dir.is_empty() {
            return None;
        }
        let location = app.lines.of("appDirPath");
        let folder = self.existing(&app.dir, self.base, location.clone())?;
        if !folder.is_dir() {
            let text = format!("appDirPath: {} is not a folder", folder.display());
            self.error(location, text, "give the folder in which the app is to run");
            return None;
        }
        Some(folder)
    }

    fn settle_paths(&mut self, shared: &mut Shared, base: &Path) {
        let lines = shared.lines.clone();
        let keys = if shared.lines.of("resourcesPaths").line == shared.lines.own().line {
            "resourcesPath"
        } else {
            "resourcesPaths"
        };
        for path in &mut shared.resources {
            self.settle_path(path, base, lines.of(keys));
        }
        shared.resources.retain(|path| !path.is_empty());
        self.settle_path(&mut shared.config, base, lines.of("configFilePath"));
        self.settle_path(&mut shared.runtime_path, base, lines.of("runtimePath"));
    }

    /// A folder of the file, absolute. Emptied and reported if it does not exist.
    fn settle_path(&mut self, path: &mut String, base: &Path, location: Location) {
        if !path.is_empty() {
            let found = self.existing(path, base, location);
            *path = found.map(launch::text).unwrap_or_default();
        }
    }

    /// A path of the file, absolute; `~/` is the home folder. Reported if it does not exist.
    fn existing(&mut self, path: &str, base: &Path, location: Location) -> Option<PathBuf> {
        let full = cleaned(&run_file::resolved(path, base, self.environment));
        match std::fs::metadata(&full) {
            Ok(_) => Some(full),
            Err(error) => {
                let full = full.display();
                let text = format!("error in getting the file info for {full}: stat {full}: {}", reason(&error));
                self.error(
                    location,
                    text,
                    "correct the path: in `common`, and for appDirPath, it begins at the run file, else at appDirPath",
                );
                None
            }
        }
    }

    /// Hold the ports that the file names, so that no free port is chosen among them. A port that is named twice is
    /// reported and not held again.
    fn find_ports_named_twice(&mut self, apps: &mut [AppEntry]) {
        self.look_at_app_ports(apps);
        let mut seen: BTreeMap<i64, (&str, Location)> = BTreeMap::new();
        for app in apps {
            // Several apps may share a port: on different addresses, or because they are the same app.
            if app.app_port > 0 && is_this_machine(&app.app_channel_address) {
                let location = app.lines.of("appPort");
                seen.entry(app.app_port).or_insert(("appPort", location));
                self.ports.reserve(app.app_port);
            }
            for (key, port) in [
                ("daprHTTPPort", &mut app.http_port),
                ("daprGRPCPort", &mut app.grpc_port),
                ("daprInternalGRPCPort", &mut app.internal_grpc_port),
                ("metricsPort", &mut app.metrics_port),
            ] {
                if *port <= 0 {
                    continue;
                }
                let location = app.lines.of(key);
                if let Some((first, at)) = seen.get(port) {
                    let text = format!("{key}: port {port} is used twice, first as {first} at {at}");
                    let remedy = "use another port, or leave Dapr's ports away to get free ones";
                    self.error(location, text, remedy);
                    *port = 0;
                } else {
                    seen.insert(*port, (key, location));
                    self.ports.reserve(*port);
                }
            }
        }
    }

    /// Report invalid ports as errors, and a port that two sidecars deliver to as a warning.
    fn look_at_app_ports(&mut self, apps: &mut [AppEntry]) {
        let mut seen: BTreeMap<i64, Vec<AppPort>> = BTreeMap::new();
        for app in apps {
            let location = app.lines.of("appPort");
            if app.app_port > i64::from(u16::MAX) {
                let text = format!("appPort: {} is no port", app.app_port);
                let remedy = "use 1 to 65535, or leave it away for an app that only publishes";
                self.error(location, text, remedy);
                app.app_port = 0;
            } else if app.app_port > 0 {
                let host = host_of(&app.app_channel_address).to_owned();
                let others = seen.entry(app.app_port).or_default();
                if let Some(other) = others.iter().find(|other| other.host == host) {
                    let text = format!(
                        "appPort: port {} on {host} is also that of the app at {}: both sidecars deliver to whichever app listens there",
                        app.app_port, other.location
                    );
                    let help = "if these are two apps, give one another `appPort` or `appChannelAddress`";
                    self.diagnostics.push(Diagnostic::warning(location, text).with_help(help));
                } else {
                    others.push(AppPort { host, location });
                }
            }
        }
    }

    fn member(&mut self, app: &AppEntry, app_id: &str, folder: PathBuf, common: &Shared) -> Option<Member> {
        let before = self.errors();
        let mut shared = app.shared.clone();
        self.settle_paths(&mut shared, &folder);
        let shared = merged(shared, common, &folder);
        let mut socket = app.unix_domain_socket.clone();
        self.settle_path(&mut socket, &folder, app.lines.of("unixDomainSocket"));
        let args = self.run_args(app, app_id, socket, &shared);
        let launch = match Launch::of(&args, self.environment, &mut self.ports) {
            Ok(launch) => launch,
            Err(error) => {
                let text = format!("app {app_id:?}: {error}");
                self.error(app.lines.own(), text, "");
                return None;
            }
        };
        let mut app_environment = launch.app_environment(self.environment);
        for (name, value) in &shared.env {
            app_environment.set(name, value);
        }
        self.check_command(app, &folder, &app_environment);
        let environment = self.sidecar_environment(&folder);
        self.check_settings(&launch.flags, &environment, app);
        (self.errors() == before).then(|| Member {
            sidecar_output: Output::new(shared.sidecar_log.unwrap_or(LogDestination::File), &folder, app_id, "daprd"),
            app_output: Output::new(shared.app_log.unwrap_or(LogDestination::FileAndConsole), &folder, app_id, "app"),
            launch,
            command: app.command.clone(),
            folder,
            environment,
            app_environment,
        })
    }

    fn sidecar_environment(&self, folder: &Path) -> Environment {
        let mut environment = self.environment.clone().in_folder(folder);
        if environment.get("DAPR_HOST_IP").is_none() {
            environment.set("DAPR_HOST_IP", "127.0.0.1");
        }
        environment
    }

    /// The names of the flags that the file sets, or the command line for all apps.
    fn given(&self, shared: &Shared) -> Vec<&'static str> {
        let mut given = vec!["dapr-http-port", "dapr-grpc-port", "metrics-port"];
        if !shared.listen_addresses.is_empty() {
            given.push("dapr-listen-addresses");
        }
        let for_all = ["metrics-listen-address", "dapr-public-listen-address", "dapr-public-port"];
        given.extend(for_all.into_iter().filter(|name| self.args.is_given(name)));
        given
    }

    /// The arguments of a `run` for this app alone.
    fn run_args(&self, app: &AppEntry, app_id: &str, socket: String, shared: &Shared) -> RunArgs {
        let extra = RunExtra {
            runtime_path: Some(&shared.runtime_path)
                .filter(|path| !path.is_empty())
                .map(PathBuf::from)
                .or_else(|| self.args.extra.runtime_path.clone()),
            ..RunExtra::default()
        };
        RunArgs {
            flags: flags(&self.args.flags, app, app_id, socket, shared),
            given: self.given(shared),
            extra,
            command: app.command.clone(),
            notices: Vec::new(),
        }
    }

    /// Check the program first: the shell that starts the app would only end with 126 or 127.
    fn check_command(&mut self, app: &AppEntry, folder: &Path, environment: &Environment) {
        let program = app.command.first();
        if let Some(found) = program.and_then(|program| program::problem(program, folder, environment)) {
            self.error(app.lines.of("command"), found.text, &found.remedy);
        }
    }

    /// Check the settings and resources with which the sidecar itself would not start.
    fn check_settings(&mut self, flags: &Flags, environment: &Environment, app: &AppEntry) {
        let own = app.lines.own();
        let about = |text: &dyn std::fmt::Display| format!("app {:?}: {text}", flags.app_id);
        if let Err(error) = LogSettings::resolve(flags) {
            self.error(own.clone(), about(&error), "use debug, info, warn, error or fatal for `logLevel`");
        }
        let mut environment = environment.clone();
        let settings = match Settings::resolve(flags, &mut environment) {
            Ok(resolved) => resolved.settings,
            Err(errors) => {
                for error in errors {
                    let location = error.location().cloned().unwrap_or_else(|| own.clone());
                    self.error(location, about(&error), "");
                }
                return;
            }
        };
        let resources = Resources::load(&LoadRequest {
            app_id: Some(&settings.app_id),
            folders: &settings.resources,
            files: &[],
            denied: &settings.denied_components,
            handlers: &settings.handlers,
            hot_reload: settings.hot_reload.is_some(),
            environment: &environment,
        });
        for error in resources.errors {
            self.diagnostics.push(Diagnostic { message: about(&error), ..error.diagnostic() });
        }
    }
}

/// The host of an app.
fn host_of(address: &str) -> &str {
    match address {
        "" | "localhost" => "127.0.0.1",
        address => address,
    }
}

/// Whether the sidecar listens on this host, too.
fn is_this_machine(address: &str) -> bool {
    ["127.0.0.1", "::1", "[::1]"].contains(&host_of(address))
}

/// A path without `.` and `..`, removed textually, as Go does.
fn cleaned(path: &Path) -> PathBuf {
    let mut clean = PathBuf::new();
    for part in path.components() {
        if part == Component::ParentDir {
            clean.pop();
        } else {
            clean.push(part);
        }
    }
    clean
}

/// Fill the gaps of an app from its folder, then from `common`.
fn merged(app: Shared, common: &Shared, folder: &Path) -> Shared {
    let text = |own: String, common: &String| if own.is_empty() { common.clone() } else { own };
    let number = |own: i64, common: i64| if own == 0 { common } else { own };
    let beside = |name: &str| Some(folder.join(".dapr").join(name)).filter(|path| path.exists());
    let mut env = common.env.clone();
    env.extend(app.env);
    let resources = match beside("resources") {
        _ if !app.resources.is_empty() => app.resources,
        Some(folder) => vec![launch::text(folder)],
        None => common.resources.clone(),
    };
    let config = beside("config.yaml").map_or_else(|| common.config.clone(), launch::text);
    Shared {
        lines: app.lines,
        resources,
        config: text(app.config, &config),
        app_protocol: text(app.app_protocol, &common.app_protocol),
        listen_addresses: text(app.listen_addresses, &common.listen_addresses),
        enable_profiling: app.enable_profiling || common.enable_profiling,
        log_level: text(app.log_level, &common.log_level),
        app_max_concurrency: number(app.app_max_concurrency, common.app_max_concurrency),
        app_ssl: app.app_ssl || common.app_ssl,
        max_body_size: text(app.max_body_size, &common.max_body_size),
        read_buffer_size: text(app.read_buffer_size, &common.read_buffer_size),
        enable_app_health_check: app.enable_app_health_check || common.enable_app_health_check,
        app_health_check_path: text(app.app_health_check_path, &common.app_health_check_path),
        app_health_probe_interval: number(app.app_health_probe_interval, common.app_health_probe_interval),
        app_health_probe_timeout: number(app.app_health_probe_timeout, common.app_health_probe_timeout),
        app_health_threshold: number(app.app_health_threshold, common.app_health_threshold),
        enable_api_logging: app.enable_api_logging || common.enable_api_logging,
        runtime_path: text(app.runtime_path, &common.runtime_path),
        env,
        sidecar_log: app.sidecar_log.or(common.sidecar_log),
        app_log: app.app_log.or(common.app_log),
    }
}

/// The flags of the sidecar. Settings without a key in run files come from the command line, for all apps.
fn flags(given: &Flags, app: &AppEntry, app_id: &str, socket: String, shared: &Shared) -> Flags {
    let default = Flags::default();
    let or = |text: &String, default: String| {
        if text.is_empty() { default } else { text.clone() }
    };
    let size = |text: &String| Some(text.clone()).filter(|text| !text.is_empty());
    Flags {
        app_id: app_id.to_owned(),
        app_port: app.app_port.to_string(),
        app_protocol: or(&shared.app_protocol, default.app_protocol),
        app_ssl: shared.app_ssl,
        app_channel_address: or(&app.app_channel_address, default.app_channel_address),
        app_max_concurrency: shared.app_max_concurrency,
        dapr_http_port: app.http_port.to_string(),
        dapr_grpc_port: app.grpc_port.to_string(),
        dapr_internal_grpc_port: app.internal_grpc_port.max(0).to_string(),
        dapr_listen_addresses: shared.listen_addresses.clone(),
        unix_domain_socket: socket,
        resources_path: shared.resources.clone(),
        components_path: String::new(),
        config: size(&shared.config).into_iter().collect(),
        max_body_size: size(&shared.max_body_size),
        dapr_http_max_request_size: None,
        read_buffer_size: size(&shared.read_buffer_size),
        dapr_http_read_buffer_size: None,
        metrics_port: app.metrics_port.to_string(),
        enable_profiling: shared.enable_profiling,
        profile_port: default.profile_port,
        enable_api_logging: shared.enable_api_logging.then_some(true),
        log_level: or(&shared.log_level, default.log_level),
        log_file: String::new(),
        enable_app_health_check: shared.enable_app_health_check,
        app_health_check_path: shared.app_health_check_path.clone(),
        app_health_probe_interval: shared.app_health_probe_interval,
        app_health_probe_timeout: shared.app_health_probe_timeout,
        app_health_threshold: shared.app_health_threshold,
        ..given.clone()
    }
}

/// Flags that cannot be combined with a run file, each with the key to use there.
pub(super) const IN_THE_FILE: [(&str, &str); 30] = [
    ("app-id", "appID"),
    ("app-port", "appPort"),
    ("app-protocol", "appProtocol"),
    ("app-ssl", "appSSL"),
    ("app-channel-address", "appChannelAddress"),
    ("app-max-concurrency", "appMaxConcurrency"),
    ("dapr-http-port", "daprHTTPPort"),
    ("dapr-grpc-port", "daprGRPCPort"),
    ("dapr-internal-grpc-port", "daprInternalGRPCPort"),
    ("dapr-listen-addresses", "apiListenAddresses"),
    ("unix-domain-socket", "unixDomainSocket"),
    ("resources-path", "resourcesPaths"),
    ("components-path", "resourcesPaths"),
    ("config", "configFilePath"),
    ("max-body-size", "maxBodySize"),
    ("dapr-http-max-request-size", "maxBodySize"),
    ("read-buffer-size", "readBufferSize"),
    ("dapr-http-read-buffer-size", "readBufferSize"),
    ("metrics-port", "metricsPort"),
    ("enable-profiling", "enableProfiling"),
    ("profile-port", "profilePort"),
    ("enable-api-logging", "enableApiLogging"),
    ("log-level", "logLevel"),
    ("log-file", "daprdLogDestination"),
    ("enable-app-health-check", "enableAppHealthCheck"),
    ("app-health-check-path", "appHealthCheckPath"),
    ("app-health-probe-interval", "appHealthProbeInterval"),
    ("app-health-probe-timeout", "appHealthProbeTimeout"),
    ("app-health-threshold", "appHealthThreshold"),
    ("placement-host-address", "placementHostAddress"),
];

#[cfg(test)]
mod tests;
