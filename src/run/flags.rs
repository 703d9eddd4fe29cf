//! From the flags of `run` to those of the sidecar, and to the environment of the app (spec resources-cli.md 3.1 to 3.3).

use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};

use super::{RunArgs, names};
use crate::environment::Environment;

/// What is to be started.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Launch {
    /// The app id, given or made up.
    pub(super) app_id: String,
    /// The ports of the sidecar.
    pub(super) ports: Ports,
    /// `--unix-domain-socket`: the APIs listen there instead.
    pub(super) socket_dir: Option<String>,
    /// There are no resources, so the in-memory pub/sub is to exist.
    pub(super) embedded_pubsub: bool,
    /// The command line of the sidecar, in daprd's flags.
    pub(super) flags: Vec<String>,
    /// What the app is told beside the environment of this process.
    told: Vec<(&'static str, String)>,
}

/// The ports of a sidecar.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Ports {
    pub(super) http: u16,
    pub(super) grpc: u16,
    pub(super) metrics: u16,
}

impl Launch {
    /// Settle ports, folders and flags.
    ///
    /// # Errors
    /// A text for the console, if a port is taken or a folder is not there.
    pub(super) fn of(args: &RunArgs, environment: &Environment) -> Result<Self, String> {
        let ports = Ports::of(args)?;
        let app_id = match args.app_id.as_deref() {
            Some(id) if !id.is_empty() => id.to_owned(),
            _ => names::silly(),
        };
        let dapr_dir = dapr_dir(args, environment);
        let resources = resources(args, dapr_dir.as_deref())?;
        let config = args.config.clone().or_else(|| {
            dapr_dir
                .map(|dir| dir.join("config.yaml"))
                .filter(|file| file.is_file())
        });
        Ok(Self {
            flags: flags(args, &app_id, ports, &resources, config.as_deref()),
            told: told(args, &app_id, ports),
            socket_dir: args.unix_domain_socket.clone(),
            embedded_pubsub: resources.is_empty(),
            app_id,
            ports,
        })
    }

    /// The whole environment of the app.
    pub(super) fn app_environment(&self, environment: &Environment) -> Environment {
        let mut environment = environment.clone();
        for (name, value) in &self.told {
            environment.set(name, value.clone());
        }
        environment
    }
}

impl Ports {
    /// Those that were asked for, free ones for the rest. No two are the same, because all are held until the last is found.
    fn of(args: &RunArgs) -> Result<Self, String> {
        let http = hold(args.dapr_http_port, "HTTPPort")?;
        let grpc = hold(args.dapr_grpc_port, "GRPCPort")?;
        let metrics = hold(args.metrics_port, "MetricsPort")?;
        Ok(Self {
            http: port_of(&http)?,
            grpc: port_of(&grpc)?,
            metrics: port_of(&metrics)?,
        })
    }
}

fn hold(asked: Option<i32>, name: &str) -> Result<TcpListener, String> {
    let asked = asked.filter(|port| *port > 0).unwrap_or(0);
    u16::try_from(asked)
        .ok()
        .and_then(|port| TcpListener::bind((Ipv4Addr::LOCALHOST, port)).ok())
        .ok_or_else(|| format!("invalid configuration for {name}. Port {asked} is not available"))
}

fn port_of(listener: &TcpListener) -> Result<u16, String> {
    let address = listener.local_addr().map_err(|error| error.to_string())?;
    Ok(address.port())
}

/// Where the stock command line keeps its files (spec 3.2).
fn dapr_dir(args: &RunArgs, environment: &Environment) -> Option<PathBuf> {
    let base = args
        .runtime_path
        .clone()
        .or_else(|| {
            environment
                .non_empty("DAPR_RUNTIME_PATH")
                .map(PathBuf::from)
        })
        .or_else(|| environment.non_empty("HOME").map(PathBuf::from))?;
    Some(base.join(".dapr"))
}

/// The folders of resource files: those that were named, which must exist, or the default one if it does.
fn resources(args: &RunArgs, dapr_dir: Option<&Path>) -> Result<Vec<PathBuf>, String> {
    let named = if args.resources_path.is_empty() {
        args.components_path.iter().cloned().collect()
    } else {
        args.resources_path.clone()
    };
    if named.is_empty() {
        let default = dapr_dir.map(|dir| dir.join("components"));
        return Ok(default.into_iter().filter(|dir| dir.is_dir()).collect());
    }
    match named.iter().find(|path| !path.exists()) {
        Some(missing) => {
            let all: Vec<String> = named.iter().map(|path| format!("{path:?}")).collect();
            Err(format!(
                "error validating resources path [{}] : stat {}: no such file or directory",
                all.join(" "),
                missing.display()
            ))
        }
        None => Ok(named),
    }
}

