//! Where a group begins that does not exist yet (`startFrom`, ours: daprd's groups always begin with the oldest entry).
//! A group that was there and is lost begins anew with the oldest entry, whatever this says: nothing may be lost (D17).

use std::time::Duration;

use crate::duration;
use crate::metadata::nearest;

/// The first entry that a new group delivers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum StartFrom {
    /// The oldest that is still in the stream.
    #[default]
    Oldest,
    /// The first that is added after the group was made.
    New,
    /// This one, or the first after it.
    Entry {
        /// Unix time in milliseconds.
        millis: u64,
        /// Which one within them.
        number: u64,
    },
    /// The first of the last so much time.
    Ago(Duration),
}

const NAMES: &[&str] = &["oldest", "new"];

impl StartFrom {
    /// Read a value: a name, an entry id with or without its second part, an RFC 3339 time, a duration back from now.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(super) fn read(text: &str) -> Result<Self, String> {
        let text = text.trim();
        match text.to_ascii_lowercase().as_str() {
            "oldest" => return Ok(Self::Oldest),
            "new" => return Ok(Self::New),
            _ => {}
        }
        let entry = || {
            let (millis, number) = text.split_once('-').unwrap_or((text, "0"));
            let digits = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
            let (millis, number) = Some((millis, number)).filter(|(a, b)| digits(a) && digits(b))?;
            Some(Self::Entry { millis: millis.parse().ok()?, number: number.parse().ok()? })
        };
        let time = || {
            let time = chrono::DateTime::parse_from_rfc3339(text).ok()?;
            // Nothing is older than 1970.
            let millis = u64::try_from(time.timestamp_millis()).unwrap_or(0);
            Some(Self::Entry { millis, number: 0 })
        };
        let ago = || {
            let ago = duration::parse(text).ok()?;
            (!ago.is_negative()).then(|| Self::Ago(ago.to_std()))
        };
        entry().or_else(time).or_else(ago).ok_or_else(|| {
            let meant = nearest(text, NAMES)
                .map(|name| format!("; did you mean {name:?}?"))
                .unwrap_or_default();
            format!(
                "startFrom {text:?} is neither \"oldest\" nor \"new\", nor an entry id like 1741917566000-0, a time like 2025-03-14T01:59:26Z, or a duration back from now like 1h{meant}"
            )
        })
    }

    /// What XGROUP CREATE takes: the last entry that does not count. `now_millis` is the time from which durations count back.
    pub(super) fn last_left_out(self, now_millis: u64) -> String {
        let before = |millis: u64, number: u64| match (millis, number) {
            (0, 0) => "0".to_owned(),
            (millis, 0) => format!("{}-{}", millis - 1, u64::MAX),
            (millis, number) => format!("{millis}-{}", number - 1),
        };
        match self {
            Self::Oldest => "0".to_owned(),
            Self::New => "$".to_owned(),
            Self::Entry { millis, number } => before(millis, number),
            Self::Ago(ago) => {
                let ago = u64::try_from(ago.as_millis()).unwrap_or(u64::MAX);
                before(now_millis.saturating_sub(ago), 0)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: u64 = 1_741_917_566_000;

    #[test]
    fn a_group_begins_where_it_is_told() {
        #[track_caller]
        fn check(text: &str, expected: &str) {
            let start = StartFrom::read(text).unwrap();
            assert_eq!(start.last_left_out(NOW), expected, "{text}");
        }
        check("oldest", "0");
        check(" Oldest ", "0");
        check("new", "$");
        check("NEW", "$");
        check("0", "0");
        check("0-0", "0");
        check("0-1", "0-0");
        check("1741917566000-5", "1741917566000-4");
        // The entry that is named is the first that is delivered.
        check("1741917566000-0", "1741917565999-18446744073709551615");
        check("1741917566000", "1741917565999-18446744073709551615");
        check("2025-03-14T01:59:26Z", "1741917565999-18446744073709551615");
        check("2025-03-14T02:59:26.5+01:00", "1741917566499-18446744073709551615");
        check("1955-11-05T06:15:00Z", "0");
        check("1h", "1741913965999-18446744073709551615");
        check("1h30m", "1741912165999-18446744073709551615");
        check("0s", "1741917565999-18446744073709551615");
        check("900000h", "0");
    }

    #[test]
    fn what_cannot_be_meant_is_named() {
        for text in [
            "",
            "latest",
            "$",
            "-",
            "-1",
            "1-",
            "1-x",
            "+5",
            "1.5",
            "-1h",
            "1d",
            "yesterday",
            "2025-03-14",
            "99999999999999999999",
            "2025-03-14T01:59:26",
        ] {
            // An empty half of an id is no number.
            let error = StartFrom::read(text).unwrap_err();
            assert!(error.starts_with(&format!("startFrom {text:?} is neither")), "{error}");
        }
        let error = StartFrom::read("oldset").unwrap_err();
        assert!(error.ends_with("did you mean \"oldest\"?"), "{error}");
    }
}
