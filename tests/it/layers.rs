//! The floor plan: the table of layers in the doc of `src/lib.rs` against what the modules import.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// Crates behind one door: where they may be named.
const DOORS: [(&str, &[&str]); 8] = [
    ("redis", &["broker/redis.rs", "broker/redis/"]),
    ("deadpool_redis", &["broker/redis.rs", "broker/redis/"]),
    ("cel", &["expr.rs", "expr/"]),
    ("axum", &["api.rs", "api/", "server.rs", "server/"]),
    ("granit_parser", &["resources/yaml/parse.rs"]),
    ("clap", &["cli.rs", "cli/"]),
    ("rustls", &["app/http/", "broker/redis/conn/tls.rs"]),
    ("tokio_rustls", &["app/http/", "broker/redis/conn/tls.rs"]),
];

/// The table of the crate doc.
#[derive(Default)]
struct Plan {
    /// Module to layer and place in its row.
    places: BTreeMap<String, (usize, usize)>,
    /// Layers whose modules may import what stands before them in the row.
    in_order: BTreeSet<usize>,
    /// Exceptions: who may import whom of the same layer.
    exceptions: BTreeSet<(String, String)>,
}

impl Plan {
    fn of(doc: &str) -> Self {
        let table = doc
            .split_once("<!-- layers -->")
            .and_then(|(_, rest)| rest.split_once("<!-- end of layers -->"))
            .expect("the crate doc has a table of layers")
            .0;
        let rows = table.lines().filter(|line| line.matches('|').count() == 4).skip(2);
        let mut plan = Self::default();
        for (layer, row) in rows.enumerate() {
            let cells: Vec<&str> = row.split('|').collect();
            let (modules, beside) = (quoted(cells[2]), cells[3]);
            for (place, module) in modules.into_iter().enumerate() {
                plan.places.insert(module, (layer, place));
            }
            if beside.contains("earlier in this row") {
                plan.in_order.insert(layer);
            }
            for exception in beside.split(',') {
                if let Some((who, whom)) = exception.split_once("->") {
                    let name = |text: &str| quoted(text).swap_remove(0);
                    plan.exceptions.insert((name(who), name(whom)));
                }
            }
        }
        plan
    }

    fn allows(&self, who: &str, whom: &str) -> bool {
        let (Some(from), Some(to)) = (self.places.get(who), self.places.get(whom)) else {
            return false;
        };
        who == whom
            || to.0 < from.0
            || (to.0 == from.0 && to.1 < from.1 && self.in_order.contains(&to.0))
            || self.exceptions.contains(&(who.to_owned(), whom.to_owned()))
    }
}

/// The words in backquotes.
fn quoted(text: &str) -> Vec<String> {
    text.split('`').skip(1).step_by(2).map(str::to_owned).collect()
}

/// Every source file, by its path below `src`.
fn files() -> BTreeMap<String, String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let (mut folders, mut files) = (vec![root.clone()], BTreeMap::new());
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let name = path.strip_prefix(&root).unwrap().display().to_string();
                files.insert(name, std::fs::read_to_string(&path).unwrap());
            }
        }
    }
    files
}

/// Every source file of the library but those for tests only, by its path below `src`.
fn sources() -> BTreeMap<String, String> {
    let mut files = files();
    files.remove("build.rs");
    files.remove("main.rs");
    files.remove("lib.rs");
    let for_tests: Vec<String> = files.iter().flat_map(|(name, text)| test_files(name, text)).collect();
    files.retain(|name, _| !for_tests.iter().any(|start| name.starts_with(start)));
    files
}

/// The beginnings of the paths of modules that `text` declares for tests only.
fn test_files(name: &str, text: &str) -> Vec<String> {
    let folder = PathBuf::from(name).with_extension("");
    let declared = text.split("#[cfg(test)]").skip(1).filter_map(|rest| {
        let line = rest.trim_start().lines().next()?;
        let module = line.strip_suffix(';')?.rsplit(' ').next()?;
        Some(folder.join(module).display().to_string())
    });
    declared.flat_map(|path| [format!("{path}.rs"), format!("{path}/")]).collect()
}

