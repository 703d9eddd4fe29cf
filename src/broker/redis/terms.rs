//! What a subscription asks for in its own metadata, over what its component says. All of it is ours: daprd's Redis component reads
//! nothing of a subscription's metadata.

use std::collections::BTreeMap;

use parking_lot::Mutex;

use super::settings::{self, Settings};
use super::start::StartFrom;
use crate::broker::ack::{self, Ack};
use crate::message::Metadata;
use crate::metadata::nearest;
use crate::metadata::templates::{NoPodName, Templates};

const START: &str = "startFrom";
const GROUP: &str = "consumerGroup";
const FAN_OUT: &str = "fanOut";
const KNOWN: &[&str] = &[ack::ACK, GROUP, FAN_OUT, START];

/// A value in a subscription's metadata that cannot be read.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("subscription metadata: {0}")]
pub(super) struct TermsError(String);

/// How a topic is read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Terms {
    /// The group that shares the entries, or after which a group of this instance alone is named.
    pub(super) group: String,
    /// This instance has a group of its own, and so a copy of every entry.
    pub(super) fan_out: bool,
    /// Where the group begins if it does not exist yet.
    pub(super) start: StartFrom,
    pub(super) ack: Ack,
}

impl Terms {
    /// The terms of a subscription.
    ///
    /// # Errors
    /// A value that cannot be read.
    pub(super) fn of(metadata: &Metadata, settings: &Settings, names: &GroupNames) -> Result<Self, TermsError> {
        let wished = Wished::of(metadata).map_err(TermsError)?;
        let group = wished.group.map(|group| names.fill(&group)).transpose();
        let group = group.map_err(|error| TermsError(format!("{GROUP} {error}")))?;
        let fan_out = wished.fan_out.unwrap_or(settings.fan_out);
        // An instance that wants its own copy of everything wants it from now on: nobody has a use for what was before it.
        let usual = if fan_out { StartFrom::New } else { StartFrom::Oldest };
        Ok(Self {
            group: group.unwrap_or_else(|| settings.group.clone()),
            fan_out,
            start: wished.start.or(settings.start).unwrap_or(usual),
            ack: wished.ack.unwrap_or(settings.ack),
        })
    }
}

/// The names of groups that stand for templates. A subscription that begins again has the group that it had: a `{uuid}` is another for
/// every component and every text, but not for every subscription.
#[derive(Default)]
pub(super) struct GroupNames {
    templates: Templates,
    filled: Mutex<BTreeMap<String, String>>,
}

impl GroupNames {
    /// No name yet.
    pub(super) fn new(templates: Templates) -> Self {
        Self { templates, filled: Mutex::default() }
    }

