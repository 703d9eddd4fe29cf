//! Recognises a CloudEvent in protobuf (tests/spec/delivery.md, "A2. Content type classes"). Nothing is decoded.
//!
//! Walks the wire format: known fields with their own wire type must be well-formed, others only complete.

/// Whether the bytes parse as `io.cloudevents.v1.CloudEvent`. No bytes at all do.
pub(super) fn is_event(bytes: &[u8]) -> bool {
    is_message(bytes, |field, content| match field {
        // id, source, spec_version, type, text_data
        1..=4 | 7 => is_text(content),
        // attributes: a map of text to values
        5 => is_message(content, |field, content| match field {
            1 => is_text(content),
            2 => is_message(content, is_attribute),
            _ => true,
        }),
        // proto_data: an Any
        8 => is_message(content, |field, content| field != 1 || is_text(content)),
        _ => true,
    })
}

/// A field of a `CloudEventAttributeValue`: text, a URI, a reference, or a timestamp.
fn is_attribute(field: u64, content: &[u8]) -> bool {
    match field {
        3 | 5 | 6 => is_text(content),
        7 => is_message(content, |_, _| true),
        _ => true,
    }
}

fn is_text(content: &[u8]) -> bool {
    std::str::from_utf8(content).is_ok()
}

/// Whether this is a complete message whose length-delimited fields all pass.
fn is_message(mut bytes: &[u8], is_field: impl Fn(u64, &[u8]) -> bool) -> bool {
    while !bytes.is_empty() {
        let Some(tag) = varint(&mut bytes) else {
            return false;
        };
        let field = tag >> 3;
        if field == 0 || field >= 1 << 29 {
            return false;
        }
        let complete = match tag & 7 {
            0 => varint(&mut bytes).is_some(),
            1 => take(&mut bytes, 8).is_some(),
            2 => varint(&mut bytes)
                .and_then(|length| take(&mut bytes, length))
                .is_some_and(|content| is_field(field, content)),
            5 => take(&mut bytes, 4).is_some(),
            // Groups are obsolete, and no field here is one.
            _ => false,
        };
        if !complete {
            return false;
        }
    }
    true
}

fn varint(bytes: &mut &[u8]) -> Option<u64> {
    let mut value = 0_u64;
    for shift in (0..64).step_by(7) {
        let (first, rest) = bytes.split_first()?;
        *bytes = rest;
        value |= u64::from(first & 0x7f) << shift;
        if first & 0x80 == 0 {
            return (shift < 63 || *first <= 1).then_some(value);
        }
    }
    None
}

fn take<'a>(bytes: &mut &'a [u8], length: u64) -> Option<&'a [u8]> {
    let (taken, rest) = bytes.split_at_checked(usize::try_from(length).ok()?)?;
    *bytes = rest;
    Some(taken)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_is_told_from_other_bytes() {
        let check = |bytes: &[u8], expected: bool| assert_eq!(is_event(bytes), expected, "{bytes:?}");
        check(b"", true);
        check(b"\x0a\x011\x12\x01s\x1a\x031.0\x22\x01t", true);
        check(b"\xff\xff\xff\xff", false);
        check(b"\x0a\x05ab", false); // cut short
        check(b"\x0a\x01\xff", false); // id is no text
        check(b"\x32\x01\xff", true); // binary_data is bytes
        check(b"\x2a\x06\x0a\x01k\x12\x01\xff", false); // an attribute cut short
        check(b"\x08\x01", true); // id as a number is an unknown field
        check(b"\x00\x01", false); // field 0
        check(b"\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\x7f", false); // more than 64 bits
    }
}
