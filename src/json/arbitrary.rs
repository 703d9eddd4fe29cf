//! Generators for property tests: JSON as others may write it, damaged JSON, texts that have broken readers before.
//!
//! Used by every module that reads foreign input. Each run tries the same cases, so that a failure belongs to the
//! change that is tested. To explore, set `PROPTEST_RNG_SEED` to another number, and `PROPTEST_CASES` to the number of
//! cases of each property; `tests/it/fuzz.rs` uses the seed, too. A failing case is printed; add it to the module's
//! table of cases or to [`NASTY`]. The files that proptest writes are not committed.

use std::time::Duration;

use nix::time::{ClockId, clock_gettime};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{Index, select};
use proptest::test_runner::{Config, RngSeed};

use crate::message::Metadata;

/// The limit of a case, exceeded only if the work grows faster than the text.
const PATIENCE: Duration = Duration::from_secs(5);

/// The default seed.
const SEED: u64 = 1;

/// The configuration of all property tests.
pub(crate) fn cases() -> Config {
    let asked = Config::default();
    let rng_seed = match asked.rng_seed {
        RngSeed::Random => RngSeed::Fixed(SEED),
        RngSeed::Fixed(_) => asked.rng_seed,
    };
    Config { rng_seed, ..asked }
}

/// Texts that are hard to read.
pub(crate) const NASTY: [&str; 40] = [
    "",
    " ",
    "\0",
    "\n",
    "\r\n\r\n",
    "\u{7f}",
    "\u{feff}",
    "\u{2028}",
    "😀",
    "é",
    "İ",
    "\\",
    "\"",
    "'",
    "\\ud800",
    "\\u12",
    "%",
    "%zz",
    "%00",
    "%FF",
    "..",
    "//",
    "${X",
    "{uuid}",
    "$$",
    "-",
    "--",
    "-0",
    "0x",
    "1e400",
    "-1e-400",
    "9223372036854775807",
    "-9223372036854775808",
    "18446744073709551616",
    "99999999999999999999999999999999999999999",
    "9223372036s",
    "2562047h47m16.854775807s",
    "NaN",
    ".inf",
    "null",
];

/// A number by the grammar of JSON, in most cases beyond any machine type.
pub(crate) fn number() -> impl Strategy<Value = String> + Clone {
    "-?(0|[1-9][0-9]{0,60})(\\.[0-9]{1,60})?([eE][+-]?[0-9]{1,5})?"
}

/// A string by the grammar of JSON, quotes included.
pub(crate) fn string() -> impl Strategy<Value = String> + Clone {
    let piece = prop_oneof![
        4 => "[ !#-\\[\\]-~]{1,8}",
        1 => "[^\\x00-\\x1f\"\\\\]",
        3 => select(vec![
            r#"\""#, r"\\", r"\/", r"\b", r"\f", r"\n", r"\r", r"\t", r"\u0000", r"\ud800", r"\udc00", r"\ud83d\ude00", r"\uFFFF",
            "<&>", "\u{2028}", "\u{feff}", "\u{7f}", "status",
        ])
        .prop_map(str::to_owned),
    ];
    vec(piece, 0..6).prop_map(|pieces| format!("\"{}\"", pieces.concat()))
}

/// Any value by the grammar of JSON, with blanks, equal names, and depth.
pub(crate) fn value() -> impl Strategy<Value = String> + Clone {
    let leaf = prop_oneof![
        8 => number(),
        8 => string(),
        4 => select(vec!["null", "true", "false", "{}", "[ ]"]).prop_map(str::to_owned),
        1 => (1_usize..600).prop_map(|depth| "[".repeat(depth) + &"]".repeat(depth)),
        1 => (1_usize..600).prop_map(|depth| r#"{"a":"#.repeat(depth) + "1" + &"}".repeat(depth)),
    ];
    leaf.prop_recursive(4, 24, 5, |inner| {
        prop_oneof![
            (vec(inner.clone(), 0..5), blank())
                .prop_map(|(items, blank)| format!("[{blank}{}]", items.join(&format!("{blank},")))),
            (vec((string(), inner), 0..5), blank()).prop_map(|(members, blank)| object(&members, blank)),
        ]
    })
}

/// An object of these members.
pub(crate) fn object(members: &[(String, String)], blank: &str) -> String {
    let member = |(name, value): &(String, String)| format!("{blank}{name}:{blank}{value}");
    let members: Vec<_> = members.iter().map(member).collect();
    format!("{{{}{blank}}}", members.join(","))
}

/// Blanks between the tokens of JSON.
pub(crate) fn blank() -> impl Strategy<Value = &'static str> + Clone {
    select(vec!["", "", " ", "\n", "\t \r\n"])
}

