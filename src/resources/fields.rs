//! Typed fields of a mapping: each kind of resource reads itself through this, and every mistake is kept, not only the first.
//!
//! Two dialects (spec resources-cli.md 4.3 and 9.1): resource files are YAML turned into JSON, with names in any case and numbers
//! that become text; Configuration files are typed YAML, with exact names and texts kept literally.

use std::cell::RefCell;
use std::collections::BTreeMap;

use crate::metadata::nearest;
use crate::resources::value::{Content, Mistake, Node, Scalar};

/// How names and scalars are matched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dialect {
    /// Components, subscriptions, resiliency.
    Resource,
    /// Configuration.
    Typed,
}

/// What was found while a document was read. Mistakes make the document unusable, remarks do not.
#[derive(Debug, Default)]
pub struct Findings {
    mistakes: RefCell<Vec<Mistake>>,
    remarks: RefCell<Vec<Mistake>>,
}

impl Findings {
    /// Something that makes the document unusable.
    pub fn mistake(&self, line: usize, text: String) {
        self.mistakes.borrow_mut().push(Mistake { line, text });
    }

    /// Something to look at.
    pub fn remark(&self, line: usize, text: String) {
        self.remarks.borrow_mut().push(Mistake { line, text });
    }

    /// Mistakes and remarks, in the order they were found.
    pub fn into_parts(self) -> (Vec<Mistake>, Vec<Mistake>) {
        (self.mistakes.into_inner(), self.remarks.into_inner())
    }
}

/// The fields of one mapping.
pub struct Fields<'a> {
    findings: &'a Findings,
    dialect: Dialect,
    path: String,
    line: usize,
    entries: Vec<(String, &'a Node)>,
    asked: RefCell<Vec<&'static str>>,
}

impl<'a> Fields<'a> {
    /// Of the root of a document. Anything but a mapping is a mistake, nothing at all is not.
    pub fn root(node: &'a Node, dialect: Dialect, findings: &'a Findings) -> Self {
        Self::at(node, String::new(), dialect, findings)
    }

