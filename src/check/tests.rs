use super::*;
use std::path::PathBuf;

/// Check a folder of files, or only what `only` names of them.
fn check_with(files: &[(&str, &str)], args: impl FnOnce(&std::path::Path) -> CheckArgs, stdin: &str) -> (u8, String) {
    let folder = tempfile::tempdir().unwrap();
    for (name, text) in files {
        let path = folder.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }
    let mut out = Vec::new();
    let args = args(folder.path());
    let code = run(&args, &Environment::default(), &mut stdin.as_bytes(), &mut out).unwrap();
    let text = String::from_utf8(out).unwrap();
    (code, text.replace(folder.path().to_str().unwrap(), "DIR"))
}

fn check(files: &[(&str, &str)], config: Option<&str>) -> (u8, String) {
    let config_file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(config_file.path(), config.unwrap_or_default()).unwrap();
    let args = |folder: &std::path::Path| CheckArgs {
        resources_path: vec![folder.to_owned()],
        config: config.iter().map(|_| config_file.path().to_owned()).collect(),
        ..CheckArgs::default()
    };
    let (code, text) = check_with(files, args, "");
    (code, text.replace(config_file.path().to_str().unwrap(), "CONFIG"))
}

fn paths(paths: &[&str]) -> impl FnOnce(&std::path::Path) -> CheckArgs {
    let paths: Vec<String> = paths.iter().map(|path| (*path).to_owned()).collect();
    move |folder| CheckArgs {
        paths: paths.iter().map(|path| if path == "-" { PathBuf::from("-") } else { folder.join(path) }).collect(),
        ..CheckArgs::default()
    }
}

const PUBSUB: &str = "apiVersion: dapr.io/v1alpha1\nkind: Component\nmetadata: {name: pubsub}\nspec: {type: pubsub.in-memory, version: v1}\n";
const SUBSCRIPTION: &str = "apiVersion: dapr.io/v2alpha1\nkind: Subscription\nmetadata: {name: s}\nspec:\n  pubsubname: pubsub\n  topic: orders\n  routes: {rules: [{match: event.type == 'x', path: /x}], default: /orders}\n  deadLetterTopic: dead\n";

#[test]
fn what_was_found_is_told_and_the_policy_that_is_missing() {
    let (code, text) = check(&[("a.yaml", PUBSUB), ("b.yaml", SUBSCRIPTION)], None);
    assert_eq!(code, 0, "{text}");
    let expected = "Components
  pubsub (pubsub.in-memory/v1)  DIR/a.yaml:1

Subscriptions
  topic orders on pubsub pubsub  DIR/b.yaml:1
    event.type == 'x' -> /x
    otherwise -> /orders
    dead letters -> topic dead

Worth knowing
  DIR/b.yaml:8: topic orders on pubsub pubsub has the dead-letter topic dead and no retry policy: the first failure of an event moves it there
      to try again first, add this resource:
      apiVersion: dapr.io/v1alpha1
";
    assert!(text.starts_with(expected), "{text}");
    assert!(text.ends_with("No mistakes found.\n"), "{text}");
}

#[test]
fn the_policy_that_is_shown_is_a_good_one() {
    let (_, text) = check(&[("a.yaml", PUBSUB), ("b.yaml", SUBSCRIPTION)], None);
    let lines = text.lines().filter_map(|line| line.strip_prefix("      "));
    let policy: Vec<&str> = lines.skip_while(|line| !line.starts_with("apiVersion")).collect();
    let (code, text) = check(&[("a.yaml", PUBSUB), ("b.yaml", SUBSCRIPTION), ("c.yaml", &policy.join("\n"))], None);
    assert_eq!(code, 0, "{text}");
    assert!(!text.contains("Worth knowing"), "{text}");
    assert!(
        text.contains(
            "  retry again: every 1s, 3 times after the first\n  component pubsub, deliveries: retry again\n"
        ),
        "{text}"
    );
}