/// The code of a file: without comments, and without the tests at its end.
fn code(text: &str) -> String {
    let lines = text.lines().map(|line| {
        line.split_once("//").filter(|(before, _)| !before.contains('"')).map_or(line, |(before, _)| before)
    });
    let lines: Vec<&str> = lines.collect();
    let end = lines
        .windows(2)
        .position(|pair| pair[0] == "#[cfg(test)]" && pair[1].contains("mod ") && pair[1].ends_with('{'));
    lines[..end.unwrap_or(lines.len())].join("\n")
}

/// What follows each `start` in the code, where `start` begins a path.
fn after<'a>(code: &'a str, start: &'a str) -> impl Iterator<Item = &'a str> {
    code.match_indices(start)
        .filter(|(at, _)| {
            let before = code[..*at].chars().next_back();
            before.is_none_or(|letter| !letter.is_alphanumeric() && !"_:".contains(letter))
        })
        .map(|(at, _)| &code[at + start.len()..])
}

fn first_word(text: &str) -> String {
    text.chars().take_while(|letter| letter.is_alphanumeric() || *letter == '_').collect()
}

/// The top-level modules that the code names by `crate::`.
fn imports(code: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for rest in after(code, "crate::") {
        match rest.strip_prefix('{').and_then(|rest| rest.split_once(';')) {
            // `use crate::{a::b, c}`: the words at the first level of the braces.
            Some((group, _)) => {
                let mut depth = 0;
                for part in group.split_inclusive(['{', '}', ',']) {
                    if depth == 0 {
                        found.insert(first_word(part.trim_start()));
                    }
                    depth += part.matches('{').count();
                    depth = depth.saturating_sub(part.matches('}').count());
                }
            }
            None => {
                found.insert(first_word(rest));
            }
        }
    }
    found.remove("");
    found
}

fn module_of(file: &str) -> &str {
    let first = file.split('/').next().unwrap_or(file);
    first.strip_suffix(".rs").unwrap_or(first)
}

/// One line for each import that the plan does not allow.
fn breaches(plan: &Plan, sources: &BTreeMap<String, String>) -> Vec<String> {
    let mut breaches = Vec::new();
    for (file, text) in sources {
        let (who, code) = (module_of(file), code(text));
        for whom in imports(&code) {
            if !plan.allows(who, &whom) {
                breaches.push(format!("src/{file}: `{who}` may not import `{whom}` by the table in src/lib.rs"));
            }
        }
        for (name, doors) in DOORS {
            let start = format!("{name}::");
            let is_door = doors.iter().any(|door| file.starts_with(door));
            if !is_door && after(&code, &start).next().is_some() {
                breaches.push(format!("src/{file}: the crate `{name}` is to be used in {} only", doors.join(", ")));
            }
        }
    }
    breaches
}

const LIB: &str = include_str!("../../src/lib.rs");

#[test]
fn modules_import_only_what_the_table_in_the_crate_doc_allows() {
    let breaches = breaches(&Plan::of(LIB), &sources());
    assert!(breaches.is_empty(), "{}", breaches.join("\n"));
}

#[test]
fn every_module_has_its_place_in_the_table() {
    let sources = sources();
    let modules: BTreeSet<&str> = sources.keys().map(|file| module_of(file)).collect();
    let plan = Plan::of(LIB);
    let placed: BTreeSet<&str> = plan.places.keys().map(String::as_str).collect();
    assert_eq!(placed, modules);
    let in_exceptions = plan.exceptions.iter().flat_map(|(who, whom)| [who, whom]);
    for name in in_exceptions {
        assert!(placed.contains(name.as_str()), "{name}");
    }
}

/// One that is tried with other cases in each run blames a change for what was there before it.
#[test]
fn every_property_is_tried_with_the_cases_that_are_the_same_in_each_run() {
    for (file, text) in files() {
        let blocks = text.matches("proptest! {\n").count();
        let configured = text.matches("arbitrary::cases())]").count() + text.matches("(cases())]").count();
        assert_eq!(configured, blocks, "src/{file}");
    }
}

