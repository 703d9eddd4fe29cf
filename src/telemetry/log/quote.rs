//! Values as Go writes them: bare or quoted in a text line, as a string in JSON.
//!
//! Values are streamed: no copy of a message is made.

use std::fmt::{self, Write};

/// Append a value to a text line, quoted like Go's `%q` if it contains a character outside `A-Za-z0-9-._/@^+`. An empty
/// value is not quoted. Returns the length of the value in bytes.
pub(super) fn text(line: &mut String, value: &dyn fmt::Display) -> Result<usize, fmt::Error> {
    let start = line.len();
    write!(line, "{value}")?;
    let length = line.len() - start;
    if line[start..].chars().any(|letter| !is_bare(letter)) {
        let value = line.split_off(start);
        line.push('"');
        for letter in value.chars() {
            push_go(line, letter)?;
        }
        line.push('"');
    }
    Ok(length)
}

/// Append a value as a JSON string, with the escapes of Go's encoder: `<`, `>`, `&` and the two line separators, too.
pub(super) fn json(line: &mut String, value: &dyn fmt::Display) -> fmt::Result {
    line.push('"');
    write!(Escaping(line), "{value}")?;
    line.push('"');
    Ok(())
}

fn is_bare(letter: char) -> bool {
    letter.is_ascii_alphanumeric() || matches!(letter, '-' | '.' | '_' | '/' | '@' | '^' | '+')
}

fn push_go(line: &mut String, letter: char) -> fmt::Result {
    match letter {
        '"' => line.push_str("\\\""),
        '\\' => line.push_str("\\\\"),
        '\u{7}' => line.push_str("\\a"),
        '\u{8}' => line.push_str("\\b"),
        '\u{c}' => line.push_str("\\f"),
        '\n' => line.push_str("\\n"),
        '\r' => line.push_str("\\r"),
        '\t' => line.push_str("\\t"),
        '\u{b}' => line.push_str("\\v"),
        ' '..='~' => line.push(letter),
        '\0'..='\u{1f}' | '\u{7f}' => write!(line, "\\x{:02x}", u32::from(letter))?,
        _ if is_printable(letter) => line.push(letter),
        '\0'..='\u{ffff}' => write!(line, "\\u{:04x}", u32::from(letter))?,
        _ => write!(line, "\\U{:08x}", u32::from(letter))?,
    }
    Ok(())
}

/// Whether the standard library prints this character unescaped. Asked behind a letter, because it escapes a combining
/// mark alone, and Go does not.
fn is_printable(letter: char) -> bool {
    let mut bytes = [b'a', 0, 0, 0, 0];
    letter.encode_utf8(&mut bytes[1..]);
    std::str::from_utf8(&bytes[..=letter.len_utf8()]).is_ok_and(|pair| pair.escape_debug().nth(1) == Some(letter))
}

struct Escaping<'a>(&'a mut String);

impl Write for Escaping<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for letter in text.chars() {
            match letter {
                '"' => self.0.push_str("\\\""),
                '\\' => self.0.push_str("\\\\"),
                '\u{8}' => self.0.push_str("\\b"),
                '\u{c}' => self.0.push_str("\\f"),
                '\n' => self.0.push_str("\\n"),
                '\r' => self.0.push_str("\\r"),
                '\t' => self.0.push_str("\\t"),
                '<' | '>' | '&' | '\0'..='\u{1f}' | '\u{2028}' | '\u{2029}' => {
                    write!(self.0, "\\u{:04x}", u32::from(letter))?;
                }
                _ => self.0.push(letter),
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_values_are_quoted_as_go_does() {
        let check = |value: &str, expected: &str| {
            let mut line = "before ".to_owned();
            assert_eq!(text(&mut line, &value), Ok(value.len()));
            assert_eq!(line, format!("before {expected}"));
        };
        check("", "");
        check("aZ09-._/@^+", "aZ09-._/@^+");
        check("a b", r#""a b""#);
        check("a=b", r#""a=b""#);
        check("a,b:c", r#""a,b:c""#);
        check("say \"hi\"\\", r#""say \"hi\"\\""#);
        check("two\nlines\ttab\r", r#""two\nlines\ttab\r""#);
        check("\u{0}\u{1b}\u{7f}\u{7}", r#""\x00\x1b\x7f\a""#);
        check("Loading components…", "\"Loading components…\"");
        check("é", "\"é\"");
        check("e\u{301}", "\"e\u{301}\"");
        check("\u{a0}\u{200b}", r#""\u00a0\u200b""#);
        check("🎉\u{e0001}", "\"🎉\\U000e0001\"");
    }

    #[test]
    fn json_strings_are_escaped_as_go_does() {
        let check = |value: &str, expected: &str| {
            let mut line = String::new();
            json(&mut line, &value).unwrap();
            assert_eq!(line, expected);
            assert_eq!(serde_json::from_str::<String>(&line).unwrap(), value);
        };
        check("", r#""""#);
        check("<a&b>", r#""\u003ca\u0026b\u003e""#);
        check("\"\\\n\t\r\u{8}\u{c}", r#""\"\\\n\t\r\b\f""#);
        check("\u{1b}[0m", r#""\u001b[0m""#);
        check("…\u{2028}\u{2029}\u{7f}", "\"…\\u2028\\u2029\u{7f}\"");
    }
}
