//! The rules of Go's pflag: how arguments become flags and values, and the exact words about those that do not
//! (tests/spec/resources-cli.md, "1.1 Parsing rules"). Drives the table in `flags`.

use std::fmt::Write as _;

use crate::cli::flags::{FLAGS, Flag, Flags, find};
use crate::credentials::masked;
use crate::metadata::nearest;

/// What the arguments said.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Parsed {
    /// The values.
    pub flags: Flags,
    /// `--help` or `-h` was among them: nothing after it was read.
    pub help: bool,
    /// Lines for stderr about deprecated flags.
    pub notices: Vec<String>,
    /// Words that are no flags, and what stands after `--`: ignored, as daprd does.
    pub ignored: Vec<String>,
}

/// Why arguments cannot be understood; the texts are pflag's.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SyntaxError {
    /// No such flag.
    #[error("unknown flag: --{name}{}", meant.map_or_else(String::new, |meant| format!(", did you mean --{meant}?")))]
    UnknownFlag {
        /// Without dashes.
        name: String,
        /// The flag whose name is like it.
        meant: Option<&'static str>,
    },
    /// No such letter; only `-h` exists.
    #[error("unknown shorthand flag: '{letter}' in {argument}")]
    UnknownLetter {
        /// The letter.
        letter: char,
        /// The whole argument.
        argument: String,
    },
    /// The last argument is a flag that takes a value.
    #[error("flag needs an argument: --{0}")]
    NoValue(String),
    /// `---x`, `--=x`.
    #[error("bad flag syntax: {0}")]
    Syntax(String),
    /// A value of the wrong type.
    #[error("invalid argument {:?} for \"--{flag}\" flag: {cause}", masked(value))]
    Value {
        /// As given.
        value: String,
        /// Without dashes.
        flag: &'static str,
        /// In the words of Go.
        cause: String,
    },
}

/// Read arguments, the program's name not among them. The notices that came before an error are given, too.
///
/// # Errors
/// The first argument that cannot be understood.
pub fn parse(arguments: &[String]) -> (Parsed, Result<(), SyntaxError>) {
    let mut parsed = Parsed::default();
    let result = parse_into(&mut parsed, arguments);
    (parsed, result)
}

fn parse_into(parsed: &mut Parsed, arguments: &[String]) -> Result<(), SyntaxError> {
    let mut arguments = arguments.iter();
    while let Some(argument) = arguments.next() {
        if argument == "--" {
            parsed.ignored.extend(arguments.cloned());
            return Ok(());
        }
        let Some(text) = flag_text(argument)? else {
            parsed.ignored.push(argument.clone());
            continue;
        };
        let (name, value) = match text.split_once('=') {
            Some((name, value)) => (name, Some(value)),
            None => (text, None),
        };
        let Some(flag) = find(name) else {
            if name == "help" || name == "h" {
                parsed.help = true;
                return Ok(());
            }
            return Err(unknown_flag(name));
        };
        // A value is taken whatever it begins with; the reference also rewrites it (rule 2), which helps nobody.
        let value = match value {
            Some(value) => value,
            None if flag.is_bool() => "true",
            None => match arguments.next() {
                Some(value) => value,
                None => return Err(SyntaxError::NoValue(name.to_owned())),
            },
        };
        set(parsed, flag, value)?;
    }
    Ok(())
}

fn unknown_flag(name: &str) -> SyntaxError {
    let names: Vec<&str> = FLAGS.iter().map(|flag| flag.name).collect();
    SyntaxError::UnknownFlag { name: name.to_owned(), meant: nearest(name, &names) }
}

/// The usage text of daprd: all flags, sorted.
pub fn usage() -> String {
    let mut text = "Usage of daprd:\n".to_owned();
    describe(&mut text, FLAGS.iter().filter(|flag| flag.deprecated.is_none()));
    text
}

/// Append a line for each flag: its name, type, meaning and default.
pub fn describe(text: &mut String, flags: impl Iterator<Item = &'static Flag> + Clone) {
    let label = |flag: &Flag| match flag.type_name() {
        "" => format!("      --{}", flag.name),
        kind => format!("      --{} {kind}", flag.name),
    };
    let width = flags.clone().map(|flag| label(flag).len()).max().unwrap_or(0);
    for flag in flags {
        let default = flag.default().map(|default| format!(" (default {default})"));
        // Writing to a String cannot fail.
        let _ = writeln!(text, "{:width$}   {}{}", label(flag), flag.help, default.unwrap_or_default());
    }
}

/// What follows the dashes of a flag; `None` for a positional argument. A single dash before more than one letter counts as two.
fn flag_text(argument: &str) -> Result<Option<&str>, SyntaxError> {
    let Some(rest) = argument.strip_prefix('-').filter(|rest| !rest.is_empty()) else {
        return Ok(None);
    };
    let text = match rest.strip_prefix('-') {
        Some(text) => text,
        None if argument.len() > 2 => rest,
        None if rest == "h" => return Ok(Some("help")),
        None => {
            return Err(SyntaxError::UnknownLetter {
                letter: rest.chars().next().unwrap_or_default(),
                argument: argument.to_owned(),
            });
        }
    };
    if text.is_empty() || text.starts_with(['-', '=']) {
        return Err(SyntaxError::Syntax(argument.to_owned()));
    }
    Ok(Some(text))
}

fn set(parsed: &mut Parsed, flag: &'static Flag, value: &str) -> Result<(), SyntaxError> {
    flag.set(&mut parsed.flags, value).map_err(|cause| SyntaxError::Value {
        value: value.to_owned(),
        flag: flag.name,
        cause,
    })?;
    if let Some(hint) = flag.deprecated {
        let notice = format!("Flag --{} has been deprecated, {hint}", flag.name);
        parsed.notices.push(notice);
    }
    Ok(())
}

#[cfg(test)]
mod tests;
