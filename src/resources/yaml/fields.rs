//! Typed fields of a mapping. Each kind of resource reads itself through them; every error is kept, not only the first.
//!
//! Two dialects (tests/spec/resources-cli.md, "4.3 YAML dialect", "9.1 Loading"): resource files are YAML turned into
//! JSON, with names in any case and numbers that become text; Configuration files are typed YAML, with exact names and
//! texts kept literally.

use std::cell::RefCell;
use std::collections::BTreeMap;

use crate::diagnostic::{Diagnostic, Location};
use crate::metadata::nearest;
use crate::resources::yaml::diagnostics::Diagnostics;
use crate::resources::yaml::key_lines::KeyLines;
use crate::resources::yaml::value::{Content, Node, Scalar};

/// How names and scalars are matched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dialect {
    /// Components, subscriptions, resiliency.
    Resource,
    /// Configuration.
    Typed,
}

/// The fields of one mapping.
pub struct Fields<'a> {
    diagnostics: &'a Diagnostics,
    dialect: Dialect,
    path: String,
    node: &'a Node,
    entries: Vec<Entry<'a>>,
    asked: RefCell<Vec<&'static str>>,
    explained: RefCell<Vec<(&'static str, &'static str)>>,
}

/// One key of a mapping, with its line and its value.
struct Entry<'a> {
    name: String,
    line: usize,
    value: &'a Node,
}

impl<'a> Fields<'a> {
    /// The fields of the root of a document. Null has none; anything else but a mapping is an error.
    pub fn root(node: &'a Node, dialect: Dialect, diagnostics: &'a Diagnostics) -> Self {
        Self::at(node, String::new(), dialect, diagnostics)
    }

    fn at(node: &'a Node, path: String, dialect: Dialect, diagnostics: &'a Diagnostics) -> Self {
        let mut fields = Self {
            diagnostics,
            dialect,
            path,
            node,
            entries: Vec::new(),
            asked: RefCell::default(),
            explained: RefCell::default(),
        };
        match &node.content {
            Content::Map(entries) => {
                for (key, value) in entries {
                    let name = match dialect {
                        Dialect::Resource => key.key(),
                        Dialect::Typed => key.as_text().map(str::to_owned),
                    };
                    match name {
                        Some(name) => fields.entries.push(Entry { name, line: key.line, value }),
                        None => fields.wrong(key, "", "a name"),
                    }
                }
            }
            _ if node.is_null() => {}
            _ => fields.wrong(node, "", "a mapping"),
        }
        fields
    }

    /// The line where the mapping begins.
    pub fn line(&self) -> usize {
        self.node.line
    }

    /// The lines of all keys in the mapping and below.
    pub fn key_lines(&self) -> KeyLines {
        KeyLines::of(self.node)
    }

    /// The line of a key; of the mapping if it has no such key.
    pub fn line_of(&self, name: &'static str) -> usize {
        self.entry(name).map_or(self.node.line, |entry| entry.line)
    }

    /// The location of a key; of the mapping if it has no such key.
    pub fn location_of(&self, name: &'static str) -> Location {
        self.location(self.line_of(name))
    }

    /// A line of the file.
    pub fn location(&self, line: usize) -> Location {
        self.diagnostics.location(line)
    }

    /// The node of a field; `None` when it is absent.
    pub fn node(&self, name: &'static str) -> Option<&'a Node> {
        self.asked.borrow_mut().push(name);
        self.entry(name).map(|entry| entry.value)
    }

    fn entry(&self, name: &str) -> Option<&Entry<'a>> {
        let exact = self.entries.iter().rev().find(|entry| entry.name == name);
        exact.or_else(|| {
            let in_any_case = |entry: &&Entry<'_>| entry.name.eq_ignore_ascii_case(name);
            let dialect = Some(self.dialect).filter(|dialect| *dialect == Dialect::Resource);
            dialect.and_then(|_| self.entries.iter().rev().find(in_any_case))
        })
    }

    /// Whether the field is there, with or without a value.
    pub fn has(&self, name: &'static str) -> bool {
        self.node(name).is_some()
    }

    /// A text; empty when it is absent.
    pub fn text(&self, name: &'static str) -> String {
        self.given_text(name).unwrap_or_default()
    }

