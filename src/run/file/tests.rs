use super::*;
use crate::cli::{Command, parse};

/// A folder with a run file `dapr.yaml`, and the folders `a` and `b` in it.
struct Desk(tempfile::TempDir);

impl Desk {
    fn new(text: &str) -> Self {
        let desk = Self(tempfile::tempdir().unwrap());
        for folder in ["a", "b"] {
            std::fs::create_dir(desk.0.path().join(folder)).unwrap();
        }
        desk.write(USUAL_NAME, text);
        desk
    }

    fn write(&self, name: &str, text: &str) {
        let path = self.0.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }

    fn path(&self, name: &str) -> String {
        self.0.path().join(name).display().to_string()
    }

    fn read(&self, flags: &str) -> Result<Stack, String> {
        let line = format!("run {flags} -f {}", self.0.path().display());
        let words: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
        let Command::Run(args) = parse(&words).command else {
            panic!("{line}");
        };
        Stack::of(&args, &environment())
    }

    /// The members of a file without mistakes.
    fn members(&self) -> Vec<Member> {
        self.read("").map_err(|error| panic!("{error}")).unwrap().members
    }
}

fn environment() -> Environment {
    let variables = [("PATH", "/usr/bin:/bin"), ("HOME", "/nonexistent"), ("A", "parent")];
    let owned = |(name, value): (&str, &str)| (name.to_owned(), value.to_owned());
    variables.into_iter().map(owned).collect()
}

#[test]
fn what_an_app_leaves_open_comes_from_common_or_is_as_daprd_has_it() {
    let desk = Desk::new(
        "version: 1
common:
  logLevel: debug
  enableApiLogging: true
  appMaxConcurrency: 7
  resourcesPath: ./shared
  env: {A: common, B: common}
  appLogDestination: console
apps:
- appDirPath: ./a
  logLevel: ''
  appMaxConcurrency: 0
  enableApiLogging: false
  env: {B: app}
- appDirPath: b/.
  appID: kitchen
  appPort: 8001
  appProtocol: H2C
  logLevel: error
  appMaxConcurrency: 3
  maxBodySize: 1Mi
  appHealthThreshold: 2
  enableAppHealthCheck: true
  resourcesPaths: [own]
  daprdLogDestination: console
  appLogDestination: file
",
    );
    desk.write("shared/x.yaml", "");
    desk.write("b/own/x.yaml", "");
    let members = desk.members();
    let (first, second) = (&members[0], &members[1]);

    let flags = &first.launch.flags;
    assert_eq!((flags.app_id.as_str(), flags.log_level.as_str()), ("a", "debug"));
    assert_eq!((flags.app_max_concurrency, flags.enable_api_logging), (7, Some(true)));
    assert_eq!(flags.resources_path, [desk.path("shared")]);
    assert_eq!((flags.app_port.as_str(), flags.app_protocol.as_str()), ("", "http"));
    assert_eq!(flags.max_body_size, None);
    assert_eq!(flags.app_health_check_path, "/healthz");
    assert_eq!(first.app_environment.get("A"), Some("common"));
    assert_eq!(first.app_environment.get("B"), Some("app"));
    assert_eq!(first.environment.get("A"), Some("parent"));
    assert_eq!(first.environment.get("DAPR_HOST_IP"), Some("127.0.0.1"));
    assert_eq!(first.app_output.path(), None);
    let log = first.sidecar_output.path().unwrap().display().to_string();
    assert!(log.starts_with(&desk.path("a/.dapr/logs/a_daprd_2")), "{log}");

    let flags = &second.launch.flags;
    assert_eq!((flags.app_id.as_str(), flags.log_level.as_str()), ("kitchen", "error"));
    assert_eq!((flags.app_max_concurrency, flags.app_health_threshold), (3, 2));
    assert_eq!(flags.resources_path, [desk.path("b/own")]);
    assert_eq!(flags.max_body_size.as_deref(), Some("1Mi"));
    assert!(flags.enable_app_health_check);
    assert_eq!(second.app_environment.get("APP_PROTOCOL"), Some("h2c"));
    assert_eq!(second.sidecar_output.path(), None);
    assert!(second.app_output.path().is_some());
    assert_eq!(second.environment.path("x"), Path::new(&desk.path("b/x")));
}

