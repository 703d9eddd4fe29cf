//! Resolves flags, environment and Configuration files to [`Settings`], or to the list of all errors in them
//! (tests/spec/resources-cli.md, "1.2 Flags that matter for a pub/sub sidecar", "2. Environment variables", "9.
//! Configuration files").

use std::num::IntErrorKind;
use std::path::PathBuf;
use std::time::Duration;

use crate::cli::{FlagError, Flags};
use crate::config::settings::{
    ApiAccess, AppHealthSettings, AppProtocol, AppSettings, CallLog, HttpSettings, InitEndpoints, MetricsSettings,
    Settings,
};
use crate::credentials::masked;
use crate::diagnostic::{Diagnostic, Location};
use crate::environment::Environment;
use crate::resources::kinds::configuration::{self, Configuration, ConfigurationError};
use crate::telemetry::log::Level;

/// `--max-body-size` and `--read-buffer-size` in bytes, if -1 or absent.
const DEFAULT_MAX_BODY: usize = 4 << 20;
const DEFAULT_READ_BUFFER: usize = 4 << 10;
/// The number of largest bodies that `--max-body-memory` has room for by default.
const LARGEST_BODIES: usize = 16;
/// The read buffer in bytes for 0, as in daprd.
const UNSET_READ_BUFFER: usize = 1 << 20;
/// `--dapr-graceful-shutdown-seconds` if negative.
const DEFAULT_GRACE: u64 = 5;
/// The feature that switches hot reload on.
const HOT_RELOAD: &str = "HotReload";
/// `--hot-reload-reconcile-interval` if 0 or negative.
const DEFAULT_RECONCILE: Duration = Duration::from_secs(60);

/// Settings with the Configuration and the findings they come from.
#[derive(Clone, Debug)]
pub struct Resolved {
    /// The settings.
    pub settings: Settings,
    /// The Configuration files, for fields that `settings` does not have.
    pub configuration: Configuration,
    /// Findings about the command line and the files, in order.
    pub diagnostics: Vec<Diagnostic>,
}

/// One error in the input. The text follows `Fatal error from runtime: `, except for [`ConfigError::Flag`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// A flag; the text follows `Failed to parse flags: `.
    #[error(transparent)]
    Flag(#[from] FlagError),
    /// `--app-id` is missing.
    #[error(
        "parameter app-id cannot be empty: give the app a name with --app-id, or see `sidestream help` for what else there is"
    )]
    NoAppId,
    /// `--app-id` has a dot.
    #[error("parameter app-id cannot contain dots")]
    DotInAppId,
    /// A port that is not a number or out of range.
    #[error("{what}: {cause}")]
    Port {
        /// The context in daprd's words, for example `error parsing app-port`.
        what: &'static str,
        /// The cause in Go's words.
        cause: String,
    },
    /// App and sidecar have the same port.
    #[error("the '{flag}' argument value {port} conflicts with 'app-port'")]
    PortConflict {
        /// Without dashes.
        flag: &'static str,
        /// The port of both.
        port: i64,
    },
    /// Two ports of the sidecar are equal.
    #[error("'{first}' and '{second}' are both {port} on the same address: give one of the two another port")]
    SamePort {
        /// A flag, without dashes.
        first: &'static str,
        /// The other one.
        second: &'static str,
        /// The port of both.
        port: u16,
    },
    /// Unknown protocol.
    #[error("invalid value for 'app-protocol': {}", masked(.0))]
    AppProtocol(String),
    /// The timeout of a probe is longer than the interval between probes.
    #[error("value for 'health-probe-timeout' must be smaller than 'health-probe-interval'")]
    ProbeTimeout,
    /// Unknown start-up request.
    #[error("invalid value for 'disable-init-endpoints': {}", masked(.0))]
    InitEndpoint(String),
    /// Unknown mode.
    #[error("invalid mode: {}", masked(.0))]
    Mode(String),
    /// A mode of daprd that this sidecar does not have.
    #[error("mode kubernetes is not supported: use --mode standalone, with --resources-path and --config")]
    Kubernetes,
    /// A Configuration file.
    #[error(transparent)]
    Configuration(#[from] ConfigurationError),
}

impl ConfigError {
    /// The text of the fatal log line.
    pub fn fatal_line(&self) -> String {
        match self {
            Self::Flag(error) => format!("Failed to parse flags: {error}"),
            error => format!("Fatal error from runtime: {error}"),
        }
    }