#[test]
fn a_breach_is_named_with_its_file() {
    let check = |file: &str, text: &str, expected: Option<&str>| {
        let sources = [(file.to_owned(), text.to_owned())].into();
        let found = breaches(&Plan::of(LIB), &sources);
        let expected: Vec<String> = expected.map(str::to_owned).into_iter().collect();
        assert_eq!(found, expected, "{text}");
    };
    let layer = |who: &str, whom: &str| {
        Some(format!("src/{who}: `delivery` may not import `{whom}` by the table in src/lib.rs"))
    };
    let dead_letter = "delivery/dead_letter.rs";
    let breach = layer(dead_letter, "publish");
    check(dead_letter, "use crate::publish::X;", breach.as_deref());
    check(dead_letter, "fn f() -> crate::publish::X {}", breach.as_deref());
    check(dead_letter, "use crate::{broker::{self, Sink}, publish};", breach.as_deref());
    check("delivery.rs", "use crate::api::X;", layer("delivery.rs", "api").as_deref());
    check(dead_letter, "// see crate::publish", None);
    check(dead_letter, "#[cfg(test)]\nmod tests {\n    use crate::publish;\n}", None);
    check(dead_letter, "use crate::delivery::testing::X;", None);
    check("envelope/wrap.rs", "use crate::message::X;", None);
    check("config.rs", "use crate::cli::Flags;", None);
    check(
        "cli.rs",
        "use crate::config::X;",
        Some("src/cli.rs: `cli` may not import `config` by the table in src/lib.rs"),
    );
    check(
        "pubsub.rs",
        "let it = redis::cmd();",
        Some("src/pubsub.rs: the crate `redis` is to be used in broker/redis.rs, broker/redis/ only"),
    );
    check("pubsub.rs", "use crate::broker::redis::X;", None);
    check("broker/redis/read.rs", "use deadpool_redis::redis::X;", None);
}

#[test]
fn test_only_files_are_left_out() {
    let sources = sources();
    assert!(!sources.contains_key("delivery/testing.rs"));
    assert!(sources.contains_key("delivery/consumer.rs"));
    assert_eq!(test_files("api/http.rs", "#[cfg(test)]\nmod tests;\n"), ["api/http/tests.rs", "api/http/tests/"]);
}

/// The paths that the code names by `crate::`, `super::` or `self::`, groups in braces taken apart: the segments of each.
fn paths(code: &str) -> Vec<Vec<String>> {
    let mut found = Vec::new();
    for start in ["crate::", "super::", "self::"] {
        for rest in after(code, start) {
            // The words of a visibility, `pub(in crate::broker)`, name no item.
            let before = &code[..code.len() - rest.len() - start.len()];
            if !before.ends_with("(in ") {
                take_apart(&[start.trim_end_matches(':')], rest, &mut found);
            }
        }
    }
    found
}

/// Add the paths of one path or group that follows `prefix`.
fn take_apart(prefix: &[&str], text: &str, found: &mut Vec<Vec<String>>) {
    let text = text.trim_start();
    if let Some(group) = text.strip_prefix('{') {
        let (mut depth, mut begin) = (0, 0);
        for (at, letter) in group.char_indices() {
            let ends = depth == 0 && (letter == ',' || letter == '}');
            if ends {
                take_apart(prefix, &group[begin..at], found);
                begin = at + 1;
            }
            match letter {
                '{' => depth += 1,
                '}' if depth == 0 => return,
                '}' => depth -= 1,
                _ => {}
            }
        }
        return;
    }
    let word = first_word(text);
    if word.is_empty() {
        return;
    }
    let path: Vec<&str> = prefix.iter().copied().chain([word.as_str()]).collect();
    match text[word.len()..].strip_prefix("::") {
        Some(rest) if !rest.starts_with('<') => take_apart(&path, rest, found),
        _ => found.push(path.into_iter().map(str::to_owned).collect()),
    }
}

/// The module that a path names, or the module of the item that it names, as the path of its file without `.rs`.
fn module_named(path: &[String], from: &str, modules: &BTreeSet<&str>) -> String {
    let mut at: Vec<&str> = if path[0] == "crate" { Vec::new() } else { from.split('/').collect() };
    for segment in path.iter().skip(usize::from(path[0] != "super")) {
        match segment.as_str() {
            "super" => drop(at.pop()),
            segment => {
                let next = [at.as_slice(), &[segment]].concat();
                if !modules.contains(next.join("/").as_str()) {
                    break;
                }
                at = next;
            }
        }
    }
    at.join("/")
}

