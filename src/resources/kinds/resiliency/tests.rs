use super::*;
use crate::resources::kinds::policies::Direction;
use crate::resources::yaml::diagnostics::Diagnostics;
use crate::resources::yaml::fields::Dialect;
use crate::resources::yaml::parse;

fn read(spec: &str) -> (Resiliency, Vec<String>, usize) {
    let yaml = format!("metadata: {{name: r}}\nspec: {spec}");
    let document = parse::document(&yaml, 1).unwrap().unwrap();
    let diagnostics = Diagnostics::default();
    let root = Fields::root(&document.root, Dialect::Resource, &diagnostics);
    let (resource, wrong) = Resiliency::read(&root, Location::default());
    let wrong = wrong.into_iter().map(|(_, text)| text).collect();
    (resource, wrong, diagnostics.into_parts().0.len())
}

/// The findings that do not make the document unusable.
fn remarks(spec: &str) -> Vec<String> {
    let yaml = format!("metadata: {{name: r}}\nspec: {spec}");
    let document = parse::document(&yaml, 1).unwrap().unwrap();
    let diagnostics = Diagnostics::default();
    Resiliency::read(&Fields::root(&document.root, Dialect::Resource, &diagnostics), Location::default());
    let (_, others) = diagnostics.into_parts();
    others.iter().map(|found| found.sentence().into_owned()).collect()
}

fn retry(settings: &str) -> Result<Retry, String> {
    let (resource, wrong, _) = read(&format!("{{policies: {{retries: {{two: {{{settings}}}}}}}}}"));
    match wrong.into_iter().next() {
        Some(error) => Err(error),
        None => Ok(resource.policies.retries["two"].clone()),
    }
}

#[test]
fn retries_have_daprds_defaults() {
    let ms = Duration::from_millis;
    for (settings, pause, max_retries) in [
        ("", Pause::Constant(ms(5000)), None),
        ("duration: 10, maxRetries: 2", Pause::Constant(ms(10)), Some(2)),
        ("policy: CONSTANT, duration: 10ms, maxRetries: 0", Pause::Constant(ms(10)), Some(0)),
        ("policy: exponential", Pause::Exponential(ms(60_000)), None),
        ("policy: exponential, maxInterval: 20ms, maxRetries: -1", Pause::Exponential(ms(20)), None),
        ("duration: 0", Pause::Constant(ms(0)), None),
    ] {
        let retry = retry(settings).unwrap();
        assert_eq!((retry.pause, retry.max_retries), (pause, max_retries), "{settings}");
    }
}

#[test]
fn codes_are_checked() {
    for (list, codes) in
        [("429,500-599", vec![(429, 429), (500, 599)]), (",500,", vec![(500, 500)]), ("500", vec![(500, 500)])]
    {
        let retry = retry(&format!("matching: {{httpStatusCodes: '{list}'}}")).unwrap();
        assert_eq!(retry.http_codes, codes);
    }
    for (matching, error) in [
        ("gRPCStatusCodes: 400", "invalid pattern 400, start code 400 is not valid"),
        ("httpStatusCodes: 503-500", "invalid pattern 503-500, start value should not bigger than end value"),
        ("httpStatusCodes: 500-502-504", "invalid pattern 500-502-504, more than one '-' exists"),
        (
            "httpStatusCodes: x",
            "failed to parse start code x from pattern x to int, strconv.Atoi: parsing \"x\": invalid syntax",
        ),
        (
            "httpStatusCodes: ' 500'",
            "failed to parse start code  500 from pattern  500 to int, strconv.Atoi: parsing \" 500\": invalid syntax",
        ),
    ] {
        assert_eq!(retry(&format!("matching: {{{matching}}}")).unwrap_err(), error);
    }
}

#[test]
fn a_wrong_meaning_takes_the_targets_away() {
    let targets = "targets: {components: {pubsub: {inbound: {retry: two}}}}";
    for (policies, errors) in [
        ("timeouts: {t: 5}", vec![]),
        ("timeouts: {t: 5 s}", vec!["invalid duration \"t\", 5 s: time: unknown unit \" s\" in duration \"5 s\""]),
        (
            "retries: {a: {duration: soon}, b: {policy: linear}}",
            vec![
                "invalid duration \"a\", soon: time: invalid duration \"soon\"",
                "unrecognized policy \"linear\" of retry \"b\": use constant or exponential",
            ],
        ),
    ] {
        let (resource, wrong, mistakes) = read(&format!("{{policies: {{{policies}}}, {targets}}}"));
        assert_eq!(wrong, errors);
        assert_eq!(mistakes, 0);
        assert_eq!(resource.policies.components.is_empty(), !errors.is_empty());
    }
    assert_eq!(read("{policies: {retries: {a: {maxRetries: many}}}}").2, 1);
}

