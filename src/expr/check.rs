//! Mistakes in an expression that are known before there is an event: unknown functions, and types that never fit.
//!
//! This is a small part of cel-go's checker. A value of the event may have any type, so only the types of literals, operators and
//! functions of the standard library are known. In doubt an expression is accepted; its evaluation may then fail.

use std::fmt;

use cel::common::ast::{CallExpr, ComprehensionExpr, Expr, IdedExpr, LiteralValue, operators};

/// Types as the checker of cel-go names them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Type {
    Dyn,
    Bool,
    Int,
    Uint,
    Double,
    Text,
    Bytes,
    Null,
    List,
    Map,
    Meta,
    Duration,
    Timestamp,
}

use Type::{Bool, Bytes, Double, Duration, Dyn, Int, List, Map, Meta, Null, Text, Timestamp, Uint};

impl fmt::Display for Type {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Dyn => "dyn",
            Self::Bool => "bool",
            Self::Int => "int",
            Self::Uint => "uint",
            Self::Double => "double",
            Self::Text => "string",
            Self::Bytes => "bytes",
            Self::Null => "null",
            Self::List => "list(dyn)",
            Self::Map => "map(dyn, dyn)",
            Self::Meta => "type(dyn)",
            Self::Duration => "google.protobuf.Duration",
            Self::Timestamp => "google.protobuf.Timestamp",
        })
    }
}

impl Type {
    fn fits(self, wanted: Self) -> bool {
        self == Dyn || wanted == Dyn || self == wanted
    }

    fn is_number(self) -> bool {
        matches!(self, Int | Uint | Double)
    }
}

/// The names of types. They are not attributes of the event: `type == 'x'` never works (B8).
pub(super) const TYPES: [&str; 11] =
    ["bool", "bytes", "double", "dyn", "int", "list", "map", "null_type", "string", "type", "uint"];

/// One way to call a function: name, receiver, arguments, result.
type Overload = (&'static str, Option<Type>, &'static [Type], Type);

const TIME_PARTS: [&str; 10] = [
    "getFullYear",
    "getMonth",
    "getDayOfYear",
    "getDayOfMonth",
    "getDate",
    "getDayOfWeek",
    "getHours",
    "getMinutes",
    "getSeconds",
    "getMilliseconds",
];
const DURATION_PARTS: [&str; 4] = ["getHours", "getMinutes", "getSeconds", "getMilliseconds"];

const FUNCTIONS: [Overload; 44] = [
    ("size", None, &[Text], Int),
    ("size", None, &[Bytes], Int),
    ("size", None, &[List], Int),
    ("size", None, &[Map], Int),
    ("size", Some(Text), &[], Int),
    ("size", Some(Bytes), &[], Int),
    ("size", Some(List), &[], Int),
    ("size", Some(Map), &[], Int),
    ("contains", Some(Text), &[Text], Bool),
    ("startsWith", Some(Text), &[Text], Bool),
    ("endsWith", Some(Text), &[Text], Bool),
    ("matches", Some(Text), &[Text], Bool),
    ("matches", None, &[Text, Text], Bool),
    ("int", None, &[Int], Int),
    ("int", None, &[Uint], Int),
    ("int", None, &[Double], Int),
    ("int", None, &[Text], Int),
    ("int", None, &[Timestamp], Int),
    ("int", None, &[Duration], Int),
    ("uint", None, &[Uint], Uint),
    ("uint", None, &[Int], Uint),
    ("uint", None, &[Double], Uint),
    ("uint", None, &[Text], Uint),
    ("double", None, &[Double], Double),
    ("double", None, &[Int], Double),
    ("double", None, &[Uint], Double),
    ("double", None, &[Text], Double),
    ("string", None, &[Text], Text),
    ("string", None, &[Bool], Text),
    ("string", None, &[Int], Text),
    ("string", None, &[Uint], Text),
    ("string", None, &[Double], Text),
    ("string", None, &[Bytes], Text),
    ("string", None, &[Timestamp], Text),
    ("string", None, &[Duration], Text),
    ("bool", None, &[Bool], Bool),
    ("bool", None, &[Text], Bool),
    ("bytes", None, &[Text], Bytes),
    ("bytes", None, &[Bytes], Bytes),
    ("duration", None, &[Text], Duration),
    ("duration", None, &[Duration], Duration),
    ("timestamp", None, &[Text], Timestamp),
    ("timestamp", None, &[Timestamp], Timestamp),
    ("timestamp", None, &[Int], Timestamp),
];