/// The command line of the sidecar. What was not given is left to the sidecar's defaults.
fn flags(
    args: &RunArgs,
    app_id: &str,
    ports: Ports,
    resources: &[PathBuf],
    config: Option<&Path>,
) -> Vec<String> {
    let mut flags = vec![
        format!("--app-id={app_id}"),
        format!("--dapr-http-port={}", ports.http),
        format!("--dapr-grpc-port={}", ports.grpc),
        format!("--metrics-port={}", ports.metrics),
    ];
    let mut give = |name: &str, value: Option<String>| {
        if let Some(value) = value {
            flags.push(format!("--{name}={value}"));
        }
    };
    let number = |value: i64| (value != 0).then(|| value.to_string());
    let on = |value: bool| value.then(|| "true".to_owned());

    give("app-port", app_port(args).map(|port| port.to_string()));
    give("app-protocol", args.app_protocol.clone());
    give("app-ssl", on(args.app_ssl));
    give("app-channel-address", args.app_channel_address.clone());
    give(
        "app-max-concurrency",
        args.app_max_concurrency
            .filter(|limit| *limit > 0)
            .and_then(number),
    );
    for path in resources {
        give("resources-path", Some(csv_field(path)));
    }
    give("config", config.map(csv_field));
    give("log-level", args.log_level.clone());
    give("log-as-json", on(args.log_as_json));
    give("enable-api-logging", on(args.enable_api_logging));
    give("enable-app-health-check", on(args.enable_app_health_check));
    give("app-health-check-path", args.app_health_check_path.clone());
    give(
        "app-health-probe-interval",
        number(args.app_health_probe_interval),
    );
    give(
        "app-health-probe-timeout",
        number(args.app_health_probe_timeout),
    );
    give("app-health-threshold", number(args.app_health_threshold));
    give("max-body-size", args.max_body_size.clone());
    give("read-buffer-size", args.read_buffer_size.clone());
    give("unix-domain-socket", args.unix_domain_socket.clone());
    give("dapr-listen-addresses", args.dapr_listen_addresses.clone());
    flags
}

/// The variables of spec 3.3.
fn told(args: &RunArgs, app_id: &str, ports: Ports) -> Vec<(&'static str, String)> {
    let address = args.app_channel_address.as_deref().unwrap_or("127.0.0.1");
    let mut told = vec![
        ("APP_ID", app_id.to_owned()),
        ("APP_CHANNEL_ADDRESS", address.to_owned()),
        ("DAPR_HTTP_PORT", ports.http.to_string()),
        ("DAPR_GRPC_PORT", ports.grpc.to_string()),
        ("DAPR_METRICS_PORT", ports.metrics.to_string()),
    ];
    if let Some(port) = app_port(args) {
        told.push(("APP_PORT", port.to_string()));
    }
    if let Some(protocol) = protocol(args) {
        told.push(("APP_PROTOCOL", protocol.to_owned()));
    }
    told
}

fn app_port(args: &RunArgs) -> Option<i32> {
    args.app_port.filter(|port| *port > 0)
}

/// The name of the app's protocol; `None` if there is no such protocol, which is the sidecar's to say.
fn protocol(args: &RunArgs) -> Option<&'static str> {
    let asked = args.app_protocol.as_deref().unwrap_or_default();
    match (asked.to_ascii_lowercase().as_str(), args.app_ssl) {
        ("" | "http", false) => Some("http"),
        ("" | "http", true) | ("https", _) => Some("https"),
        ("grpc", false) => Some("grpc"),
        ("grpc", true) | ("grpcs", _) => Some("grpcs"),
        ("h2c", _) => Some("h2c"),
        _ => None,
    }
}