#[test]
fn every_mistake_has_file_line_and_remedy() {
    let files = [
        ("a.yaml", PUBSUB.to_owned()),
        ("b.yaml", PUBSUB.to_owned()),
        ("c.yaml", "foo: [\n".to_owned()),
        ("d.yaml", PUBSUB.replace("name: pubsub", "name: other").replace("in-memory", "foo")),
        ("e.yaml", SUBSCRIPTION.replace("pubsubname: pubsub", "pubsubname: pubsubs").replace("== 'x'", "==")),
        ("f.yaml", "kind: Resiliency\nspec: {policies: {retries: {two: {}}}, targets: {components: {pubsub: {inbound: {retry: tow}}}}}\n".to_owned()),
        ("g.yaml", PUBSUB.replace("Component", "Compnent")),
        ("h.yaml", SUBSCRIPTION.replace("{name: s}", "{name: h}").replace("topic: orders", "topic: odd\n  metadata: {ack: maybe}")),
    ];
    let files: Vec<(&str, &str)> = files.iter().map(|(name, text)| (*name, text.as_str())).collect();
    let (code, text) = check(&files, Some("spec: {metric: {enabled: 'false'}}"));
    assert_eq!(code, 1);
    for expected in [
        "DIR/b.yaml:1: duplicate definition of Component name pubsub (pubsub.in-memory/v1) with existing pubsub (pubsub.in-memory/v1)\n      rename one of the two, the other stands at DIR/a.yaml:1",
        "DIR/c.yaml:1: ",
        "DIR/d.yaml:4: component other (pubsub.foo/v1): there is no broker for pubsub.foo\n      this build has pubsub.redis and pubsub.in-memory",
        "DIR/e.yaml:7: rule for /x: match \"event.type ==\": ",
        "DIR/e.yaml:5: subscription to topic orders waits for a pubsub pubsubs, which does not exist\n      did you mean pubsub?",
        "DIR/f.yaml:2: inbound target of component pubsub in resiliency  names the retry policy tow, which no resource defines: it has none\n      did you mean two?",
        "DIR/g.yaml:1: unknown kind \"Compnent\" is ignored\n      did you mean Component?",
        "CONFIG:1: spec.metric.enabled: expected true or false, found the text \"false\"",
        "DIR/h.yaml:7: subscription to odd: ",
        "9 mistakes found.",
    ] {
        assert!(text.contains(expected), "{expected}\nis not in\n{text}");
    }
}

/// A Redis component with more lines of `spec`.
fn redis(more: &str) -> String {
    format!(
        "apiVersion: dapr.io/v1alpha1\nkind: Component\nmetadata:\n  name: pubsub\nspec:\n  type: pubsub.redis\n  version: v1\n{more}"
    )
}

fn settings(more: &str) -> String {
    redis(&format!("  metadata:\n  - name: redisHost\n    value: 127.0.0.1:6379\n{more}"))
}

fn subscription(spec: &str) -> String {
    format!(
        "apiVersion: dapr.io/v2alpha1\nkind: Subscription\nmetadata:\n  name: s\nspec:\n  pubsubname: pubsub\n  topic: orders\n{spec}"
    )
}

fn resiliency(trip: &str, targets: &str) -> String {
    format!(
        "apiVersion: dapr.io/v1alpha1\nkind: Resiliency\nmetadata:\n  name: r\nspec:\n  policies:\n    timeouts:\n      t: 5s\n    retries:\n      r:\n        policy: constant\n        duration: 1s\n        maxRetries: 3\n    circuitBreakers:\n      cb:\n        maxRequests: 1\n        timeout: 30s\n        trip: {trip}\n  targets:\n{targets}"
    )
}

