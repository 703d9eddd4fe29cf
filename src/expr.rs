//! Match expressions of routing rules, and what trips a circuit breaker: CEL with its standard library
//! (tests/spec/delivery.md, "B8. Routing rules and CEL").
//!
//! The only module that knows the `cel` crate. It compiles a text, finds out before the first event what can never work (`check`), and
//! evaluates it against an event or some numbers. It knows no rules, no routes and no breakers.

mod check;
mod variables;

pub use variables::{UnknownVariable, unknown_variables};

use std::collections::HashMap;
use std::sync::{Arc, LazyLock};

use cel::common::ast::{CallExpr, EntryExpr, Expr, IdedExpr, LiteralValue};
use cel::common::types::{CelBool, CelString, DYN_TYPE};
use cel::common::value::CowVal;
use cel::objects::{Key, Map};
use cel::parser::PrattParser;
use cel::{Context, Env, ExecutionError, Value};

/// Longest expression in bytes. It bounds the work at load; the deepest possible tree of it still fits a small stack.
const LONGEST: usize = 16 * 1024;

/// Deepest tree that is evaluated. cel-go stops at 250; a rule of a person has less than 20.
const DEEPEST: usize = 120;

/// What takes the place of `has()`: unlike that of the crate, it is false for a number or a text, and an error for a list, as in cel-go.
const PRESENT: &str = "@present";

/// The standard library. A constant: compiling its tables for each rule would cost memory and time.
static LIBRARY: LazyLock<Arc<Env>> = LazyLock::new(|| {
    let mut library = Env::default().with_optional_support(false).with_stdlib();
    // Cannot fail: no expression can spell this name, and nothing else declares it.
    let _ = library.add_overload(PRESENT, PRESENT, vec![DYN_TYPE, DYN_TYPE], is_present);
    Arc::new(library)
});

/// A compiled expression.
#[derive(Debug)]
pub struct Expression {
    text: String,
    tree: IdedExpr,
}

/// Why an expression cannot be compiled, with line and column where that is known.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct CompileError(String);

/// Why an expression has no answer for an event.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct EvaluationError(String);

/// What expressions are asked about. An event is made one once, and asked by many rules.
pub struct Subject(Context<'static, 'static>);

impl Subject {
    /// The variable `event` stands for this value. All its numbers are doubles, as in daprd.
    pub fn new(event: &serde_json::Value) -> Self {
        let mut context = Context::with_env(LIBRARY.clone());
        context.add_variable_from_value("event", value_of(event));
        Self(context)
    }