/// The types that a binary operator accepts.
const OPERATORS: [(&str, Type, Type, Type); 25] = [
    (operators::ADD, Int, Int, Int),
    (operators::ADD, Uint, Uint, Uint),
    (operators::ADD, Double, Double, Double),
    (operators::ADD, Text, Text, Text),
    (operators::ADD, Bytes, Bytes, Bytes),
    (operators::ADD, List, List, List),
    (operators::ADD, Timestamp, Duration, Timestamp),
    (operators::ADD, Duration, Timestamp, Timestamp),
    (operators::ADD, Duration, Duration, Duration),
    (operators::SUBSTRACT, Int, Int, Int),
    (operators::SUBSTRACT, Uint, Uint, Uint),
    (operators::SUBSTRACT, Double, Double, Double),
    (operators::SUBSTRACT, Timestamp, Timestamp, Duration),
    (operators::SUBSTRACT, Timestamp, Duration, Timestamp),
    (operators::SUBSTRACT, Duration, Duration, Duration),
    (operators::MULTIPLY, Int, Int, Int),
    (operators::MULTIPLY, Uint, Uint, Uint),
    (operators::MULTIPLY, Double, Double, Double),
    (operators::DIVIDE, Int, Int, Int),
    (operators::DIVIDE, Uint, Uint, Uint),
    (operators::DIVIDE, Double, Double, Double),
    (operators::MODULO, Int, Int, Int),
    (operators::MODULO, Uint, Uint, Uint),
    (operators::IN, Dyn, List, Bool),
    (operators::IN, Dyn, Map, Bool),
];

/// Find mistakes that make every evaluation fail.
pub(super) fn check(tree: &IdedExpr, text: &str) -> Result<(), String> {
    let mut checker = Checker { text, locals: Vec::new() };
    checker.type_of(tree).map(drop)
}

struct Checker<'a> {
    text: &'a str,
    /// Variables of macros, innermost last.
    locals: Vec<(&'a str, Type)>,
}

impl<'a> Checker<'a> {
    fn type_of(&mut self, node: &'a IdedExpr) -> Result<Type, String> {
        match &node.expr {
            Expr::Unspecified => Err(self.at("", "empty expression")),
            Expr::Literal(literal) => Ok(type_of_literal(literal)),
            Expr::Ident(name) => Ok(self.type_of_name(name)),
            Expr::Select(select) => {
                let operand = self.type_of(&select.operand)?;
                if !operand.fits(Map) {
                    let message = format!("type '{operand}' does not support field selection");
                    return Err(self.at(&select.field, &message));
                }
                Ok(if select.test { Bool } else { Dyn })
            }
            Expr::Call(call) => self.type_of_call(call),
            Expr::Comprehension(inner) => self.type_of_comprehension(inner),
            Expr::List(_) | Expr::Map(_) => {
                for child in super::tree::children(node) {
                    self.type_of(child)?;
                }
                Ok(if matches!(node.expr, Expr::List(_)) { List } else { Map })
            }
            Expr::Struct(value) => {
                let message = format!("undeclared reference to '{}' (in container '')", value.type_name);
                Err(self.at(&value.type_name, &message))
            }
        }
    }

    fn type_of_name(&self, name: &str) -> Type {
        let local = self.locals.iter().rev().find(|(local, _)| *local == name);
        match local {
            Some((_, kind)) => *kind,
            None if TYPES.contains(&name) => Meta,
            None => Dyn,
        }
    }

    fn type_of_comprehension(&mut self, inner: &'a ComprehensionExpr) -> Result<Type, String> {
        let range = self.type_of(&inner.iter_range)?;
        if !range.fits(List) && !range.fits(Map) {
            let message = format!(
                "expression of type '{range}' cannot be range of a comprehension (must be list, map, or dynamic)"
            );
            return Err(self.at("", &message));
        }
        let start = self.type_of(&inner.accu_init)?;
        let outer = self.locals.len();
        self.locals.push((&inner.accu_var, start));
        self.locals.push((&inner.iter_var, Dyn));
        self.locals.extend(inner.iter_var2.as_deref().map(|name| (name, Dyn)));
        self.type_of(&inner.loop_cond)?;
        self.type_of(&inner.loop_step)?;
        let result = self.type_of(&inner.result);
        self.locals.truncate(outer);
        result
    }

