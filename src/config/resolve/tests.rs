use super::*;
use crate::cli::pflag;

fn resolve(line: &str) -> Result<Resolved, Vec<String>> {
    resolve_with(line, &mut Environment::default())
}

fn resolve_with(line: &str, environment: &mut Environment) -> Result<Resolved, Vec<String>> {
    let arguments: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
    let (parsed, result) = pflag::parse(&arguments);
    result.unwrap();
    let resolved = Settings::resolve(&parsed.flags, environment);
    resolved.map_err(|errors| errors.iter().map(ConfigError::fatal_line).collect())
}

fn settings(line: &str) -> Settings {
    resolve(&format!("--app-id a {line}")).unwrap().settings
}

fn refused(line: &str, expected: &str) {
    let errors = resolve(&format!("--app-id a {line}")).unwrap_err();
    assert_eq!(errors, [format!("Fatal error from runtime: {expected}")], "{line}");
}

#[test]
fn mistakes_are_told_in_daprds_words() {
    let nothing = resolve("").unwrap_err();
    let expected = "parameter app-id cannot be empty: give the app a name with --app-id, or see `sidestream help` for what else there is";
    assert_eq!(nothing, [format!("Fatal error from runtime: {expected}")]);
    refused("--app-id=", expected);
    refused("--app-id=a.b", "parameter app-id cannot contain dots");
    refused("--app-port=80a", "error parsing app-port: strconv.Atoi: parsing \"80a\": invalid syntax");
    refused("--dapr-http-port=x", "error parsing dapr-http-port flag: strconv.Atoi: parsing \"x\": invalid syntax");
    refused("--dapr-http-port=70000", "error parsing dapr-http-port flag: 70000 is no port, use 0 to 65535");
    refused("--dapr-public-port=x", "error parsing dapr-public-port: strconv.Atoi: parsing \"x\": invalid syntax");
    refused("--metrics-port=x", "failed to parse metrics port: strconv.Atoi: parsing \"x\": invalid syntax");
    for (flag, what) in [
        ("dapr-http-port", "error parsing dapr-http-port flag"),
        ("dapr-grpc-port", "error parsing dapr-grpc-port flag"),
        ("profile-port", "error parsing profile-port flag"),
        ("metrics-port", "failed to parse metrics port"),
    ] {
        let cause = "strconv.Atoi: parsing \"\": invalid syntax";
        refused(&format!("--{flag}="), &format!("{what}: {cause}"));
        let cause = "strconv.Atoi: parsing \"99999999999999999999\": value out of range";
        refused(&format!("--{flag}=99999999999999999999"), &format!("{what}: {cause}"));
    }
    refused("--app-port 99999", "error parsing app-port: 99999 is no port, use 0 to 65535");
    refused("--dapr-http-port 0", "the 'dapr-http-port' argument value 0 conflicts with 'app-port'");
    refused("--app-port 3500", "the 'dapr-http-port' argument value 3500 conflicts with 'app-port'");
    refused("--app-port 50001", "the 'dapr-grpc-port' argument value 50001 conflicts with 'app-port'");
    for (line, first, second) in [
        ("--dapr-grpc-port 3500", "dapr-http-port", "dapr-grpc-port"),
        ("--metrics-port 3500", "dapr-http-port", "metrics-port"),
        ("--dapr-public-port 3500", "dapr-http-port", "dapr-public-port"),
    ] {
        refused(
            line,
            &format!("'{first}' and '{second}' are both 3500 on the same address: give one of the two another port"),
        );
    }
    refused("--app-protocol ws", "invalid value for 'app-protocol': ws");
    refused("--mode foo", "invalid mode: foo");
    refused("--disable-init-endpoints=config,foo", "invalid value for 'disable-init-endpoints': foo");
    refused(
        "--app-health-probe-interval 1 --app-health-probe-timeout 2000",
        "value for 'health-probe-timeout' must be smaller than 'health-probe-interval'",
    );
    refused("--config /nope.yaml", "error loading configuration: stat /nope.yaml: no such file or directory");
}

#[test]
fn all_mistakes_are_told_at_once() {
    let errors = resolve("--app-port x --mode foo --config /nope.yaml --max-body-size bad").unwrap_err();
    assert_eq!(errors.len(), 5, "{errors:?}");
    assert!(
        errors
            .iter()
            .any(|error| { error.starts_with("Failed to parse flags: invalid value for 'max-body-size' option: ") })
    );
}

#[test]
fn ports_on_addresses_of_their_own_may_be_the_same() {
    settings("--metrics-port 3500 --metrics-listen-address 127.0.0.1 --dapr-listen-addresses 127.0.0.2,[::1]");
    settings("--metrics-port 3500 --unix-domain-socket /tmp");
    settings("--metrics-port 3500 --enable-metrics=false");
}

#[test]
fn flags_that_are_empty_by_default_may_be_empty() {
    let line = "--app-port= --dapr-public-port= --dapr-internal-grpc-port=";
    let settings = settings(line);
    assert!(settings.app().is_none() && settings.http.public.is_none());
}