/// List flags are CSV records: a path with a comma or a quote in it must be quoted.
fn csv_field(path: impl AsRef<Path>) -> String {
    let path = path.as_ref().display().to_string();
    if path.contains(['"', ',', '\n']) {
        format!("\"{}\"", path.replace('"', "\"\""))
    } else {
        path
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PORTS: Ports = Ports {
        http: 1001,
        grpc: 1002,
        metrics: 1003,
    };

    #[test]
    fn flags_that_were_not_given_are_left_to_the_sidecar() {
        let check = |args: RunArgs, expected: &[&str]| {
            let flags = flags(&args, "orders", PORTS, &args.resources_path, None);
            assert_eq!(
                flags[..4],
                [
                    "--app-id=orders",
                    "--dapr-http-port=1001",
                    "--dapr-grpc-port=1002",
                    "--metrics-port=1003"
                ]
            );
            assert_eq!(flags[4..], *expected);
        };
        check(RunArgs::default(), &[]);
        check(
            RunArgs {
                app_port: Some(-1),
                app_max_concurrency: Some(-1),
                ..RunArgs::default()
            },
            &[],
        );
        check(
            RunArgs {
                app_port: Some(8001),
                app_max_concurrency: Some(3),
                resources_path: vec!["./a".into(), "b,\"c\"".into()],
                log_as_json: true,
                max_body_size: Some("-1".to_owned()),
                app_health_threshold: 2,
                ..RunArgs::default()
            },
            &[
                "--app-port=8001",
                "--app-max-concurrency=3",
                "--resources-path=./a",
                "--resources-path=\"b,\"\"c\"\"\"",
                "--log-as-json=true",
                "--app-health-threshold=2",
                "--max-body-size=-1",
            ],
        );
    }

    #[test]
    fn the_app_is_told_where_its_sidecar_is() {
        let check = |args: RunArgs, expected: &[(&str, &str)]| {
            let told = told(&args, "orders", PORTS);
            let rest: Vec<_> = told[5..]
                .iter()
                .map(|(name, value)| (*name, value.as_str()))
                .collect();
            assert_eq!(told[0].1, "orders");
            assert_eq!(told[2], ("DAPR_HTTP_PORT", "1001".to_owned()));
            assert_eq!(rest, expected);
        };
        let with = |port, protocol: Option<&str>, ssl| RunArgs {
            app_port: port,
            app_protocol: protocol.map(str::to_owned),
            app_ssl: ssl,
            ..RunArgs::default()
        };
        check(with(None, None, false), &[("APP_PROTOCOL", "http")]);
        check(
            with(Some(8001), Some("HTTP"), true),
            &[("APP_PORT", "8001"), ("APP_PROTOCOL", "https")],
        );
        check(with(Some(0), Some("h2c"), true), &[("APP_PROTOCOL", "h2c")]);
        check(with(None, Some("carrier pigeon"), false), &[]);
    }

    #[test]
    fn resources_come_from_the_flag_or_from_the_dapr_folder_if_there_is_one() {
        let home = tempfile::tempdir().unwrap();
        let environment: Environment = [("HOME".to_owned(), home.path().display().to_string())]
            .into_iter()
            .collect();
        let launch = |args: &RunArgs| Launch::of(args, &environment);

        let bare = launch(&RunArgs::default()).unwrap();
        assert!(bare.embedded_pubsub);
        assert!(bare.app_id.contains('-'));
        assert_ne!(bare.ports.http, bare.ports.grpc);

        std::fs::create_dir_all(home.path().join(".dapr/components")).unwrap();
        std::fs::write(home.path().join(".dapr/config.yaml"), "").unwrap();
        let with_home = launch(&RunArgs::default()).unwrap();
        assert!(!with_home.embedded_pubsub);
        let has = |wanted: &str| with_home.flags.iter().any(|flag| flag.ends_with(wanted));
        assert!(has("/.dapr/components") && has("/.dapr/config.yaml"));

        let missing = RunArgs {
            resources_path: vec!["/no/such/folder".into()],
            ..RunArgs::default()
        };
        assert_eq!(
            launch(&missing).unwrap_err(),
            "error validating resources path [\"/no/such/folder\"] : stat /no/such/folder: no such file or directory"
        );
    }

    #[test]
    fn a_taken_port_is_named() {
        let taken = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = taken.local_addr().unwrap().port();
        let args = RunArgs {
            metrics_port: Some(i32::from(port)),
            ..RunArgs::default()
        };
        assert_eq!(
            Ports::of(&args).unwrap_err(),
            format!("invalid configuration for MetricsPort. Port {port} is not available")
        );
    }
}
