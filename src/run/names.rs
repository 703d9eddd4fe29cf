//! Generated app ids.

const FIRST: [&str; 16] = [
    "amber", "brave", "calm", "clever", "eager", "fair", "gentle", "glad", "keen", "lively", "merry", "neat", "proud",
    "quiet", "swift", "witty",
];

const SECOND: [&str; 16] = [
    "badger", "beaver", "crane", "dolphin", "falcon", "finch", "heron", "lark", "marten", "otter", "plover", "robin",
    "seal", "stoat", "swan", "wren",
];

/// Two words with a dash between them. Not secret and not unique.
pub(super) fn silly() -> String {
    let pick = |words: &[&'static str; 16]| words[fastrand::usize(..words.len())];
    format!("{}-{}", pick(&FIRST), pick(&SECOND))
}