#[test]
fn resources_and_configuration_beside_an_app_stand_between_its_own_and_the_common_ones() {
    let desk = Desk::new(
        "version: 1
common: {resourcesPaths: [shared], configFilePath: shared.yaml}
apps:
- {appDirPath: a}
- {appDirPath: b}
- {appDirPath: b, appID: c, resourcesPaths: [own], configFilePath: own.yaml}
",
    );
    for name in ["shared/x.yaml", "shared.yaml", "b/own/x.yaml", "b/own.yaml"] {
        desk.write(name, "");
    }
    desk.write("b/.dapr/resources/x.yaml", "");
    desk.write("b/.dapr/config.yaml", "");
    let found: Vec<_> = desk
        .members()
        .into_iter()
        .map(|member| (member.launch.flags.resources_path, member.launch.flags.config))
        .collect();
    let expected = [("shared", "shared.yaml"), ("b/.dapr/resources", "b/.dapr/config.yaml"), ("b/own", "b/own.yaml")];
    let expected = expected.map(|(folder, file)| (vec![desk.path(folder)], vec![desk.path(file)]));
    assert_eq!(found, expected);
}

#[test]
fn without_resources_there_is_the_embedded_pubsub_and_every_port_is_another() {
    let desk = Desk::new("version: 1\napps: [{appDirPath: a}, {appDirPath: b, appPort: 8001}]\n");
    let members = desk.members();
    assert!(members.iter().all(|member| member.launch.embedded_pubsub));
    let ports = |member: &Member| {
        let flags = &member.launch.flags;
        [&flags.dapr_http_port, &flags.dapr_grpc_port, &flags.metrics_port].map(Clone::clone)
    };
    let mut all: Vec<String> = members.iter().flat_map(ports).collect();
    all.sort();
    all.dedup();
    assert_eq!(all.len(), 6, "{all:?}");
    assert_eq!(members[1].app_environment.get("APP_PORT"), Some("8001"));
    assert_eq!(members[1].app_environment.get("DAPR_HTTP_PORT"), Some(members[1].launch.flags.dapr_http_port.as_str()));
}

#[test]
fn flags_that_the_file_has_no_key_for_hold_for_all_apps() {
    let desk = Desk::new("version: 1\napps: [{appDirPath: a}]\n");
    let stack = desk.read("--metrics-listen-address 127.0.0.1 --log-level error -p 80 --log-as-json");
    let flags = &stack.map_err(|error| panic!("{error}")).unwrap().members[0].launch.flags;
    assert_eq!(flags.metrics_listen_address, "127.0.0.1");
    assert_eq!((flags.log_level.as_str(), flags.app_port.as_str()), ("info", ""));
    assert!(flags.log_as_json);
}

#[test]
fn apps_may_share_a_port_and_a_remark_says_so_if_they_share_the_address_too() {
    let remarks = |apps: &str| {
        let desk = Desk::new(&format!("version: 1\napps:\n{apps}"));
        let stack = desk.read("").map_err(|error| panic!("{error}")).unwrap();
        assert_eq!(stack.members.len(), 2);
        let folder = format!("{}/", desk.0.path().display());
        let remarks = stack.remarks.iter();
        remarks.map(|it| it.replace(&folder, "/")).collect::<Vec<_>>()
    };
    let other = "- {appDirPath: a, appPort: 18002, appChannelAddress: 127.0.0.2}\n- {appDirPath: b, appPort: 18002}\n";
    assert_eq!(remarks(other), [""; 0]);
    let same = "- {appDirPath: a, appPort: 18002}\n- {appDirPath: b, appPort: 18002, appChannelAddress: localhost}\n";
    assert_eq!(
        remarks(same),
        [
            "/dapr.yaml:4: appPort: port 18002 on 127.0.0.1 is also that of the app at /dapr.yaml:3: both sidecars deliver to whichever app listens there\n      if these are two apps, give one another `appPort` or `appChannelAddress`"
        ]
    );
}

