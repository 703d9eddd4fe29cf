//! YAML text to a tree of nodes with line numbers. The only file that knows the YAML crate.
//!
//! Scalars stay text: the meaning of `0777` or `yes` depends on the field, by Go's rules (see `value`), not by the
//! crate's. Anchors, aliases and merge keys are resolved here.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use granit_parser::{Event, Parser, ScalarStyle, ScanError, Span, Tag};

use crate::resources::yaml::error::YamlError;
use crate::resources::yaml::value::{Content, Node};

/// Limit on nodes of a document, with aliases counted at each use: stops documents that expand without bound.
const MAX_NODES: usize = 200_000;

/// One document of a file.
#[derive(Clone, Debug)]
pub struct Document {
    /// The tree of nodes.
    pub root: Node,
    /// Keys that occur twice in one mapping. The last one counts, unless the kind of document forbids duplicates.
    pub duplicates: Vec<YamlError>,
}

/// Split a file into documents as daprd does: at lines that begin with `---`, which are dropped as a whole. A separator
/// in the first line is part of the first document. Returns each part with its first line, counted from 1.
pub fn split(text: &str) -> Vec<(usize, String)> {
    let mut parts = vec![(1, String::new())];
    for (index, line) in text.split_inclusive('\n').enumerate() {
        if index > 0 && line.starts_with("---") {
            parts.push((index + 2, String::new()));
        } else if let Some((_, part)) = parts.last_mut() {
            part.push_str(line);
        }
    }
    parts
}

/// Parse the first document of a text; `None` if it holds only comments. `first_line` is the line of the file at which
/// the text begins.
///
/// # Errors
/// The text is not YAML; the error carries the line of the file.
pub fn document(text: &str, first_line: usize) -> Result<Option<Document>, YamlError> {
    if let Some(at) = text.find('\0') {
        return Err(YamlError {
            line: first_line + text[..at].matches('\n').count(),
            message: "a NUL byte, which no text holds: save the file as UTF-8".to_owned(),
        });
    }
    let mut builder = Builder { first_line, ..Builder::default() };
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    for event in Parser::new_from_str(text) {
        let (event, span) = event.map_err(|error| builder.scan_error(&error))?;
        if builder.take(event, &span)? {
            break;
        }
    }
    let duplicates = builder.duplicates;
    Ok(builder.root.map(|root| Document { root, duplicates }))
}

#[derive(Default)]
struct Builder {
    first_line: usize,
    open: Vec<Open>,
    anchors: HashMap<usize, Node>,
    nodes: usize,
    root: Option<Node>,
    duplicates: Vec<YamlError>,
}

/// A list or mapping that is not complete yet.
struct Open {
    line: usize,
    anchor: usize,
    is_map: bool,
    children: Vec<Node>,
}

impl Builder {
    /// Add one event. Returns whether the document is complete.
    fn take(&mut self, event: Event<'_>, span: &Span) -> Result<bool, YamlError> {
        let line = self.line(span.start.line());
        match event {
            Event::DocumentEnd => return Ok(true),
            Event::Scalar(text, style, anchor, tag) => {
                let quoted = style != ScalarStyle::Plain;
                let content = Content::Scalar { text: text.into_owned(), is_text: is_text(quoted, tag.as_deref()) };
                self.attach(Node { line, content }, anchor)?;
            }
            Event::SequenceStart(_, anchor, _) => self.start(line, anchor, false),
            Event::MappingStart(_, anchor, _) => self.start(line, anchor, true),
            Event::SequenceEnd | Event::MappingEnd => self.end()?,
            Event::Alias(anchor) => {
                let node = self.anchors.get(&anchor).cloned();
                let mut node =
                    node.ok_or_else(|| YamlError { line, message: "an anchor contains itself".to_owned() })?;
                node.line = line;
                self.nodes += node.size();
                self.attach(node, 0)?;
            }
            _ => {}
        }
        Ok(false)
    }

    fn start(&mut self, line: usize, anchor: usize, is_map: bool) {
        self.open.push(Open { line, anchor, is_map, children: Vec::new() });
    }

