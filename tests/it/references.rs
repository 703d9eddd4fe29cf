//! References in comments: each names a document and a heading that exist, or a row of the README's table of differences.

use std::collections::BTreeSet;
use std::fs::read_to_string;
use std::path::{Path, PathBuf};

const ROOT: &str = env!("CARGO_MANIFEST_DIR");

/// Files whose comments are checked: all Rust code of the repository.
fn sources() -> Vec<PathBuf> {
    let mut folders: Vec<PathBuf> = ["src", "tests/it", "benches"].map(|name| Path::new(ROOT).join(name)).into();
    let mut files = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in folder.read_dir().unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                files.push(path);
            }
        }
    }
    files
}

/// The comments of a file, each run of comment lines joined to one line.
fn comments(text: &str) -> Vec<String> {
    let mut comments: Vec<String> = Vec::new();
    let mut goes_on = false;
    for line in text.lines() {
        // Two slashes within a string are no comment.
        let start = line.match_indices("//").find(|(at, _)| line[..*at].matches('"').count() % 2 == 0);
        let Some((start, _)) = start else {
            goes_on = false;
            continue;
        };
        let words = line[start..].trim_start_matches(['/', '!']).trim();
        let is_whole_line = line[..start].trim().is_empty();
        match comments.last_mut().filter(|_| goes_on && is_whole_line) {
            Some(last) => last.extend([" ", words]),
            None => comments.push(words.to_owned()),
        }
        goes_on = is_whole_line;
    }
    comments
}

/// The texts of the headings of a document.
fn headings(document: &str) -> Vec<String> {
    let lines = document.lines().filter(|line| line.starts_with('#'));
    lines.map(|line| line.trim_start_matches('#').trim().to_owned()).collect()
}

/// Is it one of these headings, or the beginning of one up to the end of a word?
fn is_heading(name: &str, headings: &[String]) -> bool {
    let rest = |heading: &String| heading.strip_prefix(name).map(|rest| rest.chars().next());
    headings.iter().filter_map(rest).any(|next| next.is_none_or(|next| !next.is_alphanumeric()))
}

/// The headings in quotes that follow the name of a document, for example `, "5.3 Metadata", item 2, "6. Bulk publish"`.
fn quoted(mut rest: &str) -> Vec<&str> {
    let is_between = |word: &str| word.is_empty() || word.starts_with(|letter: char| letter.is_ascii_digit());
    let mut found = Vec::new();
    while let Some((between, after)) = rest.split_once('"') {
        let mut words = between.split([' ', ',']);
        let goes_on = words.all(|word| is_between(word) || ["to", "and", "item", "row", "step"].contains(&word));
        let Some((heading, after)) = after.split_once('"').filter(|_| goes_on) else { break };
        found.push(heading);
        rest = after;
    }
    found
}

/// The rows of the table of differences in the README: `D1`, `D2`, ...
fn differences(readme: &str) -> BTreeSet<String> {
    let rows = readme.lines().filter_map(|line| line.strip_prefix("| D")?.split_once(' '));
    rows.map(|(number, _)| format!("D{number}")).collect()
}

/// What is wrong with the references of one comment. `document` gives the text of a file of the repository.
fn faults(comment: &str, rows: &BTreeSet<String>, document: impl Fn(&str) -> Option<String>) -> Vec<String> {
    let mut faults = Vec::new();
    for (at, _) in comment.match_indices(".md") {
        let begins = |letter: char| !(letter.is_ascii_alphanumeric() || "-_./".contains(letter));
        let start = comment[..at].rfind(begins).map_or(0, |before| before + 1);
        let (name, rest) = (&comment[start..at + 3], &comment[at + 3..]);
        let Some(text) = document(name) else {
            faults.push(format!("there is no file {name}"));
            continue;
        };
        let headings = headings(&text);
        let missing = quoted(rest).into_iter().filter(|heading| !is_heading(heading, &headings));
        faults.extend(missing.map(|heading| format!("{name} has no heading \"{heading}\"")));
    }
    for word in comment.split(|letter: char| !letter.is_ascii_alphanumeric()) {
        let number = word.strip_prefix('D').filter(|rest| !rest.is_empty() && rest.len() < 3);
        if number.is_some_and(|number| number.bytes().all(|byte| byte.is_ascii_digit())) && !rows.contains(word) {
            faults.push(format!("the README's table of differences has no row {word}"));
        }
    }
    faults
}

#[test]
fn every_reference_in_a_comment_resolves() {
    let rows = differences(&read_to_string(Path::new(ROOT).join("README.md")).unwrap());
    let document = |name: &str| read_to_string(Path::new(ROOT).join(name)).ok();
    let mut all = Vec::new();
    for path in sources() {
        let file = path.strip_prefix(ROOT).unwrap().display().to_string();
        for comment in comments(&read_to_string(&path).unwrap()) {
            let faults = faults(&comment, &rows, document);
            all.extend(faults.into_iter().map(|fault| format!("{file}: {fault}")));
        }
    }
    assert!(all.is_empty(), "{}", all.join("\n"));
}

#[test]
fn a_reference_that_does_not_resolve_is_named() {
    let rows: BTreeSet<String> = ["D1".to_owned()].into();
    let document =
        |name: &str| (name == "spec/a.md").then(|| "# A\n## 1.2 Body limit (exact)\n### B7. One event\n".to_owned());
    let check = |comment: &str, expected: &[&str]| assert_eq!(faults(comment, &rows, document), expected, "{comment}");
    check("Read it (spec/a.md, \"1.2 Body limit\").", &[]);
    check("Read it (spec/a.md, \"1.2 Body limit (exact)\", \"B7. One event\", item 3; D1).", &[]);
    check("Mirrors spec/a.md, \"1.2 Body limit\" to \"B7. One event\".", &[]);
    check("A file (spec/a.md).", &[]);
    check("Read it (spec/a.md, \"1.2 Body li\").", &["spec/a.md has no heading \"1.2 Body li\""]);
    check("Read it (spec/a.md, \"B7. One event\", \"B8\").", &["spec/a.md has no heading \"B8\""]);
    check("See spec b.md 3.", &["there is no file b.md"]);
    check("As it should be (D1, D2).", &["the README's table of differences has no row D2"]);
}

#[test]
fn comments_are_joined_over_their_lines() {
    let text = "//! One (a.md,\n//! \"B\").\nlet a = \"http://x\"; // C\n// D\n";
    assert_eq!(comments(text), ["One (a.md, \"B\").", "C", "D"]);
}
