//! The help of the program, and the error about an unknown command.

use std::fmt::Write as _;

use crate::cli::flags::{FLAGS, Flag};
use crate::cli::pflag;
use crate::metadata::nearest;

/// The commands with their descriptions.
pub const COMMANDS: [(&str, &str); 5] = [
    ("demo", "watch events flow, without Redis, app or configuration"),
    ("run", "start a sidecar, and an app beside it; or all apps of a run file"),
    ("check", "read resource files, and tell what is wrong with them"),
    ("help", "show this text; `help COMMAND` shows that of a command"),
    ("version", "show the versions of Sidestream and of the Dapr API"),
];

/// The help of the whole program: commands, flags with an effect, and flags of daprd that are accepted without one.
pub fn text() -> String {
    let mut text = format!(
        "Sidestream {}: a pub/sub sidecar that speaks the Dapr API\n\n\
         Usage: sidestream COMMAND [ARGUMENTS]\n       \
         sidestream --app-id NAME [FLAGS]      be a sidecar, with the flags of daprd\n\n\
         Commands:\n",
        env!("CARGO_PKG_VERSION"),
    );
    for (name, about) in COMMANDS {
        // Writing to a String cannot fail, here and below.
        let _ = writeln!(text, "  {name:<9} {about}");
    }
    let shown = || FLAGS.iter().filter(|flag| flag.deprecated.is_none());
    text.push_str("\nExamples:\n  sidestream demo\n  sidestream run --app-id orders --app-port 8001 -- python3 app.py\n  sidestream --app-id orders --app-port 8001 --resources-path ./components\n");
    text.push_str("\nFlags of the sidecar:\n");
    pflag::describe(&mut text, shown().filter(|flag| flag.has_effect()));
    text.push_str("\nAccepted for daprd's sake, without effect:\n");
    list(&mut text, shown().filter(|flag| !flag.has_effect()));
    text
}

/// Names of flags, several on a line.
fn list(text: &mut String, flags: impl Iterator<Item = &'static Flag>) {
    const WIDTH: usize = 100;
    let mut line = String::new();
    for flag in flags {
        if !line.is_empty() && line.len() + flag.name.len() > WIDTH {
            let _ = writeln!(text, " {line}");
            line.clear();
        }
        let _ = write!(line, " --{}", flag.name);
    }
    let _ = writeln!(text, " {line}");
}

/// The error about an unknown command, with the known ones.
pub fn unknown_command(word: &str) -> String {
    let names: Vec<&str> = COMMANDS.iter().map(|(name, _)| *name).collect();
    let meant = nearest(word, &names);
    let meant = meant.map_or_else(String::new, |name| format!(", did you mean {name}?"));
    let shown =
        if word.is_empty() || word.contains(char::is_whitespace) { format!("{word:?}") } else { word.to_owned() };
    format!(
        "Commands are {}. Without a command the first argument is a flag: sidestream --app-id NAME. `sidestream help` shows them all.\n\
         sidestream: unknown command {shown}{meant}\n",
        names.join(", ")
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_come_first_then_flags_with_effect_then_those_without() {
        let text = text();
        let places: Vec<usize> = [
            "  demo ",
            "  check ",
            "  version ",
            "--app-id string ",
            "(default \"3500\")",
            "--wait ",
            "without effect:",
            "--actors-service",
            "--sentry-address",
        ]
        .iter()
        .map(|part| text.find(part).unwrap_or_else(|| panic!("{part}: {text}")))
        .collect();
        assert!(places.is_sorted(), "{places:?}: {text}");
        for flag in FLAGS {
            assert_eq!(text.contains(&format!("--{}", flag.name)), flag.deprecated.is_none(), "{}", flag.name);
        }
        assert!(text.lines().all(|line| line.chars().count() < 140), "{text}");
    }

    #[test]
    fn the_last_line_names_the_word_and_what_was_most_likely_meant() {
        for (word, expected) in [
            ("chekc", "sidestream: unknown command chekc, did you mean check?"),
            ("Run", "sidestream: unknown command Run, did you mean run?"),
            ("dmeo", "sidestream: unknown command dmeo, did you mean demo?"),
            ("publish", "sidestream: unknown command publish"),
            ("", "sidestream: unknown command \"\""),
            ("run demo", "sidestream: unknown command \"run demo\""),
        ] {
            let text = unknown_command(word);
            assert_eq!(text.lines().last(), Some(expected));
            assert!(text.starts_with("Commands are demo, run, check, help, version. "), "{text}");
        }
    }
}