    /// File and line, if the error is in a file.
    pub fn location(&self) -> Option<&Location> {
        match self {
            Self::Configuration(error) => error.location(),
            _ => None,
        }
    }
}

impl Settings {
    /// Resolve all settings. Before files are read, the variables that a sidecar sets for itself are added to the
    /// environment (tests/spec/resources-cli.md, "2.2 Set by the sidecar in its own process").
    ///
    /// # Errors
    /// All errors, not only the first.
    pub fn resolve(flags: &Flags, environment: &mut Environment) -> Result<Resolved, Vec<ConfigError>> {
        let mut resolver = Resolver { flags, errors: Vec::new(), diagnostics: Vec::new() };
        let ports = resolver.ports();
        announce(flags, &ports, environment);
        let configuration = resolver.configuration(environment);
        let settings = resolver.settings(&ports, &configuration, environment);
        if !resolver.errors.is_empty() {
            return Err(resolver.errors);
        }
        Ok(Resolved { settings, configuration, diagnostics: resolver.diagnostics })
    }
}

struct Resolver<'a> {
    flags: &'a Flags,
    errors: Vec<ConfigError>,
    diagnostics: Vec<Diagnostic>,
}

struct Ports {
    app: i32,
    http: u16,
    grpc: u16,
    public: Option<u16>,
    metrics: Option<u16>,
}

