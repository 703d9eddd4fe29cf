//! The flags of `run` resolved into the flags of the sidecar and the environment of the app
//! (tests/spec/resources-cli.md, "3.1 Flags" to "3.3 Environment given to the app").

use std::path::{Path, PathBuf};

use super::names;
use super::ports::Ports;
use crate::cli::{Flags, RunArgs};
use crate::environment::Environment;
use crate::resources::files::folder::{self, FileContent, FolderFile};

/// A sidecar and an app to start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Launch {
    /// The flags of the sidecar, with app id, ports, folders and Configuration filled in.
    pub(super) flags: Flags,
    /// There are no resources, so the in-memory pub/sub is used.
    pub(super) embedded_pubsub: bool,
    /// The default resource folder, if it exists and holds no resources.
    pub(super) empty_folder: Option<PathBuf>,
}

impl Launch {
    /// Resolve ports, folders and flags. The ports are held until `ports` is dropped.
    ///
    /// # Errors
    /// A text for the console, if a port is taken or a folder does not exist.
    pub(super) fn of(args: &RunArgs, environment: &Environment, ports: &mut Ports) -> Result<Self, String> {
        let dapr_dir = dapr_dir(args, environment);
        let mut resources = resources(&args.flags, dapr_dir.as_deref())?;
        let mut flags = sidecar(&args.flags);
        stay_on_this_machine(&mut flags, args);
        take_ports(&mut flags, args, ports)?;
        if flags.app_id.is_empty() {
            flags.app_id = names::silly();
        }
        if flags.config.is_empty() {
            let default = dapr_dir.map(|dir| dir.join("config.yaml"));
            flags.config.extend(default.filter(|file| file.is_file()).map(text));
        }
        flags.components_path.clear();
        let is_default = args.flags.folders().is_empty();
        let empty_folder = resources.pop_if(|folder| is_default && holds_nothing(folder));
        flags.resources_path = resources.into_iter().map(text).collect();
        Ok(Self { embedded_pubsub: flags.resources_path.is_empty(), empty_folder, flags })
    }

    /// The reason for the in-memory pub/sub.
    pub(super) fn no_resources(&self) -> String {
        match &self.empty_folder {
            Some(folder) => format!("No resources: {} holds no YAML file", folder.display()),
            None => "No resources".to_owned(),
        }
    }

    /// The complete environment of the app: that of this process, and the address of the sidecar
    /// (tests/spec/resources-cli.md, "3.3 Environment given to the app").
    pub(super) fn app_environment(&self, environment: &Environment) -> Environment {
        let mut environment = environment.clone();
        for (name, value) in told(&self.flags) {
            environment.set(name, value);
        }
        environment
    }
}

/// Replace the values that mean "default" on the Dapr command line by the sidecar's defaults.
fn sidecar(given: &Flags) -> Flags {
    let default = Flags::default();
    let mut flags = given.clone();
    if app_port(&flags).is_none() {
        flags.app_port = default.app_port;
    }
    if flags.app_max_concurrency < 1 {
        flags.app_max_concurrency = default.app_max_concurrency;
    }
    if flags.app_channel_address.is_empty() {
        flags.app_channel_address = default.app_channel_address;
    }
    if flags.app_health_check_path.is_empty() {
        flags.app_health_check_path = default.app_health_check_path;
    }
    for (number, usual) in [
        (&mut flags.app_health_probe_interval, default.app_health_probe_interval),
        (&mut flags.app_health_probe_timeout, default.app_health_probe_timeout),
        (&mut flags.app_health_threshold, default.app_health_threshold),
    ] {
        if *number == 0 {
            *number = usual;
        }
    }
    flags
}

/// Listen on loopback unless a flag says otherwise, so that a trial cannot be reached from the network.
fn stay_on_this_machine(flags: &mut Flags, args: &RunArgs) {
    for (name, addresses) in [
        ("dapr-listen-addresses", &mut flags.dapr_listen_addresses),
        ("dapr-public-listen-address", &mut flags.dapr_public_listen_address),
        ("metrics-listen-address", &mut flags.metrics_listen_address),
    ] {
        if !args.is_given(name) {
            LOOPBACK.clone_into(addresses);
        }
    }
}

const LOOPBACK: &str = "127.0.0.1";

