use super::*;
use serde_json::json;

fn event() -> Subject {
    Subject::new(&json!({
        "specversion": "1.0", "id": "e1", "source": "/shop", "type": "order.v1", "datacontenttype": "application/json",
        "subject": "s/1", "prio": 5, "flag": true, "traceid": "", "topic": "t1",
        "data": {"n": 1, "s": "abc", "f": 1.5, "yes": true, "none": null, "list": [1, 2, "x"], "in": {"a": {"b": "c"}},
            "when": "2024-05-01T12:00:00Z", "neg": -7, "empty": "", "big": 9_007_199_254_740_993_u64, "x": 11}
    }))
}

/// `yes`, `no`, or the error.
fn answer(text: &str) -> String {
    match Expression::compile(text) {
        Err(error) => format!("does not compile: {error}"),
        Ok(expression) => match expression.matches(&event()) {
            Ok(true) => "yes".to_owned(),
            Ok(false) => "no".to_owned(),
            Err(error) => error.to_string(),
        },
    }
}

fn check(expected: &str, expressions: &[&str]) {
    for text in expressions {
        let got = answer(text);
        let alike = match expected {
            "error" => got != "yes" && got != "no" && !got.starts_with("does not"),
            "does not compile" => got.starts_with(expected),
            _ => got == expected,
        };
        assert!(alike, "{text}: expected {expected}, got {got}");
    }
}

#[test]
fn true_as_recorded_from_daprd() {
    check(
        "yes",
        &[
            "event.type == 'order.v1'",
            "event.subject.startsWith('s/')",
            "event.prio == 5",
            "event.prio > 4",
            "event.flag",
            "type(event.prio) == double",
            "event['data']['in']['a'].b == 'c'",
            "'prio' in event",
            "event.data.list[2] == 'x'",
            "has(event.data.none)",
            "event.data.none == null",
            "true || event.nothing == 1",
            "event.nothing == 1 || true",
            "true || nothing",
            "event.data.n == 1",
            "event.data.n == 1.0",
            "event.data.n == 1u",
            "event.data.f > 1",
            "event.data.neg < 0",
            "event.data.n + 1.0 == 2.0",
            "int(event.data.n) + 1 == 2",
            "int(event.data.neg) % 2 == -1",
            "event.data.f * 2.0 == 3.0",
            "event.data.list == [1, 2, 'x']",
            "event.data.s.contains('b')",
            "event.data.s.endsWith('bc')",
            "event.data.s.matches('^a.c$')",
            "size(event.data.s) == 3",
            "event.data.s + 'd' == 'abcd'",
            "1 in event.data.list",
            "size(event.data.list) == 3",
            "event.data.list.exists(x, x == 'x')",
            "event.data.list.all(x, x != 3)",
            "event.data.list.filter(x, x == 2).size() == 1",
            "event.data.list.exists_one(x, x == 1)",
            "event.data.list.map(x, x)[0] == 1",
            "has(event.data['in'].a)",
            "event.data.list.exists(x, x > 0)",
            "string(event.data.n) == '1'",
            "int('7') == 7",
            "double('1.5') == event.data.f",
            "bool('true')",
            "string(event.data.yes) == 'true'",
            "timestamp(event.data.when).getFullYear() == 2024",
            "timestamp(event.data.when) < timestamp('2025-01-01T00:00:00Z')",
            "duration('90s') > duration('1m')",
            "timestamp(event.data.when).getDayOfWeek() == 3",
            "timestamp(event.data.when) + duration('24h') == timestamp('2024-05-02T12:00:00Z')",
            "event.data.n == 2 ? true : event.data.yes",
            "event.type in ['order.v1', 'order.v2']",
            "-event.data.neg == 7.0",
            "  true\n",
            r"r'a\b' == 'a\\b'",
            r"'\u00e5' == 'å'",
            "true // comment",
            "b'a' == bytes('a')",
            "has(event.data.x) && event.data.x > 10",
            "dyn(1) == 1.0",
            "type(event) == map",
            "{'a': 1}.a == 1",
            "{'a': 1}['a'] == 1",
            "[1, 2].exists(type, type == 2)",
        ],
    );
}

