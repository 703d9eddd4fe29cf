//! The flags of `daprd` (tests/spec/resources-cli.md, "1. `daprd` command line") and their table, with types, defaults and
//! help.
//!
//! Only types are checked here; `config` checks what values mean together. `run` reads the same table through clap.

use std::path::PathBuf;

use crate::cli::values;
use crate::duration::{self, GoDuration};
use crate::quantity;

/// Declares a struct with a constructor `empty`, so that its fields are not listed a second time.
macro_rules! with_empty {
    ($(#[$about:meta])* pub struct $name:ident { $($(#[$doc:meta])* pub $field:ident: $type:ty,)* }) => {
        $(#[$about])*
        pub struct $name { $($(#[$doc])* pub $field: $type,)* }

        impl $name {
            fn empty() -> Self {
                Self { $($field: <$type>::default(),)* }
            }
        }
    };
}

with_empty! {
    /// The flags of a sidecar as typed values. `Default` has the defaults of [`FLAGS`].
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub struct Flags {
        /// `--app-id`.
        pub app_id: String,
        /// `--app-port`, as written; empty for none.
        pub app_port: String,
        /// `--app-protocol`, as written.
        pub app_protocol: String,
        /// `--app-ssl`.
        pub app_ssl: bool,
        /// `--app-channel-address`.
        pub app_channel_address: String,
        /// `--app-max-concurrency`; 0 and less for no limit.
        pub app_max_concurrency: i64,
        /// `--dapr-http-port`, as written.
        pub dapr_http_port: String,
        /// `--dapr-grpc-port`, as written.
        pub dapr_grpc_port: String,
        /// `--dapr-internal-grpc-port`, as written; empty for none.
        pub dapr_internal_grpc_port: String,
        /// `--dapr-listen-addresses`, as written.
        pub dapr_listen_addresses: String,
        /// `--dapr-public-port`, as written; empty for none.
        pub dapr_public_port: String,
        /// `--dapr-public-listen-address`.
        pub dapr_public_listen_address: String,
        /// `--unix-domain-socket`; empty for none.
        pub unix_domain_socket: String,
        /// `--resources-path`.
        pub resources_path: Vec<String>,
        /// `--components-path`; empty for none.
        pub components_path: String,
        /// `--config`.
        pub config: Vec<String>,
        /// `--max-body-size`, as written.
        pub max_body_size: Option<String>,
        /// `--dapr-http-max-request-size`, in units of 2^20 bytes.
        pub dapr_http_max_request_size: Option<i64>,
        /// `--max-body-memory`, as written.
        pub max_body_memory: Option<String>,
        /// `--max-connections`; 0 and less for no limit.
        pub max_connections: i64,
        /// `--max-requests`; 0 and less for no limit.
        pub max_requests: i64,
        /// `--read-buffer-size`, as written.
        pub read_buffer_size: Option<String>,
        /// `--dapr-http-read-buffer-size`, in units of 2^10 bytes.
        pub dapr_http_read_buffer_size: Option<i64>,
        /// `--allowed-origins`.
        pub allowed_origins: String,
        /// `--enable-metrics`.
        pub enable_metrics: bool,
        /// `--metrics-port`, as written.
        pub metrics_port: String,
        /// `--metrics-listen-address`.
        pub metrics_listen_address: String,
        /// `--enable-profiling`.
        pub enable_profiling: bool,
        /// `--profile-port`, as written.
        pub profile_port: String,
        /// `--enable-api-logging`; `None` lets the Configuration decide.
        pub enable_api_logging: Option<bool>,
        /// `--log-level`, as written.
        pub log_level: String,
        /// `--log-as-json`.
        pub log_as_json: bool,
        /// `--log-file`; empty for none.
        pub log_file: String,
        /// `--enable-app-health-check`.
        pub enable_app_health_check: bool,
        /// `--app-health-check-path`.
        pub app_health_check_path: String,
        /// `--app-health-probe-interval`, in seconds.
        pub app_health_probe_interval: i64,
        /// `--app-health-probe-timeout`, in milliseconds.
        pub app_health_probe_timeout: i64,
        /// `--app-health-threshold`.
        pub app_health_threshold: i64,
        /// `--dapr-graceful-shutdown-seconds`.
        pub dapr_graceful_shutdown_seconds: i64,
        /// `--dapr-block-shutdown-duration`; `None` does not block.
        pub dapr_block_shutdown_duration: Option<GoDuration>,
        /// `--disable-init-endpoints`.
        pub disable_init_endpoints: Vec<String>,
        /// `--hot-reload-reconcile-interval`.
        pub hot_reload_reconcile_interval: GoDuration,
        /// `--mode`.
        pub mode: String,
        /// `--enable-mtls`.
        pub enable_mtls: bool,
        /// `--version`.
        pub version: bool,
        /// `--build-info`.
        pub build_info: bool,
        /// `--wait`.
        pub wait: bool,
    }
}

impl Default for Flags {
    fn default() -> Self {
        let mut flags = Self::empty();
        for flag in FLAGS.iter().filter(|flag| !flag.default.is_empty()) {
            // A test holds that every flag accepts its own default.
            let _ = flag.set(&mut flags, flag.default);
        }
        flags
    }
}

/// A flag whose value has the right type but not the right meaning: `Failed to parse flags: <it>`, exit code 1
/// (tests/spec/resources-cli.md, "1.1 Parsing rules", rule 10).
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FlagError {
    /// An invalid size.
    #[error("invalid value for '{flag}' option: {cause}")]
    Size {
        /// Its name, without dashes.
        flag: &'static str,
        /// The cause.
        cause: quantity::QuantityError,
    },
}

impl Flags {
    /// The folders to read: `--resources-path`, else `--components-path`.
    pub fn folders(&self) -> Vec<PathBuf> {
        if self.resources_path.is_empty() && !self.components_path.is_empty() {
            return vec![PathBuf::from(&self.components_path)];
        }
        self.resources_path.iter().map(PathBuf::from).collect()
    }

    /// `--max-body-size` in bytes; -1 means the default.
    ///
    /// # Errors
    /// The value is not a size.
    pub fn max_body_bytes(&self) -> Result<i64, FlagError> {
        let old = self.dapr_http_max_request_size.map(|mib| (mib, 1 << 20));
        size("max-body-size", self.max_body_size.as_deref(), old)
    }

    /// `--max-body-memory` in bytes; -1 means the default.
    ///
    /// # Errors
    /// The value is not a size.
    pub fn max_body_memory_bytes(&self) -> Result<i64, FlagError> {
        size("max-body-memory", self.max_body_memory.as_deref(), None)
    }

    /// `--read-buffer-size` in bytes; -1 means the default.
    ///
    /// # Errors
    /// The value is not a size.
    pub fn read_buffer_bytes(&self) -> Result<i64, FlagError> {
        let old = self.dapr_http_read_buffer_size.map(|kib| (kib, 1 << 10));
        size("read-buffer-size", self.read_buffer_size.as_deref(), old)
    }

    /// All errors of this kind.
    pub fn mistakes(&self) -> Vec<FlagError> {
        [self.max_body_bytes(), self.max_body_memory_bytes(), self.read_buffer_bytes()]
            .into_iter()
            .filter_map(Result::err)
            .collect()
    }
}

/// The size by the new flag, or else by the deprecated one, which counts in larger units.
fn size(flag: &'static str, text: Option<&str>, old: Option<(i64, i64)>) -> Result<i64, FlagError> {
    match (text, old) {
        (Some(text), _) => quantity::parse(text).map_err(|cause| FlagError::Size { flag, cause }),
        (None, Some((count, unit))) if count >= 0 => Ok(count.saturating_mul(unit)),
        (None, _) => Ok(-1),
    }
}

/// One flag.
pub struct Flag {
    /// Its name, without dashes.
    pub name: &'static str,
    /// Type and field of the value.
    pub kind: Kind,
    /// The value without the flag, as text; empty for the zero of its type.
    pub default: &'static str,
    /// For the usage text.
    pub help: &'static str,
    /// The replacement, if the flag is deprecated.
    pub deprecated: Option<&'static str>,
}

/// Type of a flag, and the field for its value.
pub enum Kind {
    /// Text.
    Text(fn(&mut Flags) -> &mut String),
    /// Optional text.
    OptionalText(fn(&mut Flags) -> &mut Option<String>),
    /// A bool.
    Bool(fn(&mut Flags) -> &mut bool),
    /// An optional bool.
    OptionalBool(fn(&mut Flags) -> &mut Option<bool>),
    /// A whole number.
    Int(fn(&mut Flags) -> &mut i64),
    /// An optional whole number.
    OptionalInt(fn(&mut Flags) -> &mut Option<i64>),
    /// A Go duration.
    Duration(fn(&mut Flags) -> &mut GoDuration),
    /// An optional Go duration.
    OptionalDuration(fn(&mut Flags) -> &mut Option<GoDuration>),
    /// A list: each occurrence is a CSV record whose values are appended.
    List(fn(&mut Flags) -> &mut Vec<String>),
    /// Checked and ignored: for building blocks that this sidecar does not have.
    Unused(Shape),
}

/// The type of a flag without effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// Any text.
    Text,
    /// A list of texts.
    List,
    /// A bool.
    Bool,
    /// An unsigned number.
    Uint,
    /// A Go duration.
    Duration,
}

impl Flag {
    /// Whether its value may be left out.
    pub fn is_bool(&self) -> bool {
        matches!(self.kind, Kind::Bool(_) | Kind::OptionalBool(_) | Kind::Unused(Shape::Bool))
    }

    /// Whether its occurrences add up.
    pub fn is_list(&self) -> bool {
        matches!(self.kind, Kind::List(_) | Kind::Unused(Shape::List))
    }

    /// Set its value.
    ///
    /// # Errors
    /// The value has the wrong type; in Go's words.
    pub fn set(&self, flags: &mut Flags, text: &str) -> Result<(), String> {
        let duration = || duration::parse(text).map_err(|error| error.to_string());
        match self.kind {
            Kind::Text(field) => text.clone_into(field(flags)),
            Kind::OptionalText(field) => *field(flags) = Some(text.to_owned()),
            Kind::Bool(field) => *field(flags) = values::bool(text)?,
            Kind::OptionalBool(field) => *field(flags) = Some(values::bool(text)?),
            Kind::Int(field) => *field(flags) = values::int(text)?,
            Kind::OptionalInt(field) => *field(flags) = Some(values::int(text)?),
            Kind::Duration(field) => *field(flags) = duration()?,
            Kind::OptionalDuration(field) => *field(flags) = Some(duration()?),
            Kind::List(field) => field(flags).extend(values::list(text)?),
            Kind::Unused(shape) => match shape {
                Shape::Text => {}
                Shape::List => drop(values::list(text)?),
                Shape::Bool => drop(values::bool(text)?),
                Shape::Uint => drop(values::uint(text)?),
                Shape::Duration => drop(duration()?),
            },
        }
        Ok(())
    }

    /// Whether its value has an effect.
    pub fn has_effect(&self) -> bool {
        self.help != NO_EFFECT
    }

    /// Its type in the usage text; empty for bools.
    pub fn type_name(&self) -> &'static str {
        match self.kind {
            Kind::Bool(_) | Kind::OptionalBool(_) | Kind::Unused(Shape::Bool) => "",
            Kind::Text(_) | Kind::OptionalText(_) | Kind::Unused(Shape::Text) => "string",
            Kind::Int(_) | Kind::OptionalInt(_) => "int",
            Kind::Unused(Shape::Uint) => "uint",
            Kind::Duration(_) | Kind::OptionalDuration(_) | Kind::Unused(Shape::Duration) => "duration",
            Kind::List(_) | Kind::Unused(Shape::List) => "strings",
        }
    }

    /// Its default in the usage text; `None` for the zero of its type.
    pub fn default_text(&self) -> Option<String> {
        match (self.default, &self.kind) {
            ("", _) => None,
            (default, Kind::Text(_)) => Some(format!("{default:?}")),
            (default, _) => Some(default.to_owned()),
        }
    }

    const fn or(self, default: &'static str) -> Self {
        Self { default, ..self }
    }
}

const fn flag(name: &'static str, kind: Kind, help: &'static str) -> Flag {
    Flag { name, kind, default: "", help, deprecated: None }
}

const fn old(name: &'static str, kind: Kind, hint: &'static str) -> Flag {
    Flag { name, kind, default: "", help: "", deprecated: Some(hint) }
}

const NO_EFFECT: &str = "accepted, without effect here";

/// All flags, by name.
pub static FLAGS: &[Flag] = &[
    flag("actors-disseminate-timeout", Kind::Unused(Shape::Duration), NO_EFFECT),
    flag("actors-service", Kind::Unused(Shape::Text), NO_EFFECT),
    flag(
        "allowed-origins",
        Kind::Text(|f| &mut f.allowed_origins),
        "Origins that browsers may call from; * for all, empty for no CORS",
    ),
    flag("app-binding-options-timeout", Kind::Unused(Shape::Duration), NO_EFFECT),
    flag("app-channel-address", Kind::Text(|f| &mut f.app_channel_address), "Host on which the app listens")
        .or("127.0.0.1"),
    flag("app-health-check-path", Kind::Text(|f| &mut f.app_health_check_path), "Path of the app's health check")
        .or("/healthz"),
    flag(
        "app-health-probe-interval",
        Kind::Int(|f| &mut f.app_health_probe_interval),
        "Seconds between health checks of the app",
    )
    .or("5"),
    flag(
        "app-health-probe-timeout",
        Kind::Int(|f| &mut f.app_health_probe_timeout),
        "Milliseconds one health check may take",
    )
    .or("500"),
    flag(
        "app-health-threshold",
        Kind::Int(|f| &mut f.app_health_threshold),
        "Failed health checks until the app counts as unhealthy",
    )
    .or("3"),
    flag("app-id", Kind::Text(|f| &mut f.app_id), "Name of the app; required"),
    flag(
        "app-max-concurrency",
        Kind::Int(|f| &mut f.app_max_concurrency),
        "Most requests to the app at a time; -1 for no limit",
    )
    .or("-1"),
    flag(
        "app-port",
        Kind::Text(|f| &mut f.app_port),
        "Port on which the app listens; none for an app that only publishes",
    ),
    flag("app-protocol", Kind::Text(|f| &mut f.app_protocol), "Protocol of the app: http, https, h2c, grpc or grpcs")
        .or("http"),
    old("app-ssl", Kind::Bool(|f| &mut f.app_ssl), "use '--app-protocol https|grpcs'"),
    flag("build-info", Kind::Bool(|f| &mut f.build_info), "Print version and build, and exit"),
    old("components-path", Kind::Text(|f| &mut f.components_path), "use --resources-path"),
    flag("config", Kind::List(|f| &mut f.config), "Configuration file; may be given several times"),
    flag("control-plane-address", Kind::Unused(Shape::Text), NO_EFFECT),
    flag("control-plane-namespace", Kind::Unused(Shape::Text), NO_EFFECT),
    flag("control-plane-trust-domain", Kind::Unused(Shape::Text), NO_EFFECT),
    flag(
        "dapr-block-shutdown-duration",
        Kind::OptionalDuration(|f| &mut f.dapr_block_shutdown_duration),
        "Keep serving this long after a signal, without deliveries, or until the app is unhealthy",
    ),
    flag(
        "dapr-graceful-shutdown-seconds",
        Kind::Int(|f| &mut f.dapr_graceful_shutdown_seconds),
        "Seconds an orderly stop may take; 0 for ever",
    )
    .or("5"),
    flag("dapr-grpc-port", Kind::Text(|f| &mut f.dapr_grpc_port), "Port of the gRPC API").or("50001"),
    old(
        "dapr-http-max-request-size",
        Kind::OptionalInt(|f| &mut f.dapr_http_max_request_size),
        "use '--max-body-size 4Mi'",
    ),
    flag("dapr-http-port", Kind::Text(|f| &mut f.dapr_http_port), "Port of the HTTP API").or("3500"),
    old(
        "dapr-http-read-buffer-size",
        Kind::OptionalInt(|f| &mut f.dapr_http_read_buffer_size),
        "use '--read-buffer-size 4Ki'",
    ),
    flag("dapr-internal-grpc-listen-address", Kind::Unused(Shape::Text), NO_EFFECT),
    flag("dapr-internal-grpc-port", Kind::Text(|f| &mut f.dapr_internal_grpc_port), NO_EFFECT),
    flag(
        "dapr-listen-addresses",
        Kind::Text(|f| &mut f.dapr_listen_addresses),
        "Hosts on which the APIs listen, separated by commas; empty for all",
    ),
    flag("dapr-public-listen-address", Kind::Text(|f| &mut f.dapr_public_listen_address), "Host of the public port"),
    flag("dapr-public-port", Kind::Text(|f| &mut f.dapr_public_port), "Second HTTP port, for health and metadata only"),
    flag("disable-builtin-k8s-secret-store", Kind::Unused(Shape::Bool), NO_EFFECT),
    flag(
        "disable-init-endpoints",
        Kind::List(|f| &mut f.disable_init_endpoints),
        "Start-up requests to the app that are left out: config, subscribe",
    ),
    flag("enable-api-logging", Kind::OptionalBool(|f| &mut f.enable_api_logging), "Log every call of the API"),
    flag(
        "enable-app-health-check",
        Kind::Bool(|f| &mut f.enable_app_health_check),
        "Check the app's health and deliver only while it is healthy",
    ),
    flag("enable-metrics", Kind::Bool(|f| &mut f.enable_metrics), "Serve metrics").or("true"),
    flag("enable-mtls", Kind::Bool(|f| &mut f.enable_mtls), NO_EFFECT),
    flag("enable-profiling", Kind::Bool(|f| &mut f.enable_profiling), NO_EFFECT),
    flag(
        "hot-reload-reconcile-interval",
        Kind::Duration(|f| &mut f.hot_reload_reconcile_interval),
        "Time between full comparisons with the resource folders; 0 for 60s",
    ),
    flag("log-as-json", Kind::Bool(|f| &mut f.log_as_json), "Log JSON"),
    flag("log-file", Kind::Text(|f| &mut f.log_file), "Append the log to this file in place of stdout"),
    flag("log-level", Kind::Text(|f| &mut f.log_level), "debug, info, warn, error or fatal").or("info"),
    flag(
        "max-body-memory",
        Kind::OptionalText(|f| &mut f.max_body_memory),
        "Memory for all bodies, 503 beyond it; 16 times --max-body-size by default",
    ),
    flag(
        "max-body-size",
        Kind::OptionalText(|f| &mut f.max_body_size),
        "Largest body of a request, for example 4Mi (the default)",
    ),
    flag(
        "max-connections",
        Kind::Int(|f| &mut f.max_connections),
        "Most connections to a port of the API, 503 beyond it; 0 for no limit",
    )
    .or("2048"),
    flag(
        "max-requests",
        Kind::Int(|f| &mut f.max_requests),
        "Most requests at a time on a port of the API, 503 beyond it; 0 for no limit",
    )
    .or("4096"),
    flag("metrics-listen-address", Kind::Text(|f| &mut f.metrics_listen_address), "Host of the metrics port")
        .or("0.0.0.0"),
    flag("metrics-port", Kind::Text(|f| &mut f.metrics_port), "Port of the metrics").or("9090"),
    flag("mode", Kind::Text(|f| &mut f.mode), "standalone; nothing else is supported").or("standalone"),
    flag("placement-host-address", Kind::Unused(Shape::Text), NO_EFFECT),
    flag("profile-port", Kind::Text(|f| &mut f.profile_port), NO_EFFECT).or("7777"),
    flag(
        "read-buffer-size",
        Kind::OptionalText(|f| &mut f.read_buffer_size),
        "Largest head of a request, for example 4Ki (the default)",
    ),
    old("reminders-service", Kind::Unused(Shape::Text), "flag no longer has any effect"),
    flag(
        "resources-path",
        Kind::List(|f| &mut f.resources_path),
        "Folder of resource files; may be given several times",
    ),
    flag("scheduler-host-address", Kind::Unused(Shape::List), NO_EFFECT),
    flag("scheduler-job-streams", Kind::Unused(Shape::Uint), NO_EFFECT),
    flag("sentry-address", Kind::Unused(Shape::Text), NO_EFFECT),
    flag("sentry-request-jwt-audiences", Kind::Unused(Shape::List), NO_EFFECT),
    flag(
        "unix-domain-socket",
        Kind::Text(|f| &mut f.unix_domain_socket),
        "Folder for unix domain sockets, which then replace the API ports",
    ),
    flag("version", Kind::Bool(|f| &mut f.version), "Print the version, and exit"),
    flag(
        "wait",
        Kind::Bool(|f| &mut f.wait),
        "Wait until the sidecar on --dapr-http-port is ready to publish, and exit",
    ),
];

/// The flag with this name.
pub fn find(name: &str) -> Option<&'static Flag> {
    FLAGS.iter().find(|flag| flag.name == name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_sorted_and_every_flag_takes_its_own_default() {
        assert!(FLAGS.is_sorted_by_key(|flag| flag.name));
        for flag in FLAGS {
            if !flag.default.is_empty() {
                let mut flags = Flags::default();
                flag.set(&mut flags, flag.default).unwrap();
                assert_eq!(flags, Flags::default(), "{}", flag.name);
            }
        }
    }

    #[test]
    fn sizes_in_bytes() {
        for (new, deprecated, bytes) in [
            (None, None, Some(-1)),
            (Some("2Mi"), None, Some(2 << 20)),
            (Some("1Mi"), Some(2), Some(1 << 20)),
            (None, Some(2), Some(2 << 20)),
            (None, Some(-1), Some(-1)),
            (None, Some(0), Some(0)),
            (Some("4MB"), Some(2), None),
        ] {
            let flags = Flags {
                max_body_size: new.map(str::to_owned),
                dapr_http_max_request_size: deprecated,
                ..Flags::default()
            };
            assert_eq!(flags.max_body_bytes().ok(), bytes);
            assert_eq!(flags.mistakes().is_empty(), bytes.is_some());
        }
    }

    #[test]
    fn components_path_counts_only_alone() {
        let mut flags = Flags { components_path: "a,b".to_owned(), ..Flags::default() };
        assert_eq!(flags.folders(), [PathBuf::from("a,b")]);
        flags.resources_path.push("c".to_owned());
        assert_eq!(flags.folders(), [PathBuf::from("c")]);
    }
}