    fn type_of_call(&mut self, call: &'a CallExpr) -> Result<Type, String> {
        let target = match &call.target {
            Some(target) => Some(self.type_of(target)?),
            None => None,
        };
        let mut arguments = Vec::with_capacity(call.args.len());
        for argument in &call.args {
            arguments.push(self.type_of(argument)?);
        }
        let name = call.func_name.as_str();
        let result = match target {
            None => type_of_operator(name, &arguments),
            Some(_) => None,
        };
        match result.unwrap_or_else(|| type_of_function(name, target, &arguments)) {
            Ok(result) => Ok(result),
            Err(Misfit::Unknown) => {
                let message = format!("undeclared reference to '{name}' (in container '')");
                Err(self.at(name, &message))
            }
            Err(Misfit::Types) => Err(self.misfit(name, target, &arguments)),
        }
    }

    fn misfit(&self, name: &str, target: Option<Type>, arguments: &[Type]) -> String {
        let arguments: Vec<_> = arguments.iter().map(Type::to_string).collect();
        let receiver = target.map(|target| format!("{target}.")).unwrap_or_default();
        let message =
            format!("found no matching overload for '{name}' applied to '{receiver}({})'", arguments.join(", "));
        self.at(name, &message)
    }

    /// A message with the position of the first occurrence of `name`.
    fn at(&self, name: &str, message: &str) -> String {
        // Operators are named `_==_`; the text contains the part between the underscores.
        let written = name.trim_matches(|c| c == '_' || c == '@');
        let code = outside_literals(self.text);
        let found = (!written.is_empty()).then(|| occurrences(self.text, written, &code).next()).flatten();
        match found {
            None => format!("ERROR: <input>: {message}"),
            Some(offset) => {
                let (line, column) = line_and_column(self.text, offset);
                format!("ERROR: <input>:{line}:{column}: {message}")
            }
        }
    }
}

enum Misfit {
    Unknown,
    Types,
}

fn type_of_literal(literal: &LiteralValue) -> Type {
    match literal {
        LiteralValue::Boolean(_) => Bool,
        LiteralValue::Bytes(_) => Bytes,
        LiteralValue::Double(_) => Double,
        LiteralValue::Int(_) => Int,
        LiteralValue::Null => Null,
        LiteralValue::String(_) => Text,
        LiteralValue::UInt(_) => Uint,
    }
}

/// `None` if it is not an operator.
fn type_of_operator(name: &str, arguments: &[Type]) -> Option<Result<Type, Misfit>> {
    let when = |fits: bool, result: Type| Some(if fits { Ok(result) } else { Err(Misfit::Types) });
    match (name, arguments) {
        (operators::LOGICAL_AND | operators::LOGICAL_OR, sides) => when(sides.iter().all(|side| side.fits(Bool)), Bool),
        (operators::LOGICAL_NOT | operators::NOT_STRICTLY_FALSE, [side]) => when(side.fits(Bool), Bool),
        (operators::NEGATE, [side]) => when(side.fits(Int) || *side == Double, *side),
        (operators::CONDITIONAL, [condition, yes, no]) => {
            let result = if yes == no { *yes } else { Dyn };
            when(condition.fits(Bool) && yes.fits(*no), result)
        }
        (operators::EQUALS | operators::NOT_EQUALS, [left, right]) => {
            when(left.fits(*right) || both_numbers(*left, *right), Bool)
        }
        (operators::LESS | operators::LESS_EQUALS | operators::GREATER | operators::GREATER_EQUALS, [left, right]) => {
            let ordered = |side: &Type| !matches!(side, Null | List | Map | Meta);
            let alike = left.fits(*right) || both_numbers(*left, *right);
            // A value of the event may be compared with null: that fails at evaluation, as in cel-go.
            let is_null_beside_any = matches!((*left, *right), (Dyn, Null) | (Null, Dyn));
            when(is_null_beside_any || (alike && ordered(left) && ordered(right)), Bool)
        }
        (operators::INDEX, [operand, index]) => {
            when(operand.fits(Map) || (*operand == List && (index.fits(Int) || index.is_number())), Dyn)
        }
        (_, [left, right]) if OPERATORS.iter().any(|(known, ..)| *known == name) => {
            let fitting = OPERATORS
                .iter()
                .filter(|(known, on_left, on_right, _)| *known == name && left.fits(*on_left) && right.fits(*on_right));
            Some(one_of(fitting.map(|(.., result)| *result)))
        }
        _ => None,
    }
}

fn both_numbers(left: Type, right: Type) -> bool {
    left.is_number() && right.is_number()
}

