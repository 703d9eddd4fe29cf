//! The properties of a component: names that are looked up whatever their case, values that are always text.
//!
//! Mirrors spec redis.md 2: an exactly spelt name wins over one in another case, the last of two equal names wins.

/// Names and values in file order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Properties(Vec<(String, String)>);

impl Properties {
    /// Set a property; an earlier one of exactly this name is replaced.
    pub fn set(&mut self, name: impl Into<String>, value: impl Into<String>) {
        let (name, value) = (name.into(), value.into());
        match self.0.iter_mut().find(|(known, _)| *known == name) {
            Some((_, old)) => *old = value,
            None => self.0.push((name, value)),
        }
    }

    /// The value of a property: exact spelling first, else any case.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.get_exact(name).or_else(|| {
            self.iter()
                .find(|(known, _)| known.eq_ignore_ascii_case(name))
                .map(|(_, value)| value)
        })
    }

    /// The value of a property in exactly this spelling.
    pub fn get_exact(&self, name: &str) -> Option<&str> {
        self.iter()
            .find(|(known, _)| *known == name)
            .map(|(_, value)| value)
    }

    /// All properties in file order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str()))
    }
}

impl<N: Into<String>, V: Into<String>> FromIterator<(N, V)> for Properties {
    fn from_iter<I: IntoIterator<Item = (N, V)>>(pairs: I) -> Self {
        let mut properties = Self::default();
        for (name, value) in pairs {
            properties.set(name, value);
        }
        properties
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exact_spelling_wins_then_any_case_then_the_last() {
        let properties: Properties = [
            ("REDISHOST", "a"),
            ("redisHost", "b"),
            ("Foo", "1"),
            ("Foo", "2"),
        ]
        .into_iter()
        .collect();
        assert_eq!(properties.get("redisHost"), Some("b"));
        assert_eq!(properties.get("redishost"), Some("a"));
        assert_eq!(properties.get("foo"), Some("2"));
        assert_eq!(properties.get_exact("foo"), None);
    }
}