#[test]
fn false_as_recorded_from_daprd() {
    check(
        "no",
        &[
            "event.prio == '5'",
            "!event.flag",
            "'nothing' in event",
            "has(event.nothing)",
            "has(event.expiration)",
            "has(event.data.nothing) && event.data.nothing == 1",
            "event.data.none != null",
            "event.data.none == 0",
            "event.data.n == null",
            "false && event.nothing == 1",
            "event.nothing == 1 && false",
            "event.data.n >= 2",
            "event.data.s == 1",
            "event.data.n == '1'",
            "event.data.yes == 'true'",
            "event.data.s.matches('B')",
            "'y' in event.data.list",
            "has(event.data.s.x)",
            "has(event.data.n.x)",
            "has(event.data.none.x)",
            "false",
        ],
    );
}

#[test]
fn errors_as_recorded_from_daprd() {
    check(
        "error",
        &[
            "event.data.list[3] == 'x'",
            "event.data['in'].x.y == 1",
            "has(event.nothing.x)",
            "has(event.data.list.x)",
            "has(event.data.list.x) && true",
            "event.nothing == 1 ? true : true",
            "data.n == 1",
            "id == 'e1'",
            "event.data.n",
            "event.data",
            "1",
            "'true'",
            "null",
            "event.data.n + 1 == 2",
            "event.data.neg % 2 == -1",
            "event.data.s < 1",
            "event.data.s < null",
            "event.data.list.all(x, x > 0)",
            "int(event.data.s) == 0",
            "timestamp(event.data.s) == timestamp(event.data.when)",
            "event.data.s.x == 1",
            "1 / 0 == 1",
        ],
    );
}

#[test]
fn errors_have_the_words_of_daprd() {
    check("no such key: nothing", &["event.nothing == 1", "event.nothing == 1 && true"]);
    check("no such attribute(s): foo", &["foo == 1"]);
    check("no such overload", &["event.data.n + 1 == 2", "event.data.s < 1"]);
    check("the result of match expression event.type was not a boolean", &["event.type"]);
}

#[test]
fn nonsense_does_not_compile() {
    check(
        "does not compile",
        &[
            "(event.type == 'a'",
            "true true",
            "event.type = 'a'",
            "1 + 'a' == 2",
            "type == 'order.v1'",
            "event.type.lowerAscii() == 'a'",
            "nothing(1)",
            "size(1, 2, 3) == 1",
            "event.type ==",
            "event.data ==",
            "",
            "1 && true",
            "!'a'",
            "'a'.b == 1",
            "has(event)",
            "Thing{a: 1} == 1",
            "\u{0}",
            "'open",
            "event.data.?x == 1",
            "[1].map(x)",
        ],
    );
}

#[test]
fn an_unknown_function_is_named_with_its_position() {
    let error = Expression::compile("true &&\n  event.type.lowerAscii() == 'a'").unwrap_err();
    assert!(error.to_string().starts_with("ERROR: <input>:2:14: undeclared reference to 'lowerAscii'"), "{error}");
}

#[test]
fn no_text_is_too_long_or_too_deep() {
    let repeated = |text: &str, times| text.repeat(times);
    for text in [
        repeated("(", 5000),
        repeated("[", 16000),
        repeated("!", 16000) + "true",
        repeated("-", 16001) + "1",
        repeated("- ", 8000) + "1",
        format!("event{}", repeated(".a", 8000)),
        format!("event{}", repeated("[0]", 5000)),
        format!("1{}", repeated("+1", 8000)),
        format!("event{} == 1", repeated(".size()", 2000)),
        repeated("true ? ", 2000) + "true" + &repeated(" : false", 2000),
        repeated("{1:", 5000),
        repeated("f(", 8000),
        repeated("x", 100_000),
        repeated("has(", 4000),
        repeated("true ? true : ", 1100) + "true",
    ] {
        let said = answer(&text);
        assert!(said != "no", "{text}");
    }
    let many = format!("event.type in [{}'order.v1']", repeated("'another', ", 1000));
    assert_eq!(answer(&many), "yes");
    let any = format!("{}true", repeated("event.nothing == 1 || ", 500));
    assert_eq!(answer(&any), "yes");
}
