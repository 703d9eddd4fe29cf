//! The content coding of an answer (D26). We accept gzip, as daprd does, and unpack it. An answer in another coding cannot
//! be read, so it does not count as success.

use std::io::Read;

use bytes::Bytes;
use flate2::bufread::MultiGzDecoder;
use http::HeaderMap;
use http::header::{CONTENT_ENCODING, HeaderValue};

/// The value of `Accept-Encoding` of every request to the app.
pub(super) const GZIP: HeaderValue = HeaderValue::from_static("gzip");

/// How a body is encoded.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Coding {
    /// Plain.
    Identity,
    /// gzip.
    Gzip,
    /// A coding that we do not unpack, as the header names it.
    Other(String),
}

/// The coding that these headers of an answer name.
pub(super) fn of(headers: &HeaderMap) -> Coding {
    if !headers.contains_key(CONTENT_ENCODING) {
        return Coding::Identity;
    }
    let names: Vec<_> = headers
        .get_all(CONTENT_ENCODING)
        .iter()
        .map(|value| String::from_utf8_lossy(value.as_bytes()).to_ascii_lowercase())
        .collect();
    let all = names.join(", ");
    let mut codings = all.split(',').map(str::trim).filter(|name| !matches!(*name, "" | "identity"));
    match (codings.next(), codings.next()) {
        (None, _) => Coding::Identity,
        (Some("gzip" | "x-gzip"), None) => Coding::Gzip,
        _ => Coding::Other(all),
    }
}

/// The content of a body that is packed with gzip, which may have several members. More than `limit` bytes are not unpacked.
///
/// # Errors
/// In words, if it is damaged, cut off, or too long.
pub(super) fn gunzip(packed: &[u8], limit: usize) -> Result<Bytes, String> {
    let mut content = Vec::new();
    let most = u64::try_from(limit).unwrap_or(u64::MAX).saturating_add(1);
    MultiGzDecoder::new(packed)
        .take(most)
        .read_to_end(&mut content)
        .map_err(|error| format!("the answer is not valid gzip: {error}"))?;
    if content.len() > limit {
        return Err(format!("the answer is longer than {limit} bytes when unpacked"));
    }
    Ok(content.into())
}

#[cfg(test)]
pub(super) mod tests {
    use std::io::Write;

    use super::*;

    /// `content` as one gzip member.
    pub(in crate::app::http) fn gzip(content: &[u8]) -> Vec<u8> {
        let mut packer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
        packer.write_all(content).unwrap();
        packer.finish().unwrap()
    }

    #[test]
    fn the_coding_is_what_all_headers_name_together() {
        let other = |names: &str| Coding::Other(names.to_owned());
        for (values, expected) in [
            (&[][..], Coding::Identity),
            (&[""], Coding::Identity),
            (&["identity"], Coding::Identity),
            (&["Identity, identity"], Coding::Identity),
            (&["gzip"], Coding::Gzip),
            (&[" GZip "], Coding::Gzip),
            (&["x-gzip"], Coding::Gzip),
            (&["identity", "gzip"], Coding::Gzip),
            (&["gzip,"], Coding::Gzip),
            (&["br"], other("br")),
            (&["Deflate"], other("deflate")),
            (&["zstd"], other("zstd")),
            (&["gzip, br"], other("gzip, br")),
            (&["gzip", "gzip"], other("gzip, gzip")),
            (&["gzip;q=1"], other("gzip;q=1")),
        ] {
            let mut headers = HeaderMap::new();
            for value in values {
                headers.append(CONTENT_ENCODING, value.parse().unwrap());
            }
            assert_eq!(of(&headers), expected, "{values:?}");
        }
    }

    #[test]
    fn gzip_is_unpacked_up_to_the_limit_or_refused() {
        let two = [gzip(b"{\"status\":"), gzip(b"\"RETRY\"}")].concat();
        assert_eq!(gunzip(&two, 100).unwrap(), r#"{"status":"RETRY"}"#);
        assert_eq!(gunzip(&gzip(&[b'x'; 100]), 100).unwrap().len(), 100);
        let whole = gzip(br#"{"status":"RETRY"}"#);
        let mut damaged = whole.clone();
        damaged[whole.len() - 5] ^= 1;
        for (packed, expected) in [
            (gzip(&[b'x'; 101]), "longer than 100 bytes when unpacked"),
            (gzip(&[0; 5_000_000]), "longer than 100 bytes when unpacked"),
            (whole[..whole.len() - 1].to_vec(), "not valid gzip"),
            (whole[..12].to_vec(), "not valid gzip"),
            (whole[..3].to_vec(), "not valid gzip"),
            (damaged, "not valid gzip"),
            ([&whole[..], b"more"].concat(), "not valid gzip"),
            (b"{\"status\":\"RETRY\"}".to_vec(), "not valid gzip"),
        ] {
            let error = gunzip(&packed, 100).unwrap_err();
            assert!(error.contains(expected), "{error}");
        }
    }
}
