//! The function `matches`. Patterns that are written in an expression are compiled with it, once.

use std::collections::HashMap;
use std::sync::{Arc, LazyLock, Weak};

use cel::ExecutionError;
use cel::common::ast::{Expr, IdedExpr, LiteralValue};
use cel::common::types::{CelBool, CelString, STRING_TYPE};
use cel::common::value::CowVal;
use parking_lot::RwLock;
use regex::{Regex, RegexBuilder};

use super::tree::children;

/// Largest compiled form, in bytes, of a pattern that is part of an event: it is compiled for each evaluation.
const MAX_SIZE: usize = 1024 * 1024;

/// The patterns of the expressions that are in use.
static PATTERNS: LazyLock<RwLock<HashMap<String, Weak<Regex>>>> = LazyLock::new(RwLock::default);

/// The compiled patterns of one expression. They are known to [`matches`] as long as this lives.
#[derive(Debug)]
pub(super) struct Patterns(Vec<Arc<Regex>>);

impl Patterns {
    /// Compile the patterns that are literals. One that is no regular expression is left out: evaluating it is an error, as in cel-go.
    pub(super) fn compile(tree: &IdedExpr) -> Self {
        let mut literals = Vec::new();
        let mut open = vec![tree];
        while let Some(node) = open.pop() {
            literals.extend(literal_pattern(node));
            open.extend(children(node));
        }
        let mut patterns = PATTERNS.write();
        let compiled = literals.into_iter().filter_map(|text| {
            if let Some(known) = patterns.get(text).and_then(Weak::upgrade) {
                return Some(known);
            }
            let regex = Arc::new(Regex::new(text).ok()?);
            patterns.insert(text.to_owned(), Arc::downgrade(&regex));
            Some(regex)
        });
        Self(compiled.collect())
    }
}

impl Drop for Patterns {
    fn drop(&mut self) {
        self.0.clear();
        PATTERNS.write().retain(|_, regex| regex.strong_count() > 0);
    }
}

fn literal_pattern(node: &IdedExpr) -> Option<&str> {
    let Expr::Call(call) = &node.expr else {
        return None;
    };
    match (call.func_name.as_str(), &call.args.last()?.expr) {
        ("matches", Expr::Literal(LiteralValue::String(pattern))) => Some(pattern.inner()),
        _ => None,
    }
}

/// Add `matches(text, pattern)` and `text.matches(pattern)` to the library.
pub(super) fn add_to(library: &mut cel::Env) {
    // Neither can fail: without its feature `regex`, the crate declares no such function.
    let _ = library.add_overload("matches", "matches", vec![STRING_TYPE, STRING_TYPE], matches);
    let _ = library.add_member_overload("matches", "matches_string", STRING_TYPE, vec![STRING_TYPE], matches);
}

#[expect(clippy::needless_pass_by_value, reason = "functions of the library have this signature")]
fn matches<'b, 'v>(arguments: Vec<CowVal<'b, 'v>>) -> Result<CowVal<'b, 'v>, ExecutionError> {
    let strings: Vec<&CelString<'_>> = arguments.iter().filter_map(|argument| argument.downcast_ref()).collect();
    let [text, pattern] = strings.as_slice() else {
        return Err(ExecutionError::invalid_argument_count(2, arguments.len()));
    };
    let known = PATTERNS.read().get(pattern.inner()).and_then(Weak::upgrade);
    let is_match = match known {
        Some(regex) => regex.is_match(text.inner()),
        None => match RegexBuilder::new(pattern.inner()).size_limit(MAX_SIZE).build() {
            Ok(regex) => regex.is_match(text.inner()),
            Err(error) => {
                let message = format!("'{}' not a valid regex:\n{error}", pattern.inner());
                return Err(ExecutionError::function_error("matches", message));
            }
        },
    };
    Ok(CowVal::owned(CelBool::from(is_match)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::expr::expression::{Expression, Subject};

    fn is_known(pattern: &str) -> bool {
        PATTERNS.read().contains_key(pattern)
    }

    #[test]
    fn a_pattern_is_kept_as_long_as_an_expression_has_it() {
        let event = Subject::new(&serde_json::json!({"s": "abc", "p": "^a.c$", "bad": "("}));
        let first = Expression::compile("event.s.matches('^ab?$') || matches(event.s, '^kept+')").unwrap();
        let second = Expression::compile("event.s.matches('^kept+') || event.s.matches(event.p)").unwrap();
        assert_eq!((first.matches(&event), second.matches(&event)), (Ok(false), Ok(true)));
        assert!(is_known("^ab?$") && is_known("^kept+") && !is_known("^a.c$"));
        drop(first);
        assert!(!is_known("^ab?$") && is_known("^kept+"));
        drop(second);
        assert!(!is_known("^kept+"));
    }

    #[test]
    fn what_is_no_pattern_is_an_error_of_the_evaluation() {
        let event = Subject::new(&serde_json::json!({"s": "abc", "bad": "(", "big": "\\w{1000}{1000}"}));
        for text in ["event.s.matches('(')", "event.s.matches(event.bad)", "event.s.matches(event.big)"] {
            let error = Expression::compile(text).unwrap().matches(&event).unwrap_err();
            assert!(error.to_string().contains("not a valid regex"), "{text}: {error}");
        }
    }
}