/// Check one file beside a Redis component.
#[test]
fn what_people_get_wrong_is_named() {
    let route = "  routes:\n    default: /orders\n";
    let inbound =
        "    components:\n      pubsub:\n        inbound:\n          retry: r\n          circuitBreaker: cb\n";
    let good_trip = "consecutiveFailures > 5";
    let scoped = |setting: &str| settings(&format!("  - name: {setting}\n"));
    let s = |spec: &str| format!("{}---\n{}", settings(""), subscription(spec));
    let r = |trip: &str, targets: &str| format!("{}---\n{}", resiliency(trip, targets), settings(""));
    for (name, text, code, expected) in [
        ("consumerId", settings("  - name: consumerId\n    value: grp\n"), 1, ":11: component pubsub (pubsub.redis/v1): setting \"consumerId\" has no effect, it must be spelt exactly consumerID"),
        ("kafka", settings("").replace("pubsub.redis", "pubsub.kafka"), 1, ":6: component pubsub (pubsub.kafka/v1): there is no broker for pubsub.kafka\n      this build has pubsub.redis and pubsub.in-memory\n"),
        ("near type", settings("").replace("pubsub.redis", "pubsub.rediss"), 1, "did you mean pubsub.redis?"),
        ("version", settings("").replace("version: v1", "version: v7"), 1, ":7: component pubsub: pubsub.redis has no version v7\n      write version: v1\n"),
        ("valueFrom", settings("  - name: redisPassword\n    valueFrom:\n      secretKeyRef: {name: a, key: b}\n"), 1, ":12: unknown field spec.metadata[1].valueFrom is ignored"),
        ("setting twice", settings("  - name: concurrency\n    value: 5\n  - name: concurrency\n    value: 6\n"), 1, ":13: concurrency is set twice in spec.metadata, first in line 11"),
        ("key twice", redis("  version: v1\n"), 1, ":8: mapping key \"version\" already defined at line 7: the last one counts"),
        ("scopes in spec", redis("  scopes: [shop]\n"), 1, ":8: unknown field spec.scopes is ignored\n      scopes belongs at the root, beside spec: as it is every app loads this resource\n"),
        ("list of hosts", redis("  metadata:\n  - name: redisHost\n    value: '127.0.0.1:6379, 127.0.0.1:23701'\n"), 1, "several servers need redisType cluster or failover true"),
        ("wrong numbers", settings("  - name: concurrency\n    value: many\n  - name: enableTLS\n    value: maybe\n"), 1, ":11: component pubsub (pubsub.redis/v1): concurrency: invalid uint \"many\"\n      write a whole number, 0 or more\n"),
        ("time without unit", settings("  - name: processingTimeout\n    value: 30\n"), 1, ":11: component pubsub (pubsub.redis/v1): processingTimeout 30 has no unit and is taken for 30 milliseconds: write 30s"),
        ("URL", redis("  metadata:\n  - name: redisHost\n    value: redis://127.0.0.1:6379\n"), 0, ":9: component pubsub (pubsub.redis/v1): redisHost is a URL, which daprd does not understand\n"),
        ("variable that is not set", settings("  - name: redisPassword\n    envRef: NOT_THERE\n"), 0, ":11: Component pubsub: the environment variable NOT_THERE of setting redisPassword is not set"),
        ("no name", redis("").replace("name: pubsub", "labels: {}"), 1, ": the component of type pubsub.redis has no name: no app can use it\n"),
        ("no kind", redis("").replace("kind: Component\n", ""), 1, ":1: a document without kind is ignored\n"),
        ("unknown setting", settings("  - name: colour\n    value: 30\n"), 0, ":11: component pubsub (pubsub.redis/v1): setting \"colour\" is not known and has no effect\n"),
        ("unknown keys", redis("  foo: bar\ncolour: blue\n"), 1, ":9: unknown field colour is ignored"),
        ("secret file", "apiVersion: dapr.io/v1alpha1\nkind: Component\nmetadata: {name: s}\nspec:\n  type: secretstores.local.file\n  metadata:\n  - {name: secretsFile, value: ./nowhere.json}\n".to_owned(), 1, "(a relative path begins at the current folder, /"),
        ("unknown target", r(good_trip, &inbound.replace("pubsub:", "pubsb:")), 1, ":21: no component pubsb: the policies of this target in resiliency r are not used\n      did you mean pubsub?\n"),
        ("unused policy", r(good_trip, inbound), 0, ":8: the timeout t is used by no target\n"),
        ("trip", r("consecutiveFailure > 5", inbound), 1, ":18: circuit breaker cb: trip \"consecutiveFailure > 5\": consecutiveFailure is not known, only requests, "),
        ("trip that is a number", r("consecutiveFailures", inbound), 1, ":18: circuit breaker cb: trip \"consecutiveFailures\": the breaker never opens: "),
        ("apps only", r(good_trip, "    apps:\n      kitchen:\n        retry: r\n"), 0, ":20: targets.apps is about service invocation: it has no effect on deliveries and publishing\n"),
        ("unknown variable", s("  routes:\n    rules:\n    - match: evnt.type == \"a\"\n      path: /a\n"), 1, ":21: rule for /a: match \"evnt.type == \\\"a\\\"\": evnt is not known, only event is"),
        ("rule without path", s("  routes:\n    rules:\n    - match: event.type == \"a\"\n"), 1, ":21: rule 1 has no path: what it matches is not delivered\n"),
        ("rule never reached", s("  routes:\n    rules:\n    - path: /a\n    - match: event.type == \"a\"\n      path: /b\n"), 0, ":22: the route to /b is never used"),
        ("own dead letters", s(&format!("{route}  deadLetterTopic: orders\n")), 1, ":21: the dead-letter topic of topic orders on pubsub pubsub is orders itself"),
        ("circle", format!("{}---\n{}", s(&format!("{route}  deadLetterTopic: b\n")), subscription(&format!("{route}  deadLetterTopic: orders\n")).replace("name: s", "name: t").replace("topic: orders\n  r", "topic: b\n  r")), 0, "orders -> b -> orders"),
        ("topic twice", format!("{}---\n{}", s(route), subscription(route).replace("name: s", "name: t")), 1, "topic orders on pubsub pubsub is subscribed to twice, this one is not used\n      remove it; the one that is used stands at DIR/it.yaml:18\n"),
        ("allowedTopics", format!("{}---\n{}", scoped("allowedTopics\n    value: a,b"), subscription(route)), 1, ":20: the scopes of component pubsub forbid any app to subscribe to topic orders"),
        ("protectedTopics", format!("{}---\n{}", scoped("protectedTopics\n    value: orders"), subscription(route)), 1, "forbid any app to subscribe to topic orders"),
        ("publishingScopes", format!("{}---\n{}", scoped("allowedTopics\n    value: orders"), subscription(&format!("{route}  deadLetterTopic: dead\n"))), 1, "forbid any app to publish to the dead-letter topic dead"),
        ("no pubsub", subscription(route), 0, "waits for a pubsub pubsub, which does not exist\n      no pub/sub is loaded, add a component of this name\n"),
    ] {
        let (found, out) = check(&[("it.yaml", &text)], None);
        assert!(out.contains(expected), "{name}: {expected}\nis not in\n{out}");
        assert_eq!(found, code, "{name}\n{out}");
        assert!(!out.contains("error(s) decoding"), "{name}\n{out}");
    }
    let granted = format!(
        "{}---\n{}",
        scoped("protectedTopics\n    value: orders\n  - name: subscriptionScopes\n    value: shop=orders"),
        subscription(route)
    );
    let (code, out) = check(&[("it.yaml", &granted)], None);
    assert_eq!(code, 0, "{out}");
}