    fn end(&mut self) -> Result<(), YamlError> {
        let Some(open) = self.open.pop() else {
            return Ok(());
        };
        let content = if open.is_map { self.mapping(open.children)? } else { Content::List(open.children) };
        let line = open.line;
        self.attach(Node { line, content }, open.anchor)
    }

    /// Add a finished node to the innermost open list or mapping.
    fn attach(&mut self, node: Node, anchor: usize) -> Result<(), YamlError> {
        self.nodes += 1;
        if self.nodes > MAX_NODES {
            return Err(YamlError {
                line: node.line,
                message: "the document is too large when its aliases are filled in".to_owned(),
            });
        }
        if anchor != 0 {
            // The copy counts, too: anchors within anchors multiply.
            self.nodes += node.size();
            self.anchors.insert(anchor, node.clone());
        }
        match self.open.last_mut() {
            Some(open) => open.children.push(node),
            None => self.root = Some(node),
        }
        Ok(())
    }

    /// Pair keys with values. Entries of merge keys come before the own entries of the mapping, so that the own ones win.
    fn mapping(&mut self, children: Vec<Node>) -> Result<Content, YamlError> {
        let mut merged = Vec::new();
        let mut own: Vec<(Node, Node)> = Vec::new();
        let mut first_lines = HashMap::new();
        let mut children = children.into_iter();
        while let (Some(key), Some(value)) = (children.next(), children.next()) {
            if is_merge(&key) {
                merge(value, &mut merged)?;
                continue;
            }
            if let Some(text) = key.as_text() {
                match first_lines.entry(text.to_owned()) {
                    Entry::Vacant(vacant) => drop(vacant.insert(key.line)),
                    Entry::Occupied(first) => self.duplicates.push(YamlError {
                        line: key.line,
                        message: format!("mapping key {text:?} already defined at line {}", first.get()),
                    }),
                }
            }
            own.push((key, value));
        }
        let merged = merged.into_iter().rev().flatten();
        Ok(Content::Map(merged.chain(own).collect()))
    }

    fn line(&self, line: usize) -> usize {
        self.first_line + line.saturating_sub(1)
    }

    fn scan_error(&self, error: &ScanError) -> YamlError {
        YamlError { line: self.line(error.marker().line()), message: error.info() }
    }
}

/// Whether a scalar is text even if it looks like a number, a bool or null.
fn is_text(quoted: bool, tag: Option<&Tag>) -> bool {
    match tag.map(|tag| (tag.handle(), tag.suffix())) {
        Some(("tag:yaml.org,2002:", "int" | "float" | "bool" | "null")) => false,
        Some(_) => true,
        None => quoted,
    }
}

fn is_merge(key: &Node) -> bool {
    matches!(&key.content, Content::Scalar { text, is_text: false } if text == "<<")
}

/// Collect the entries of a mapping, or of a list of mappings of which earlier ones win. The caller reverses `into`.
fn merge(value: Node, into: &mut Vec<Vec<(Node, Node)>>) -> Result<(), YamlError> {
    let line = value.line;
    match value.content {
        Content::Map(entries) => into.push(entries),
        Content::List(items) => {
            for item in items {
                if matches!(item.content, Content::List(_)) {
                    return Err(not_a_mapping(line));
                }
                merge(item, into)?;
            }
            return Ok(());
        }
        Content::Scalar { .. } => return Err(not_a_mapping(line)),
    }
    Ok(())
}

