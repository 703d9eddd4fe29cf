use super::*;
use crate::cli::values::list;

fn arguments(line: &str) -> Vec<String> {
    line.split(' ').filter(|word| !word.is_empty()).map(str::to_owned).collect()
}

fn flags(line: &str) -> Flags {
    let (parsed, result) = parse(&arguments(line));
    result.unwrap();
    parsed.flags
}

fn refused(line: &str, expected: &str) {
    let error = parse(&arguments(line)).1.unwrap_err();
    assert_eq!(error.to_string(), expected, "{line}");
}

#[test]
fn what_cannot_be_understood_is_told_as_pflag_tells_it() {
    refused("--foo", "unknown flag: --foo");
    refused("--foo=1", "unknown flag: --foo");
    refused("-foo", "unknown flag: --foo");
    refused("--appid a", "unknown flag: --appid, did you mean --app-id?");
    refused("--resource-path=a", "unknown flag: --resource-path, did you mean --resources-path?");
    refused("-x", "unknown shorthand flag: 'x' in -x");
    refused("-1", "unknown shorthand flag: '1' in -1");
    refused("---foo=1", "bad flag syntax: ---foo=1");
    refused("--=1", "bad flag syntax: --=1");
    refused("--app-protocol", "flag needs an argument: --app-protocol");
    refused(
        "--enable-api-logging=yes",
        "invalid argument \"yes\" for \"--enable-api-logging\" flag: strconv.ParseBool: parsing \"yes\": invalid syntax",
    );
    refused(
        "--app-max-concurrency=x",
        "invalid argument \"x\" for \"--app-max-concurrency\" flag: strconv.ParseInt: parsing \"x\": invalid syntax",
    );
    refused(
        "--app-max-concurrency=99999999999999999999",
        "invalid argument \"99999999999999999999\" for \"--app-max-concurrency\" flag: strconv.ParseInt: parsing \"99999999999999999999\": value out of range",
    );
    refused(
        "--scheduler-job-streams=-1",
        "invalid argument \"-1\" for \"--scheduler-job-streams\" flag: strconv.ParseUint: parsing \"-1\": value out of range",
    );
    refused(
        "--dapr-block-shutdown-duration 30",
        "invalid argument \"30\" for \"--dapr-block-shutdown-duration\" flag: time: missing unit in duration \"30\"",
    );
    refused("--version --foo", "unknown flag: --foo");
}

#[test]
fn one_dash_or_two_equals_or_space_and_the_last_wins() {
    for line in [
        "--app-id a",
        "--app-id=a",
        "-app-id a",
        "-app-id=a",
        "--app-id=b --app-id=a",
        "foo --app-id a bar",
        "--app-id a -- --foo",
        "--app-id a - ",
    ] {
        assert_eq!(flags(line).app_id, "a", "{line}");
    }
    assert_eq!(flags("--app-id= ").app_id, "");
    assert_eq!(flags("--profile-port -1 --app-id -10").app_id, "-10");
    assert_eq!(flags("--app-max-concurrency -1").app_max_concurrency, -1);
    assert_eq!(flags("--app-max-concurrency=0x10").app_max_concurrency, 16);
    assert_eq!(flags("--app-max-concurrency=1_0").app_max_concurrency, 10);
    assert_eq!(flags("--app-max-concurrency=010").app_max_concurrency, 8);
}

#[test]
fn a_bool_takes_no_value_after_a_space() {
    for (line, expected) in
        [("--enable-metrics false", true), ("--enable-metrics=F", false), ("--enable-metrics", true)]
    {
        assert_eq!(flags(line).enable_metrics, expected, "{line}");
    }
    assert_eq!(flags("").enable_api_logging, None);
    assert_eq!(flags("--enable-api-logging").enable_api_logging, Some(true));
}

#[test]
fn lists_are_csv_and_are_appended() {
    assert_eq!(flags("--resources-path a,b --resources-path c").resources_path, ["a", "b", "c"]);
    assert_eq!(flags("--resources-path=").resources_path, Vec::<String>::new());
    assert_eq!(list("\"a,b\",c,"), Ok(vec!["a,b".to_owned(), "c".to_owned(), String::new()]));
    assert_eq!(list("\"a\"\"b\""), Ok(vec!["a\"b".to_owned()]));
    assert_eq!(list("a\"b"), Err("parse error on line 1, column 2: bare \" in non-quoted field".to_owned()));
    assert!(list("\"a").is_err());
    assert!(list("\"a\"b").is_err());
}

#[test]
fn deprecated_flags_are_named() {
    let (parsed, result) = parse(&arguments("--app-ssl --components-path x --foo"));
    assert!(result.is_err());
    assert_eq!(
        parsed.notices,
        [
            "Flag --app-ssl has been deprecated, use '--app-protocol https|grpcs'",
            "Flag --components-path has been deprecated, use --resources-path",
        ]
    );
}

#[test]
fn words_that_are_no_flags_are_kept_for_a_warning() {
    for (line, expected) in [
        ("--app-id a", ""),
        ("--enable-metrics false --app-id a", "false"),
        ("--app-id a python3 app.py", "python3 app.py"),
        ("--app-id a -- python3 app.py --port 1", "python3 app.py --port 1"),
    ] {
        assert_eq!(parse(&arguments(line)).0.ignored.join(" "), expected, "{line}");
    }
}

#[test]
fn help_ends_the_reading() {
    for line in ["--help --foo", "-h", "-help"] {
        assert!(parse(&arguments(line)).0.help, "{line}");
    }
}

#[test]
fn what_the_stock_command_line_tool_passes_is_accepted() {
    flags(
        "--app-id a --dapr-http-port 3501 --dapr-grpc-port 50002 --app-channel-address 127.0.0.1 --placement-host-address localhost:50005 \
             --scheduler-host-address localhost:50006 --dapr-internal-grpc-port 5 --profile-port -1 --app-max-concurrency -1 --app-port 0 \
             --max-body-size 4Mi --read-buffer-size 4Ki --components-path D --log-level info --app-protocol http --metrics-port 5",
    );
}

#[test]
fn the_usage_text_names_every_flag_that_is_not_deprecated() {
    let text = usage();
    assert!(text.starts_with("Usage of daprd:\n"));
    assert!(text.contains("      --app-id string "));
    assert!(text.contains("(default \"3500\")"));
    assert!(!text.contains("--app-ssl"));
}