#[test]
fn folders_files_run_files_and_standard_input_are_read() {
    let run_file =
        "version: 1\ncommon:\n  resourcesPath: components\napps:\n- appID: shop\n  appDirPath: .\n  command: [x]\n";
    let bad = SUBSCRIPTION.replace("pubsubname: pubsub", "pubsubname: pubsb") + "scopes: [shop]\n";
    let files = [
        ("components/pubsub.yaml", PUBSUB),
        ("components/s.yaml", bad.as_str()),
        ("dapr.yaml", run_file),
        ("wrong.yaml", "version: 1\napps:\n- appDirPath: nowhere\n  command: [x]\n"),
        ("config.yaml", "kind: Configuration\nspec: {foo: 1}\n"),
        ("above/components/pubsub.yaml", PUBSUB),
    ];
    std::fs::create_dir_all(std::env::temp_dir()).unwrap();
    for (args, stdin, code, expected) in [
        (vec!["components"], "", 1, "DIR/components/s.yaml:5: subscription to topic orders waits for a pubsub pubsb"),
        (
            vec!["components/pubsub.yaml"],
            "",
            0,
            "Components\n  pubsub (pubsub.in-memory/v1)  DIR/components/pubsub.yaml:1\n",
        ),
        (vec!["-"], PUBSUB, 0, "Components\n  pubsub (pubsub.in-memory/v1)  <stdin>:1\n"),
        (
            vec!["-", "components/s.yaml"],
            PUBSUB,
            1,
            "DIR/components/s.yaml:5: subscription to topic orders waits for a pubsub pubsb, which does not exist\n      did you mean pubsub?\n",
        ),
        (vec!["dapr.yaml"], "", 1, "DIR/components/s.yaml:5: subscription to topic orders waits for a pubsub pubsb"),
        (vec!["wrong.yaml"], "", 1, "DIR/wrong.yaml:3: appDirPath: DIR/nowhere is not a folder\n"),
        (vec!["config.yaml"], "", 1, "DIR/config.yaml:2: unknown field spec.foo is ignored\n"),
        (
            vec!["above"],
            "",
            0,
            "DIR/above: no resource file is in this folder, only in folders inside, which are not read\n      name the folder that holds the files, for example DIR/above/components\n",
        ),
        (vec!["nope"], "", 1, "DIR/nope: cannot be read: no such file or directory\n"),
    ] {
        let (found, out) = check_with(&files, paths(&args), stdin);
        assert!(out.contains(expected), "{args:?}: {expected}\nis not in\n{out}");
        assert_eq!(found, code, "{args:?}\n{out}");
    }
    // The documents of a stream mostly come from several files.
    let stream = format!("{PUBSUB}---\nkind: Resiliency\nfoo: x\n");
    let (code, out) = check_with(&files, paths(&["-"]), &stream);
    assert_eq!(code, 0, "{out}");
    assert!(out.contains("<stdin>:7: unknown field foo is ignored"), "{out}");
    let run = |folder: &std::path::Path| CheckArgs { run_file: Some(folder.join("dapr.yaml")), ..CheckArgs::default() };
    let (code, out) = check_with(&files, run, "");
    assert_eq!((code, out.matches("DIR/components/s.yaml:5").count()), (1, 1), "{out}");
    let (code, out) =
        check_with(&[], |folder| CheckArgs { paths: vec![folder.to_owned()], ..CheckArgs::default() }, "");
    assert_eq!(code, 0);
    assert!(out.contains("DIR: no resource file is in this folder\n"), "{out}");
}

