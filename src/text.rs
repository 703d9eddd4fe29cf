//! JSON text exactly as Go writes it, for everything that a daprd beside us may read or compare (spec delivery.md A5).

/// Append `text` as a JSON string: short escapes, `<`, `>`, `&` and the two line separators escaped, bytes that are not UTF-8
/// replaced by `\ufffd`, everything else as it is.
pub fn write_json_string(out: &mut Vec<u8>, text: &[u8]) {
    out.push(b'"');
    let mut rest = text;
    // Most text needs nothing: copy it in the longest pieces that do not.
    while let Some(at) = rest.iter().position(|byte| NEEDS_CARE[usize::from(*byte)]) {
        out.extend_from_slice(&rest[..at]);
        rest = &rest[at..];
        rest = &rest[write_carefully(out, rest)..];
    }
    out.extend_from_slice(rest);
    out.push(b'"');
}

/// The bytes that cannot simply be copied: controls, the escaped ASCII characters, and all that is not ASCII.
const NEEDS_CARE: [bool; 256] = {
    let mut table = [false; 256];
    let mut byte = 0;
    while byte < 256 {
        table[byte] =
            byte < 0x20 || byte >= 0x80 || matches!(byte as u8, b'"' | b'\\' | b'<' | b'>' | b'&');
        byte += 1;
    }
    table
};

/// Write one character; tells how many bytes it took.
fn write_carefully(out: &mut Vec<u8>, rest: &[u8]) -> usize {
    let short = match rest[0] {
        b'"' => b'"',
        b'\\' => b'\\',
        0x08 => b'b',
        0x0c => b'f',
        b'\n' => b'n',
        b'\r' => b'r',
        b'\t' => b't',
        byte if byte < 0x80 => {
            const HEX: &[u8; 16] = b"0123456789abcdef";
            out.extend_from_slice(b"\\u00");
            out.extend_from_slice(&[HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]]);
            return 1;
        }
        _ => return write_beyond_ascii(out, rest),
    };
    out.extend_from_slice(&[b'\\', short]);
    1
}

fn write_beyond_ascii(out: &mut Vec<u8>, rest: &[u8]) -> usize {
    let longest = &rest[..rest.len().min(4)];
    let valid = match std::str::from_utf8(longest) {
        Ok(text) => text,
        Err(error) => std::str::from_utf8(&longest[..error.valid_up_to()]).unwrap_or_default(),
    };
    match valid.chars().next() {
        Some('\u{2028}') => out.extend_from_slice(b"\\u2028"),
        Some('\u{2029}') => out.extend_from_slice(b"\\u2029"),
        Some(other) => out.extend_from_slice(&rest[..other.len_utf8()]),
        // Go replaces byte by byte.
        None => {
            out.extend_from_slice(b"\\ufffd");
            return 1;
        }
    }
    valid.chars().next().map_or(1, char::len_utf8)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strings_are_escaped_as_go_does() {
        #[track_caller]
        fn check(text: &[u8], expected: &str) {
            let mut out = Vec::new();
            write_json_string(&mut out, text);
            assert_eq!(String::from_utf8(out).unwrap(), format!("\"{expected}\""));
        }
        check(b"", "");
        check(b"plain text / and \x7f", "plain text / and \x7f");
        check(b"a<b>&\"\\", r#"a\u003cb\u003e\u0026\"\\"#);
        check(b"\x08\x0c\n\r\t\x00\x1f", r"\b\f\n\r\t\u0000\u001f");
        check("å€𝄞\u{2028}\u{2029}".as_bytes(), "å€𝄞\\u2028\\u2029");
        check(b"\xff\xc3(\xe2\x82", r"\ufffd\ufffd(\ufffd\ufffd");
    }
}
