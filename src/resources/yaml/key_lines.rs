//! Lines of the keys of a document, for the locations of messages.

use std::collections::BTreeMap;

use crate::diagnostic::Location;
use crate::resources::yaml::value::{Content, Node};

/// Depth of nesting up to which lines are kept: no message is about a deeper key.
const MAX_DEPTH: usize = 10;

/// Lines by path, for example `spec.routes.rules[0].match`. All values of this type are equal, so that two resources are
/// equal whatever lines their keys are on.
#[derive(Clone, Debug, Default)]
pub struct KeyLines(BTreeMap<String, usize>);

impl PartialEq for KeyLines {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Eq for KeyLines {}

impl KeyLines {
    /// The lines of a document.
    pub fn of(root: &Node) -> Self {
        let mut lines = Self::default();
        lines.add(root, "", MAX_DEPTH);
        lines
    }

    /// The line of a path, or of its nearest ancestor that is written. Case of names is ignored.
    pub fn line(&self, path: &str) -> Option<usize> {
        let path = path.to_lowercase();
        let mut path = path.as_str();
        loop {
            if let Some(line) = self.0.get(path) {
                return Some(*line);
            }
            path = &path[..path.rfind(['.', '['])?];
        }
    }

    /// The location of a path in a resource that begins at `resource`, which is the result for a path that is not written.
    pub fn location(&self, path: &str, resource: &Location) -> Location {
        Location { line: self.line(path).unwrap_or(resource.line), ..resource.clone() }
    }

    /// Whether the path is written.
    pub fn has(&self, path: &str) -> bool {
        self.0.contains_key(&path.to_lowercase())
    }

    /// Give a path the line of another one.
    pub fn alias(&mut self, path: &str, other: &str) {
        if let Some(line) = self.line(other) {
            self.0.insert(path.to_lowercase(), line);
        }
    }

    fn add(&mut self, node: &Node, path: &str, depth: usize) {
        let Some(depth) = depth.checked_sub(1) else {
            return;
        };
        match &node.content {
            Content::Map(entries) => {
                for (key, value) in entries {
                    let Some(name) = key.key() else { continue };
                    let inside = match path {
                        "" => name.to_lowercase(),
                        path => format!("{path}.{}", name.to_lowercase()),
                    };
                    self.0.insert(inside.clone(), key.line);
                    self.add(value, &inside, depth);
                }
            }
            Content::List(items) => {
                for (index, item) in items.iter().enumerate() {
                    let inside = format!("{path}[{index}]");
                    self.0.insert(inside.clone(), item.line);
                    self.add(item, &inside, depth);
                }
            }
            Content::Scalar { .. } => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::resources::yaml::parse;

    #[test]
    fn a_path_has_the_line_of_its_key_or_of_the_nearest_key_above_it() {
        let yaml = "kind: X\nspec:\n  topic:\n    a\n  rules:\n  - match: m\n    Path: p\n";
        let mut lines = KeyLines::of(&parse::document(yaml, 3).unwrap().unwrap().root);
        lines.alias("spec.named.m", "spec.rules[0]");
        for (path, line) in [
            ("kind", Some(3)),
            ("spec.topic", Some(5)),
            ("spec.rules[0].match", Some(8)),
            ("spec.rules[0].path", Some(9)),
            ("spec.rules[0].other", Some(8)),
            ("spec.rules[9]", Some(7)),
            ("spec.other.key", Some(4)),
            ("spec.named.m", Some(8)),
            ("other", None),
        ] {
            assert_eq!(lines.line(path), line, "{path}");
        }
    }
}
