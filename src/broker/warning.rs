//! Warnings about the settings of a component, for every broker.

use crate::credentials::masked;
use crate::diagnostic::Severity;
use crate::metadata::{Properties, nearest};

/// A setting that is ignored or looks like a mistake. The component can be used all the same.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Warning {
    /// The text.
    pub text: String,
    /// How much it matters to `check`.
    pub severity: Severity,
}

impl<T: Into<String>> From<T> for Warning {
    /// A warning about something that most likely does not do what its author wants.
    fn from(text: T) -> Self {
        Self { text: text.into(), severity: Severity::Warning }
    }
}

/// Warnings about settings that are not in `known`. One that resembles none of them is a hint only, unless `explain` has a text for it.
pub(super) fn unknown(
    properties: &Properties,
    known: &[&str],
    explain: impl Fn(&str) -> Option<String>,
) -> Vec<Warning> {
    let names = properties.iter().map(|(name, _)| name);
    names
        .filter(|name| !known.iter().any(|known| known.eq_ignore_ascii_case(name)))
        .map(|name| {
            if let Some(text) = explain(name) {
                return Warning::from(text);
            }
            let text = format!("setting {:?} is not known and has no effect", masked(name));
            match nearest(name, known) {
                Some(meant) => Warning::from(format!("{text}; did you mean {meant:?}?")),
                None => Warning { text, severity: Severity::Hint },
            }
        })
        .collect()
}

/// A warning about a `consumerID` in another spelling: it is the only setting whose case counts (tests/spec/redis.md, "2.3 consumerID").
pub(super) fn misspelt_group(properties: &Properties) -> Vec<Warning> {
    let names = properties.iter().map(|(name, _)| name);
    names
        .filter(|name| name.eq_ignore_ascii_case("consumerID") && *name != "consumerID")
        .map(|name| {
            let group = properties.get_exact("consumerID").unwrap_or_default();
            Warning::from(format!("setting {name:?} has no effect, it must be spelt exactly consumerID; the consumer group is now the app id ({group})"))
        })
        .collect()
}
