//! Component types: their categories, and the types of this build.

use crate::metadata::nearest;

/// The types of pub/sub that this build has; `broker::kinds` has the same list, with their brokers.
pub const PUBSUBS: [&str; 2] = ["pubsub.redis", "pubsub.in-memory"];
const SECRET_STORES: [&str; 2] = ["secretstores.local.file", "secretstores.local.env"];

/// The purpose of a component type, by its prefix.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Category {
    /// `pubsub.*`.
    Pubsub,
    /// `secretstores.local.env` and `secretstores.local.file`.
    SecretStore,
    /// A building block of daprd that this sidecar does not have: skipped with a warning (tests/spec/resources-cli.md,
    /// "5.6 Categories we do not implement").
    Foreign,
}

impl Category {
    /// The category of a type; `None` for an unknown prefix. The prefix is case-sensitive, the rest is not.
    pub fn of(kind: &str) -> Option<Self> {
        let (prefix, rest) = kind.split_once('.')?;
        let rest = rest.to_ascii_lowercase();
        match (prefix, rest.as_str()) {
            ("pubsub", _) => Some(Self::Pubsub),
            ("secretstores", "local.env" | "local.file") => Some(Self::SecretStore),
            (
                "secretstores" | "state" | "bindings" | "middleware" | "configuration" | "crypto" | "lock"
                | "conversation",
                _,
            ) => Some(Self::Foreign),
            _ => None,
        }
    }
}

/// Whether this build has the type, in some version.
pub(super) fn is_known(kind: &str) -> bool {
    let mut known = PUBSUBS.iter().chain(&SECRET_STORES);
    Category::of(kind).is_some() && known.any(|known| kind.eq_ignore_ascii_case(known))
}

/// The end of a message about an unknown type or version: which types this build has, and which was most likely meant.
pub(super) fn hint(kind: &str) -> String {
    if is_known(kind) {
        return ": only version v1 is there".to_owned();
    }
    let known: Vec<&str> = PUBSUBS.iter().chain(&SECRET_STORES).copied().collect();
    let meant = nearest(kind, &known);
    let meant = meant.map_or(String::new(), |meant| format!(", did you mean {meant}?"));
    let pubsubs = PUBSUBS.join(" and ");
    let stores = if kind.starts_with("secret") {
        format!(", and the secret stores {}", SECRET_STORES.join(" and "))
    } else {
        String::new()
    };
    format!(": this build has {pubsubs}{stores}{meant}")
}

/// Whether this is the version of every type here: empty, `v0` and `v1` mean the same (tests/spec/resources-cli.md,
/// "5.1 Schema").
pub fn is_first_version(version: &str) -> bool {
    matches!(version.to_ascii_lowercase().as_str(), "" | "v0" | "v1")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn categories_by_prefix() {
        for (kind, category) in [
            ("pubsub.redis", Some(Category::Pubsub)),
            ("pubsub.Redis", Some(Category::Pubsub)),
            ("PubSub.redis", None),
            ("secretstores.Local.Env", Some(Category::SecretStore)),
            ("secretstores.hashicorp.vault", Some(Category::Foreign)),
            ("state.redis", Some(Category::Foreign)),
            ("nameresolution.mdns", None),
            ("workflow.dapr", None),
            ("pubsub", None),
            ("", None),
        ] {
            assert_eq!(Category::of(kind), category, "{kind}");
        }
    }

    #[test]
    fn a_type_that_is_not_known_is_answered_with_those_that_are() {
        for (kind, expected) in [
            ("pubsub.kafka", ": this build has pubsub.redis and pubsub.in-memory"),
            ("pubsub.reddis", ": this build has pubsub.redis and pubsub.in-memory, did you mean pubsub.redis?"),
            ("pubsub.inmemory", ": this build has pubsub.redis and pubsub.in-memory, did you mean pubsub.in-memory?"),
            ("pubsb.redis", ": this build has pubsub.redis and pubsub.in-memory, did you mean pubsub.redis?"),
            (
                "secretstore.local.file",
                ": this build has pubsub.redis and pubsub.in-memory, and the secret stores secretstores.local.file and secretstores.local.env, did you mean secretstores.local.file?",
            ),
            ("PubSub.redis", ": this build has pubsub.redis and pubsub.in-memory, did you mean pubsub.redis?"),
            ("pubsub.Redis", ": only version v1 is there"),
        ] {
            assert_eq!(hint(kind), expected, "{kind}");
        }
    }
}
