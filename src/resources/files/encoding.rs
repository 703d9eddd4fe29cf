//! Decoding of input files: UTF-8 with or without byte order mark, UTF-16 and UTF-32 with one. All files of users are read
//! here: resources, Configurations, run files, secret files.

use std::io;
use std::path::Path;

/// The reason why bytes are not text.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EncodingError {
    /// The text has the byte order mark of an encoding that the rest does not follow.
    #[error("it begins as {encoding} and is none: save it as UTF-8")]
    Damaged {
        /// The encoding, for example `UTF-16 LE`.
        encoding: &'static str,
    },
    /// The zero bytes are those of an encoding without its byte order mark.
    #[error("it looks like {encoding} without a byte order mark: save it as UTF-8")]
    Unmarked {
        /// The encoding, for example `UTF-16 LE`.
        encoding: &'static str,
    },
    /// The file is compressed or an archive.
    #[error("it is a {what} file and no text: unpack it")]
    Packed {
        /// The format, for example `gzip`.
        what: &'static str,
    },
    /// A byte that is invalid in UTF-8 at its position.
    #[error(
        "line {line}, byte {column} (0x{byte:02x}) is no UTF-8, the file may be in Windows-1252 or Latin-1: save it as UTF-8"
    )]
    NotUtf8 {
        /// The line, counted from 1.
        line: usize,
        /// The byte within the line, counted from 1.
        column: usize,
        /// The first invalid byte.
        byte: u8,
    },
}

/// The first bytes of packed formats.
const PACKED: [(&[u8], &str); 5] = [
    (b"\x1f\x8b", "gzip"),
    (b"PK\x03\x04", "zip"),
    (b"\x28\xb5\x2f\xfd", "zstd"),
    (b"BZh", "bzip2"),
    (b"\xfd7zXZ\0", "xz"),
];

/// Read a file as text.
///
/// # Errors
/// The file cannot be read, or is not text ([`EncodingError`], of the kind `InvalidData`).
pub fn read(path: &Path) -> io::Result<String> {
    text(std::fs::read(path)?).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))
}

/// Decode bytes to text, without the byte order mark.
///
/// # Errors
/// The bytes are not text in a supported encoding.
pub fn text(bytes: Vec<u8>) -> Result<String, EncodingError> {
    // UTF-32 first: its mark begins with that of UTF-16.
    if let Some(rest) = bytes.strip_prefix(b"\xff\xfe\0\0") {
        return utf32(rest, u32::from_le_bytes, "UTF-32 LE");
    }
    if let Some(rest) = bytes.strip_prefix(b"\0\0\xfe\xff") {
        return utf32(rest, u32::from_be_bytes, "UTF-32 BE");
    }
    if let Some(rest) = bytes.strip_prefix(b"\xff\xfe") {
        return utf16(rest, u16::from_le_bytes, "UTF-16 LE");
    }
    if let Some(rest) = bytes.strip_prefix(b"\xfe\xff") {
        return utf16(rest, u16::from_be_bytes, "UTF-16 BE");
    }
    if let Some((_, what)) = PACKED.iter().find(|(magic, _)| bytes.starts_with(magic)) {
        return Err(EncodingError::Packed { what });
    }
    if let Some(encoding) = unmarked(&bytes) {
        return Err(EncodingError::Unmarked { encoding });
    }
    utf8(bytes)
}

fn utf8(bytes: Vec<u8>) -> Result<String, EncodingError> {
    let text = String::from_utf8(bytes).map_err(|error| {
        let at = error.utf8_error().valid_up_to();
        let (line, column) = location(error.as_bytes(), at);
        let byte = error.as_bytes().get(at).copied().unwrap_or_default();
        EncodingError::NotUtf8 { line, column, byte }
    })?;
    Ok(match text.strip_prefix('\u{feff}') {
        Some(rest) => rest.to_owned(),
        None => text,
    })
}

fn utf16(bytes: &[u8], unit: fn([u8; 2]) -> u16, encoding: &'static str) -> Result<String, EncodingError> {
    let (units, rest) = bytes.as_chunks::<2>();
    let units: Vec<u16> = units.iter().map(|bytes| unit(*bytes)).collect();
    let text = String::from_utf16(&units).ok();
    let text = text.filter(|text| rest.is_empty() && !text.contains('\0'));
    text.ok_or(EncodingError::Damaged { encoding })
}

