//! Where a new consumer group begins (`startFrom`, an extension: daprd's groups always begin with the oldest message).
//!
//! A group that existed and was lost begins with the oldest message, whatever this says: nothing may be lost (D17).

use std::time::Duration;

use crate::duration;
use crate::metadata::nearest;

/// The name of the setting, in a component and in a subscription.
pub const START_FROM: &str = "startFrom";

/// The first message that a new group delivers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum StartFrom {
    /// The oldest that is still stored.
    #[default]
    Oldest,
    /// The first that is stored after the group was created.
    New,
    /// This one, or the first after it.
    Entry {
        /// Unix time in milliseconds.
        millis: u64,
        /// Number within this millisecond.
        sequence: u64,
    },
    /// The first of this last stretch of time, for example `1h`.
    Ago(Duration),
}

const NAMES: &[&str] = &["oldest", "new"];

impl StartFrom {
    /// Read a value: a name, an entry id with or without its second part, an RFC 3339 time, or a duration back from now.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn read(text: &str) -> Result<Self, String> {
        let text = text.trim();
        match text.to_ascii_lowercase().as_str() {
            "oldest" => return Ok(Self::Oldest),
            "new" => return Ok(Self::New),
            _ => {}
        }
        let entry = || {
            let (millis, sequence) = text.split_once('-').unwrap_or((text, "0"));
            let digits = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
            let (millis, sequence) = Some((millis, sequence)).filter(|(a, b)| digits(a) && digits(b))?;
            Some(Self::Entry { millis: millis.parse().ok()?, sequence: sequence.parse().ok()? })
        };
        let time = || {
            let time = chrono::DateTime::parse_from_rfc3339(text).ok()?;
            // Nothing is older than 1970.
            let millis = u64::try_from(time.timestamp_millis()).unwrap_or(0);
            Some(Self::Entry { millis, sequence: 0 })
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
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_read() {
        #[track_caller]
        fn check(text: &str, expected: StartFrom) {
            assert_eq!(StartFrom::read(text), Ok(expected), "{text}");
        }
        check(" Oldest ", StartFrom::Oldest);
        check("NEW", StartFrom::New);
        check("0", StartFrom::Entry { millis: 0, sequence: 0 });
        check("1741917566000-5", StartFrom::Entry { millis: 1_741_917_566_000, sequence: 5 });
        check("2025-03-14T01:59:26Z", StartFrom::Entry { millis: 1_741_917_566_000, sequence: 0 });
        check("1h30m", StartFrom::Ago(Duration::from_secs(5400)));
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
