//! Differences between two readings of the resource folders, by name and meaning; locations do not count
//! (tests/spec/resources-cli.md, "10. Hot reload and SIGHUP", item 4).

use crate::resources::kinds::component::Component;
use crate::resources::kinds::resiliency::Resiliency;
use crate::resources::kinds::subscription::SubscriptionSpec;

/// A resource that can change from one reading to the next.
pub trait Resource: Clone {
    /// `metadata.name`; empty for none.
    fn name(&self) -> &str;

    /// Whether both mean the same. Locations do not count.
    fn means_the_same(&self, other: &Self) -> bool;
}

/// The changes from the known resources to those found, to be applied in the order of the fields.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference<T> {
    /// Known and still there, in the known order.
    pub kept: Vec<T>,
    /// Known and gone.
    pub deleted: Vec<T>,
    /// Found under a known name with another meaning.
    pub updated: Vec<T>,
    /// Found and new.
    pub created: Vec<T>,
}

impl<T: Resource> Difference<T> {
    /// Compare the known resources with those found. Resources without name are never updated, only deleted and created.
    pub fn between(known: &[T], found: &[T]) -> Self {
        let mut new: Vec<&T> = found.iter().collect();
        let (mut kept, mut gone) = (Vec::new(), Vec::new());
        for old in known {
            match new.iter().position(|new| new.means_the_same(old)) {
                Some(index) => {
                    new.remove(index);
                    kept.push(old.clone());
                }
                None => gone.push(old),
            }
        }
        let is_gone = |new: &&T| !new.name().is_empty() && gone.iter().any(|gone| gone.name() == new.name());
        let (updated, created): (Vec<&T>, Vec<&T>) = new.into_iter().partition(is_gone);
        let is_back = |gone: &T| updated.iter().any(|new| new.name() == gone.name());
        let deleted = gone.into_iter().filter(|gone| !is_back(gone)).cloned();
        Self {
            kept,
            deleted: deleted.collect(),
            updated: updated.into_iter().cloned().collect(),
            created: created.into_iter().cloned().collect(),
        }
    }

    /// Whether nothing has changed.
    pub fn is_empty(&self) -> bool {
        self.deleted.is_empty() && self.updated.is_empty() && self.created.is_empty()
    }

    /// The known resources afterwards: updated ones move behind those that are kept, new ones are last.
    pub fn applied(&self) -> Vec<T> {
        [&self.kept, &self.updated, &self.created].into_iter().flatten().cloned().collect()
    }
}

impl Resource for Component {
    fn name(&self) -> &str {
        &self.name
    }

    /// Compares values with secrets and variables resolved, but before templates: `{uuid}` is no change.
    fn means_the_same(&self, other: &Self) -> bool {
        self.name == other.name
            && self.kind == other.kind
            && self.version == other.version
            && self.ignore_errors == other.ignore_errors
            && self.init_timeout == other.init_timeout
            && self.written == other.written
    }
}

impl Resource for SubscriptionSpec {
    fn name(&self) -> &str {
        &self.name
    }

    fn means_the_same(&self, other: &Self) -> bool {
        let without_location = |spec: &Self| Self { location: None, ..spec.clone() };
        without_location(self) == without_location(other)
    }
}

impl Resource for Resiliency {
    fn name(&self) -> &str {
        &self.name
    }

    fn means_the_same(&self, other: &Self) -> bool {
        self.name == other.name && self.policies == other.policies
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::diagnostic::Location;
    use crate::environment::Environment;
    use crate::resources::{LoadRequest, Resources};

    /// `name=meaning`, the place is made up.
    fn subscriptions(text: &str, line: usize) -> Vec<SubscriptionSpec> {
        let parts = text.split_whitespace().filter_map(|part| part.split_once('='));
        parts
            .map(|(name, topic)| SubscriptionSpec {
                name: name.to_owned(),
                topic: topic.to_owned(),
                location: Some(Location::new("f.yaml".as_ref(), line)),
                ..SubscriptionSpec::default()
            })
            .collect()
    }

    fn shown(specs: &[SubscriptionSpec]) -> String {
        let shown: Vec<_> = specs.iter().map(|spec| format!("{}={}", spec.name, spec.topic)).collect();
        shown.join(" ")
    }

    /// Known, found, then deleted, updated, created, and all together.
    #[track_caller]
    fn check(known: &str, found: &str, expected: [&str; 4]) {
        let difference = Difference::between(&subscriptions(known, 1), &subscriptions(found, 2));
        let seen = [
            shown(&difference.deleted),
            shown(&difference.updated),
            shown(&difference.created),
            shown(&difference.applied()),
        ];
        assert_eq!(seen, expected, "{known:?} -> {found:?}");
        let changes = expected[..3].iter().any(|part| !part.is_empty());
        assert_eq!(difference.is_empty(), !changes);
    }

    #[test]
    fn what_has_changed() {
        check("", "", ["", "", "", ""]);
        check("a=1 b=2", "b=2 a=1", ["", "", "", "a=1 b=2"]);
        check("", "a=1", ["", "", "a=1", "a=1"]);
        check("a=1 b=2", "b=2", ["a=1", "", "", "b=2"]);
        check("a=1 b=2", "a=3 b=2", ["", "a=3", "", "b=2 a=3"]);
        check("a=1 b=2", "c=1 b=2", ["a=1", "", "c=1", "b=2 c=1"]);
        check("a=1 b=2", "c=4 b=3", ["a=1", "b=3", "c=4", "b=3 c=4"]);
        check("=1 =2", "=2 =3", ["=1", "", "=3", "=2 =3"]);
        check("=1 =1", "=1", ["=1", "", "", "=1"]);
    }

    fn component(spec: &str, variable: &str) -> Component {
        let folder = tempfile::tempdir().unwrap();
        let text = format!("# a comment\napiVersion: dapr.io/v1alpha1\nkind: Component\nmetadata: {{name: c}}\n{spec}");
        std::fs::write(folder.path().join("c.yaml"), text).unwrap();
        let environment = [("VARIABLE".to_owned(), variable.to_owned())].into_iter().collect::<Environment>();
        let mut resources = Resources::load(&LoadRequest {
            app_id: Some("app"),
            folders: &[folder.path().to_owned()],
            files: &[],
            denied: &[],
            handlers: &[],
            hot_reload: false,
            environment: &environment,
        });
        resources.components.remove(0)
    }

    #[test]
    fn what_is_a_change_of_a_component() {
        let base = "spec: {type: pubsub.redis, version: v1, metadata: [{name: consumerID, value: '{uuid}'}, {name: x, envRef: VARIABLE}]}";
        for (other, variable, is_same) in [
            (base.to_owned(), "1", true),
            (base.to_owned(), "2", false),
            (base.replace("v1", "v0"), "1", false),
            (base.replace("redis", "in-memory"), "1", false),
            (base.replace("{uuid}", "{uuid}-"), "1", false),
            (base.replace("spec: {", "spec: {ignoreErrors: true, "), "1", false),
            (base.replace("spec: {", "spec: {initTimeout: 7s, "), "1", false),
            (format!("{base}\nscopes: [app]"), "1", true),
        ] {
            let (one, two) = (component(base, "1"), component(&other, variable));
            assert_eq!(one.means_the_same(&two), is_same, "{other} {variable}");
        }
    }
}
