//! What a sidecar is to do, settled: flags, environment and Configuration documents become one value that cannot be wrong.
//!
//! [`Settings`] is read by `runtime`, and its sections by the parts they are for. All mistakes are collected before any is reported.
//! [`Settings::resolve`] makes them; [`LogSettings`] comes before, because the mistakes are to be logged.

mod log;
mod resolve;

pub use self::log::{LogError, LogSettings};
pub use self::resolve::{ConfigError, Resolved};

use std::path::PathBuf;
use std::time::Duration;

use crate::resources::kinds::configuration::ApiRule;
use crate::resources::kinds::pipeline::Handler;

/// Everything about one sidecar that does not change while it runs.
#[derive(Clone, Debug)]
pub struct Settings {
    /// `--app-id`.
    pub app_id: String,
    /// `NAMESPACE` as it is set; `None` when it is not.
    pub namespace: Option<String>,
    /// How to reach the app; `None` without `--app-port`.
    pub app: Option<AppSettings>,
    /// The same whether or not there is an `--app-port` (0 then): the metadata API shows it.
    pub app_connection: AppSettings,
    /// The HTTP API.
    pub http: HttpSettings,
    /// `--dapr-grpc-port`; 0 takes a free one. It listens where the HTTP API does.
    pub grpc_port: u16,
    /// The metrics listener; `None` with `--enable-metrics=false`.
    pub metrics: Option<MetricsSettings>,
    /// `spec.metrics.recordErrorCodes` of the Configuration.
    pub count_error_codes: bool,
    /// `--resources-path`, in order.
    pub resources: Vec<PathBuf>,
    /// A pub/sub `pubsub` on the in-memory broker exists although no file names it (`demo`, and `run` without resources).
    pub embedded_pubsub: bool,
    /// Requests to the app that `--disable-init-endpoints` switches off.
    pub disabled_init_endpoints: InitEndpoints,
    /// `--dapr-graceful-shutdown-seconds`; `None` waits for ever.
    pub graceful_shutdown: Option<Duration>,
    /// `--dapr-block-shutdown-duration`.
    pub block_shutdown: Option<Duration>,
    /// `spec.tracing.samplingRate` of the Configuration, as text (tests/spec/http-api.md, "12. Trace headers").
    pub sampling_rate: Option<String>,
    /// The resource folders are watched, and looked at again so often even if nothing seems to happen; `None` without the feature
    /// `HotReload`.
    pub hot_reload: Option<Duration>,
    /// Enabled features, for the metadata API.
    pub features: Vec<String>,
    /// `spec.components.deny`.
    pub denied_components: Vec<String>,
    /// `spec.httpPipeline` and `spec.appHttpPipeline`: middleware that is asked for and not there.
    pub handlers: Vec<Handler>,
}

/// The app behind the sidecar (tests/spec/delivery.md, "B17. App channel").
#[derive(Clone, Debug)]
pub struct AppSettings {
    /// Negative is possible and means an app that never answers (tests/spec/resources-cli.md, "1.2 Flags that matter
    /// for a pub/sub sidecar").
    pub port: i32,
    /// `--app-channel-address`.
    pub address: String,
    /// `--app-protocol`.
    pub protocol: AppProtocol,
    /// `--app-max-concurrency`; `None` is unlimited.
    pub max_concurrency: Option<usize>,
    /// `--enable-app-health-check` and its settings.
    pub health: Option<AppHealthSettings>,
    /// `APP_API_TOKEN`, sent as `dapr-api-token`.
    pub token: Option<String>,
    /// `--read-buffer-size`: the largest head of an answer, in bytes.
    pub max_header: usize,
}

/// Protocols between sidecar and app.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum AppProtocol {
    /// HTTP/1.1.
    #[default]
    Http,
    /// HTTP/1.1 over TLS, the certificate is not verified.
    Https,
    /// HTTP/2 in clear text, by prior knowledge.
    H2c,
    /// gRPC.
    Grpc,
    /// gRPC over TLS, the certificate is not verified.
    Grpcs,
}

impl AppProtocol {
    /// The name on the command line and in the metadata API.
    pub fn name(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
            Self::H2c => "h2c",
            Self::Grpc => "grpc",
            Self::Grpcs => "grpcs",
        }
    }
}

/// App health checks (tests/spec/resources-cli.md, "11.5 App health checks").
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AppHealthSettings {
    /// Path of the probe.
    pub path: String,
    /// Pause between probes.
    pub interval: Duration,
    /// Time one probe may take.
    pub timeout: Duration,
    /// Failures until the app counts as unhealthy.
    pub threshold: u32,
}

/// The HTTP API and its listeners (tests/spec/http-api.md, "1. Listeners and transport").
#[derive(Clone, Debug)]
pub struct HttpSettings {
    /// `--dapr-http-port`; 0 takes a free one.
    pub port: u16,
    /// `--dapr-listen-addresses`, as written: hosts, `IPv6` in brackets; empty means all interfaces.
    pub listen: Vec<String>,
    /// `--dapr-public-listen-address` and `--dapr-public-port`.
    pub public: Option<(String, u16)>,
    /// `--unix-domain-socket`: the folder of the socket; then there is no TCP listener.
    pub socket_dir: Option<PathBuf>,
    /// `--max-body-size` in bytes; `None` is unlimited.
    pub max_body: Option<usize>,
    /// `--max-body-memory` in bytes: for the bodies of all requests at a time.
    pub max_body_memory: usize,
    /// `--max-connections`: connections to a port at a time.
    pub max_connections: usize,
    /// `--max-requests`: requests to a port at a time.
    pub max_requests: usize,
    /// `--read-buffer-size` in bytes.
    pub read_buffer: usize,
    /// HTTP/2 without TLS on the port of the API; off with `DAPR_HTTP_DISABLE_H2C`.
    pub http2: bool,
    /// `DAPR_API_TOKEN`, if it is not empty.
    pub token: Option<String>,
    /// `--allowed-origins`, as written.
    pub allowed_origins: String,
    /// Is every API call logged?
    pub log_calls: bool,
    /// How API calls are logged.
    pub call_log: CallLog,
    /// Which APIs there are.
    pub access: ApiAccess,
}

/// What the log of API calls shows (tests/spec/http-api.md, "11.5 API logging").
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CallLog {
    /// Names of operations in place of paths.
    pub obfuscate_urls: bool,
    /// No lines for health checks.
    pub omit_health_checks: bool,
}

/// `spec.api` of the Configuration (tests/spec/http-api.md, "11.3 API access lists").
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ApiAccess {
    /// If there is one for HTTP, whatever is not named is denied.
    pub allowed: Vec<ApiRule>,
    /// Wins over what is allowed.
    pub denied: Vec<ApiRule>,
}

/// The metrics listener.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MetricsSettings {
    /// `--metrics-listen-address`.
    pub address: String,
    /// `--metrics-port`.
    pub port: u16,
    /// `spec.metrics.enabled` of the Configuration: without it the page is there and has no series of ours.
    pub has_series: bool,
}

/// Start-up requests to the app that are switched off.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct InitEndpoints {
    /// No `GET /dapr/config`.
    pub config: bool,
    /// No `GET /dapr/subscribe`.
    pub subscribe: bool,
}
