//! The settings of a sidecar, as sections for the parts that use them.

use std::path::PathBuf;
use std::time::Duration;

use crate::resources::kinds::configuration::ApiRule;
use crate::resources::kinds::pipeline::Handler;

/// The settings of one sidecar. They do not change while it runs.
#[derive(Clone, Debug)]
pub struct Settings {
    /// `--app-id`.
    pub app_id: String,
    /// `NAMESPACE`; `None` if it is not set.
    pub namespace: Option<String>,
    /// The connection to the app, also without `--app-port`: the metadata API shows it.
    pub app_connection: AppSettings,
    /// The HTTP API.
    pub http: HttpSettings,
    /// `--dapr-grpc-port`; 0 means a free port. The addresses are those of the HTTP API.
    pub grpc_port: u16,
    /// The metrics listener; `None` with `--enable-metrics=false`.
    pub metrics: Option<MetricsSettings>,
    /// `spec.metrics.recordErrorCodes` of the Configuration.
    pub count_error_codes: bool,
    /// `--resources-path`, in order.
    pub resources: Vec<PathBuf>,
    /// Whether to add an in-memory pub/sub `pubsub` that is in no file (`demo`, and `run` without resources).
    pub embedded_pubsub: bool,
    /// Requests to the app that `--disable-init-endpoints` switches off.
    pub disabled_init_endpoints: InitEndpoints,
    /// `--dapr-graceful-shutdown-seconds`; `None` waits without limit.
    pub graceful_shutdown: Option<Duration>,
    /// `--dapr-block-shutdown-duration`.
    pub block_shutdown: Option<Duration>,
    /// `spec.tracing.samplingRate` of the Configuration, as text (tests/spec/http-api.md, "12. Trace headers").
    pub sampling_rate: Option<String>,
    /// Time between readings of the resource folders without a detected change; `None` without the feature `HotReload`,
    /// and then they are not watched.
    pub hot_reload: Option<Duration>,
    /// Enabled features, for the metadata API.
    pub features: Vec<String>,
    /// `spec.components.deny`.
    pub denied_components: Vec<String>,
    /// `spec.httpPipeline` and `spec.appHttpPipeline`: middleware that this sidecar does not have.
    pub handlers: Vec<Handler>,
}

impl Settings {
    /// The connection to the app; `None` without `--app-port`.
    pub fn app(&self) -> Option<&AppSettings> {
        Some(&self.app_connection).filter(|app| app.has_port())
    }
}

/// The connection to the app (tests/spec/delivery.md, "B17. App channel").
#[derive(Clone, Debug)]
pub struct AppSettings {
    /// `--app-port`; 0 for none. Negative means an app that never answers (tests/spec/resources-cli.md, "1.2 Flags that matter
    /// for a pub/sub sidecar").
    pub port: i32,
    /// `--app-channel-address`.
    pub address: String,
    /// `--app-protocol`.
    pub protocol: AppProtocol,
    /// `--app-max-concurrency`; `None` for no limit.
    pub max_concurrency: Option<usize>,
    /// `--enable-app-health-check` and its settings.
    pub health: Option<AppHealthSettings>,
    /// `APP_API_TOKEN`, sent as `dapr-api-token`.
    pub token: Option<String>,
    /// `--read-buffer-size`: the largest head of an answer, in bytes.
    pub max_header: usize,
}

impl AppSettings {
    /// Whether there is an app to deliver to: `--app-port` is set and not 0.
    pub fn has_port(&self) -> bool {
        self.port != 0
    }
}

/// Protocols between sidecar and app.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum AppProtocol {
    /// HTTP/1.1.
    #[default]
    Http,
    /// HTTP/1.1 over TLS, without verification of the certificate.
    Https,
    /// HTTP/2 in clear text, by prior knowledge.
    H2c,
    /// gRPC.
    Grpc,
    /// gRPC over TLS, without verification of the certificate.
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
    /// Time between probes.
    pub interval: Duration,
    /// Longest duration of a probe.
    pub timeout: Duration,
    /// Failures until the app counts as unhealthy.
    pub threshold: u32,
}

/// The HTTP API and its listeners (tests/spec/http-api.md, "1. Listeners and transport").
#[derive(Clone, Debug)]
pub struct HttpSettings {
    /// `--dapr-http-port`; 0 means a free port.
    pub port: u16,
    /// `--dapr-listen-addresses`, as written: hosts, `IPv6` in brackets; empty means all interfaces.
    pub listen: Vec<String>,
    /// `--dapr-public-listen-address` and `--dapr-public-port`.
    pub public: Option<(String, u16)>,
    /// `--unix-domain-socket`: the folder of the socket, which replaces the TCP listeners.
    pub socket_dir: Option<PathBuf>,
    /// `--max-body-size` in bytes; `None` for no limit.
    pub max_body: Option<usize>,
    /// `--max-body-memory` in bytes: for the bodies of all requests at a time.
    pub max_body_memory: usize,
    /// `--max-connections`: connections to a port at a time.
    pub max_connections: usize,
    /// `--max-requests`: requests to a port at a time.
    pub max_requests: usize,
    /// `--read-buffer-size` in bytes.
    pub read_buffer: usize,
    /// Whether the API accepts HTTP/2 without TLS; off with `DAPR_HTTP_DISABLE_H2C`.
    pub http2: bool,
    /// `DAPR_API_TOKEN`, if it is not empty.
    pub token: Option<String>,
    /// `--allowed-origins`, as written.
    pub allowed_origins: String,
    /// Whether every API call is logged.
    pub log_calls: bool,
    /// How API calls are logged.
    pub call_log: CallLog,
    /// The APIs that may be called.
    pub access: ApiAccess,
}

/// The content of the log of API calls (tests/spec/http-api.md, "11.5 API logging").
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CallLog {
    /// Whether names of operations replace paths.
    pub obfuscate_urls: bool,
    /// Whether health checks are left out.
    pub omit_health_checks: bool,
}

/// `spec.api` of the Configuration (tests/spec/http-api.md, "11.3 API access lists").
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ApiAccess {
    /// Allowed APIs. If there is one for HTTP, all others are denied.
    pub allowed: Vec<ApiRule>,
    /// Denied APIs; they win over allowed ones.
    pub denied: Vec<ApiRule>,
}

/// The metrics listener.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MetricsSettings {
    /// `--metrics-listen-address`.
    pub address: String,
    /// `--metrics-port`.
    pub port: u16,
    /// `spec.metrics.enabled` of the Configuration; if off, the page has no series of the sidecar.
    pub has_series: bool,
}

/// Start-up requests to the app that are off.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct InitEndpoints {
    /// No `GET /dapr/config`.
    pub config: bool,
    /// No `GET /dapr/subscribe`.
    pub subscribe: bool,
}