#[test]
fn sidecars_listen_on_loopback_unless_file_or_flags_say_otherwise() {
    let desk = Desk::new("version: 1\napps: [{appDirPath: a}, {appDirPath: b, apiListenAddresses: 0.0.0.0}]\n");
    let found = |flags: &str| -> Vec<(String, String)> {
        let stack = desk.read(flags).map_err(|error| panic!("{error}")).unwrap();
        let flags = stack.members.into_iter().map(|member| member.launch.flags);
        flags.map(|it| (it.dapr_listen_addresses, it.metrics_listen_address)).collect()
    };
    let expected = |metrics: &str| ["127.0.0.1", "0.0.0.0"].map(|api| (api.to_owned(), metrics.to_owned()));
    assert_eq!(found(""), expected("127.0.0.1"));
    assert_eq!(found("--metrics-listen-address 0.0.0.0"), expected("0.0.0.0"));
}

#[test]
fn every_mistake_is_told_before_anything_starts() {
    #[track_caller]
    fn check(text: &str, expected: &[&str]) {
        let desk = Desk::new(text);
        desk.write("bad/x.yaml", "apiVersion: dapr.io/v1alpha1\nkind: Component\nmetadata: {name: p}\nspec: {type: pubsub.in-memory, version: v1}\n---\napiVersion: dapr.io/v1alpha1\nkind: Component\nmetadata: {name: p}\nspec: {type: pubsub.redis, version: v1}\n");
        desk.write("a.b/x", "");
        desk.write("file", "");
        let told = desk.read("").err().unwrap_or_default();
        let told = told.replace(&format!("{}/", desk.0.path().display()), "/");
        let mut lines = told.lines();
        let first = lines.next().unwrap_or_default();
        assert!(first.starts_with("error in parsing the provided app config file: "), "{told}");
        assert!(first.ends_with(", nothing was started"), "{told}");
        let lines: Vec<&str> = lines.filter(|line| !line.starts_with("      ")).collect();
        assert_eq!(lines, expected, "{told}");
    }
    check(
        "version: 1\napps:\n- {appDirPath: a}\n- {appDirPath: nope}\n- {appID: x}\n- {appDirPath: file}\n",
        &[
            "  /dapr.yaml:4: error in getting the file info for /nope: stat /nope: no such file or directory",
            "  /dapr.yaml:5: required field 'appDirPath' not found in the provided app config file",
            "  /dapr.yaml:6: appDirPath: /file is not a folder",
        ],
    );
    check(
        "version: 1\napps:\n- {appDirPath: a}\n- {appDirPath: b, appID: a}\n",
        &["  /dapr.yaml:4: app id \"a\" stands twice, first at /dapr.yaml:3"],
    );
    check(
        "version: 1\napps:\n- appDirPath: a\n  appPort: 18001\n  daprHTTPPort: 13500\n- appDirPath: b\n  daprGRPCPort: 13500\n  metricsPort: 18001\n",
        &[
            "  /dapr.yaml:7: daprGRPCPort: port 13500 is used twice, first as daprHTTPPort at /dapr.yaml:5",
            "  /dapr.yaml:8: metricsPort: port 18001 is used twice, first as appPort at /dapr.yaml:4",
        ],
    );
    check(
        "version: 1\napps:\n- appDirPath: a\n  appPort: 99999\n  apID: x\n- appDirPath: b\n  appPort: 65536\n",
        &[
            "  /dapr.yaml:4: appPort: 99999 is no port",
            "  /dapr.yaml:5: unknown field apps[0].apID is ignored, did you mean appID?",
            "  /dapr.yaml:7: appPort: 65536 is no port",
        ],
    );
    check(
        "version: 1\ncommon:\n  resourcesPaths: [x]\n  configFilePath: y\napps:\n- appDirPath: a\n  resourcesPath: z\n  unixDomainSocket: s\n  runtimePath: r\n",
        &[
            "  /dapr.yaml:3: error in getting the file info for /x: stat /x: no such file or directory",
            "  /dapr.yaml:4: error in getting the file info for /y: stat /y: no such file or directory",
            "  /dapr.yaml:7: error in getting the file info for /a/z: stat /a/z: no such file or directory",
            "  /dapr.yaml:8: error in getting the file info for /a/s: stat /a/s: no such file or directory",
            "  /dapr.yaml:9: error in getting the file info for /a/r: stat /a/r: no such file or directory",
        ],
    );
    check(
        "version: 1\napps:\n- appDirPath: a\n  command: [no-such-command]\n- appDirPath: b\n  command: [./app.sh]\n- appDirPath: a.b\n  daprHTTPPort: 70000\n",
        &[
            "  /dapr.yaml:4: Failed to find command no-such-command: no such file or directory",
            "  /dapr.yaml:6: Failed to find command ./app.sh: no such file or directory",
            "  /dapr.yaml:7: app \"a.b\": invalid configuration for HTTPPort. Port 70000 is not available: use 1 to 65535, or 0 for any that is free (--dapr-http-port)",
        ],
    );
    check(
        "version: 1\napps:\n- {appDirPath: a, appProtocol: pigeon, logLevel: loud, maxBodySize: 4MB}\n- {appDirPath: a.b}\n",
        &[
            "  /dapr.yaml:3: app \"a\": invalid value for --log-level: loud",
            "  /dapr.yaml:3: app \"a\": invalid value for 'app-protocol': pigeon",
            "  /dapr.yaml:3: app \"a\": invalid value for 'max-body-size' option: quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'",
            "  /dapr.yaml:4: app \"a.b\": parameter app-id cannot contain dots",
        ],
    );
    check(
        "version: 1\napps:\n- {appDirPath: a, resourcesPath: ../bad}\n",
        &[
            "  /bad/x.yaml:6: app \"a\": failed to load components: duplicate definition of Component name p (pubsub.redis/v1) with existing p (pubsub.in-memory/v1)",
        ],
    );
}