fn utf32(bytes: &[u8], unit: fn([u8; 4]) -> u32, encoding: &'static str) -> Result<String, EncodingError> {
    let (units, rest) = bytes.as_chunks::<4>();
    let letters = units.iter().map(|bytes| char::from_u32(unit(*bytes)));
    let text: Option<String> = letters.collect();
    let text = text.filter(|text| rest.is_empty() && !text.contains('\0'));
    text.ok_or(EncodingError::Damaged { encoding })
}

/// Guess the encoding from the positions of zero bytes: YAML and JSON begin with ASCII letters.
fn unmarked(bytes: &[u8]) -> Option<&'static str> {
    let is_zero = |byte: &u8| *byte == 0;
    let zeros: Vec<bool> = bytes.get(..4)?.iter().map(is_zero).collect();
    match *zeros {
        [true, true, true, false] => Some("UTF-32 BE"),
        [false, true, true, true] => Some("UTF-32 LE"),
        [true, false, true, false] => Some("UTF-16 BE"),
        [false, true, false, true] => Some("UTF-16 LE"),
        _ => None,
    }
}

/// Line and byte within it, both counted from 1.
fn location(bytes: &[u8], at: usize) -> (usize, usize) {
    let before = &bytes[..at];
    let line = before.iter().filter(|byte| **byte == b'\n').count() + 1;
    let begin = before.iter().rposition(|byte| *byte == b'\n');
    (line, at - begin.map_or(0, |begin| begin + 1) + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn encoded16(text: &str, bytes: fn(u16) -> [u8; 2]) -> Vec<u8> {
        text.encode_utf16().flat_map(bytes).collect()
    }

    fn encoded32(text: &str, bytes: fn(u32) -> [u8; 4]) -> Vec<u8> {
        text.chars().flat_map(|c| bytes(u32::from(c))).collect()
    }

    #[test]
    fn encodings_with_a_mark_are_understood_and_utf8_without() {
        for text in ["", "a: é\nb: 😀\n", "{\"a\": \"x\"}"] {
            let marked = format!("\u{feff}{text}");
            for bytes in [
                text.as_bytes().to_vec(),
                marked.as_bytes().to_vec(),
                encoded16(&marked, u16::to_le_bytes),
                encoded16(&marked, u16::to_be_bytes),
                encoded32(&marked, u32::to_le_bytes),
                encoded32(&marked, u32::to_be_bytes),
            ] {
                assert_eq!(super::text(bytes.clone()).as_deref(), Ok(text), "{bytes:?}");
            }
        }
    }

    #[test]
    fn what_is_not_understood_is_named_with_the_remedy() {
        let yaml = "kind: Component\n";
        for (bytes, said) in [
            (encoded16(yaml, u16::to_le_bytes), "it looks like UTF-16 LE without a byte order mark: save it as UTF-8"),
            (encoded16(yaml, u16::to_be_bytes), "it looks like UTF-16 BE without a byte order mark: save it as UTF-8"),
            (encoded32(yaml, u32::to_le_bytes), "it looks like UTF-32 LE without a byte order mark: save it as UTF-8"),
            (encoded32(yaml, u32::to_be_bytes), "it looks like UTF-32 BE without a byte order mark: save it as UTF-8"),
            (
                b"a: 1\nb: caf\xe9\n".to_vec(),
                "line 2, byte 7 (0xe9) is no UTF-8, the file may be in Windows-1252 or Latin-1: save it as UTF-8",
            ),
            (
                b"\xc3".to_vec(),
                "line 1, byte 1 (0xc3) is no UTF-8, the file may be in Windows-1252 or Latin-1: save it as UTF-8",
            ),
            (b"\xff\xfea".to_vec(), "it begins as UTF-16 LE and is none: save it as UTF-8"),
            (b"\xfe\xff\xd8\x00\x00a".to_vec(), "it begins as UTF-16 BE and is none: save it as UTF-8"),
            (b"\0\0\xfe\xff\0\x11\0\0".to_vec(), "it begins as UTF-32 BE and is none: save it as UTF-8"),
            (b"\x1f\x8b\x08\0".to_vec(), "it is a gzip file and no text: unpack it"),
            (b"PK\x03\x04".to_vec(), "it is a zip file and no text: unpack it"),
        ] {
            let error = text(bytes.clone()).unwrap_err().to_string();
            assert_eq!(error, said, "{bytes:?}");
        }
    }
}