impl Resolver<'_> {
    fn ports(&mut self) -> Ports {
        let flags = self.flags;
        let app = self.optional("error parsing app-port", &flags.app_port).unwrap_or(0);
        let http = self.number("error parsing dapr-http-port flag", &flags.dapr_http_port);
        let grpc = self.number("error parsing dapr-grpc-port flag", &flags.dapr_grpc_port);
        // A negative one is daprd's way to have an app that is never reached (tests/spec/resources-cli.md, "1.2 Flags
        // that matter for a pub/sub sidecar"); beyond the ports there is only a mistake.
        if app > i64::from(u16::MAX) {
            self.port("error parsing app-port", Some(app));
        }
        for (flag, port) in [("dapr-http-port", http), ("dapr-grpc-port", grpc)] {
            if port == Some(app) {
                self.errors.push(ConfigError::PortConflict { flag, port: app });
            }
        }
        self.optional("error parsing dapr-internal-grpc-port", &flags.dapr_internal_grpc_port);
        self.number("error parsing profile-port flag", &flags.profile_port);
        let public = Some(&flags.dapr_public_port).filter(|port| !port.is_empty());
        let public = public.map(|port| self.number("error parsing dapr-public-port", port));
        let metrics = flags.enable_metrics.then(|| self.number("failed to parse metrics port", &flags.metrics_port));
        let ports = Ports {
            app: i32::try_from(app).unwrap_or(i32::MAX),
            http: self.port("error parsing dapr-http-port flag", http),
            grpc: self.port("error parsing dapr-grpc-port flag", grpc),
            public: public.map(|port| self.port("error parsing dapr-public-port", port)),
            metrics: metrics.map(|port| self.port("failed to parse metrics port", port)),
        };
        self.check_own_ports(&ports);
        ports
    }

    /// Report equal ports of the sidecar. Without this check the second listener would blame another program.
    fn check_own_ports(&mut self, ports: &Ports) {
        let flags = self.flags;
        let hosts = |text: &'static str, port: Option<u16>, hosts: &str| {
            let hosts = hosts.split(',').map(|host| host.trim().to_owned());
            port.filter(|port| *port != 0).map(|port| (text, port, hosts.collect::<Vec<_>>()))
        };
        let api = |port| Some(port).filter(|_| flags.unix_domain_socket.is_empty());
        let own = [
            ("dapr-http-port", api(ports.http), &flags.dapr_listen_addresses),
            ("dapr-grpc-port", api(ports.grpc), &flags.dapr_listen_addresses),
            ("dapr-public-port", ports.public, &flags.dapr_public_listen_address),
            ("metrics-port", ports.metrics, &flags.metrics_listen_address),
        ];
        let own = own.map(|(flag, port, addresses)| hosts(flag, port, addresses));
        let own: Vec<_> = own.into_iter().flatten().collect();
        for (index, (second, port, hosts)) in own.iter().enumerate() {
            let is_same = |(_, other, others): &&(&str, u16, Vec<String>)| {
                other == port && hosts.iter().any(|host| others.iter().any(|it| overlap(host, it)))
            };
            if let Some((first, ..)) = own[..index].iter().find(is_same) {
                self.errors.push(ConfigError::SamePort { first, second, port: *port });
            }
        }
    }

    /// Like [`Self::number`], but empty means 0: for flags whose default is empty.
    fn optional(&mut self, what: &'static str, text: &str) -> Option<i64> {
        if text.is_empty() {
            return Some(0);
        }
        self.number(what, text)
    }

    /// Parse a number as Go's `Atoi` does. Empty is an error: it is mostly an unset variable of a script.
    fn number(&mut self, what: &'static str, text: &str) -> Option<i64> {
        let number = text.parse();
        number
            .map_err(|error: std::num::ParseIntError| {
                let why = match error.kind() {
                    IntErrorKind::PosOverflow | IntErrorKind::NegOverflow => "value out of range",
                    _ => "invalid syntax",
                };
                let cause = format!("strconv.Atoi: parsing {:?}: {why}", masked(text));
                self.errors.push(ConfigError::Port { what, cause });
            })
            .ok()
    }

    /// Convert a number to a port to listen on. `None` was reported as an error before.
    fn port(&mut self, what: &'static str, number: Option<i64>) -> u16 {
        let Some(number) = number else {
            return 0;
        };
        u16::try_from(number).unwrap_or_else(|_| {
            let cause = format!("{number} is no port, use 0 to 65535");
            self.errors.push(ConfigError::Port { what, cause });
            0
        })
    }

    fn configuration(&mut self, environment: &Environment) -> Configuration {
        let files: Vec<PathBuf> = self.flags.config.iter().map(PathBuf::from).collect();
        if files.is_empty() {
            self.log(Level::Info, "loading default configuration");
        }
        match configuration::read(&files, environment) {
            Ok((configuration, diagnostics)) => {
                self.diagnostics.extend(diagnostics);
                configuration
            }
            Err(errors) => {
                self.errors.extend(errors.into_iter().map(ConfigError::from));
                Configuration::default()
            }
        }
    }

    fn settings(&mut self, ports: &Ports, configuration: &Configuration, environment: &Environment) -> Settings {
        let flags = self.flags;
        self.check_app_id();
        self.check_mode();
        let read_buffer = self.read_buffer();
        let features = configuration.enabled_features();
        Settings {
            app_id: flags.app_id.clone(),
            namespace: environment.get("NAMESPACE").map(str::to_owned),
            app_connection: self.app(ports.app, read_buffer, environment),
            http: self.http(ports, read_buffer, configuration, environment),
            grpc_port: ports.grpc,
            metrics: ports.metrics.map(|port| MetricsSettings {
                address: flags.metrics_listen_address.clone(),
                port,
                has_series: configuration.metrics.enabled.unwrap_or(true),
            }),
            count_error_codes: configuration.metrics.record_error_codes.unwrap_or(false),
            resources: flags.folders(),
            embedded_pubsub: false,
            disabled_init_endpoints: self.init_endpoints(),
            graceful_shutdown: self.graceful_shutdown(),
            block_shutdown: flags.dapr_block_shutdown_duration.map(|length| length.to_std()),
            sampling_rate: configuration.tracing.sampling_rate.clone(),
            hot_reload: self.hot_reload(&features),
            features,
            denied_components: configuration.denied_components.clone(),
            handlers: configuration.handlers.clone(),
        }
    }

    fn check_app_id(&mut self) {
        let app_id = &self.flags.app_id;
        if app_id.is_empty() {
            self.errors.push(ConfigError::NoAppId);
        } else if app_id.contains('.') {
            self.errors.push(ConfigError::DotInAppId);
        }
    }

    fn check_mode(&mut self) {
        match self.flags.mode.as_str() {
            "standalone" => {}
            "kubernetes" => self.errors.push(ConfigError::Kubernetes),
            mode => self.errors.push(ConfigError::Mode(mode.to_owned())),
        }
        if self.flags.enable_mtls {
            self.log(Level::Warn, "--enable-mtls has no effect: this sidecar does not call other sidecars");
        }
    }

    /// The settings of the app connection. Invalid flags are errors even without `--app-port`.
    fn app(&mut self, port: i32, max_header: usize, environment: &Environment) -> AppSettings {
        let flags = self.flags;
        let health = self.health();
        AppSettings {
            port,
            address: flags.app_channel_address.clone(),
            // An unknown one was reported as an error.
            protocol: self.protocol().unwrap_or_default(),
            max_concurrency: usize::try_from(flags.app_max_concurrency).ok().filter(|most| *most > 0),
            health: health.filter(|_| flags.enable_app_health_check),
            token: environment.non_empty("APP_API_TOKEN").map(str::to_owned),
            max_header,
        }
    }

    fn protocol(&mut self) -> Option<AppProtocol> {
        let protocol = match self.flags.app_protocol.to_ascii_lowercase().as_str() {
            "" | "http" => AppProtocol::Http,
            "https" => AppProtocol::Https,
            "h2c" => AppProtocol::H2c,
            "grpc" => AppProtocol::Grpc,
            "grpcs" => AppProtocol::Grpcs,
            _ => {
                let protocol = self.flags.app_protocol.clone();
                self.errors.push(ConfigError::AppProtocol(protocol));
                return None;
            }
        };
        let over_tls = match protocol {
            AppProtocol::Http => AppProtocol::Https,
            AppProtocol::Grpc => AppProtocol::Grpcs,
            AppProtocol::Https | AppProtocol::H2c | AppProtocol::Grpcs => return Some(protocol),
        };
        if !self.flags.app_ssl {
            return Some(protocol);
        }
        let name = over_tls.name();
        self.log(Level::Warn, format!("The 'app-ssl' flag is deprecated; use 'app-protocol={name}' instead"));
        Some(over_tls)
    }

    fn health(&mut self) -> Option<AppHealthSettings> {
        let flags = self.flags;
        let above_zero =
            |number: i64, default: u64| u64::try_from(number).ok().filter(|number| *number > 0).unwrap_or(default);
        let interval = Duration::from_secs(above_zero(flags.app_health_probe_interval, 5));
        let timeout = Duration::from_millis(above_zero(flags.app_health_probe_timeout, 500));
        if timeout > interval {
            self.errors.push(ConfigError::ProbeTimeout);
            return None;
        }
        let threshold = i32::try_from(flags.app_health_threshold).ok();
        let threshold = threshold.and_then(|threshold| u32::try_from(threshold).ok());
        Some(AppHealthSettings {
            path: format!("/{}", flags.app_health_check_path.trim_start_matches('/')),
            interval,
            timeout,
            threshold: threshold.filter(|threshold| *threshold > 0).unwrap_or(3),
        })
    }

    fn http(
        &mut self,
        ports: &Ports,
        read_buffer: usize,
        configuration: &Configuration,
        environment: &Environment,
    ) -> HttpSettings {
        let flags = self.flags;
        let listen = flags.dapr_listen_addresses.split(',').map(str::trim);
        let socket_dir = Some(&flags.unix_domain_socket).filter(|dir| !dir.is_empty());
        let public_address = flags.dapr_public_listen_address.clone();
        let logged = flags.enable_api_logging.or(configuration.api_logging.enabled);
        let max_body = self.max_body();
        HttpSettings {
            port: ports.http,
            listen: listen.filter(|host| !host.is_empty()).map(str::to_owned).collect(),
            public: ports.public.map(|port| (public_address, port)),
            socket_dir: socket_dir.map(PathBuf::from),
            max_body,
            max_body_memory: self.max_body_memory(max_body),
            max_connections: limit(flags.max_connections),
            max_requests: limit(flags.max_requests),
            read_buffer,
            http2: !environment.get("DAPR_HTTP_DISABLE_H2C").is_some_and(is_truthy),
            token: environment.non_empty("DAPR_API_TOKEN").map(str::to_owned),
            allowed_origins: flags.allowed_origins.clone(),
            log_calls: logged.unwrap_or(false),
            call_log: CallLog {
                obfuscate_urls: configuration.api_logging.obfuscate_urls,
                omit_health_checks: configuration.api_logging.omit_health_checks,
            },
            access: ApiAccess {
                allowed: configuration.allowed_apis.clone(),
                denied: configuration.denied_apis.clone(),
            },
        }
    }

    /// The largest body; `None` for no limit: 0, or negative other than -1.
    fn max_body(&mut self) -> Option<usize> {
        match self.flags.max_body_bytes() {
            Ok(-1) => Some(DEFAULT_MAX_BODY),
            Ok(bytes) => usize::try_from(bytes).ok().filter(|bytes| *bytes > 0),
            Err(error) => {
                self.errors.push(error.into());
                None
            }
        }
    }

    /// By default room for a number of the largest bodies, so that few large ones do not exclude each other.
    fn max_body_memory(&mut self, max_body: Option<usize>) -> usize {
        match self.flags.max_body_memory_bytes() {
            Ok(-1) => max_body.unwrap_or_default().max(DEFAULT_MAX_BODY).saturating_mul(LARGEST_BODIES),
            Ok(bytes) => usize::try_from(bytes).ok().filter(|bytes| *bytes > 0).unwrap_or(usize::MAX),
            Err(error) => {
                self.errors.push(error.into());
                0
            }
        }
    }

    fn read_buffer(&mut self) -> usize {
        match self.flags.read_buffer_bytes() {
            Ok(0) => UNSET_READ_BUFFER,
            Ok(bytes) => usize::try_from(bytes).unwrap_or(DEFAULT_READ_BUFFER),
            Err(error) => {
                self.errors.push(error.into());
                DEFAULT_READ_BUFFER
            }
        }
    }

    fn init_endpoints(&mut self) -> InitEndpoints {
        let mut disabled = InitEndpoints::default();
        for written in &self.flags.disable_init_endpoints {
            match written.trim().to_ascii_lowercase().as_str() {
                "" => {}
                "config" => disabled.config = true,
                "subscribe" => disabled.subscribe = true,
                _ => self.errors.push(ConfigError::InitEndpoint(written.trim().to_owned())),
            }
        }
        disabled
    }

    /// The time between full comparisons; 0 and less mean the default.
    fn hot_reload(&self, features: &[String]) -> Option<Duration> {
        let period = self.flags.hot_reload_reconcile_interval.positive();
        features.iter().any(|feature| feature == HOT_RELOAD).then(|| period.unwrap_or(DEFAULT_RECONCILE))
    }

    fn graceful_shutdown(&mut self) -> Option<Duration> {
        let seconds = u64::try_from(self.flags.dapr_graceful_shutdown_seconds).unwrap_or(DEFAULT_GRACE);
        if seconds == 0 {
            self.log(Level::Warn, "Graceful shutdown timeout is infinite, will wait indefinitely to shutdown");
            return None;
        }
        Some(Duration::from_secs(seconds))
    }

    fn log(&mut self, level: Level, text: impl Into<String>) {
        self.diagnostics.push(Diagnostic::info(level, text));
    }
}

