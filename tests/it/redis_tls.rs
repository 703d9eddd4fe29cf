//! TLS to Redis: which certificates are accepted, and the errors about those that are not.

use std::path::Path;

use crate::support::process::{Process, sidecar};
use crate::support::redis::RedisServer;
use crate::support::sidecar::{Sidecar, redis_component};
use crate::support::tls::{authority, signed};

const NAMES: &str = "subjectAltName=DNS:localhost,IP:127.0.0.1";

/// Makes every certificate of these tests with openssl.
fn certificates() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    authority(path, "own", &format!("-addext {NAMES}"));
    authority(path, "nameless", "");
    authority(path, "elsewhere", "-addext subjectAltName=DNS:elsewhere.example");
    authority(path, "root", "");
    authority(path, "stranger", "");
    signed(path, "intermediate", "root", "basicConstraints=critical,CA:TRUE", 2);
    signed(path, "good", "root", NAMES, 2);
    signed(path, "deep", "intermediate", NAMES, 2);
    let marked = format!("{NAMES}\nbasicConstraints=critical,CA:TRUE");
    signed(path, "marked", "root", &marked, 2);
    signed(path, "expired-marked", "root", &marked, -1);
    signed(path, "foreign-marked", "stranger", &marked, 2);
    // Signed by another authority of the same name.
    let elsewhere = path.join("elsewhere");
    std::fs::create_dir(&elsewhere).unwrap();
    authority(&elsewhere, "root", "");
    signed(&elsewhere, "forged", "root", &marked, 2);
    for file in ["forged.pem", "forged.key"] {
        std::fs::copy(elsewhere.join(file), path.join(file)).unwrap();
    }
    signed(path, "expired", "root", NAMES, -1);
    signed(path, "version1", "root", "", 2);
    signed(path, "client", "root", &format!("{NAMES}\nextendedKeyUsage=clientAuth"), 2);
    signed(path, "foreign", "stranger", NAMES, 2);
    let deep = std::fs::read_to_string(path.join("deep.pem")).unwrap();
    let intermediate = std::fs::read_to_string(path.join("intermediate.pem")).unwrap();
    std::fs::write(path.join("chain.pem"), deep + &intermediate).unwrap();
    std::fs::copy(path.join("deep.key"), path.join("chain.key")).unwrap();
    folder
}

async fn server(folder: &Path, name: &str, clients: &str) -> RedisServer {
    let [certificate, key] = ["pem", "key"].map(|end| folder.join(format!("{name}.{end}")));
    let root = folder.join("root.pem").display().to_string();
    let more = ["--tls-auth-clients", clients, "--tls-ca-cert-file", &root];
    RedisServer::start_tls(&certificate, &key, &more).await
}

fn component(port: u16, settings: &str) -> String {
    redis_component(port).replace("  metadata:\n", &format!("  metadata:\n{settings}"))
}

const TLS: &str = "  - {name: enableTLS, value: 'true'}\n";

fn client(folder: &Path, name: &str) -> String {
    let text = |end: &str| {
        let text = std::fs::read_to_string(folder.join(format!("{name}.{end}"))).unwrap();
        serde_json::to_string(&text).unwrap()
    };
    format!("{TLS}  - {{name: clientCert, value: {}}}\n  - {{name: clientKey, value: {}}}\n", text("pem"), text("key"))
}

async fn is_accepted(folder: &Path, redis: &RedisServer, settings: &str, trusted: &str) {
    let trusted = folder.join(trusted).display().to_string();
    let component = component(redis.tls_port, settings);
    let sidecar = Sidecar::start_in(&component, 0, &[], &[("SSL_CERT_FILE", &trusted)]).await;
    let published = sidecar.publish("1".to_owned()).await;
    assert_eq!(published.map(|status| status.as_u16()), Some(204));
}

async fn is_refused(folder: &Path, port: u16, settings: &str, trusted: &str, wanted: &[&str]) {
    let resources = tempfile::tempdir().unwrap();
    std::fs::write(resources.path().join("pubsub.yaml"), component(port, settings)).unwrap();
    let folder_of_resources = resources.path().to_str().unwrap();
    let mut command = sidecar(&["--resources-path", folder_of_resources]);
    command.env("SSL_CERT_FILE", folder.join(trusted));
    let mut sidecar = Process::start(command);
    let code = sidecar.ended().await;
    let said = sidecar.said();
    assert_eq!(code, 1, "{said}");
    for wanted in wanted {
        assert!(said.contains(wanted), "{wanted}: {said}");
    }
    for print in ["InvalidCertificate", "OtherError", "AlertReceived", "UnknownIssuer", "DnsName"] {
        assert!(!said.contains(print), "{print}: {said}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_that_go_believes_is_believed() {
    let folder = certificates();
    let path = folder.path();
    for (name, trusted) in
        [("own", "own.pem"), ("good", "root.pem"), ("marked", "root.pem"), ("good", "good.pem"), ("chain", "root.pem")]
    {
        let redis = server(path, name, "no").await;
        is_accepted(path, &redis, TLS, trusted).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_that_go_refuses_is_refused_in_words() {
    let folder = certificates();
    let path = folder.path();
    for (name, trusted, wanted) in [
        ("own", "root.pem", "is signed by itself and not trusted here"),
        ("nameless", "nameless.pem", "its Common Name does not count"),
        ("elsewhere", "elsewhere.pem", "elsewhere.example, not for 127.0.0.1"),
        ("expired", "root.pem", "has expired"),
        ("expired", "expired.pem", "has expired"),
        ("expired-marked", "root.pem", "has expired"),
        ("foreign-marked", "root.pem", "(CA:TRUE), and is not signed by one that is trusted here"),
        ("forged", "root.pem", "(CA:TRUE), and is not signed by one that is trusted here"),
        ("version1", "root.pem", "is of X.509 version 1"),
        ("deep", "root.pem", "is signed by CN=intermediate, which is not trusted here"),
        ("good", "stranger.pem", "is signed by CN=root, which is not trusted here"),
        ("client", "root.pem", "extendedKeyUsage must have serverAuth"),
    ] {
        let redis = server(path, name, "no").await;
        let wanted = [wanted, "insecureSkipTLSVerify"];
        is_refused(path, redis.tls_port, TLS, trusted, &wanted).await;
    }
    let redis = server(path, "version1", "no").await;
    let insecure = format!("{TLS}  - {{name: insecureSkipTLSVerify, value: 'true'}}\n");
    is_accepted(path, &redis, &insecure, "root.pem").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_certificate_that_is_missing_or_wrong_is_said() {
    let folder = certificates();
    let path = folder.path();
    let redis = server(path, "good", "yes").await;
    is_accepted(path, &redis, &client(path, "client"), "root.pem").await;
    let port = redis.tls_port;
    is_refused(path, port, TLS, "root.pem", &["set clientCert and clientKey"]).await;
    let foreign = client(path, "foreign");
    is_refused(path, port, &foreign, "root.pem", &["refuses the certificate in clientCert"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn tls_on_one_side_alone_is_recognised() {
    let folder = certificates();
    let path = folder.path();
    let redis = server(path, "good", "no").await;
    is_refused(path, redis.port, TLS, "root.pem", &["set enableTLS to false"]).await;
    is_refused(path, redis.tls_port, "", "root.pem", &["set enableTLS to true"]).await;
    let redis = server(path, "good", "yes").await;
    is_refused(path, redis.tls_port, "", "root.pem", &["set enableTLS to true"]).await;
}
