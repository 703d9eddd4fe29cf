//! Compiled expressions, and what they are evaluated against.

use std::collections::HashMap;
use std::sync::{Arc, LazyLock};

use cel::common::ast::{CallExpr, Expr, IdedExpr, LiteralValue};
use cel::common::types::{CelBool, CelString, DYN_TYPE};
use cel::common::value::CowVal;
use cel::objects::{Key, Map};
use cel::parser::PrattParser;
use cel::{Context, Env, ExecutionError, Value};

use super::check;
use super::pattern::{self, Patterns};
use super::tree::{children_mut, depth, dismantle};

/// Longest expression in bytes. It bounds the work at load; the deepest possible tree of it still fits a small stack.
const MAX_LENGTH: usize = 16 * 1024;

/// Deepest tree that is evaluated. cel-go stops at 250; a rule of a person has less than 20.
const MAX_DEPTH: usize = 120;

/// What takes the place of `has()`: unlike that of the crate, it is false for a number or a text, and an error for a list, as in cel-go.
const PRESENT: &str = "@present";

/// The standard library. A constant: compiling its tables for each rule would cost memory and time.
static LIBRARY: LazyLock<Arc<Env>> = LazyLock::new(|| {
    let mut library = Env::default().with_optional_support(false).with_stdlib();
    // Cannot fail: no expression can spell this name, and nothing else declares it.
    let _ = library.add_overload(PRESENT, PRESENT, vec![DYN_TYPE, DYN_TYPE], is_present);
    pattern::add_to(&mut library);
    Arc::new(library)
});

/// A compiled expression.
#[derive(Debug)]
pub struct Expression {
    text: String,
    pub(super) tree: IdedExpr,
    /// Keeps its patterns compiled.
    _patterns: Patterns,
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
        if text.len() > MAX_LENGTH {
            return Err(CompileError(format!("ERROR: <input>: expression is longer than {MAX_LENGTH} bytes")));
        }
        let mut tree = PrattParser::new().parse(text).map_err(|errors| CompileError(errors.to_string()))?;
        if depth(&tree) > MAX_DEPTH {
            dismantle(tree);
            return Err(CompileError(format!("ERROR: <input>: expression is nested deeper than {MAX_DEPTH} levels")));
        }
        check::check(&tree, text).map_err(CompileError)?;
        ask_for_presence(&mut tree);
        Ok(Self { text: text.to_owned(), _patterns: Patterns::compile(&tree), tree })
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

#[cfg(test)]
mod tests;
