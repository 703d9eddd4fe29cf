//! Apps over HTTP/2 or HTTPS: discovery, probes and deliveries all use the app's protocol.

use std::sync::Arc;

use hyper::StatusCode;
use rustls::ServerConfig;
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::TlsAcceptor;

use crate::support::app::{Answer, App, Wire};
use crate::support::eventually;
use crate::support::sidecar::Sidecar;
use crate::support::tls::self_signed;

const MEMORY: &str = "apiVersion: dapr.io/v1alpha1\nkind: Component\nmetadata: {name: pubsub}\nspec: {type: pubsub.in-memory, version: v1}\n";
const SINGLE: &str = r#"[{"pubsubname":"pubsub","topic":"orders","route":"/orders"}]"#;
const BULK: &str = r#"[{"pubsubname":"pubsub","topic":"orders","route":"/orders","bulkSubscribe":{"enabled":true,"maxAwaitDurationMs":10}}]"#;

/// An app over TLS with a self-signed certificate of another name.
fn https() -> Wire {
    let folder = tempfile::tempdir().unwrap();
    let (certificate, key) = self_signed(folder.path());
    let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(
            vec![CertificateDer::from_pem_file(certificate).unwrap()],
            PrivateKeyDer::from_pem_file(key).unwrap(),
        )
        .unwrap();
    Wire::Https(TlsAcceptor::from(Arc::new(config)))
}

/// Checks discovery, a health probe, and a delivery, single or in bulk.
async fn works(protocol: &str, wire: Wire) {
    for (subscriptions, mark) in [(SINGLE, r#""data":{"n":1}"#), (BULK, r#"{"entries":[{"#)] {
        let app = App::start_over(wire.clone(), subscriptions, |_| Answer::success()).await;
        let flags = ["--app-protocol", protocol, "--enable-app-health-check", "--app-health-probe-interval", "1"];
        let sidecar = Sidecar::start(MEMORY, app.port, &flags).await;
        let has = |path: &str, text: &str| {
            let is_it = |seen: &crate::support::app::Delivered| {
                seen.path == path && String::from_utf8_lossy(&seen.body).contains(text)
            };
            app.seen().iter().any(is_it)
        };
        eventually("a probe", || async { has("/healthz", "") }).await;
        // Publish until one arrives: the test cannot see when the subscription begins.
        let arrives = || async {
            let status = sidecar.publish(r#"{"n":1}"#.to_owned()).await;
            assert_eq!(status, Some(StatusCode::NO_CONTENT));
            has("/orders", mark)
        };
        eventually("the event", arrives).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_app_over_https_with_any_certificate() {
    works("https", https()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_app_over_http2_in_clear_text() {
    works("h2c", Wire::H2c).await;
}
