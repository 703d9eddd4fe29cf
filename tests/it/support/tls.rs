//! Certificates made by openssl.

use std::path::{Path, PathBuf};
use std::process::Command;

/// Make certificate and key for `localhost` and 127.0.0.1 in this folder.
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

/// Run openssl in this folder. Blanks separate the arguments.
pub(crate) fn openssl(folder: &Path, arguments: &str) {
    let done = Command::new("openssl")
        .args(arguments.split_whitespace())
        .current_dir(folder)
        .output()
        .expect("openssl must be installed: apt-get install openssl");
    assert!(done.status.success(), "{arguments}: {done:?}");
}

/// Make `<name>.pem` and `<name>.key`, signed by `<by>.pem`, with these extensions (none: version 1), valid for this
/// many days.
pub(crate) fn signed(folder: &Path, name: &str, by: &str, extensions: &str, days: i32) {
    openssl(folder, &format!("req -new -newkey rsa:2048 -nodes -subj /CN={name} -keyout {name}.key -out {name}.csr"));
    let mut sign =
        format!("x509 -req -in {name}.csr -CA {by}.pem -CAkey {by}.key -CAcreateserial -days {days} -out {name}.pem");
    if !extensions.is_empty() {
        std::fs::write(folder.join("extensions"), extensions).unwrap();
        sign.push_str(" -extfile extensions");
    }
    openssl(folder, &sign);
}

/// Make `<name>.pem` and `<name>.key`, self-signed by `openssl req -x509`, which marks them as those of an authority.
pub(crate) fn authority(folder: &Path, name: &str, more: &str) {
    openssl(
        folder,
        &format!(
            "req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN={name} -keyout {name}.key -out {name}.pem {more}"
        ),
    );
}