    /// Variables that are integers, and no event.
    pub fn of_numbers(numbers: &[(&'static str, i64)]) -> Self {
        let mut context = Context::with_env(LIBRARY.clone());
        for (name, number) in numbers {
            context.add_variable_from_value(*name, Value::Int(*number));
        }
        Self(context)
    }
}

impl EvaluationError {
    /// The same with more about it, for the log.
    #[must_use]
    pub fn explained(self, more: &str) -> Self {
        Self(format!("{}{more}", self.0))
    }

    /// Does the expression ask for a field that the event does not have?
    pub fn is_missing_key(&self) -> bool {
        self.0.starts_with("no such key: ")
    }
}

impl Expression {
    /// Compile the text of a rule.
    ///
    /// # Errors
    /// If it is no expression, calls what does not exist (D21), or applies something to types that never fit.
    pub fn compile(text: &str) -> Result<Self, CompileError> {
        if text.len() > LONGEST {
            return Err(CompileError(format!("ERROR: <input>: expression is longer than {LONGEST} bytes")));
        }
        let mut tree = PrattParser::new().parse(text).map_err(|errors| CompileError(errors.to_string()))?;
        if depth(&tree) > DEEPEST {
            dismantle(tree);
            return Err(CompileError(format!("ERROR: <input>: expression is nested deeper than {DEEPEST} levels")));
        }
        check::check(&tree, text).map_err(CompileError)?;
        ask_for_presence(&mut tree);
        Ok(Self { text: text.to_owned(), tree })
    }

    /// As it was written.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Is it true of this event?
    ///
    /// # Errors
    /// If it asks for what is not there, mixes types, or its result is no boolean.
    pub fn matches(&self, event: &Subject) -> Result<bool, EvaluationError> {
        let result = Value::resolve_val(&self.tree, &event.0).map_err(|error| EvaluationError(explain(&error)))?;
        match result.downcast_ref::<CelBool>() {
            Some(answer) => Ok(*answer.inner()),
            None => Err(EvaluationError(format!("the result of match expression {} was not a boolean", self.text))),
        }
    }
}

/// An error in the words of cel-go, which users of daprd know.
fn explain(error: &ExecutionError) -> String {
    match error {
        ExecutionError::NoSuchKey(key) => format!("no such key: {key}"),
        ExecutionError::UndeclaredReference(name) => format!("no such attribute(s): {name}"),
        ExecutionError::NoSuchOverload(_)
        | ExecutionError::ValuesNotComparable(..)
        | ExecutionError::UnsupportedBinaryOperator(..) => "no such overload".to_owned(),
        ExecutionError::IndexOutOfBounds(Value::Int(index)) => {
            format!("index out of bounds: {index}")
        }
        ExecutionError::DivisionByZero(_) => "division by zero".to_owned(),
        ExecutionError::RemainderByZero(_) => "modulus by zero".to_owned(),
        other => other.to_string(),
    }
}

fn value_of(json: &serde_json::Value) -> Value {
    use serde_json::Value as Json;
    match json {
        Json::Null => Value::Null,
        Json::Bool(value) => Value::Bool(*value),
        Json::Number(number) => Value::Float(number.as_f64().unwrap_or(f64::INFINITY)),
        Json::String(text) => Value::String(Arc::new(text.clone())),
        Json::Array(items) => Value::List(Arc::new(items.iter().map(value_of).collect())),
        Json::Object(fields) => Value::Map(Map {
            map: Arc::new(
                fields
                    .iter()
                    .map(|(name, value)| (Key::from(name.clone()), value_of(value)))
                    .collect::<HashMap<_, _>>(),
            ),
        }),
    }
}

/// `@present(operand, "field")`.
#[expect(clippy::needless_pass_by_value, reason = "functions of the library have this signature")]
fn is_present<'b, 'v>(arguments: Vec<CowVal<'b, 'v>>) -> Result<CowVal<'b, 'v>, ExecutionError> {
    let [operand, field] = arguments.as_slice() else {
        return Err(ExecutionError::invalid_argument_count(2, arguments.len()));
    };
    if operand.downcast_ref::<cel::common::types::CelList<'_>>().is_some() {
        return Err(ExecutionError::function_error("has", "unsupported index type 'string' in list"));
    }
    let present = operand.downcast_ref::<cel::common::types::CelMap<'_>>().is_some()
        && operand.as_container().is_some_and(|container| container.contains(field.as_ref()) == Ok(true));
    Ok(CowVal::owned(CelBool::from(present)))
}

/// Put [`PRESENT`] in the place of each `has()`.
fn ask_for_presence(tree: &mut IdedExpr) {
    for child in children_mut(tree) {
        ask_for_presence(child);
    }
    if let Expr::Select(select) = &mut tree.expr
        && select.test
    {
        let field = CelString::from(std::mem::take(&mut select.field));
        let operand = std::mem::take(&mut *select.operand);
        let field = IdedExpr { id: tree.id, expr: Expr::Literal(LiteralValue::String(field)) };
        tree.expr = Expr::Call(CallExpr { func_name: PRESENT.to_owned(), target: None, args: vec![operand, field] });
    }
}

/// Levels of the tree. Walks with a stack of its own: the tree may be deeper than that of the thread.
fn depth(tree: &IdedExpr) -> usize {
    let mut deepest = 0;
    let mut open = vec![(tree, 1)];
    while let Some((node, level)) = open.pop() {
        deepest = deepest.max(level);
        open.extend(children(node).into_iter().map(|child| (child, level + 1)));
    }
    deepest
}

/// Drop a tree that may be too deep for a recursive drop.
fn dismantle(tree: IdedExpr) {
    let mut open = vec![tree];
    while let Some(mut node) = open.pop() {
        open.extend(children_mut(&mut node).into_iter().map(std::mem::take));
    }
}

fn children(node: &IdedExpr) -> Vec<&IdedExpr> {
    match &node.expr {
        Expr::Unspecified | Expr::Ident(_) | Expr::Literal(_) => Vec::new(),
        Expr::Call(call) => call.target.as_deref().into_iter().chain(&call.args).collect(),
        Expr::Comprehension(inner) => {
            vec![&inner.iter_range, &inner.accu_init, &inner.loop_cond, &inner.loop_step, &inner.result]
        }
        Expr::List(list) => list.elements.iter().collect(),
        Expr::Map(map) => map.entries.iter().flat_map(|entry| parts(&entry.expr)).collect(),
        Expr::Select(select) => vec![&select.operand],
        Expr::Struct(value) => value.entries.iter().flat_map(|entry| parts(&entry.expr)).collect(),
    }
}

fn parts(entry: &EntryExpr) -> Vec<&IdedExpr> {
    match entry {
        EntryExpr::StructField(field) => vec![&field.value],
        EntryExpr::MapEntry(entry) => vec![&entry.key, &entry.value],
    }
}

fn children_mut(node: &mut IdedExpr) -> Vec<&mut IdedExpr> {
    match &mut node.expr {
        Expr::Unspecified | Expr::Ident(_) | Expr::Literal(_) => Vec::new(),
        Expr::Call(call) => call.target.as_deref_mut().into_iter().chain(&mut call.args).collect(),
        Expr::Comprehension(inner) => vec![
            &mut inner.iter_range,
            &mut inner.accu_init,
            &mut inner.loop_cond,
            &mut inner.loop_step,
            &mut inner.result,
        ],
        Expr::List(list) => list.elements.iter_mut().collect(),
        Expr::Map(map) => map.entries.iter_mut().flat_map(|entry| parts_mut(&mut entry.expr)).collect(),
        Expr::Select(select) => vec![&mut select.operand],
        Expr::Struct(value) => value.entries.iter_mut().flat_map(|entry| parts_mut(&mut entry.expr)).collect(),
    }
}

fn parts_mut(entry: &mut EntryExpr) -> Vec<&mut IdedExpr> {
    match entry {
        EntryExpr::StructField(field) => vec![&mut field.value],
        EntryExpr::MapEntry(entry) => vec![&mut entry.key, &mut entry.value],
    }
}

#[cfg(test)]
mod properties;

#[cfg(test)]
mod tests {
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
}
