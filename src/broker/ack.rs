//! What acknowledges an event: the app when it is done with it, or the broker when it hands it over (`ack`, ours: daprd knows no such
//! setting). Read from the metadata of a component or of a subscription, by every broker.

use crate::message::Metadata;

/// The name of the setting.
pub const ACK: &str = "ack";

/// When an event counts as delivered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Ack {
    /// When the app is done with it; until then it comes again: at least once (D1).
    #[default]
    Explicit,
    /// Before the app gets it: at most once.
    None,
}

impl Ack {
    /// Read a value.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn read(text: &str) -> Result<Self, String> {
        match text.trim().to_ascii_lowercase().as_str() {
            "explicit" => Ok(Self::Explicit),
            "none" => Ok(Self::None),
            _ => Err(format!("ack {text:?} is neither \"explicit\" nor \"none\"")),
        }
    }

    /// What a subscription says about it; `None` if nothing.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn of_subscription(metadata: &Metadata) -> Result<Option<Self>, String> {
        wish(metadata, ACK).map(Self::read).transpose()
    }
}

/// A value of a subscription's metadata: exact spelling first, else any case, as in a component's.
pub(super) fn wish<'a>(metadata: &'a Metadata, name: &str) -> Option<&'a str> {
    let in_any_case = || {
        let mut all = metadata.iter();
        all.find_map(|(known, value)| known.eq_ignore_ascii_case(name).then_some(value))
    };
    metadata.get(name).or_else(in_any_case).map(String::as_str)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_subscription_may_want_no_acks() {
        #[track_caller]
        fn check(name: &str, value: &str, expected: Result<Option<Ack>, &str>) {
            let metadata = [(name.to_owned(), value.to_owned())].into();
            let expected = expected.map_err(str::to_owned);
            assert_eq!(Ack::of_subscription(&metadata), expected, "{name}={value}");
        }
        check("ack", "none", Ok(Some(Ack::None)));
        check("ACK", " None ", Ok(Some(Ack::None)));
        check("ack", "explicit", Ok(Some(Ack::Explicit)));
        check("acks", "none", Ok(None));
        check("ack", "", Err("ack \"\" is neither \"explicit\" nor \"none\""));
        check("ack", "no", Err("ack \"no\" is neither \"explicit\" nor \"none\""));
    }
}
