//! What a subscription asks of its broker in its own metadata, read in one place for every broker. All of it is an extension: daprd's
//! brokers read nothing there that decides how a topic is read.

use crate::broker::ack::{ACK, Ack};
use crate::broker::start_from::{START_FROM, StartFrom};
use crate::message::{self, Metadata};
use crate::metadata::nearest;

/// The consumer group of a subscription.
pub const GROUP: &str = "consumerGroup";
/// Whether every instance gets every event.
pub const FAN_OUT: &str = "fanOut";

/// What one subscription asks for. `None`: what its component says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SubscribeOptions {
    /// `consumerGroup`, with its templates; never empty.
    pub group: Option<String>,
    /// `fanOut`.
    pub fan_out: Option<bool>,
    /// `startFrom`.
    pub start_from: Option<StartFrom>,
    /// `ack`.
    pub ack: Option<Ack>,
    /// Warnings about names that have no effect and were most likely meant to have one.
    pub warnings: Vec<String>,
}

/// Which names in the metadata of a subscription mean something to a broker.
#[derive(Clone, Copy, Debug, Default)]
pub struct OptionNames {
    /// The options that the broker reads. The values of others are ignored.
    pub options: &'static [&'static str],
    /// The settings of the component. One of these in the metadata of a subscription is worth a warning, and so is a name that looks like a
    /// misspelt option. If there are none, no name is warned of.
    pub settings: &'static [&'static str],
}

/// A value in the metadata of a subscription that cannot be read.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("subscription metadata: {0}")]
pub struct OptionsError(pub String);

impl SubscribeOptions {
    /// Read the metadata of a subscription as a broker with these names understands it.
    ///
    /// # Errors
    /// The first value that cannot be read.
    pub fn read(metadata: &Metadata, names: &OptionNames) -> Result<Self, OptionsError> {
        Ok(Self { warnings: names.warnings(metadata), ..Self::values(metadata, names).map_err(OptionsError)? })
    }

    fn values(metadata: &Metadata, names: &OptionNames) -> Result<Self, String> {
        let value = |name: &str| {
            let is_read = names.options.contains(&name);
            if is_read { message::value(metadata, name) } else { None }
        };
        let flag = |text: &str| read_bool(text).map_err(|error| format!("{FAN_OUT}: {error}"));
        Ok(Self {
            group: value(GROUP).map(str::trim).filter(|group| !group.is_empty()).map(str::to_owned),
            fan_out: value(FAN_OUT).map(flag).transpose()?,
            start_from: value(START_FROM).map(StartFrom::read).transpose()?,
            ack: value(ACK).map(Ack::read).transpose()?,
            warnings: Vec::new(),
        })
    }
}

impl OptionNames {
    /// Everything that is wrong with the metadata of a subscription, or looks like it: for `check`.
    pub fn mistakes(&self, metadata: &Metadata) -> Vec<String> {
        let error = SubscribeOptions::values(metadata, self).err();
        self.warnings(metadata).into_iter().chain(error).collect()
    }

    /// Warnings about names without effect. Names that look like no option are ignored: an app may keep notes of its own there.
    fn warnings(&self, metadata: &Metadata) -> Vec<String> {
        if self.settings.is_empty() {
            return Vec::new();
        }
        let has = |names: &[&str], name: &str| names.iter().any(|known| known.eq_ignore_ascii_case(name));
        let warning = |name: &str| {
            if has(self.options, name) || name == "rawPayload" {
                return None;
            }
            if has(self.settings, name) {
                return Some(format!(
                    "{name:?} is a setting of the component and has no effect in the metadata of a subscription"
                ));
            }
            let meant = nearest(name, self.options)?;
            Some(format!("{name:?} has no effect in the metadata of a subscription; did you mean {meant:?}?"))
        };
        metadata.keys().filter_map(|name| warning(name)).collect()
    }
}

