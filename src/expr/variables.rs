//! Unknown variables of an expression.
//!
//! As in daprd, an expression with an unknown variable compiles, and its evaluation fails. So a warning is given before the first event.

use std::fmt;

use cel::common::ast::{Expr, IdedExpr};

use super::check;
use super::expression::{CompileError, Expression};
use super::tree::children;
use crate::metadata::nearest;

/// A variable that does not exist. As text, it also names the variables that do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnknownVariable<'a> {
    /// As it is written.
    pub name: String,
    /// Line and column of its first use, both counted from 1, the column in characters.
    pub position: Option<(usize, usize)>,
    /// The known variable with the most similar name.
    pub nearest: Option<&'a str>,
    known: &'a [&'a str],
}

impl fmt::Display for UnknownVariable<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} is not known", self.name)?;
        match self.known {
            [] => {}
            [only] => write!(f, ", only {only} is")?,
            [first @ .., last] => write!(f, ", only {} and {last} are", first.join(", "))?,
        }
        if let Some((line, column)) = self.position {
            write!(f, " (line {line}, column {column})")?;
        }
        match self.nearest {
            Some(nearest) => write!(f, "; did you mean {nearest}?"),
            None => Ok(()),
        }
    }
}

/// The variables of an expression that are not among `known`, each once, in their order in the text.
///
/// # Errors
/// If the text is not an expression.
pub fn unknown_variables<'a>(text: &str, known: &'a [&'a str]) -> Result<Vec<UnknownVariable<'a>>, CompileError> {
    Expression::compile(text).map(|expression| expression.unknown_variables(known))
}

impl Expression {
    /// The variables that are not among `known`, each once, in their order in the text.
    pub fn unknown_variables<'a>(&self, known: &'a [&'a str]) -> Vec<UnknownVariable<'a>> {
        let mut free = Vec::new();
        collect(&self.tree, &mut Vec::new(), &mut free);
        let is_known = |name: &str| known.contains(&name) || check::TYPES.contains(&name) || name.is_empty();
        let mut unknown: Vec<UnknownVariable<'a>> = Vec::new();
        for name in free {
            if !is_known(name) && !unknown.iter().any(|known| known.name == name) {
                unknown.push(UnknownVariable {
                    name: name.to_owned(),
                    position: check::position_of_variable(self.text(), name),
                    nearest: nearest(name, known),
                    known,
                });
            }
        }
        unknown.sort_by_key(|variable| variable.position);
        unknown
    }
}

/// Collect the names that are not set by a macro around them. `set` has the names that the macros around this node set.
fn collect<'t>(node: &'t IdedExpr, set: &mut Vec<&'t str>, free: &mut Vec<&'t str>) {
    match &node.expr {
        Expr::Ident(name) if !set.contains(&name.as_str()) => free.push(name.trim_start_matches('.')),
        Expr::Comprehension(inner) => {
            collect(&inner.iter_range, set, free);
            collect(&inner.accu_init, set, free);
            let outer = set.len();
            set.push(&inner.accu_var);
            collect(&inner.result, set, free);
            set.push(&inner.iter_var);
            set.extend(inner.iter_var2.as_deref());
            collect(&inner.loop_cond, set, free);
            collect(&inner.loop_step, set, free);
            set.truncate(outer);
        }
        _ => {
            for child in children(node) {
                collect(child, set, free);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const COUNTS: [&str; 3] = ["requests", "totalFailures", "consecutiveFailures"];

    fn unknown(text: &str, known: &[&str]) -> Vec<String> {
        let unknown = unknown_variables(text, known).unwrap();
        unknown.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn variables_that_nothing_sets_are_told_with_position_and_the_nearest() {
        let only_event = "is not known, only event is";
        let counts = "is not known, only requests, totalFailures and consecutiveFailures are";
        for (text, known, expected) in [
            ("event.type == 'a'", &["event"][..], vec![]),
            (
                "evnt.type == 'a'",
                &["event"],
                vec![format!("evnt {only_event} (line 1, column 1); did you mean event?")],
            ),
            (
                "Event.type == 'a'",
                &["event"],
                vec![format!("Event {only_event} (line 1, column 1); did you mean event?")],
            ),
            ("data.n == 1", &["event"], vec![format!("data {only_event} (line 1, column 1)")]),
            ("event.data.n == data", &["event"], vec![format!("data {only_event} (line 1, column 17)")]),
            ("'data' == event.data && data", &["event"], vec![format!("data {only_event} (line 1, column 25)")]),
            ("r'\\' == 'data' || data", &["event"], vec![format!("data {only_event} (line 1, column 19)")]),
            (
                "'''a' data''' == b || data",
                &["event"],
                vec![format!("b {only_event} (line 1, column 18)"), format!("data {only_event} (line 1, column 23)")],
            ),
            ("true // data\n && data", &["event"], vec![format!("data {only_event} (line 2, column 5)")]),
            ("has(evnt.a)", &["event"], vec![format!("evnt {only_event} (line 1, column 5); did you mean event?")]),
            ("has(event.a) && event.size() > size", &["event"], vec![format!("size {only_event} (line 1, column 32)")]),
            ("event.l.all(x, x > 1)", &["event"], vec![]),
            ("event.l.all(x, x > 1) && x", &["event"], vec![format!("x {only_event} (line 1, column 13)")]),
            ("event.l.map(x, y)", &["event"], vec![format!("y {only_event} (line 1, column 16)")]),
            ("event.l.exists(x, x.exists(y, x == y)) || event.l.exists_one(z, z == 1)", &["event"], vec![]),
            ("event.l.filter(event, event == 1).size() == 1", &["event"], vec![]),
            (
                "type(event.n) == int && {'a': b}.a == [c][0]",
                &["event"],
                vec![format!("b {only_event} (line 1, column 31)"), format!("c {only_event} (line 1, column 40)")],
            ),
            (
                "a && b && a",
                &["event"],
                vec![format!("a {only_event} (line 1, column 1)"), format!("b {only_event} (line 1, column 6)")],
            ),
            ("'å' == .foo", &["event"], vec![format!("foo {only_event} (line 1, column 9)")]),
            ("consecutiveFailures > 5 || requests > 9", &COUNTS, vec![]),
            (
                "consecutiveFailure > 5",
                &COUNTS,
                vec![format!("consecutiveFailure {counts} (line 1, column 1); did you mean consecutiveFailures?")],
            ),
            ("bogus > 5", &COUNTS, vec![format!("bogus {counts} (line 1, column 1)")]),
            ("bogus > 5", &[], vec!["bogus is not known (line 1, column 1)".to_owned()]),
        ] {
            assert_eq!(unknown(text, known), expected, "{text}");
        }
    }

    #[test]
    fn what_is_no_expression_is_an_error() {
        assert!(unknown_variables("evnt ==", &["event"]).is_err());
    }
}