#[test]
fn what_a_key_of_another_place_or_name_is_meant_for_is_said() {
    let sides = "it belongs under inbound (deliveries to the app) or outbound (publishing)";
    let seconds = |key: &str| {
        format!(
            "spec.policies.{key}: 5 has no unit and is taken for 5 milliseconds, write 5s for seconds, or 5ms if milliseconds are meant"
        )
    };
    let unknown = |key: &str, help: &str| format!("unknown field spec.{key} is ignored{help}");
    for (spec, expected) in [
            ("{targets: {components: {p: {retry: r}}}}", unknown("targets.components.p.retry", &format!(", {sides}"))),
            ("{targets: {components: {p: {inbund: {}}}}}", unknown("targets.components.p.inbund", ", did you mean inbound?")),
            ("{targets: {components: {p: {inbound: {retries: r}}}}}", unknown("targets.components.p.inbound.retries", ", did you mean retry?")),
            ("{targets: {apps: {a: {retrie: r}}}}", unknown("targets.apps.a.retrie", ", did you mean retry?")),
            ("{targets: {component: {}}}", unknown("targets.component", ", did you mean components?")),
            ("{policies: {retries: {r: {maxRetry: 3}}}}", unknown("policies.retries.r.maxRetry", ", did you mean maxRetries?")),
            ("{policies: {retries: {r: {attempts: 3}}}}", unknown("policies.retries.r.attempts", ", did you mean maxRetries?")),
            ("{policies: {circuitBreakers: {b: {trips: x}}}}", unknown("policies.circuitBreakers.b.trips", ", did you mean trip?")),
            ("{policies: {circuitBreaker: {}}}", unknown("policies.circuitBreaker", ", did you mean circuitBreakers?")),
            ("{retries: {}}", unknown("retries", ", it belongs under policies")),
            ("{components: {}}", unknown("components", ", it belongs under targets")),
            ("{scopes: [a]}", unknown("scopes", &format!(", {SCOPES_IN_SPEC}"))),
            ("{policies: {retries: {r: {duration: 5}}}}", seconds("retries.r.duration")),
            ("{policies: {retries: {r: {policy: exponential, maxInterval: '5'}}}}", seconds("retries.r.maxInterval")),
            ("{policies: {circuitBreakers: {b: {timeout: 5}}}}", seconds("circuitBreakers.b.timeout")),
            ("{policies: {timeouts: {t: 5}}}", seconds("timeouts.t")),
            ("{policies: {retries: {r: {policy: exponential, duration: 5s}}}}", "spec.policies.retries.r.duration: has no effect: it is for the policy constant; exponential begins with 500ms and grows up to maxInterval".to_owned()),
        ] {
            assert_eq!(remarks(spec), [expected]);
        }
    for silent in ["0", "1000", "5s", "-1"] {
        assert_eq!(remarks(&format!("{{policies: {{timeouts: {{t: {silent}}}}}}}")), Vec::<String>::new());
    }
}

#[test]
fn a_listed_component_has_no_defaults() {
    let policies = |spec: &str| read(spec).0.policies;
    let inbound =
        |policies: &Policies| policies.retry_of("pubsub", Direction::Inbound).map(|(name, _)| name.to_owned());
    let all = "retries: {DefaultRetryPolicy: {}, DefaultPubsubComponentInboundRetryPolicy: {}}";
    let name = inbound(&policies(&format!("{{policies: {{{all}}}}}")));
    assert_eq!(name.as_deref(), Some("DefaultPubsubComponentInboundRetryPolicy"));
    let listed = "targets: {components: {pubsub: {outbound: {timeout: nope}}}}";
    assert_eq!(inbound(&policies(&format!("{{policies: {{{all}}}, {listed}}}"))), None);
    let own = "policies: {retries: {two: {}}}, targets: {components: {pubsub: {inbound: {retry: two}}}}";
    assert_eq!(inbound(&policies(&format!("{{{own}}}"))).as_deref(), Some("two"));
}