fn type_of_function(name: &str, target: Option<Type>, arguments: &[Type]) -> Result<Type, Misfit> {
    let is_time_part = TIME_PARTS.contains(&name);
    match (name, target, arguments) {
        ("type", None, [_]) => return Ok(Meta),
        ("dyn", None, [_]) => return Ok(Dyn),
        (_, Some(target), zone) if is_time_part => {
            let of_time = target.fits(Timestamp) && zone.len() <= 1 && zone.iter().all(|zone| zone.fits(Text));
            let of_duration = target.fits(Duration) && zone.is_empty() && DURATION_PARTS.contains(&name);
            return if of_time || of_duration { Ok(Int) } else { Err(Misfit::Types) };
        }
        _ => {}
    }
    let known = is_time_part || name == "type" || name == "dyn" || FUNCTIONS.iter().any(|(known, ..)| *known == name);
    if !known {
        return Err(Misfit::Unknown);
    }
    let fitting = FUNCTIONS.iter().filter(|(known, receiver, wanted, _)| {
        let receives = match (receiver, target) {
            (Some(wanted), Some(target)) => target.fits(*wanted),
            (None, None) => true,
            _ => false,
        };
        *known == name
            && receives
            && wanted.len() == arguments.len()
            && arguments.iter().zip(*wanted).all(|(argument, wanted)| argument.fits(*wanted))
    });
    one_of(fitting.map(|(.., result)| *result))
}

/// The type of a call that fits these overloads: theirs if they agree.
fn one_of(mut results: impl Iterator<Item = Type>) -> Result<Type, Misfit> {
    let first = results.next().ok_or(Misfit::Types)?;
    Ok(if results.all(|result| result == first) { first } else { Dyn })
}

/// Line and column of a variable's first use, which is not a field, a function or a part of a literal.
pub(super) fn position_of_variable(text: &str, name: &str) -> Option<(usize, usize)> {
    let outside = outside_literals(text);
    let is_variable = |offset: &usize| {
        let before = text[..*offset].trim_end();
        let operand = before.strip_suffix('.').map(str::trim_end);
        let is_field = operand.is_some_and(|operand| operand.ends_with(|c: char| is_name(c) || ")]}'\"".contains(c)));
        let after = text[*offset + name.len()..].trim_start();
        !is_field && !after.starts_with('(')
    };
    occurrences(text, name, &outside).find(is_variable).map(|offset| line_and_column(text, offset))
}

fn line_and_column(text: &str, offset: usize) -> (usize, usize) {
    let before = &text[..offset];
    let line = before.matches('\n').count() + 1;
    let column = before.rsplit('\n').next().unwrap_or("").chars().count() + 1;
    (line, column)
}

fn is_name(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// The offsets of `wanted` in the code, not within a longer name.
fn occurrences<'t>(text: &'t str, wanted: &'t str, code: &'t [bool]) -> impl Iterator<Item = usize> + 't {
    text.match_indices(wanted).map(|(offset, _)| offset).filter(move |offset| {
        let before = text[..*offset].chars().next_back();
        let after = text[offset + wanted.len()..].chars().next();
        code.get(*offset) == Some(&true)
            && !(wanted.starts_with(is_name) && before.is_some_and(is_name))
            && !(wanted.ends_with(is_name) && after.is_some_and(is_name))
    })
}

/// For each byte: is it code, that is, neither in a quoted literal nor in a comment?
fn outside_literals(text: &str) -> Vec<bool> {
    let mut code = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let (length, is_code) = match first {
            '\'' | '"' => (length_of_literal(rest, is_raw(&text[..text.len() - rest.len()])), false),
            '/' if rest.starts_with("//") => (rest.find('\n').unwrap_or(rest.len()), false),
            other => (other.len_utf8(), true),
        };
        code.resize(code.len() + length, is_code);
        rest = &rest[length..];
    }
    code
}

/// Does the quote after `before` begin a raw literal, such as `r'a'` or `bR"a"`?
fn is_raw(before: &str) -> bool {
    let start = before.trim_end_matches(is_name).len();
    let prefix = &before[start..];
    prefix.len() <= 2 && prefix.contains(['r', 'R']) && prefix.chars().all(|c| "rRbB".contains(c))
}

/// The length of the literal at the start of `text`. An unterminated one extends to the end.
fn length_of_literal(text: &str, is_raw: bool) -> usize {
    let one = &text[..1];
    let three = one.repeat(3);
    let quote = if text.starts_with(&three) { three.as_str() } else { one };
    let mut offset = quote.len();
    while let Some(c) = text[offset..].chars().next() {
        if text[offset..].starts_with(quote) {
            return offset + quote.len();
        }
        offset += c.len_utf8();
        if c == '\\' && !is_raw {
            offset += text[offset..].chars().next().map_or(0, char::len_utf8);
        }
    }
    text.len()
}
