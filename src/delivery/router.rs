//! Selects the path for an event: the first rule that is true (tests/spec/delivery.md, "B8. Routing rules and CEL").

use std::sync::Arc;

use crate::expr::{CompileError, EvaluationError, Expression, Subject};
use crate::resources::kinds::subscription::RuleSpec;

/// The variables of a rule.
pub const RULE_VARIABLES: &[&str] = &["event"];

/// The rules of one subscription, compiled.
#[derive(Debug)]
pub(super) struct Rules(Vec<Rule>);

#[derive(Debug)]
struct Rule {
    /// `None` matches every event.
    condition: Option<Expression>,
    path: Arc<str>,
}

/// A rule that does not compile.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("rule {number}, match `{text}`: {error}")]
pub(super) struct BadRule {
    /// Counted from 1.
    number: usize,
    text: String,
    error: CompileError,
}

impl Rules {
    pub(super) fn compile(rules: &[RuleSpec]) -> Result<Self, BadRule> {
        let compiled = rules.iter().enumerate().map(|(index, rule)| {
            let text = rule.match_.trim();
            let condition = match text {
                "" => Ok(None),
                text => Expression::compile(text).map(Some),
            };
            let condition = condition.map_err(|error| BadRule { number: index + 1, text: text.to_owned(), error })?;
            Ok(Rule { condition, path: rule.path.as_str().into() })
        });
        compiled.collect::<Result<_, _>>().map(Self)
    }

    /// A text for each variable in a rule that does not exist.
    pub(super) fn unknown_variables(&self) -> Vec<String> {
        let mut problems = Vec::new();
        for (index, rule) in self.0.iter().enumerate() {
            let Some(condition) = &rule.condition else {
                continue;
            };
            let unknown = condition.unknown_variables(RULE_VARIABLES);
            problems.extend(
                unknown.iter().map(|variable| format!("rule {}, match `{}`: {variable}", index + 1, condition.text())),
            );
        }
        problems
    }

    /// The path for an event; `None` if no rule is true. `event` is called only if a rule needs it.
    ///
    /// # Errors
    /// If the evaluation of a rule fails: then the later ones are not tried.
    pub(super) fn path<E: From<EvaluationError>>(
        &self,
        event: impl FnOnce() -> Result<Subject, E>,
    ) -> Result<Option<&Arc<str>>, E> {
        let mut read = Some(event);
        let mut subject = None;
        for (index, rule) in self.0.iter().enumerate() {
            let Some(condition) = &rule.condition else {
                return Ok(Some(&rule.path));
            };
            if let Some(read) = read.take() {
                subject = Some(read()?);
            }
            if let Some(subject) = &subject
                && condition.matches(subject).map_err(|error| explained(error, index + 1, condition))?
            {
                return Ok(Some(&rule.path));
            }
        }
        Ok(None)
    }
}

/// Add which rule failed, what that means for the event, and what helps.
fn explained(error: EvaluationError, number: usize, condition: &Expression) -> EvaluationError {
    let remedy = if error.is_missing_key() {
        "; a field that may be missing is asked for with has(...) first, for example has(event.data.x) && event.data.x == 1"
    } else {
        ""
    };
    let text = condition.text();
    error.explained(&format!(" (rule {number}, match `{text}`; later rules and the default are not tried{remedy})"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn rules(rules: &[(&str, &str)]) -> Result<Rules, BadRule> {
        let rules: Vec<_> = rules
            .iter()
            .map(|(text, path)| RuleSpec { match_: (*text).to_owned(), path: (*path).to_owned() })
            .collect();
        Rules::compile(&rules)
    }

    fn check(given: &[(&str, &str)], n: i32, expected: &str) {
        let event = || Ok::<_, EvaluationError>(Subject::new(&json!({"data": {"n": n}})));
        let got = match rules(given).unwrap().path(event) {
            Ok(Some(path)) => path.to_string(),
            Ok(None) => "none".to_owned(),
            Err(error) => error.to_string(),
        };
        assert_eq!(got, expected, "{given:?} {n}");
    }

    #[test]
    fn the_first_true_rule_decides() {
        let more = [("event.data.n > 10", "/a"), ("event.data.n > 5", "/b"), ("", "/c")];
        for (n, path) in [(11, "/a"), (6, "/b"), (5, "/c")] {
            check(&more, n, path);
        }
        check(&[("event.data.n == 1", "/a")], 2, "none");
        check(&[], 1, "none");
        check(&[("  ", "/x"), ("nothing", "/y")], 1, "/x");
    }

    #[test]
    fn an_error_ends_the_search() {
        check(
            &[("event.data.missing == 1", "/a"), ("true", "/b")],
            1,
            "no such key: missing (rule 1, match `event.data.missing == 1`; later rules and the default are not tried; a field that may be missing is asked for with has(...) first, for example has(event.data.x) && event.data.x == 1)",
        );
        check(&[("event.data.n == 1", "/a"), ("event.data.missing == 1", "/b")], 1, "/a");
    }

    #[test]
    fn the_event_is_not_read_for_a_rule_without_condition() {
        let rules = rules(&[("", "/x"), ("event.a == 1", "/y")]).unwrap();
        let path = rules.path::<EvaluationError>(|| panic!("not needed")).unwrap();
        assert_eq!(path.map(|path| &**path), Some("/x"));
    }

    #[test]
    fn variables_that_do_not_exist_are_named_with_their_rule() {
        let of = |given: &[(&str, &str)]| rules(given).unwrap().unknown_variables();
        assert_eq!(of(&[("event.a == 1", "/a"), ("", "/b")]), [""; 0]);
        assert_eq!(
            of(&[("", "/a"), ("evnt.a == data", "/b")]),
            [
                "rule 2, match `evnt.a == data`: evnt is not known, only event is (line 1, column 1); did you mean event?",
                "rule 2, match `evnt.a == data`: data is not known, only event is (line 1, column 11)",
            ]
        );
    }

    #[test]
    fn a_bad_rule_is_named() {
        let error = rules(&[("true", "/a"), ("event.type.lowerAscii() == 'a'", "/b")]).unwrap_err();
        let text = error.to_string();
        assert!(
            text.starts_with("rule 2, match `event.type.lowerAscii() == 'a'`: ERROR: <input>:1:12: undeclared reference to 'lowerAscii'"),
            "{text}"
        );
    }
}