/// One line for each file that imports from the file of a folder it is in, and for each circle of modules within a folder.
fn breaches_within_folders(sources: &BTreeMap<String, String>) -> Vec<String> {
    let modules: BTreeSet<&str> = sources.keys().filter_map(|file| file.strip_suffix(".rs")).collect();
    let mut breaches = BTreeSet::new();
    // Folder to its modules to the modules beside them that they import.
    let mut arrows: BTreeMap<String, BTreeMap<String, BTreeSet<String>>> = BTreeMap::new();
    for who in &modules {
        for path in paths(&code(&sources[&format!("{who}.rs")])) {
            let whom = module_named(&path, who, &modules);
            if whom.is_empty() {
                continue;
            }
            if who.strip_prefix(whom.as_str()).is_some_and(|rest| rest.starts_with('/')) {
                let item = path.last().map_or("", String::as_str);
                breaches.insert(format!("src/{who}.rs: `{item}` is to be in a file beside, not in src/{whom}.rs"));
            }
            let (from, to): (Vec<&str>, Vec<&str>) = (who.split('/').collect(), whom.split('/').collect());
            let common = from.iter().zip(&to).take_while(|(a, b)| a == b).count();
            if common > 0 && common < from.len() && common < to.len() {
                let folder = arrows.entry(from[..common].join("/")).or_default();
                folder.entry(from[common].to_owned()).or_default().insert(to[common].to_owned());
            }
        }
    }
    for (folder, mut arrows) in arrows {
        // Modules whose imports are all gone import nothing that remains; what never goes is a circle, or leads to one.
        let mut left: BTreeSet<String> = arrows.keys().cloned().collect();
        while let Some(free) = left.iter().find(|name| arrows[*name].is_disjoint(&left)).cloned() {
            left.remove(&free);
        }
        arrows.retain(|name, _| left.contains(name));
        if !left.is_empty() {
            let left: Vec<String> = left.into_iter().collect();
            breaches.insert(format!("src/{folder}: there is a circle among {}", left.join(", ")));
        }
    }
    breaches.into_iter().collect()
}

#[test]
fn folders_have_layers_too() {
    let breaches = breaches_within_folders(&sources());
    assert!(breaches.is_empty(), "{}", breaches.join("\n"));
}

#[test]
fn a_breach_within_a_folder_is_named() {
    let check = |files: &[(&str, &str)], expected: &[&str]| {
        let sources = files.iter().map(|(name, text)| (format!("{name}.rs"), (*text).to_owned())).collect();
        assert_eq!(breaches_within_folders(&sources), expected, "{files:?}");
    };
    let upwards = "src/a/b.rs: `X` is to be in a file beside, not in src/a.rs";
    check(&[("a", "mod b;"), ("a/b", "use super::X;")], &[upwards]);
    check(&[("a", ""), ("a/b", "fn f(x: crate::a::X) {}")], &[upwards]);
    check(&[("a", ""), ("a/b", "use crate::{a::{c::Y, X}, d};"), ("a/c", "")], &[upwards]);
    check(&[("a", ""), ("a/b", "use super::c::X;"), ("a/c", "")], &[]);
    check(&[("a", ""), ("a/b", "pub(in crate::a) struct X;")], &[]);
    check(&[("a", "use b::X;"), ("a/b", "use crate::d::X;"), ("d", "")], &[]);
    let circle = "src/a: there is a circle among b, c";
    check(&[("a", ""), ("a/b", "use super::c::X;"), ("a/c", "use crate::a::b::Y;")], &[circle]);
    check(&[("a", ""), ("a/b", "use super::c::X;"), ("a/c", ""), ("a/c/d", "use crate::a::b::Y;")], &[circle]);
    check(&[("a", ""), ("a/b", "use super::c::X;"), ("a/c", "use super::d::X;"), ("a/d", "")], &[]);
}