    /// # Errors
    /// If there is nothing that a template could stand for.
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

struct Wished {
    group: Option<String>,
    fan_out: Option<bool>,
    start: Option<StartFrom>,
    ack: Option<Ack>,
}

impl Wished {
    fn of(metadata: &Metadata) -> Result<Self, String> {
        let wish = |name| ack::wish(metadata, name);
        let flag = |text: &str| settings::flag(text).map_err(|error| format!("{FAN_OUT}: {error}"));
        Ok(Self {
            group: wish(GROUP).map(str::trim).filter(|group| !group.is_empty()).map(str::to_owned),
            fan_out: wish(FAN_OUT).map(flag).transpose()?,
            start: wish(START).map(StartFrom::read).transpose()?,
            ack: Ack::of_subscription(metadata)?,
        })
    }
}

/// Everything that is wrong with a subscription's metadata, or looks like it: for `check`.
pub fn wrong_terms(metadata: &Metadata) -> Vec<String> {
    let error = Wished::of(metadata).err();
    oddities(metadata).into_iter().chain(error).collect()
}

/// What has no effect and was most likely meant to. Other names are nobody's business: an app may keep its own notes there.
pub(super) fn oddities(metadata: &Metadata) -> Vec<String> {
    let is = |name: &str, known: &str| known.eq_ignore_ascii_case(name);
    let oddity = |name: &str| {
        if KNOWN.iter().any(|known| is(name, known)) || name == "rawPayload" {
            return None;
        }
        if settings::KNOWN.iter().any(|known| is(name, known)) {
            return Some(format!(
                "{name:?} is a setting of the component and has no effect in the metadata of a subscription"
            ));
        }
        let meant = nearest(name, KNOWN)?;
        Some(format!("{name:?} has no effect in the metadata of a subscription; did you mean {meant:?}?"))
    };
    metadata.keys().filter_map(|name| oddity(name)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metadata::Properties;

    fn metadata(pairs: &[(&str, &str)]) -> Metadata {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    fn terms(component: &[(&str, &str)], subscription: &[(&str, &str)]) -> Terms {
        let properties: Properties = component.iter().copied().collect();
        let settings = Settings::of(&properties, "app").0.unwrap();
        Terms::of(&metadata(subscription), &settings, &GroupNames::default()).unwrap()
    }

    #[test]
    fn the_subscription_wins_over_its_component() {
        #[track_caller]
        #[expect(clippy::needless_pass_by_value, reason = "a table reads better with values")]
        fn check(component: &[(&str, &str)], subscription: &[(&str, &str)], expected: Terms) {
            let terms = terms(component, subscription);
            assert_eq!(terms, expected, "{component:?} {subscription:?}");
        }
        let usual = Terms { group: "app".to_owned(), fan_out: false, start: StartFrom::Oldest, ack: Ack::Explicit };
        let of_group = |group: &str| Terms { group: group.to_owned(), ..usual.clone() };
        let starting = |start| Terms { start, ..usual.clone() };
        check(&[], &[], usual.clone());
        check(&[], &[("rawPayload", "true"), ("note", "x")], usual.clone());
        check(&[("consumerID", "c")], &[], of_group("c"));
        check(&[("consumerID", "c")], &[("consumerGroup", " g ")], of_group("g"));
        check(&[], &[("consumerGroup", "  ")], usual.clone());
        check(&[], &[("CONSUMERGROUP", "g")], of_group("g"));
        check(&[("startFrom", "new")], &[], starting(StartFrom::New));
        check(&[("startFrom", "new")], &[("startFrom", "oldest")], usual.clone());
        check(&[("ack", "none")], &[], Terms { ack: Ack::None, ..usual.clone() });
        check(&[("ack", "none")], &[("ack", "explicit")], usual.clone());
        check(&[("fanOut", "true")], &[("fanOut", "false")], usual.clone());
    }

    #[test]
    fn a_copy_for_each_instance_begins_now_unless_told_otherwise() {
        #[track_caller]
        fn check(component: &[(&str, &str)], subscription: &[(&str, &str)], expected: StartFrom) {
            let terms = terms(component, subscription);
            assert_eq!((terms.fan_out, terms.start), (true, expected));
        }
        check(&[("fanOut", "true")], &[], StartFrom::New);
        check(&[], &[("fanOut", "1")], StartFrom::New);
        check(&[("startFrom", "oldest")], &[("fanOut", "true")], StartFrom::Oldest);
        check(&[("fanOut", "true")], &[("startFrom", "oldest")], StartFrom::Oldest);
    }

    #[test]
    fn impossible_values_are_named() {
        #[track_caller]
        fn check(pairs: &[(&str, &str)], expected: &str) {
            let settings = Settings::of(&Properties::default(), "app").0.unwrap();
            let names = GroupNames::default();
            let error = Terms::of(&metadata(pairs), &settings, &names).unwrap_err();
            assert!(error.to_string().starts_with(expected), "{error}");
        }
        check(&[("startFrom", "tomorrow")], "subscription metadata: startFrom \"tomorrow\" is neither");
        check(&[("ack", "all")], "subscription metadata: ack \"all\" is neither");
        check(&[("fanOut", "yes")], "subscription metadata: fanOut: invalid bool \"yes\"");
        check(
            &[("consumerGroup", "{podName}")],
            "subscription metadata: consumerGroup refers to {podName} but podName is not set",
        );
    }

    #[test]
    fn groups_are_named_by_templates_as_those_of_components_are() {
        let environment = [("POD_NAME", "pod-1"), ("NAMESPACE", "shop")];
        let pairs = environment.map(|(name, value)| (name.to_owned(), value.to_owned()));
        let templates = Templates::of(&pairs.into_iter().collect(), "kitchen");
        let names = GroupNames::new(templates);
        let settings = Settings::of(&Properties::default(), "app").0.unwrap();
        let group = |text: &str| {
            let terms = Terms::of(&metadata(&[("consumerGroup", text)]), &settings, &names);
            terms.unwrap().group
        };
        let check = |text: &str, expected: &str| assert_eq!(group(text), expected, "{text}");
        check("{appID}", "kitchen");
        check("{appID}-bills", "kitchen-bills");
        check(" {podName} ", "pod-1");
        check("{podName}/{appID}", "pod-1/kitchen");
        check("{namespace}", "shop.kitchen");
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

    #[test]
    fn what_has_no_effect_is_named_if_it_was_meant_to() {
        #[track_caller]
        fn check(name: &str, expected: Option<&str>) {
            let found = oddities(&metadata(&[(name, "x")]));
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
        assert_eq!(wrong_terms(&metadata(&[("ack", "x"), ("startForm", "new")])).len(), 2);
    }
}