    /// A text, `None` when it is absent or has no value.
    pub fn given_text(&self, name: &'static str) -> Option<String> {
        let node = self.node(name).filter(|node| !node.is_null())?;
        let text = self.as_text(node);
        if text.is_none() {
            self.wrong(node, name, "a text");
        }
        text
    }

    /// A bool, `None` when it is absent or has no value.
    pub fn bool(&self, name: &'static str) -> Option<bool> {
        let node = self.node(name)?;
        match node.scalar() {
            Some(Scalar::Bool(value)) => Some(value),
            Some(Scalar::Null) => None,
            _ => {
                self.wrong(node, name, "true or false");
                None
            }
        }
    }

    /// A whole number, `None` when it is absent or has no value. `3.0` is one.
    pub fn int(&self, name: &'static str) -> Option<i64> {
        let node = self.node(name)?;
        let number = match node.scalar() {
            Some(Scalar::Null) => return None,
            Some(Scalar::Int(value)) => i64::try_from(value).ok(),
            Some(Scalar::Float(value)) => whole(value),
            _ => None,
        };
        if number.is_none() {
            self.wrong(node, name, "a whole number");
        }
        number
    }

    /// The fields of a nested mapping; `None` when it is absent.
    pub fn fields(&self, name: &'static str) -> Option<Self> {
        self.node(name).map(|node| self.inside(node, name))
    }

    /// The mappings of a list; none when it is absent.
    pub fn list(&self, name: &'static str) -> Vec<Self> {
        let items = self.items(name).into_iter().enumerate();
        items.map(|(index, node)| self.inside(node, &format!("{name}[{index}]"))).collect()
    }

    /// The entries of a mapping with free names, each a mapping itself; the last of equal names.
    pub fn named(&self, name: &'static str) -> Vec<(String, Self)> {
        let entries = self.free(name);
        let inside = |(key, node): (String, &'a Node)| {
            let fields = self.inside(node, &format!("{name}.{key}"));
            (key, fields)
        };
        entries.into_iter().map(inside).collect()
    }

    /// A mapping of free names to texts, each with its line.
    pub fn text_map(&self, name: &'static str) -> BTreeMap<String, (String, usize)> {
        let mut map = BTreeMap::new();
        for (key, node) in self.free(name) {
            match self.as_text(node) {
                Some(text) => {
                    map.insert(key, (text, node.line));
                }
                None => self.wrong(node, &format!("{name}.{key}"), "a text"),
            }
        }
        map
    }

    /// A list of texts. With `strict`, a number or a bool in it is an error, as in `scopes` of a component
    /// (tests/spec/resources-cli.md, "4.3 YAML dialect").
    pub fn texts(&self, name: &'static str, strict: bool) -> Vec<String> {
        let mut texts = Vec::new();
        for node in self.items(name) {
            let refused = strict && !matches!(node.scalar(), Some(Scalar::Text(_) | Scalar::Null));
            match self.as_text(node).filter(|_| !refused) {
                Some(text) => texts.push(text),
                None => self.wrong(node, name, "a list of texts"),
            }
        }
        texts
    }

    /// Set the help for an unknown key that people often write, although it resembles no known one.
    pub fn explain(&self, name: &'static str, help: &'static str) {
        self.explained.borrow_mut().push((name, help));
    }

    /// Report every field that nothing has asked for (D15). Under `spec`, or if it looks like a misspelling, it was meant
    /// to have an effect, so that is a warning; elsewhere it is a hint.
    pub fn done(&self) {
        let asked = self.asked.borrow();
        for (index, entry) in self.entries.iter().enumerate() {
            let name = &entry.name;
            let is_known = match self.dialect {
                Dialect::Resource => asked.iter().any(|known| known.eq_ignore_ascii_case(name)),
                Dialect::Typed => asked.contains(&name.as_str()),
            };
            if is_known {
                self.one_of_two_spellings(index);
            } else if !self.is_extension(name) {
                self.diagnostics.push(self.unknown(entry, &asked));
            }
        }
    }

