//! Properties of every text of a rule: compiling and evaluating it end in bounded time, with or without an error.

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;

use super::*;
use crate::json::arbitrary::{cases, in_time, wounded};

fn subject() -> Subject {
    Subject::new(&serde_json::json!({
        "type": "order.v1", "id": "", "prio": 5.0,
        "data": {"n": 1.0, "s": "abcé", "big": 1e300, "yes": true, "none": null, "list": [1.0, 2.0, "x", []], "in": {"a": {}}}
    }))
}

fn ask(text: &str) {
    in_time(|| {
        if let Ok(expression) = Expression::compile(text) {
            let _ = expression.matches(&subject());
        }
    });
}

/// Expressions by the grammar of CEL: with the ends of all ranges, and with types that do not fit.
fn expression() -> impl Strategy<Value = String> + Clone {
    let leaf = select(vec![
        "event",
        "event.data",
        "event.data.n",
        "event.data.s",
        "event.data.big",
        "event.data.list",
        "event.data.nope",
        "event.type",
        "x",
        "true",
        "null",
        "0",
        "1",
        "-1",
        "-9223372036854775808",
        "9223372036854775807",
        "18446744073709551615u",
        "0u",
        "1.5",
        "-0.0",
        "1e308",
        "''",
        "'é'",
        "'[a'",
        "b'\\xff'",
        "duration('9223372036s')",
        "duration('-1ns')",
        "timestamp('9999-12-31T23:59:59Z')",
        "timestamp('0001-01-01T00:00:00Z')",
        "'2024-05-01T12:00:00Z'",
        "[]",
        "{}",
        "int",
        "type(1)",
    ])
    .prop_map(str::to_owned);
    leaf.prop_recursive(4, 20, 3, |inner| {
        let two = (inner.clone(), inner.clone());
        let operator = select(vec!["+", "-", "*", "/", "%", "==", "!=", "<", ">=", "&&", "||", " in "]);
        let method = select(vec![
            "contains",
            "startsWith",
            "endsWith",
            "matches",
            "size",
            "getFullYear",
            "getHours",
            "getMilliseconds",
            "nope",
        ]);
        let function = select(vec![
            "size",
            "int",
            "uint",
            "double",
            "string",
            "bool",
            "bytes",
            "duration",
            "timestamp",
            "type",
            "dyn",
            "has",
            "-",
            "!",
            "nope",
        ]);
        let macros = select(vec!["all", "exists", "exists_one", "map", "filter"]);
        prop_oneof![
            (two.clone(), operator).prop_map(|((a, b), operator)| format!("({a}{operator}{b})")),
            (two.clone(), method).prop_map(|((a, b), method)| format!("{a}.{method}({b})")),
            (inner.clone(), function).prop_map(|(a, function)| format!("{function}({a})")),
            (two.clone(), macros).prop_map(|((a, b), name)| format!("{a}.{name}(x, {b})")),
            two.clone().prop_map(|(a, b)| format!("{a}[{b}]")),
            two.prop_map(|(a, b)| format!("{{{a}: {b}}}")),
            vec(inner.clone(), 0..3).prop_map(|items| format!("[{}]", items.join(", "))),
            (inner.clone(), inner.clone(), inner).prop_map(|(a, b, c)| format!("({a} ? {b} : {c})")),
        ]
    })
}

proptest! {
    #![proptest_config(cases())]

    #[test]
    fn every_expression_has_an_answer_or_an_error(text in expression()) {
        ask(&text);
    }

    #[test]
    fn no_text_makes_it_panic(text in wounded(expression()), noise in "[a-z0-9 .()'\"\\[\\]{}?:=!<>&|+*/%,\\\\-]{0,40}") {
        ask(&String::from_utf8_lossy(&text));
        for start in ["", "event.data.", "event.type == ", "has("] {
            ask(&format!("{start}{noise}"));
        }
    }
}
