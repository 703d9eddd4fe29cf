//! The metadata of a component: names that are looked up in any case, and values that are always text.
//!
//! Follows tests/spec/redis.md, "2. Shared metadata rules": an exactly spelt name wins over one in another case, and the
//! last of equal names wins.

pub mod templates;

/// `spec.metadata` of a component, resolved: names and values in file order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ComponentMetadata(Vec<(String, String)>);

impl ComponentMetadata {
    /// Set a property. It replaces an earlier one of exactly this name.
    pub fn set(&mut self, name: impl Into<String>, value: impl Into<String>) {
        let (name, value) = (name.into(), value.into());
        match self.0.iter_mut().find(|(known, _)| *known == name) {
            Some((_, old)) => *old = value,
            None => self.0.push((name, value)),
        }
    }

    /// The value of a property, in exact spelling or else in any case.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.get_exact(name)
            .or_else(|| self.iter().find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| value))
    }

    /// The value of a property in exact spelling.
    pub fn get_exact(&self, name: &str) -> Option<&str> {
        self.iter().find(|(known, _)| *known == name).map(|(_, value)| value)
    }

    /// All properties in file order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }
}

impl<N: Into<String>, V: Into<String>> FromIterator<(N, V)> for ComponentMetadata {
    fn from_iter<I: IntoIterator<Item = (N, V)>>(pairs: I) -> Self {
        let mut properties = Self::default();
        for (name, value) in pairs {
            properties.set(name, value);
        }
        properties
    }
}

/// The known name that `name` is most likely a misspelling of; `None` if it resembles none, or is one of them (D15).
pub fn nearest<'a>(name: &str, known: &[&'a str]) -> Option<&'a str> {
    let lower = name.to_lowercase();
    // A third of the letters may be wrong: `redeliverInterwal` is recognized, `foo` is not taken for `topic`.
    let length = lower.chars().count();
    let limit = (length / 3).max(1);
    known
        .iter()
        // Names whose lengths differ by more are skipped: comparing a very long name takes too much time.
        .filter(|candidate| candidate.chars().count().abs_diff(length) <= limit)
        .map(|candidate| (distance(&lower, &candidate.to_lowercase()), *candidate))
        .min_by_key(|(distance, _)| *distance)
        .filter(|(distance, candidate)| *distance <= limit && *candidate != name)
        .map(|(_, candidate)| candidate)
}

/// The number of letters to change, add or remove to get from one text to the other; swapping two neighbours counts as
/// one.
fn distance(from: &str, to: &str) -> usize {
    let (from, to): (Vec<char>, Vec<char>) = (from.chars().collect(), to.chars().collect());
    let mut rows: Vec<Vec<usize>> = vec![(0..=to.len()).collect()];
    for (i, a) in from.iter().enumerate() {
        let mut row = vec![i + 1];
        for (j, b) in to.iter().enumerate() {
            let mut best = (rows[i][j] + usize::from(a != b)).min(rows[i][j + 1] + 1).min(row[j] + 1);
            if i > 0 && j > 0 && *a == to[j - 1] && from[i - 1] == *b {
                best = best.min(rows[i - 1][j - 1] + 1);
            }
            row.push(best);
        }
        rows.push(row);
    }
    rows[from.len()][to.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exact_spelling_wins_then_any_case_then_the_last() {
        let properties: ComponentMetadata =
            [("REDISHOST", "a"), ("redisHost", "b"), ("Foo", "1"), ("Foo", "2")].into_iter().collect();
        assert_eq!(properties.get("redisHost"), Some("b"));
        assert_eq!(properties.get("redishost"), Some("a"));
        assert_eq!(properties.get("foo"), Some("2"));
        assert_eq!(properties.get_exact("foo"), None);
    }
    #[test]
    fn a_misspelt_name_is_recognised() {
        let known = ["redisHost", "redeliverInterval", "topic", "route"];
        for (name, expected) in [
            ("redeliverInterwal", Some("redeliverInterval")),
            ("redis-host", Some("redisHost")),
            ("tpoic", Some("topic")),
            ("redishost", Some("redisHost")),
            ("topic", None),
            ("foo", None),
            ("", None),
        ] {
            assert_eq!(nearest(name, &known), expected, "{name}");
        }
        assert_eq!(nearest(&"redisHost".repeat(1_000_000), &known), None);
    }
}