/// Whether two hosts have an address in common.
fn overlap(one: &str, other: &str) -> bool {
    const EVERYWHERE: [&str; 3] = ["", "0.0.0.0", "[::]"];
    one == other || EVERYWHERE.contains(&one) || EVERYWHERE.contains(&other)
}

/// A limit as written; 0 and less mean none.
fn limit(written: i64) -> usize {
    usize::try_from(written).ok().filter(|limit| *limit > 0).unwrap_or(usize::MAX)
}

/// Whether a value of a variable means yes to daprd.
fn is_truthy(text: &str) -> bool {
    let text = text.trim().to_ascii_lowercase();
    matches!(text.as_str(), "y" | "yes" | "true" | "t" | "on" | "1")
}

/// Set the variables about the sidecar in its own environment (tests/spec/resources-cli.md, "2.2 Set by the sidecar in
/// its own process").
fn announce(flags: &Flags, ports: &Ports, environment: &mut Environment) {
    let host = environment.non_empty("DAPR_HOST_IP").unwrap_or("127.0.0.1").to_owned();
    environment.set("APP_ID", &flags.app_id);
    environment.set("APP_PORT", ports.app.to_string());
    environment.set("HOST_ADDRESS", host);
    environment.set("DAPR_PORT", &flags.dapr_internal_grpc_port);
    environment.set("DAPR_GRPC_PORT", ports.grpc.to_string());
    environment.set("DAPR_HTTP_PORT", ports.http.to_string());
    environment.set("DAPR_METRICS_PORT", &flags.metrics_port);
    environment.set("DAPR_PROFILE_PORT", &flags.profile_port);
}

#[cfg(test)]
mod tests;