#[test]
fn strict_counts_what_is_worth_knowing_and_json_has_it_all() {
    let args = |strict, json| {
        move |folder: &std::path::Path| CheckArgs { strict, json, ..paths(&["b.yaml", "a.yaml"])(folder) }
    };
    let files = [("a.yaml", PUBSUB), ("b.yaml", SUBSCRIPTION)];
    assert_eq!(check_with(&files, args(false, false), "").0, 0);
    assert_eq!(check_with(&files, args(true, false), "").0, 1);
    let (code, out) = check_with(&files, args(false, true), "");
    assert_eq!(code, 0);
    let value: serde_json::Value = serde_json::from_str(&out).unwrap();
    assert_eq!((&value["mistakes"], &value["worthKnowing"]), (&0.into(), &1.into()));
    let finding = &value["findings"][0];
    assert_eq!(finding["severity"], "worth knowing");
    assert_eq!((&finding["file"], &finding["line"]), (&"DIR/b.yaml".into(), &8.into()));
    assert!(finding["message"].as_str().unwrap().contains("no retry policy"));
    assert!(finding["help"].as_str().unwrap().contains("kind: Resiliency"));
    assert_eq!(value["loaded"][0]["components"][0]["name"], "pubsub");
    assert_eq!(value["loaded"][0]["subscriptions"][0]["topic"], "orders");
}
