//! Match expressions of routing rules, and what trips a circuit breaker: CEL with its standard library
//! (tests/spec/delivery.md, "B8. Routing rules and CEL").
//!
//! The only module that knows the `cel` crate. It compiles a text, finds out before the first event what can never work (`check`), and
//! evaluates it against an event or some numbers. It knows no rules, no routes and no breakers.

mod check;
mod expression;
mod pattern;
mod tree;
mod variables;

pub use self::expression::{CompileError, EvaluationError, Expression, Subject};
pub use self::variables::{UnknownVariable, unknown_variables};

#[cfg(test)]
mod properties;
