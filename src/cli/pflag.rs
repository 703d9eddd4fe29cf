//! Parsing of arguments by the rules and in the words of Go's pflag
//! (tests/spec/resources-cli.md, "1.1 Parsing rules"). Drives the table in `flags`.

use std::fmt::Write as _;

use crate::cli::flags::{FLAGS, Flag, Flags, find};
use crate::credentials::masked;
use crate::metadata::nearest;

/// Parsed arguments.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Parsed {
    /// The values.
    pub flags: Flags,
    /// Whether there was `--help` or `-h`; nothing after it is parsed.
    pub help: bool,
    /// Lines for stderr about deprecated flags.
    pub notices: Vec<String>,
    /// Words that are no flags, and all words after `--`: ignored, as by daprd.
    pub ignored: Vec<String>,
}

/// An error in the arguments, in pflag's words.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SyntaxError {
    /// Unknown flag.
    #[error("unknown flag: --{name}{}", meant.map_or_else(String::new, |meant| format!(", did you mean --{meant}?")))]
    UnknownFlag {
        /// Its name, without dashes.
        name: String,
        /// The most similar flag.
        meant: Option<&'static str>,
    },
    /// Unknown short flag; only `-h` exists.
    #[error("unknown shorthand flag: '{letter}' in {argument}")]
    UnknownLetter {
        /// The letter.
        letter: char,
        /// The whole argument.
        argument: String,
    },
    /// The last argument is a flag without its value.
    #[error("flag needs an argument: --{0}")]
    NoValue(String),
    /// `---x`, `--=x`.
    #[error("bad flag syntax: {0}")]
    Syntax(String),
    /// A value of the wrong type.
    #[error("invalid argument {:?} for \"--{flag}\" flag: {cause}", masked(value))]
    Value {
        /// The value as given.
        value: String,
        /// Its name, without dashes.
        flag: &'static str,
        /// The cause in Go's words.
        cause: String,
    },
}

/// Parse arguments, without the name of the program. Notices are returned with an error, too.
///
/// # Errors
/// The first invalid argument.
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
        // A value may begin with any character. daprd also rewrites it (rule 2), which is left out on purpose.
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
        let default = flag.default_text().map(|default| format!(" (default {default})"));
        // Writing to a String cannot fail.
        let _ = writeln!(text, "{:width$}   {}{}", label(flag), flag.help, default.unwrap_or_default());
    }
}

/// The part of a flag after its dashes; `None` for a positional argument. A single dash before more than one letter counts
/// as two.
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
