//! A certificate that nobody vouches for.

use std::path::{Path, PathBuf};
use std::process::Command;

/// Certificate and key for `localhost` and 127.0.0.1, as files in this folder.
pub(crate) fn self_signed(folder: &Path) -> (PathBuf, PathBuf) {
    let (certificate, key) = (folder.join("certificate.pem"), folder.join("key.pem"));
    let made = Command::new("openssl")
        .args(["req", "-x509", "-newkey", "rsa:2048", "-nodes"])
        .args(["-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"])
        .args(["-addext", "basicConstraints=critical,CA:FALSE"])
        .args(["-days", "2", "-subj", "/CN=localhost", "-keyout"])
        .arg(&key)
        .arg("-out")
        .arg(&certificate)
        .output()
        .expect("openssl must be installed: apt-get install openssl");
    assert!(made.status.success(), "{made:?}");
    (certificate, key)
}
