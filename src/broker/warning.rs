//! Warnings about the settings of a component, for every broker.

use crate::credentials::masked;
use crate::diagnostic::{Diagnostic, Severity};
use crate::metadata::{ComponentMetadata, nearest};

/// Warnings about settings that are not in `known`. One that resembles none of them is a hint only, unless `explain` has a text for it.
pub(super) fn unknown(
    properties: &ComponentMetadata,
    known: &[&str],
    explain: impl Fn(&str) -> Option<String>,
) -> Vec<Diagnostic> {
    let names = properties.iter().map(|(name, _)| name);
    names
        .filter(|name| !known.iter().any(|known| known.eq_ignore_ascii_case(name)))
        .map(|name| {
            if let Some(text) = explain(name) {
                return Diagnostic::of_setting(text);
            }
            let text = format!("setting {:?} is not known and has no effect", masked(name));
            match nearest(name, known) {
                Some(meant) => Diagnostic::of_setting(format!("{text}; did you mean {meant:?}?")),
                None => Diagnostic { severity: Severity::Hint, ..Diagnostic::of_setting(text) },
            }
        })
        .collect()
}

/// A warning about a `consumerID` in another spelling: it is the only setting whose case counts (tests/spec/redis.md, "2.3 consumerID").
pub(super) fn misspelt_group(properties: &ComponentMetadata) -> Vec<Diagnostic> {
    let names = properties.iter().map(|(name, _)| name);
    names
        .filter(|name| name.eq_ignore_ascii_case("consumerID") && *name != "consumerID")
        .map(|name| {
            let group = properties.get_exact("consumerID").unwrap_or_default();
            Diagnostic::of_setting(format!("setting {name:?} has no effect, it must be spelt exactly consumerID; the consumer group is now the app id ({group})"))
        })
        .collect()
}