/// A text of any kind.
pub(crate) fn text() -> impl Strategy<Value = String> + Clone {
    prop_oneof![
        2 => "[ -~]{0,16}",
        1 => any::<String>(),
        1 => select(NASTY.to_vec()).prop_map(str::to_owned),
        1 => number(),
    ]
}

/// Metadata with names that have a meaning, and others.
pub(crate) fn metadata() -> impl Strategy<Value = Metadata> {
    let known = select(vec![
        "rawPayload",
        "ttl",
        "TTL",
        "ttlInSeconds",
        "cloudevent.id",
        "CloudEvent.Source",
        "cloudevent.source",
        "cloudevent.type",
        "cloudevent.subject",
        "cloudevent.traceparent",
        "cloudevent.traceid",
        "cloudevent.tracestate",
        "traceparent",
        "connection",
        "content-type",
        "grpc-x",
        ":path",
        "x-bin",
        "ce_id",
        "",
    ]);
    let name = prop_oneof![2 => known.prop_map(str::to_owned), 1 => text()];
    vec((name, text()), 0..5).prop_map(Metadata::from_iter)
}

/// Valid input with up to a few damages.
pub(crate) fn wounded(valid: impl Strategy<Value = String>) -> impl Strategy<Value = Vec<u8>> {
    let wound = (any::<Index>(), any::<Index>(), wound());
    (valid, vec(wound, 0..4)).prop_map(|(valid, wounds)| {
        let mut bytes = valid.into_bytes();
        for (start, end, wound) in wounds {
            let (start, end) = (start.index(bytes.len() + 1), end.index(bytes.len() + 1));
            inflict(&mut bytes, start.min(end), start.max(end), &wound);
        }
        bytes
    })
}

#[derive(Clone, Debug)]
enum Wound {
    Remove,
    Repeat,
    Cut,
    Byte(u8),
    Insert(&'static str),
}

fn wound() -> impl Strategy<Value = Wound> {
    prop_oneof![
        Just(Wound::Remove),
        Just(Wound::Repeat),
        Just(Wound::Cut),
        any::<u8>().prop_map(Wound::Byte),
        select(NASTY.to_vec()).prop_map(Wound::Insert),
    ]
}

fn inflict(bytes: &mut Vec<u8>, start: usize, end: usize, wound: &Wound) {
    match wound {
        Wound::Remove => drop(bytes.drain(start..end.min(start + 8))),
        Wound::Repeat => {
            let part = bytes[start..end].to_vec();
            bytes.splice(start..start, part);
        }
        Wound::Cut => bytes.truncate(end),
        Wound::Byte(byte) => match bytes.get_mut(start) {
            Some(place) => *place = *byte,
            None => bytes.push(*byte),
        },
        Wound::Insert(text) => drop(bytes.splice(start..start, text.bytes())),
    }
}

/// Run the work, which must not take long.
#[track_caller]
pub(crate) fn in_time<T>(work: impl FnOnce() -> T) -> T {
    let start = worked();
    let result = work();
    let took = worked() - start;
    assert!(took < PATIENCE, "took {took:?}");
    result
}

/// The CPU time of this thread; on a busy machine, wall time is much longer.
fn worked() -> Duration {
    let time = clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID);
    Duration::from(time.unwrap())
}