    fn at(node: &'a Node, path: String, dialect: Dialect, findings: &'a Findings) -> Self {
        let mut fields = Self {
            findings,
            dialect,
            path,
            line: node.line,
            entries: Vec::new(),
            asked: RefCell::default(),
        };
        match &node.content {
            Content::Map(entries) => {
                for (key, value) in entries {
                    let name = match dialect {
                        Dialect::Resource => key.key(),
                        Dialect::Typed => key.as_text().map(str::to_owned),
                    };
                    match name {
                        Some(key) => fields.entries.push((key, value)),
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
        self.line
    }

    /// The node of a field; `None` when it is absent.
    pub fn node(&self, name: &'static str) -> Option<&'a Node> {
        self.asked.borrow_mut().push(name);
        let exact = self.entries.iter().rev().find(|(key, _)| key == name);
        let found = exact.or_else(|| {
            let in_any_case = |(key, _): &&(String, &Node)| key.eq_ignore_ascii_case(name);
            let dialect = Some(self.dialect).filter(|dialect| *dialect == Dialect::Resource);
            dialect.and_then(|_| self.entries.iter().rev().find(in_any_case))
        });
        found.map(|(_, node)| *node)
    }

    /// Is the field there, with or without a value?
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

    /// The fields of a mapping inside; of an empty one when it is absent.
    pub fn fields(&self, name: &'static str) -> Option<Self> {
        self.node(name).map(|node| self.inside(node, name))
    }

    /// The mappings of a list; none when it is absent.
    pub fn list(&self, name: &'static str) -> Vec<Self> {
        let items = self.items(name).into_iter().enumerate();
        items
            .map(|(index, node)| self.inside(node, &format!("{name}[{index}]")))
            .collect()
    }

    /// The entries of a mapping whose names are free, each with a mapping inside; of equal names the last.
    pub fn named(&self, name: &'static str) -> Vec<(String, Self)> {
        let entries = self.free(name);
        let inside = |(key, node): (String, &'a Node)| {
            let fields = self.inside(node, &format!("{name}.{key}"));
            (key, fields)
        };
        entries.into_iter().map(inside).collect()
    }

    /// A mapping of texts whose names are free, each with its line.
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

    /// A list of texts. With `strict`, a number or a bool in it is a mistake, as in a component's `scopes` (spec 4.3).
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

    /// All fields that matter have been asked for: name the others as remarks, if they look like a misspelling of one (design.md D15).
    pub fn done(&self) {
        for (path, line, meant) in self.unknown() {
            if let Some(meant) = meant {
                let text = format!("unknown field {path} is ignored, did you mean {meant}?");
                self.findings.remark(line, text);
            }
        }
    }

    /// The same, and name those as well that look like nothing known: for documents in which nobody else's fields stand.
    pub fn all_done(&self) {
        for (path, line, meant) in self.unknown() {
            let meant = meant.map_or_else(String::new, |name| format!(", did you mean {name}?"));
            let text = format!("unknown field {path} is ignored{meant}");
            self.findings.remark(line, text);
        }
    }

    /// Fields that nobody has asked for: path, line, and the name that may have been meant.
    fn unknown(&self) -> Vec<(String, usize, Option<&'static str>)> {
        let asked = self.asked.borrow();
        let is_unknown = |(key, _): &&(String, &Node)| match self.dialect {
            Dialect::Resource => !asked.iter().any(|name| name.eq_ignore_ascii_case(key)),
            Dialect::Typed => !asked.contains(&key.as_str()),
        };
        let unknown = self.entries.iter().filter(is_unknown);
        unknown
            .map(|(key, node)| {
                let meant = nearest(key, &asked).filter(|name| !self.has_exactly(name));
                (self.path_of(key), node.line, meant)
            })
            .collect()
    }

    /// Read with `get`, then [`Self::done`].
    pub fn done_with<T>(&self, get: impl FnOnce(&Self) -> T) -> T {
        let got = get(self);
        self.done();
        got
    }

    /// A mistake of the mapping as a whole.
    pub fn refuse(&self, text: String) {
        self.findings.mistake(self.line, text);
    }

    /// A mistake in the value of a field.
    pub fn mistake(&self, name: &'static str, text: &str) {
        let line = self.node(name).map_or(self.line, |node| node.line);
        self.findings
            .mistake(line, format!("{}: {text}", self.path_of(name)));
    }

    /// Something to look at in the value of a field.
    pub fn remark(&self, name: &'static str, text: &str) {
        let line = self.node(name).map_or(self.line, |node| node.line);
        self.findings
            .remark(line, format!("{}: {text}", self.path_of(name)));
    }

    fn has_exactly(&self, name: &str) -> bool {
        self.entries.iter().any(|(key, _)| key == name)
    }

    fn inside(&self, node: &'a Node, name: &str) -> Self {
        Fields::at(node, self.path_of(name), self.dialect, self.findings)
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

    /// The entries of a mapping, the last of equal names, in order of the names' first appearance.
    fn free(&self, name: &'static str) -> Vec<(String, &'a Node)> {
        let Some(node) = self.node(name) else {
            return Vec::new();
        };
        let mut entries: Vec<(String, &'a Node)> = Vec::new();
        for (key, value) in self.inside(node, name).entries {
            match entries.iter_mut().find(|(known, _)| *known == key) {
                Some(entry) => entry.1 = value,
                None => entries.push((key, value)),
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
        let found = node.kind();
        self.findings.mistake(
            node.line,
            format!("{of}: expected {expected}, found {found}"),
        );
    }

    fn path_of(&self, name: &str) -> String {
        match (self.path.as_str(), name) {
            (path, "") => path.to_owned(),
            ("", name) => name.to_owned(),
            (path, name) => format!("{path}.{name}"),
        }
    }
}

/// A number without fraction that fits.
fn whole(value: f64) -> Option<i64> {
    // 2^63 is the first that does not fit; the cast below is exact then.
    let fits = value.fract() == 0.0 && value.abs() < 9.2e18;
    fits.then(|| format!("{value:.0}").parse().ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::resources::load;

    fn read<T>(
        yaml: &str,
        dialect: Dialect,
        get: impl FnOnce(&Fields<'_>) -> T,
    ) -> (T, Vec<String>) {
        let document = load::document(yaml, 1).unwrap().unwrap();
        let findings = Findings::default();
        let fields = Fields::root(&document.root, dialect, &findings);
        let got = get(&fields);
        fields.done();
        let (mistakes, remarks) = findings.into_parts();
        let all = mistakes.into_iter().chain(remarks);
        (
            got,
            all.map(|found| format!("{}: {}", found.line, found.text))
                .collect(),
        )
    }

    #[test]
    fn resource_files_match_names_in_any_case_and_make_text_of_numbers() {
        let (got, found) = read(
            "NAME: 12\nName: a\nscopes: [1, yes]\n",
            Dialect::Resource,
            |f| (f.text("name"), f.texts("scopes", false)),
        );
        assert_eq!(
            got,
            ("a".to_owned(), vec!["1".to_owned(), "true".to_owned()])
        );
        assert_eq!(found, Vec::<String>::new());
    }

    #[test]
    fn configuration_files_match_names_exactly_and_keep_texts() {
        let (got, _) = read("Name: a\nrate: 0.10\non: yes\n", Dialect::Typed, |f| {
            (f.text("name"), f.text("rate"), f.has("on"))
        });
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
    fn a_misspelt_field_is_remarked_a_foreign_one_is_not() {
        let ((), found) = read("deadLeterTopic: d\nfoo: 1\n", Dialect::Resource, |f| {
            f.text("deadLetterTopic");
            f.text("topic");
        });
        assert_eq!(
            found,
            ["1: unknown field deadLeterTopic is ignored, did you mean deadLetterTopic?"]
        );
    }
}
