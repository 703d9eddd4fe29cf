//! How a topic is read: what its subscription asks for, over what its component says.

use std::collections::BTreeMap;

use parking_lot::Mutex;

use super::settings::{self, Settings};
use crate::broker::ack::{ACK, Ack};
use crate::broker::options::{FAN_OUT, GROUP, OptionNames, OptionsError, SubscribeOptions};
use crate::broker::start_from::{START_FROM, StartFrom};
use crate::metadata::templates::{NoPodName, Templates};

/// What a Redis component reads in the metadata of a subscription.
pub const OPTIONS: OptionNames = OptionNames { options: &[ACK, GROUP, FAN_OUT, START_FROM], settings: settings::NAMES };

/// How one topic is read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ReadOptions {
    /// The group that shares the entries; with `fan_out` the group after which those of the instances are named.
    pub(super) group: String,
    /// This instance has a group of its own, and so gets every entry.
    pub(super) fan_out: bool,
    /// Where the group begins if it does not exist yet.
    pub(super) start_from: StartFrom,
    pub(super) ack: Ack,
}

impl ReadOptions {
    /// The options of a subscription.
    ///
    /// # Errors
    /// A template in the name of the group that has no value.
    pub(super) fn new(
        options: &SubscribeOptions,
        settings: &Settings,
        names: &GroupNames,
    ) -> Result<Self, OptionsError> {
        let group = options.group.as_deref().map(|group| names.fill(group)).transpose();
        let group = group.map_err(|error| OptionsError(format!("{GROUP} {error}")))?;
        let fan_out = options.fan_out.unwrap_or(settings.fan_out);
        // An instance with a group of its own has no use for what was stored before it started.
        let default = if fan_out { StartFrom::New } else { StartFrom::Oldest };
        Ok(Self {
            group: group.unwrap_or_else(|| settings.group.clone()),
            fan_out,
            start_from: options.start_from.or(settings.start).unwrap_or(default),
            ack: options.ack.unwrap_or(settings.ack),
        })
    }

    /// The id that XGROUP CREATE takes for the group. `now_millis` is the time from which durations count back.
    pub(super) fn group_start(&self, now_millis: u64) -> String {
        last_before(self.start_from, now_millis)
    }
}

/// The names of groups, with their templates filled in. Each text is filled once for a component, so that a subscription that begins again
/// has the group that it had before, `{uuid}` or not.
#[derive(Default)]
pub(super) struct GroupNames {
    templates: Templates,
    filled: Mutex<BTreeMap<String, String>>,
}

impl GroupNames {
    /// Names that are made from these templates.
    pub(super) fn new(templates: Templates) -> Self {
        Self { templates, filled: Mutex::default() }
    }

    /// The name for a text with templates.
    ///
    /// # Errors
    /// If a template has no value.
    fn fill(&self, text: &str) -> Result<String, NoPodName> {
        let mut filled = self.filled.lock();
        if let Some(name) = filled.get(text) {
            return Ok(name.clone());
        }
        let name = self.templates.fill(text)?;
        filled.insert(text.to_owned(), name.clone());
        Ok(name)
    }
}