    fn unknown(&self, entry: &Entry<'_>, known: &[&'static str]) -> Diagnostic {
        let path = self.path_of(&entry.name);
        let text = format!("unknown field {path} is ignored");
        let location = self.location(entry.line);
        let explained = self.explained.borrow();
        let explained = explained.iter().find(|(name, _)| name.eq_ignore_ascii_case(&entry.name));
        if let Some((_, help)) = explained {
            return Diagnostic::warning(location, text).with_help(*help);
        }
        let meant = nearest(&entry.name, known).filter(|name| !self.has_exactly(name));
        match meant {
            Some(meant) => Diagnostic::warning(location, text).with_help(format!("did you mean {meant}?")),
            None if path.starts_with("spec.") => Diagnostic::warning(location, text),
            None => Diagnostic::hint(location, text),
        }
    }

    /// Whether a key is an extension: keys at the root that begin with `x-` hold anchors for other keys to refer to.
    fn is_extension(&self, name: &str) -> bool {
        self.path.is_empty() && name.starts_with("x-")
    }

    /// Report a key that differs from an earlier one only in case: the one that is spelt exactly counts, or the last.
    /// The parser reports keys that are equal.
    fn one_of_two_spellings(&self, index: usize) {
        let name = &self.entries[index].name;
        let other =
            self.entries[..index].iter().find(|other| other.name != *name && other.name.eq_ignore_ascii_case(name));
        if let (Some(other), Dialect::Resource) = (other, self.dialect) {
            let text = format!(
                "{} and {} are the same field, only one of them counts",
                self.path_of(&other.name),
                self.path_of(name)
            );
            self.report(
                Diagnostic::warning(self.location(self.entries[index].line), text).with_help("remove one of them"),
            );
        }
    }

    /// Read with `get`, then call [`Self::done`].
    pub fn done_with<T>(&self, get: impl FnOnce(&Self) -> T) -> T {
        let got = get(self);
        self.done();
        got
    }

    /// Report that the mapping as a whole is wrong, which makes the document unusable.
    pub fn refuse(&self, message: String) {
        self.diagnostics.error(self.node.line, message);
    }

    /// Report a wrong value of a field, which makes the document unusable.
    pub fn error(&self, name: &'static str, text: &str) {
        self.diagnostics.error(self.line_of(name), format!("{}: {text}", self.path_of(name)));
    }

    /// Report a value of a field that does not do what its author wants.
    pub fn warn(&self, name: &'static str, text: &str) {
        self.report(Diagnostic::warning(self.location_of(name), format!("{}: {text}", self.path_of(name))));
    }

    /// Report something worth knowing about the value of a field.
    pub fn hint(&self, name: &'static str, text: &str) {
        self.report(Diagnostic::hint(self.location_of(name), format!("{}: {text}", self.path_of(name))));
    }

    /// Report a finding about the mapping or a field of it.
    pub fn report(&self, diagnostic: Diagnostic) {
        self.diagnostics.push(diagnostic);
    }

    fn has_exactly(&self, name: &str) -> bool {
        self.entries.iter().any(|entry| entry.name == name)
    }

    fn inside(&self, node: &'a Node, name: &str) -> Self {
        Fields::at(node, self.path_of(name), self.dialect, self.diagnostics)
    }

    fn items(&self, name: &'static str) -> Vec<&'a Node> {
        let Some(node) = self.node(name).filter(|node| !node.is_null()) else {
            return Vec::new();
        };
        match &node.content {
            Content::List(items) => items.iter().collect(),
            _ => {
                self.wrong(node, name, "a list");
                Vec::new()
            }
        }
    }

    /// The entries of a mapping with free names: the last of equal names, in order of first appearance.
    fn free(&self, name: &'static str) -> Vec<(String, &'a Node)> {
        let Some(node) = self.node(name) else {
            return Vec::new();
        };
        let mut entries: Vec<(String, &'a Node)> = Vec::new();
        for Entry { name, value, .. } in self.inside(node, name).entries {
            match entries.iter_mut().find(|(known, _)| *known == name) {
                Some(entry) => entry.1 = value,
                None => entries.push((name, value)),
            }
        }
        entries
    }

    fn as_text(&self, node: &Node) -> Option<String> {
        match self.dialect {
            Dialect::Resource => node.scalar().map(Scalar::to_text),
            Dialect::Typed if node.is_null() => Some(String::new()),
            Dialect::Typed => node.as_text().map(str::to_owned),
        }
    }

    fn wrong(&self, node: &Node, name: &str, expected: &str) {
        let path = self.path_of(name);
        let of = if path.is_empty() { "document" } else { &path };
        // A text among the settings of a component may be a password.
        let found = match node.as_text() {
            Some(_) if path.starts_with("spec.metadata") => "a text".to_owned(),
            _ => node.kind(),
        };
        self.diagnostics.error(node.line, format!("{of}: expected {expected}, found {found}"));
    }

    /// The path of a field in the document.
    pub fn path_of(&self, name: &str) -> String {
        match (self.path.as_str(), name) {
            (path, "") => path.to_owned(),
            ("", name) => name.to_owned(),
            (path, name) => format!("{path}.{name}"),
        }
    }
}

/// A number without fraction as an integer, if it fits.
fn whole(value: f64) -> Option<i64> {
    // Below 2^63, the first that does not fit.
    let fits = value.fract() == 0.0 && value.abs() < 9.2e18;
    fits.then(|| format!("{value:.0}").parse().ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::resources::yaml::parse;

    fn read<T>(yaml: &str, dialect: Dialect, get: impl FnOnce(&Fields<'_>) -> T) -> (T, Vec<String>) {
        let document = parse::document(yaml, 1).unwrap().unwrap();
        let diagnostics = Diagnostics::default();
        let fields = Fields::root(&document.root, dialect, &diagnostics);
        let got = get(&fields);
        fields.done();
        let (errors, others) = diagnostics.into_parts();
        let all = errors.iter().chain(&others);
        (got, all.map(|found| format!("{}: {}", found.line(), found.sentence())).collect())
    }

    #[test]
    fn resource_files_match_names_in_any_case_and_make_text_of_numbers() {
        let (got, found) = read("NAME: 12\nName: a\nscopes: [1, yes]\n", Dialect::Resource, |f| {
            (f.text("name"), f.texts("scopes", false))
        });
        assert_eq!(got, ("a".to_owned(), vec!["1".to_owned(), "true".to_owned()]));
        assert_eq!(found, ["2: NAME and Name are the same field, only one of them counts, remove one of them"]);
    }

    #[test]
    fn configuration_files_match_names_exactly_and_keep_texts() {
        let (got, _) =
            read("Name: a\nrate: 0.10\non: yes\n", Dialect::Typed, |f| (f.text("name"), f.text("rate"), f.has("on")));
        assert_eq!(got.0, "");
        assert_eq!(got.1, "0.10");
    }

    #[test]
    fn every_mistake_is_kept_with_its_line() {
        let yaml = "a: 'true'\nb: x\nc: 3.5\nd: {e: 1}\nf: [1]\ng: 3.0\n";
        let ((), found) = read(yaml, Dialect::Resource, |f| {
            f.bool("a");
            f.int("b");
            f.int("c");
            f.list("d");
            f.texts("f", true);
            assert_eq!(f.int("g"), Some(3));
        });
        assert_eq!(
            found,
            [
                "1: a: expected true or false, found the text \"true\"",
                "2: b: expected a whole number, found the text \"x\"",
                "3: c: expected a whole number, found the number 3.5",
                "4: d: expected a list, found a mapping",
                "5: f: expected a list of texts, found the number 1",
            ]
        );
    }

    #[test]
    fn every_field_that_nothing_reads_is_named_at_its_key() {
        let yaml = "deadLeterTopic:\n  d\nfoo:\n  - 1\nx-retry: &r {a: 1}\ndlq: d\nspec:\n  bar:\n    1\n";
        let document = parse::document(yaml, 1).unwrap().unwrap();
        let diagnostics = Diagnostics::default();
        let root = Fields::root(&document.root, Dialect::Resource, &diagnostics);
        root.text("deadLetterTopic");
        root.explain("dlq", "did you mean deadLetterTopic?");
        if let Some(spec) = root.fields("spec") {
            spec.done();
        }
        root.done();
        let found: Vec<_> = diagnostics
            .into_parts()
            .1
            .iter()
            .map(|found| format!("{} {:?} {}", found.line(), found.severity, found.sentence()))
            .collect();
        assert_eq!(
            found,
            [
                "8 Warning unknown field spec.bar is ignored",
                "1 Warning unknown field deadLeterTopic is ignored, did you mean deadLetterTopic?",
                "3 Hint unknown field foo is ignored",
                "6 Warning unknown field dlq is ignored, did you mean deadLetterTopic?",
            ]
        );
    }
}