/// The ports of the flags, and free ones for the rest. All ports that are taken are reported.
fn take_ports(flags: &mut Flags, args: &RunArgs, ports: &mut Ports) -> Result<(), String> {
    let mut problems = Vec::new();
    for (name, spoken, port) in [
        ("dapr-http-port", "HTTPPort", &mut flags.dapr_http_port),
        ("dapr-grpc-port", "GRPCPort", &mut flags.dapr_grpc_port),
        ("metrics-port", "MetricsPort", &mut flags.metrics_port),
        ("dapr-public-port", "PublicPort", &mut flags.dapr_public_port),
    ] {
        let is_given = args.is_given(name);
        if name == "dapr-public-port" && (!is_given || port.is_empty()) {
            continue;
        }
        let asked = Some(port.as_str()).filter(|_| is_given);
        match ports.take(asked, spoken) {
            Ok(taken) => *port = taken.to_string(),
            Err(problem) => problems.push(format!("{problem} (--{name})")),
        }
    }
    if problems.is_empty() { Ok(()) } else { Err(problems.join("\n")) }
}

/// Whether a folder holds no resource files. A folder that cannot be listed is reported by the sidecar.
fn holds_nothing(folder: &Path) -> bool {
    let is_yaml = |file: &FolderFile| !matches!(file.content, FileContent::Foreign);
    folder::read(folder).is_ok_and(|files| !files.iter().any(is_yaml))
}

/// The folder of the Dapr command line (tests/spec/resources-cli.md, "3.2 Directories").
fn dapr_dir(args: &RunArgs, environment: &Environment) -> Option<PathBuf> {
    let base = args
        .extra
        .runtime_path
        .clone()
        .or_else(|| environment.non_empty("DAPR_RUNTIME_PATH").map(PathBuf::from))
        .or_else(|| environment.non_empty("HOME").map(PathBuf::from))?;
    Some(base.join(".dapr"))
}

/// The resource folders: those of the flags, which must exist, or the default one if it exists.
fn resources(flags: &Flags, dapr_dir: Option<&Path>) -> Result<Vec<PathBuf>, String> {
    let named = flags.folders();
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

/// The variables for the app (tests/spec/resources-cli.md, "3.3 Environment given to the app").
fn told(flags: &Flags) -> Vec<(&'static str, String)> {
    let mut told = vec![
        ("APP_ID", flags.app_id.clone()),
        ("APP_CHANNEL_ADDRESS", flags.app_channel_address.clone()),
        ("DAPR_HTTP_PORT", flags.dapr_http_port.clone()),
        ("DAPR_GRPC_PORT", flags.dapr_grpc_port.clone()),
        ("DAPR_METRICS_PORT", flags.metrics_port.clone()),
    ];
    if let Some(port) = app_port(flags) {
        told.push(("APP_PORT", port.to_owned()));
    }
    if let Some(protocol) = protocol(flags) {
        told.push(("APP_PROTOCOL", protocol.to_owned()));
    }
    told
}

/// The app's port; `None` for 0 and less. The sidecar refuses a text that is not a number.
pub(super) fn app_port(flags: &Flags) -> Option<&str> {
    let port = Some(flags.app_port.as_str()).filter(|port| !port.is_empty())?;
    port.parse().map_or(true, |port: i64| port > 0).then_some(port)
}

/// The name of the app's protocol; `None` if it does not exist, which the sidecar reports.
fn protocol(flags: &Flags) -> Option<&'static str> {
    let asked = flags.app_protocol.to_ascii_lowercase();
    match (asked.as_str(), flags.app_ssl) {
        ("" | "http", false) => Some("http"),
        ("" | "http", true) | ("https", _) => Some("https"),
        ("grpc", false) => Some("grpc"),
        ("grpc", true) | ("grpcs", _) => Some("grpcs"),
        ("h2c", _) => Some("h2c"),
        _ => None,
    }
}