/// The id that XGROUP CREATE takes: that of the last entry before the group's first. `now_millis` is the time from which durations count
/// back.
fn last_before(start: StartFrom, now_millis: u64) -> String {
    let before = |millis: u64, sequence: u64| match (millis, sequence) {
        (0, 0) => "0".to_owned(),
        (millis, 0) => format!("{}-{}", millis - 1, u64::MAX),
        (millis, sequence) => format!("{millis}-{}", sequence - 1),
    };
    match start {
        StartFrom::Oldest => "0".to_owned(),
        StartFrom::New => "$".to_owned(),
        StartFrom::Entry { millis, sequence } => before(millis, sequence),
        StartFrom::Ago(ago) => {
            let ago = u64::try_from(ago.as_millis()).unwrap_or(u64::MAX);
            before(now_millis.saturating_sub(ago), 0)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metadata::ComponentMetadata;

    fn asked(pairs: &[(&str, &str)]) -> SubscribeOptions {
        let metadata = pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        SubscribeOptions::read(&metadata, &OPTIONS).unwrap()
    }

    fn options(component: &[(&str, &str)], subscription: &[(&str, &str)]) -> ReadOptions {
        let properties: ComponentMetadata = component.iter().copied().collect();
        let settings = Settings::of(&properties, "app").0.unwrap();
        ReadOptions::new(&asked(subscription), &settings, &GroupNames::default()).unwrap()
    }

    #[test]
    fn the_subscription_wins_over_its_component() {
        #[track_caller]
        #[expect(clippy::needless_pass_by_value, reason = "a table reads better with values")]
        fn check(component: &[(&str, &str)], subscription: &[(&str, &str)], expected: ReadOptions) {
            let options = options(component, subscription);
            assert_eq!(options, expected, "{component:?} {subscription:?}");
        }
        let usual =
            ReadOptions { group: "app".to_owned(), fan_out: false, start_from: StartFrom::Oldest, ack: Ack::Explicit };
        let of_group = |group: &str| ReadOptions { group: group.to_owned(), ..usual.clone() };
        let starting = |start_from| ReadOptions { start_from, ..usual.clone() };
        check(&[], &[], usual.clone());
        check(&[], &[("rawPayload", "true"), ("note", "x")], usual.clone());
        check(&[("consumerID", "c")], &[], of_group("c"));
        check(&[("consumerID", "c")], &[("consumerGroup", " g ")], of_group("g"));
        check(&[], &[("consumerGroup", "  ")], usual.clone());
        check(&[], &[("CONSUMERGROUP", "g")], of_group("g"));
        check(&[("startFrom", "new")], &[], starting(StartFrom::New));
        check(&[("startFrom", "new")], &[("startFrom", "oldest")], usual.clone());
        check(&[("ack", "none")], &[], ReadOptions { ack: Ack::None, ..usual.clone() });
        check(&[("ack", "none")], &[("ack", "explicit")], usual.clone());
        check(&[("fanOut", "true")], &[("fanOut", "false")], usual.clone());
    }

    #[test]
    fn a_copy_for_each_instance_begins_now_unless_told_otherwise() {
        #[track_caller]
        fn check(component: &[(&str, &str)], subscription: &[(&str, &str)], expected: StartFrom) {
            let options = options(component, subscription);
            assert_eq!((options.fan_out, options.start_from), (true, expected));
        }
        check(&[("fanOut", "true")], &[], StartFrom::New);
        check(&[], &[("fanOut", "1")], StartFrom::New);
        check(&[("startFrom", "oldest")], &[("fanOut", "true")], StartFrom::Oldest);
        check(&[("fanOut", "true")], &[("startFrom", "oldest")], StartFrom::Oldest);
    }

    #[test]
    fn groups_are_named_by_templates_as_those_of_components_are() {
        let environment = [("POD_NAME", "pod-1"), ("NAMESPACE", "shop")];
        let pairs = environment.map(|(name, value)| (name.to_owned(), value.to_owned()));
        let templates = Templates::of(&pairs.into_iter().collect(), "kitchen");
        let names = GroupNames::new(templates);
        let settings = Settings::of(&ComponentMetadata::default(), "app").0.unwrap();
        let group = |text: &str| {
            let options = ReadOptions::new(&asked(&[("consumerGroup", text)]), &settings, &names);
            options.unwrap().group
        };
        let check = |text: &str, expected: &str| assert_eq!(group(text), expected, "{text}");
        check("{appID}", "kitchen");
        check("{appID}-bills", "kitchen-bills");
        check(" {podName} ", "pod-1");
        check("{podName}/{appID}", "pod-1/kitchen");
        check("{namespace}", "shop.kitchen");
        let no_pod = ReadOptions::new(&asked(&[("consumerGroup", "{podName}")]), &settings, &GroupNames::default());
        let error = no_pod.unwrap_err().to_string();
        assert!(error.starts_with("subscription metadata: consumerGroup refers to {podName} but podName is not set"));
        check("{consumerID}", "{consumerID}");
        check("{appid}", "{appid}");
        let (one, two) = (group("{uuid}"), group("{uuid}-{uuid}"));
        assert_eq!((one.len(), two.len()), (36, 73));
        assert_eq!(one, group("{uuid}"), "the same for the same text");
        assert_ne!(one, two[..36]);
        assert_ne!(two[..36], two[37..]);
        let other = GroupNames::default().fill("{uuid}").unwrap();
        assert_ne!(one, other, "another for another component");
    }

    const NOW: u64 = 1_741_917_566_000;

    #[test]
    fn a_group_begins_where_it_is_told() {
        #[track_caller]
        fn check(text: &str, expected: &str) {
            let start = StartFrom::read(text).unwrap();
            assert_eq!(last_before(start, NOW), expected, "{text}");
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
}