/// A boolean in daprd's spellings.
///
/// # Errors
/// What is wrong with it.
pub(super) fn read_bool(text: &str) -> Result<bool, String> {
    match text {
        "1" | "t" | "T" | "TRUE" | "true" | "True" => Ok(true),
        "0" | "f" | "F" | "FALSE" | "false" | "False" => Ok(false),
        _ => Err(format!("invalid bool \"{text}\"")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NAMES: OptionNames =
        OptionNames { options: &[ACK, GROUP, FAN_OUT, START_FROM], settings: &["maxLen", "consumerID"] };

    fn metadata(pairs: &[(&str, &str)]) -> Metadata {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn values_are_read_by_names_in_any_case() {
        #[track_caller]
        fn check(pairs: &[(&str, &str)], expected: SubscribeOptions) {
            assert_eq!(SubscribeOptions::read(&metadata(pairs), &NAMES), Ok(expected), "{pairs:?}");
        }
        let none = SubscribeOptions::default;
        check(&[], none());
        check(&[("rawPayload", "true"), ("note", "x")], none());
        check(&[("consumerGroup", " g ")], SubscribeOptions { group: Some("g".to_owned()), ..none() });
        check(&[("CONSUMERGROUP", "g")], SubscribeOptions { group: Some("g".to_owned()), ..none() });
        check(&[("consumerGroup", "  ")], none());
        check(&[("fanOut", "1")], SubscribeOptions { fan_out: Some(true), ..none() });
        check(&[("startFrom", "new")], SubscribeOptions { start_from: Some(StartFrom::New), ..none() });
        check(&[("ACK", " None ")], SubscribeOptions { ack: Some(Ack::None), ..none() });
        check(&[("ack", "explicit")], SubscribeOptions { ack: Some(Ack::Explicit), ..none() });
    }

    #[test]
    fn impossible_values_are_named() {
        #[track_caller]
        fn check(pairs: &[(&str, &str)], expected: &str) {
            let error = SubscribeOptions::read(&metadata(pairs), &NAMES).unwrap_err();
            assert!(error.to_string().starts_with(expected), "{error}");
        }
        check(&[("startFrom", "tomorrow")], "subscription metadata: startFrom \"tomorrow\" is neither");
        check(&[("ack", "all")], "subscription metadata: ack \"all\" is neither");
        check(&[("ack", "")], "subscription metadata: ack \"\" is neither");
        check(&[("fanOut", "yes")], "subscription metadata: fanOut: invalid bool \"yes\"");
    }

    #[test]
    fn a_broker_that_does_not_read_an_option_ignores_its_value() {
        let names = OptionNames { options: &[ACK], settings: &[] };
        let metadata = metadata(&[("startFrom", "tomorrow"), ("acks", "x"), ("ack", "none")]);
        let expected = SubscribeOptions { ack: Some(Ack::None), ..SubscribeOptions::default() };
        assert_eq!(SubscribeOptions::read(&metadata, &names), Ok(expected));
    }

    #[test]
    fn what_has_no_effect_is_named_if_it_was_meant_to() {
        #[track_caller]
        fn check(name: &str, expected: Option<&str>) {
            let found = NAMES.warnings(&metadata(&[(name, "x")]));
            assert_eq!(found.len(), usize::from(expected.is_some()), "{found:?}");
            assert!(found.iter().all(|text| text.contains(expected.unwrap())));
        }
        check("rawPayload", None);
        check("startFrom", None);
        check("STARTFROM", None);
        check("priority", None);
        check("startForm", Some("did you mean \"startFrom\"?"));
        check("consumer-group", Some("did you mean \"consumerGroup\"?"));
        check("fanout2", Some("did you mean \"fanOut\"?"));
        check("maxLen", Some("a setting of the component"));
        check("consumerID", Some("a setting of the component"));
        assert_eq!(NAMES.mistakes(&metadata(&[("ack", "x"), ("startForm", "new")])).len(), 2);
    }
}