#[test]
fn the_file_may_be_named_by_its_folder_and_must_be_yaml() {
    let read = |file: &str| {
        let words = ["run", "-f", file].map(str::to_owned);
        let Command::Run(args) = parse(&words).command else {
            panic!("{file}");
        };
        Stack::of(&args, &environment()).map(|stack| stack.path)
    };
    let desk = Desk::new("version: 1\napps: [{appDirPath: a}]\n");
    desk.write("other.yml", "version: 1\napps: [{appDirPath: b}]\n");
    assert_eq!(read(&desk.path("")).unwrap(), Path::new(&desk.path(USUAL_NAME)));
    assert_eq!(read(&desk.path("other.yml")).unwrap(), Path::new(&desk.path("other.yml")));
    desk.write("a/app.json", "{}");
    let told = read(&desk.path("a/app.json")).unwrap_err();
    assert!(told.contains("/a/app.json\" is not a YAML file"), "{told}");
    let told = read(&desk.path("nope.yaml")).unwrap_err();
    assert!(told.starts_with("error in getting the file info for "), "{told}");
    assert!(told.contains("nope.yaml: no such file or directory; give the file"), "{told}");
}

#[test]
fn every_key_of_the_file_has_its_flag() {
    for (flag, _) in IN_THE_FILE {
        let known = crate::cli::flags::FLAGS.iter().any(|known| known.name == flag);
        assert!(known, "{flag}");
    }
}
