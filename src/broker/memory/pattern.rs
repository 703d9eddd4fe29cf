//! Topics of subscriptions that end with a star.

/// Does a subscription's topic match a published one? A star at the end matches one character or more.
pub(super) fn matches(pattern: &str, topic: &str) -> bool {
    pattern == topic
        || pattern.strip_suffix('*').is_some_and(|prefix| topic.len() > prefix.len() && topic.starts_with(prefix))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_at_the_end_matches_at_least_one_character() {
        #[track_caller]
        fn check(pattern: &str, topic: &str, expected: bool) {
            assert_eq!(matches(pattern, topic), expected, "{pattern} {topic}");
        }
        check("t", "t", true);
        check("t", "t1", false);
        check("t*", "t", false);
        check("t*", "t1", true);
        check("t*", "tX/y", true);
        check("t*", "t*", true);
        check("*", "t", true);
        check("*", "", false);
        check("a*b", "axb", false);
    }
}