/// A path as the value of a flag.
pub(super) fn text(path: impl AsRef<Path>) -> String {
    path.as_ref().display().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::{Command, parse};

    fn run(line: &str) -> RunArgs {
        let words: Vec<String> = format!("run {line}").split_whitespace().map(str::to_owned).collect();
        match parse(&words).command {
            Command::Run(args) => *args,
            other => panic!("{line}: {other:?}"),
        }
    }

    fn launch_in(line: &str, environment: &Environment) -> Result<Launch, String> {
        Launch::of(&run(line), environment, &mut Ports::default())
    }

    fn launch(line: &str) -> Result<Launch, String> {
        launch_in(line, &Environment::default())
    }

    #[test]
    fn as_you_like_becomes_the_default_of_the_sidecar() {
        let check = |line: &str, expected: fn(&Flags) -> bool| {
            let flags = launch(line).unwrap().flags;
            assert!(expected(&flags), "{line}: {flags:?}");
        };
        check("-a orders", |flags| flags.app_id == "orders");
        check("", |flags| flags.app_id.contains('-'));
        check("", |flags| {
            let ports = [&flags.dapr_http_port, &flags.dapr_grpc_port, &flags.metrics_port];
            !ports.iter().any(|port| *port == "0" || *port == "3500") && ports[0] != ports[1] && ports[1] != ports[2]
        });
        check("-H 0 -M -1", |flags| flags.dapr_http_port != "0" && flags.metrics_port != "-1");
        check("-p -1", |flags| flags.app_port.is_empty());
        check("-p 0", |flags| flags.app_port.is_empty());
        check("-p 8001", |flags| flags.app_port == "8001");
        check("--app-max-concurrency 0", |flags| flags.app_max_concurrency == -1);
        check("--app-max-concurrency 3", |flags| flags.app_max_concurrency == 3);
        check("--app-health-probe-interval 0 --app-health-threshold 2", |flags| {
            flags.app_health_probe_interval == 5 && flags.app_health_threshold == 2
        });
        check("--app-health-check-path=", |flags| flags.app_health_check_path == "/healthz");
    }

    #[test]
    fn it_listens_on_loopback_unless_a_flag_says_otherwise() {
        let check = |line: &str, expected: [&str; 3]| {
            let flags = launch(line).unwrap().flags;
            let found = [flags.dapr_listen_addresses, flags.dapr_public_listen_address, flags.metrics_listen_address];
            assert_eq!(found, expected, "{line}");
        };
        check("", [LOOPBACK; 3]);
        check(
            "--dapr-listen-addresses 0.0.0.0 --metrics-listen-address 0.0.0.0 --dapr-public-listen-address=[::]",
            ["0.0.0.0", "[::]", "0.0.0.0"],
        );
        check("--dapr-listen-addresses=", ["", LOOPBACK, LOOPBACK]);
    }

    #[test]
    fn all_ports_that_cannot_be_had_are_told_with_their_flags() {
        let error = launch("-H 70000 -G x --dapr-public-port 70001").unwrap_err();
        let flags: Vec<&str> = error.lines().filter_map(|line| line.rsplit_once(" (").map(|(_, flag)| flag)).collect();
        assert_eq!(flags, ["--dapr-http-port)", "--dapr-grpc-port)", "--dapr-public-port)"], "{error}");
    }

    #[test]
    fn the_app_is_told_where_its_sidecar_is() {
        let check = |line: &str, expected: &[(&str, &str)]| {
            let told = told(&sidecar(&run(line).flags));
            let rest: Vec<_> = told[5..].iter().map(|(name, value)| (*name, value.as_str())).collect();
            assert_eq!(told[0].1, "orders");
            assert_eq!(told[1].1, "127.0.0.1");
            assert_eq!(told[2], ("DAPR_HTTP_PORT", "3500".to_owned()));
            assert_eq!(rest, expected, "{line}");
        };
        check("-a orders", &[("APP_PROTOCOL", "http")]);
        check("-a orders -p 8001 -P HTTP --app-ssl", &[("APP_PORT", "8001"), ("APP_PROTOCOL", "https")]);
        check("-a orders -p 0 -P h2c --app-ssl", &[("APP_PROTOCOL", "h2c")]);
        check("-a orders -P pigeon", &[]);
    }

    #[test]
    fn resources_come_from_the_flag_or_from_the_dapr_folder_if_there_is_one() {
        let home = tempfile::tempdir().unwrap();
        let environment: Environment = [("HOME".to_owned(), text(home.path()))].into_iter().collect();
        let bare = launch_in("", &environment).unwrap();
        assert!(bare.embedded_pubsub && bare.flags.config.is_empty());

        let components = home.path().join(".dapr/components");
        std::fs::create_dir_all(&components).unwrap();
        std::fs::write(home.path().join(".dapr/config.yaml"), "").unwrap();
        // `dapr init --slim` leaves an empty folder.
        for name in ["", ".gitkeep", "README.md", "pubsub.yaml.bak"] {
            if !name.is_empty() {
                std::fs::write(components.join(name), "text").unwrap();
            }
            let empty = launch_in("", &environment).unwrap();
            assert!(empty.embedded_pubsub && empty.flags.resources_path.is_empty());
            assert_eq!(empty.no_resources(), format!("No resources: {} holds no YAML file", components.display()));
            let named = format!("--resources-path {}", components.display());
            assert!(!launch_in(&named, &environment).unwrap().embedded_pubsub);
        }
        std::fs::write(components.join("pubsub.yaml"), "").unwrap();
        let with_home = launch_in("", &environment).unwrap();
        assert!(!with_home.embedded_pubsub);
        assert!(with_home.flags.resources_path[0].ends_with("/.dapr/components"));
        assert!(with_home.flags.config[0].ends_with("/.dapr/config.yaml"));
        let elsewhere = launch_in("--runtime-path /no/such", &environment).unwrap();
        assert!(elsewhere.embedded_pubsub);

        assert_eq!(
            launch("--resources-path /no/such/folder").unwrap_err(),
            "error validating resources path [\"/no/such/folder\"] : stat /no/such/folder: no such file or directory"
        );
    }
}