#[test]
fn what_is_off_is_not_checked() {
    assert_eq!(settings("--enable-metrics=false --metrics-port=x").metrics, None);
    assert!(settings("--profile-port -1").app().is_none());
    assert!(settings("--app-health-probe-interval 1 --app-health-probe-timeout 1000").app().is_none());
}

#[test]
fn the_app_is_described() {
    let app = |line: &str| settings(&format!("--app-port 8001 {line}")).app_connection;
    assert_eq!(app("").protocol, AppProtocol::Http);
    assert_eq!(app("--app-protocol HTTPS").protocol, AppProtocol::Https);
    assert_eq!(app("--app-protocol=").protocol, AppProtocol::Http);
    assert_eq!(app("--app-ssl").protocol, AppProtocol::Https);
    assert_eq!(app("--app-ssl --app-protocol grpc").protocol, AppProtocol::Grpcs);
    assert_eq!(app("--app-ssl --app-protocol h2c").protocol, AppProtocol::H2c);
    assert_eq!(app("--app-max-concurrency 0").max_concurrency, None);
    assert_eq!(app("--app-max-concurrency 3").max_concurrency, Some(3));
    assert_eq!(app("").health, None);
    let health = app(
        "--enable-app-health-check --app-health-check-path x --app-health-probe-interval 0 --app-health-threshold -1",
    )
    .health
    .unwrap();
    assert_eq!((health.path.as_str(), health.interval, health.threshold), ("/x", Duration::from_secs(5), 3));
    assert_eq!(settings("--app-port -5").app().unwrap().port, -5);
}

#[test]
fn sizes_and_times() {
    for (line, max_body) in [
        ("", Some(4 << 20)),
        ("--max-body-size 0", None),
        ("--max-body-size=-1", Some(4 << 20)),
        ("--max-body-size=-5", None),
        ("--max-body-size 2M", Some(2_000_000)),
    ] {
        assert_eq!(settings(line).http.max_body, max_body, "{line}");
    }
    for (line, read_buffer) in [("", 4096), ("--read-buffer-size 0", 1 << 20), ("--dapr-http-read-buffer-size 8", 8192)]
    {
        assert_eq!(settings(line).http.read_buffer, read_buffer, "{line}");
    }
    for (line, grace) in
        [("", Some(5)), ("--dapr-graceful-shutdown-seconds 0", None), ("--dapr-graceful-shutdown-seconds -1", Some(5))]
    {
        assert_eq!(settings(line).graceful_shutdown, grace.map(Duration::from_secs), "{line}");
    }
    assert_eq!(settings("").block_shutdown, None);
    assert_eq!(settings("--dapr-block-shutdown-duration 0s").block_shutdown, Some(Duration::ZERO));
    assert_eq!(settings("--dapr-block-shutdown-duration -5s").block_shutdown, Some(Duration::ZERO));
}

#[test]
fn http2_is_there_unless_the_environment_says_no() {
    for (value, http2) in [
        ("", true),
        ("0", true),
        ("false", true),
        ("yess", true),
        ("1", false),
        ("true", false),
        (" Yes\n", false),
        ("T", false),
        ("ON", false),
        ("y", false),
    ] {
        let mut environment = Environment::default();
        environment.set("DAPR_HTTP_DISABLE_H2C", value);
        let settings = resolve_with("--app-id a", &mut environment).unwrap();
        assert_eq!(settings.settings.http.http2, http2, "{value:?}");
    }
    assert!(settings("").http.http2);
}

#[test]
fn init_endpoints_are_trimmed_and_in_any_case() {
    let disabled = |line: &str| settings(&format!("--disable-init-endpoints={line}")).disabled_init_endpoints;
    assert_eq!(disabled("Config,"), InitEndpoints { config: true, subscribe: false });
    assert_eq!(disabled(",SUBSCRIBE"), InitEndpoints { config: false, subscribe: true });
}

#[test]
fn the_sidecar_sets_its_own_variables_before_files_are_read() {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), "spec: {features: [{name: '${APP_ID}-${DAPR_HTTP_PORT}', enabled: true}], logging: {apiLogging: {enabled: true}}}").unwrap();
    let mut environment = Environment::default();
    let line = format!("--app-id me --dapr-http-port 3501 --config {}", file.path().display());
    let resolved = resolve_with(&line, &mut environment).unwrap();
    assert!(resolved.settings.features.contains(&"me-3501".to_owned()));
    assert!(resolved.settings.http.log_calls);
    assert_eq!(environment.get("APP_PORT"), Some("0"));
    let resolved = resolve_with(&format!("{line} --enable-api-logging=false"), &mut environment).unwrap();
    assert!(!resolved.settings.http.log_calls);
}

#[test]
fn tokens_and_namespace_come_from_the_environment() {
    let mut environment = Environment::default();
    environment.set("DAPR_API_TOKEN", "t");
    environment.set("APP_API_TOKEN", "");
    environment.set("NAMESPACE", "");
    let settings = resolve_with("--app-id a --app-port 5", &mut environment).unwrap().settings;
    assert_eq!(settings.http.token.as_deref(), Some("t"));
    assert_eq!(settings.app_connection.token, None);
    assert_eq!(settings.namespace.as_deref(), Some(""));
}
