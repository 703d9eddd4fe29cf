//! The time of an event. Its text is made once a second.

use std::sync::Arc;

use chrono::{DateTime, Local, SecondsFormat, TimeZone, Utc};
use parking_lot::Mutex;

/// A clock. Clones share the text of the current second.
#[derive(Clone, Debug, Default)]
pub struct Clock(Arc<Mutex<Second>>);

/// A second since 1970 and its text.
type Second = Option<(i64, Arc<str>)>;

/// A point in time with its text in events.
#[derive(Clone, Debug)]
pub struct Moment {
    pub(super) utc: DateTime<Utc>,
    pub(super) text: Arc<str>,
}

impl Clock {
    /// The current time, in the local time zone.
    pub fn now(&self) -> Moment {
        let utc = Utc::now();
        let second = utc.timestamp();
        let mut last = self.0.lock();
        let text = match &*last {
            Some((known, text)) if *known == second => text.clone(),
            _ => {
                let text = rfc3339(&utc.with_timezone(&Local));
                *last = Some((second, text.clone()));
                text
            }
        };
        Moment { utc, text }
    }
}

impl Moment {
    /// A given time, written in its own zone.
    pub fn at<Z: TimeZone<Offset: std::fmt::Display>>(time: &DateTime<Z>) -> Self {
        Self { utc: time.with_timezone(&Utc), text: rfc3339(time) }
    }
}

fn rfc3339<Z: TimeZone<Offset: std::fmt::Display>>(time: &DateTime<Z>) -> Arc<str> {
    time.to_rfc3339_opts(SecondsFormat::Secs, true).into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use chrono::FixedOffset;

    #[test]
    fn the_zone_is_written_as_z_only_for_utc() {
        let utc = DateTime::from_timestamp(1_714_564_800, 900_000_000).unwrap();
        let east = FixedOffset::east_opt(7200).unwrap();
        assert_eq!(&*Moment::at(&utc).text, "2024-05-01T12:00:00Z");
        assert_eq!(&*Moment::at(&utc.with_timezone(&east)).text, "2024-05-01T14:00:00+02:00");
    }

    #[test]
    fn now_is_now() {
        let moment = Clock::default().now();
        let parsed = DateTime::parse_from_rfc3339(&moment.text).unwrap();
        assert_eq!(parsed.timestamp(), moment.utc.timestamp());
    }
}