fn not_a_mapping(line: usize) -> YamlError {
    YamlError { line, message: "map merge requires map or sequence of maps as the value".to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The tree as one line, texts in quotes.
    fn shown(node: &Node) -> String {
        match &node.content {
            Content::Scalar { text, is_text } if *is_text => format!("{text:?}"),
            Content::Scalar { text, .. } => text.clone(),
            Content::List(items) => {
                format!("[{}]", items.iter().map(shown).collect::<Vec<_>>().join(" "))
            }
            Content::Map(entries) => {
                let entry = |(key, value): &(Node, Node)| format!("{}:{}", shown(key), shown(value));
                format!("{{{}}}", entries.iter().map(entry).collect::<Vec<_>>().join(" "))
            }
        }
    }

    fn check(text: &str, expected: &str) {
        let got = match document(text, 1) {
            Ok(Some(document)) => shown(&document.root),
            Ok(None) => "nothing".to_owned(),
            Err(error) => format!("line {}", error.line),
        };
        assert_eq!(got, expected, "{text}");
    }

    #[test]
    fn yaml_becomes_a_tree() {
        check("a: 1\nb: '1'\n", "{a:1 b:\"1\"}");
        check("{\"a\": [x, y]}", "{\"a\":[x y]}");
        check("a: !!str 1\nb: !!int '1'", "{a:\"1\" b:1}");
        check("a: |\n  x\n  y\n", "{a:\"x\\ny\\n\"}");
        check("# only a comment\n", "nothing");
        check("", "nothing");
        check("a: &x {b: 1}\nc: *x", "{a:{b:1} c:{b:1}}");
        check("a: &x {b: 1, c: 2}\nd: {<<: *x, c: 3}", "{a:{b:1 c:2} d:{b:1 c:2 c:3}}");
        check("d: {<<: [{a: 1}, {a: 2}]}", "{d:{a:2 a:1}}");
        check("d: {<<: 1}", "line 1");
        check("a: 1\nb: [\n", "line 2");
        check("a: &x [*x]", "line 1");
        check("a: *nope", "line 1");
        check("a: 1\n...\nb: [", "{a:1}");
        check("a: 1\nb: x\0y\n", "line 2");
    }

    #[test]
    fn a_bomb_of_aliases_is_refused() {
        let mut text = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
        for n in 1..9 {
            let alias = format!("*a{}", n - 1);
            text.push_str(&format!("a{n}: &a{n} [{}]\n", vec![alias; 10].join(", ")));
        }
        let error = document(&text, 1).unwrap_err();
        assert!(error.message.contains("too large"), "{}", error.message);
    }

    #[test]
    fn a_bomb_of_anchors_within_anchors_is_refused() {
        let flow = |times: usize| {
            let anchors: String = (0..times).map(|n| format!("&a{n} [")).collect();
            format!("{anchors}{}", "]".repeat(times))
        };
        let row = format!("- &r [{}]\n", vec![flow(50); 40].join(", "));
        let error = document(&row.repeat(40), 1).unwrap_err();
        assert!(error.message.contains("too large"), "{}", error.message);
    }

    #[test]
    fn the_work_grows_with_the_text_and_not_faster() {
        let keys: String = (0..50_000).map(|n| format!("k{n}: 1\n")).collect();
        assert!(document(&keys, 1).unwrap().unwrap().duplicates.is_empty());
        let merges = format!("a: &a {{x: 1}}\nb:\n{}", "  <<: *a\n".repeat(30_000));
        document(&merges, 1).unwrap();
        for deep in ["[", "{a: ", "- ", "? ", "&a [", "!!str ["] {
            let _ = document(&deep.repeat(50_000), 1);
        }
    }

    #[test]
    fn files_are_split_where_daprd_splits_them() {
        let parts = |text: &str| split(text);
        let part = |line: usize, text: &str| (line, text.to_owned());
        assert_eq!(parts("a\n---\nb\n"), [part(1, "a\n"), part(3, "b\n")]);
        assert_eq!(parts("---\na\n--- # c\nb"), [part(1, "---\na\n"), part(4, "b")]);
        assert_eq!(parts("a\r\n---\r\nb\r\n"), [part(1, "a\r\n"), part(3, "b\r\n")]);
        assert_eq!(parts("a\n ---\n"), [part(1, "a\n ---\n")]);
        assert_eq!(parts("a\n--- "), [part(1, "a\n"), part(3, "")]);
    }

    #[test]
    fn a_mistake_in_a_later_document_has_the_line_of_the_file() {
        let text = "a: 1\n---\nb: 1\nc: [\n";
        let (line, part) = split(text).remove(1);
        assert_eq!(document(&part, line).unwrap_err().line, 4);
    }
}
