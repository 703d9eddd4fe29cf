//! Which app may publish to and subscribe to which topic (tests/spec/resources-cli.md, "13. Scopes and namespaces";
//! tests/spec/http-api.md, "5.5 Scopes").
//!
//! Names match exactly; `*` is not a wildcard.

use std::collections::BTreeSet;

use crate::metadata::ComponentMetadata;

/// The topics of one component that one app may use.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Scopes {
    /// If not empty, other topics cannot be used at all.
    allowed: BTreeSet<String>,
    /// Reserved for apps that are granted them.
    protected: BTreeSet<String>,
    /// Granted to this app for publishing. If not empty, other topics are forbidden.
    publishing: BTreeSet<String>,
    /// Granted to this app for subscribing. If not empty, other topics are forbidden.
    subscribing: BTreeSet<String>,
}

impl Scopes {
    /// Read `allowedTopics`, `protectedTopics`, `publishingScopes` and `subscriptionScopes`.
    pub fn of(properties: &ComponentMetadata, app_id: &str) -> Self {
        let text = |name: &str| properties.get(name).unwrap_or_default().replace(' ', "");
        Self {
            allowed: topics(&text("allowedTopics")),
            protected: topics(&text("protectedTopics")),
            publishing: granted(&text("publishingScopes"), app_id),
            subscribing: granted(&text("subscriptionScopes"), app_id),
        }
    }

    /// Whether this app may publish to the topic.
    pub fn may_publish(&self, topic: &str) -> bool {
        self.may_use(topic, &self.publishing)
    }

    /// Whether this app may subscribe to the topic.
    pub fn may_subscribe(&self, topic: &str) -> bool {
        self.may_use(topic, &self.subscribing)
    }

    fn may_use(&self, topic: &str, granted: &BTreeSet<String>) -> bool {
        if !self.allowed.is_empty() && !self.allowed.contains(topic) {
            return false;
        }
        if granted.is_empty() && !self.protected.contains(topic) {
            return true;
        }
        granted.contains(topic)
    }
}

/// The topics in `t1,t2`. An empty part is the empty topic, which no call can name.
fn topics(list: &str) -> BTreeSet<String> {
    if list.is_empty() {
        return BTreeSet::new();
    }
    list.split(',').map(str::to_owned).collect()
}

/// This app's topics in `app1=t1,t2;app2=t3;app3=`. Parts without an equals sign are ignored; `app3=` grants only the
/// empty topic.
fn granted(scopes: &str, app_id: &str) -> BTreeSet<String> {
    scopes
        .split(';')
        .filter_map(|scope| {
            let mut parts = scope.split('=');
            let app = parts.next()?;
            // A second equals sign ends the list.
            let list = parts.next()?;
            (app == app_id).then_some(list)
        })
        .flat_map(|list| list.split(',').map(str::to_owned))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// App `app1` may publish to the topics in `open`, and not to those in `closed`.
    fn check(settings: &[(&str, &str)], open: &[&str], closed: &[&str]) {
        let scopes = Scopes::of(&settings.iter().copied().collect(), "app1");
        for topic in open {
            assert!(scopes.may_publish(topic), "{settings:?}: {topic}");
        }
        for topic in closed {
            assert!(!scopes.may_publish(topic), "{settings:?}: {topic}");
        }
    }

    #[test]
    fn publishing_scopes_name_the_topics_of_an_app() {
        let check = |scopes, open: &[_], closed: &[_]| check(&[("publishingScopes", scopes)], open, closed);
        check("", &["t1", "any"], &[]);
        check("app1=t1,t2;app2=t3", &["t1", "t2"], &["t3", "T1", ""]);
        check("app1=", &[], &["t1"]);
        check("app2=t1", &["t1", "t9"], &[]);
        check("app1", &["t1"], &[]);
        check("app1;app2=t1", &["t1", "t2"], &[]);
        check("app1=t1;app1=t2,t1", &["t1", "t2"], &["t3"]);
        check("app1=t1=t2", &["t1"], &["t2"]);
        check(" a p p1 = t 1 ; ", &["t1"], &["t 1", "t2"]);
        check("App1=t1", &["t1", "t2"], &[]);
        check("app1=t*", &["t*"], &["t1"]);
    }

    #[test]
    fn allowed_topics_limit_everyone() {
        check(&[("allowedTopics", " t1 , t2 ")], &["t1", "t2"], &["t3", "T1"]);
        check(&[("ALLOWEDTOPICS", "t1")], &["t1"], &["t2"]);
        check(&[("allowedTopics", ",,")], &[], &["t1"]);
        check(&[("allowedTopics", "t1,t2"), ("publishingScopes", "app1=t2,t3")], &["t2"], &["t1", "t3"]);
    }

    #[test]
    fn protected_topics_are_open_to_those_they_are_granted() {
        check(&[("protectedTopics", "t1")], &["t2"], &["t1"]);
        check(&[("protectedTopics", "t1,t2"), ("publishingScopes", "app1=t1")], &["t1"], &["t2", "t3"]);
        check(&[("protectedTopics", "t1"), ("publishingScopes", "app2=t1")], &["t2"], &["t1"]);
    }

    #[test]
    fn publishing_and_subscribing_have_scopes_of_their_own() {
        let properties = [("subscriptionScopes", "app1=t1"), ("publishingScopes", "app1=")].into_iter().collect();
        let scopes = Scopes::of(&properties, "app1");
        assert!(scopes.may_subscribe("t1") && !scopes.may_subscribe("t2") && !scopes.may_publish("t1"));
    }
}
