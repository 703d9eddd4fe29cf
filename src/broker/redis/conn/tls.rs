//! TLS to a Redis server, exactly as strict as daprd's (Go's), with errors that say what to do.
//!
//! The redis crate does not accept a verifier, so TLS is done here and the crate gets the stream ([`connect`]). There are two differences
//! between webpki and Go. webpki refuses every server certificate that is marked as that of an authority (CA:TRUE); Go accepts it if it is in
//! the trust store (`openssl req -x509` makes such certificates), or if a trusted authority signed it. And webpki accepts authorities that
//! have expired or are marked as none (CA:FALSE); Go does not.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use deadpool_redis::redis::RedisError;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{WebPkiServerVerifier, verify_server_name};
use rustls::crypto::{CryptoProvider, WebPkiSupportedAlgorithms, ring};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{
    AlertDescription, CertificateError, ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use x509_cert::Certificate;
use x509_cert::der::oid::{AssociatedOid, ObjectIdentifier};
use x509_cert::der::{Decode, Encode};
use x509_cert::ext::pkix::{BasicConstraints, ExtendedKeyUsage, KeyUsage, NameConstraints, SubjectAltName};

use super::super::settings::Tls;
use super::error::{self, SettingsMismatch};

/// How long a handshake may take before the server is tested for Redis without TLS; also the time limit of such tests.
const PROBE_TIMEOUT: Duration = Duration::from_secs(1);

/// The extensions that are checked here, or have no meaning for a server's certificate.
const KNOWN_EXTENSIONS: [ObjectIdentifier; 4] =
    [BasicConstraints::OID, KeyUsage::OID, ExtendedKeyUsage::OID, SubjectAltName::OID];

/// `id-kp-serverAuth` and `anyExtendedKeyUsage`.
const FOR_SERVERS: [&str; 2] = ["1.3.6.1.5.5.7.3.1", "2.5.29.37.0"];

const TRUST: &str = "put the certificate of the authority that signed it, or the certificate itself if it is self-signed, into the file that SSL_CERT_FILE names";
const ONLY_TESTS: &str = " (insecureSkipTLSVerify takes any certificate: for tests only)";
const CLIENT_CERTIFICATE: &str = "tls: the server wants a certificate of its clients: set clientCert and clientKey to certificate and key, as PEM text";

/// The TLS configuration of one connection. Built for each connection, so that a changed trust store takes effect.
///
/// # Errors
/// Which certificate cannot be used, and what to change.
pub(super) fn config(tls: &Tls) -> Result<ClientConfig, String> {
    let provider = Arc::new(ring::default_provider());
    let verifier = Verifier::new(tls.insecure, &provider)?;
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier));
    let Some((certificate, key)) = &tls.client else {
        return Ok(builder.with_no_client_auth());
    };
    let no_pem = |text: &str| !text.contains("-----BEGIN");
    if no_pem(certificate) || no_pem(key) {
        return Err("tls: failed to find any PEM data in certificate input".to_owned());
    }
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(certificate.as_bytes()).collect();
    let chain = chain.ok().filter(|chain| !chain.is_empty()).ok_or("tls: clientCert has no certificate in PEM form")?;
    let key = PrivateKeyDer::from_pem_slice(key.as_bytes())
        .map_err(|_| "tls: clientKey has no key in PEM form that is not encrypted")?;
    builder
        .with_client_auth_cert(chain, key)
        .map_err(|error| match error {
            Error::InconsistentKeys(_) => {
                "tls: clientKey is not the key of the certificate in clientCert".to_owned()
            }
            _ => "tls: clientCert and clientKey are of a kind that is not supported: RSA from 2048 bits, ECDSA P-256 and P-384, and Ed25519 are".to_owned(),
        })
}

/// Start TLS on this stream.
///
/// # Errors
/// With a [`SettingsMismatch`] inside if the settings do not fit the server.
pub(super) async fn connect(tls: &Tls, host: &str, stream: TcpStream) -> io::Result<TlsStream<TcpStream>> {
    let config = config(tls).map_err(SettingsMismatch)?;
    let name = ServerName::try_from(host.to_owned())
        .map_err(|_| SettingsMismatch(format!("tls: {host} is no name that a certificate can have")))?;
    let server = stream.peer_addr()?;
    let handshake = TlsConnector::from(Arc::new(config)).connect(name, stream);
    let is_plain = async {
        tokio::time::sleep(PROBE_TIMEOUT).await;
        if !is_plain_redis(server).await {
            std::future::pending::<()>().await;
        }
    };
    let failed = tokio::select! {
        shaken = handshake => match shaken {
            Ok(stream) => return Ok(stream),
            Err(error) => error,
        },
        () = is_plain => return Err(not_tls().into()),
    };
    match mismatch(&failed, tls) {
        Some(mismatch) => Err(mismatch.into()),
        None if is_plain_redis(server).await => Err(not_tls().into()),
        None => Err(failed),
    }
}

fn not_tls() -> SettingsMismatch {
    SettingsMismatch(
        "the server speaks Redis without TLS on this port: set enableTLS to false, or name its TLS port in redisHost"
            .to_owned(),
    )
}

/// Test whether a server that does not speak plain Redis speaks TLS.
pub(super) async fn speaks_tls(host: &str, port: u16) -> Option<SettingsMismatch> {
    let tls = Tls { insecure: true, client: None };
    let config = config(&tls).ok()?;
    let name = ServerName::try_from(host.to_owned()).ok()?;
    let shaken = async {
        let stream = TcpStream::connect((host, port)).await?;
        TlsConnector::from(Arc::new(config)).connect(name, stream).await
    };
    let is_tls = match tokio::time::timeout(PROBE_TIMEOUT, shaken).await {
        Ok(Ok(_)) => true,
        Ok(Err(error)) => matches!(cause(&error), Some(Error::AlertReceived(_) | Error::PeerIncompatible(_))),
        Err(_) => false,
    };
    is_tls.then(|| SettingsMismatch("the server speaks TLS on this port: set enableTLS to true".to_owned()))
}

/// Test whether a server answers PING without TLS.
async fn is_plain_redis(server: std::net::SocketAddr) -> bool {
    let asked = async {
        let mut stream = TcpStream::connect(server).await?;
        stream.write_all(b"PING\r\n").await?;
        let mut first = [0];
        stream.read_exact(&mut first).await?;
        io::Result::Ok(first[0])
    };
    let answer = tokio::time::timeout(PROBE_TIMEOUT, asked).await;
    // +PONG, or -NOAUTH and the like.
    matches!(answer, Ok(Ok(b'+' | b'-')))
}

fn cause(error: &io::Error) -> Option<&Error> {
    error.get_ref()?.downcast_ref()
}

/// Replace a TLS error that is caused by a wrong setting by one that says what to change.
pub(super) fn explain(error: RedisError, tls: &Tls) -> RedisError {
    match error::io_cause(&error).and_then(|error| mismatch(error, tls)) {
        Some(mismatch) => mismatch.into(),
        None => error,
    }
}

/// The wrong setting that causes a TLS error, if one does.
fn mismatch(error: &io::Error, tls: &Tls) -> Option<SettingsMismatch> {
    let text = match cause(error)? {
        Error::General(text) => text.clone(),
        Error::InvalidCertificate(_) => format!("tls: the server's certificate cannot be read{ONLY_TESTS}"),
        Error::AlertReceived(alert) => of_alert(*alert, tls.client.is_some())?,
        Error::InvalidMessage(_) => return Some(not_tls()),
        Error::PeerIncompatible(_) => "tls: the server and this client have no version or cipher in common: TLS 1.2 with ECDHE, or TLS 1.3, is needed (tls-protocols and tls-ciphers of the server)".to_owned(),
        _ => return None,
    };
    Some(SettingsMismatch(text))
}

fn of_alert(alert: AlertDescription, has_certificate: bool) -> Option<String> {
    let reason = match alert {
        AlertDescription::CertificateRequired => return Some(CLIENT_CERTIFICATE.to_owned()),
        AlertDescription::HandshakeFailure | AlertDescription::BadCertificate if !has_certificate => {
            return Some(CLIENT_CERTIFICATE.to_owned());
        }
        AlertDescription::ProtocolVersion => {
            return Some("tls: the server permits neither TLS 1.2 nor 1.3 (its tls-protocols)".to_owned());
        }
        AlertDescription::UnknownCA => "it does not trust the authority that signed it (its tls-ca-cert-file)",
        AlertDescription::CertificateExpired => "it has expired",
        AlertDescription::CertificateRevoked => "it has been revoked",
        AlertDescription::BadCertificate
        | AlertDescription::UnsupportedCertificate
        | AlertDescription::CertificateUnknown
        | AlertDescription::DecryptError
        | AlertDescription::AccessDenied => "it is not valid for the server",
        _ => return None,
    };
    Some(format!("tls: the server refuses the certificate in clientCert: {reason}"))
}

/// Verifies the certificates of servers as Go does.
#[derive(Debug)]
struct Verifier {
    /// Nothing is verified.
    is_insecure: bool,
    /// Every certificate of the trust store.
    trusted: Vec<CertificateDer<'static>>,
    /// `None` if no certificate in the trust store is that of an authority.
    webpki: Option<Arc<WebPkiServerVerifier>>,
    algorithms: WebPkiSupportedAlgorithms,
}

impl Verifier {
    fn new(is_insecure: bool, provider: &Arc<CryptoProvider>) -> Result<Self, String> {
        let mut verifier = Self {
            is_insecure,
            trusted: Vec::new(),
            webpki: None,
            algorithms: provider.signature_verification_algorithms,
        };
        if is_insecure {
            return Ok(verifier);
        }
        let found = rustls_native_certs::load_native_certs();
        if let (true, Some(error)) = (found.certs.is_empty(), found.errors.first()) {
            return Err(format!("tls: the certificates that are trusted here cannot be read (SSL_CERT_FILE): {error}"));
        }
        verifier.trusted = found.certs;
        let now = UnixTime::now();
        let mut roots = RootCertStore::empty();
        roots.add_parsable_certificates(verifier.trusted.iter().filter(|der| is_authority(der, now)).cloned());
        verifier.webpki = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider.clone()).build().ok();
        Ok(verifier)
    }

    /// Does Go trust this certificate, which webpki refuses? It must be in the trust store itself, or be marked as an authority and signed by
    /// one of the trust store. Time, name and usage are checked as for any other.
    fn trusts(&self, certificate: &CertificateDer<'_>, name: &ServerName<'_>, now: UnixTime) -> Result<bool, Error> {
        let Ok(read) = Certificate::from_der(certificate) else {
            return Ok(false);
        };
        let is_trusted = self.trusted.iter().any(|trusted| trusted == certificate);
        let is_signed = is_marked_as_authority(&read) && self.has_signed(&read, now);
        if !(is_trusted || is_signed) {
            return Ok(false);
        }
        in_time(&read, now)?;
        verify_server_name(&ParsedCertificate::try_from(certificate)?, name)?;
        let usages = read.tbs_certificate.get::<ExtendedKeyUsage>();
        Ok(match usages {
            Ok(None) => true,
            Ok(Some((_, usages))) => usages.0.iter().any(|usage| {
                FOR_SERVERS.iter().any(|known| ObjectIdentifier::new(known).is_ok_and(|known| known == *usage))
            }),
            Err(_) => false,
        })
    }

    /// Has an authority of the trust store signed it?
    fn has_signed(&self, read: &Certificate, now: UnixTime) -> bool {
        let mut authorities =
            self.trusted.iter().filter(|der| is_authority(der, now)).filter_map(|der| Certificate::from_der(der).ok());
        !has_unknown_critical(read) && authorities.any(|authority| self.is_signature_of(&authority, read))
    }

    /// Has this authority signed this certificate? Authorities with name constraints are left to webpki.
    fn is_signature_of(&self, authority: &Certificate, signed: &Certificate) -> bool {
        let (issuer, tbs) = (&authority.tbs_certificate, &signed.tbs_certificate);
        if issuer.subject != tbs.issuer || !matches!(issuer.get::<NameConstraints>(), Ok(None)) {
            return false;
        }
        let key = &issuer.subject_public_key_info;
        let (Ok(of_key), Ok(of_signature), Ok(message)) =
            (key.algorithm.to_der(), signed.signature_algorithm.to_der(), tbs.to_der())
        else {
            return false;
        };
        let mut fitting = self.algorithms.all.iter().filter(|algorithm| {
            is_sequence_of(&of_key, algorithm.public_key_alg_id().as_ref())
                && is_sequence_of(&of_signature, algorithm.signature_alg_id().as_ref())
        });
        fitting.any(|algorithm| {
            let (key, signature) = (key.subject_public_key.raw_bytes(), signed.signature.raw_bytes());
            algorithm.verify_signature(key, &message, signature).is_ok()
        })
    }
}

/// Is this DER a sequence with this content? Only for contents of less than 128 bytes.
fn is_sequence_of(der: &[u8], content: &[u8]) -> bool {
    matches!(der, [0x30, length, rest @ ..] if usize::from(*length) == rest.len() && rest == content)
}

/// Does it have a critical extension that is not checked here? Then it must be refused.
fn has_unknown_critical(read: &Certificate) -> bool {
    let extensions = read.tbs_certificate.extensions.iter().flatten();
    let mut critical = extensions.filter(|extension| extension.critical);
    critical.any(|extension| !KNOWN_EXTENSIONS.contains(&extension.extn_id))
}

/// Is it a certificate authority by Go's rules? Every certificate of version 1 is one, as that version has no extension to say so.
fn is_authority(der: &CertificateDer<'_>, now: UnixTime) -> bool {
    let Ok(read) = Certificate::from_der(der) else {
        return true;
    };
    let is_ca = match read.tbs_certificate.get::<BasicConstraints>() {
        Ok(Some((_, constraints))) => constraints.ca,
        Ok(None) => is_of_version_1(&read),
        Err(_) => true,
    };
    is_ca && in_time(&read, now).is_ok()
}

fn is_of_version_1(read: &Certificate) -> bool {
    read.tbs_certificate.version == x509_cert::Version::V1
}

fn in_time(read: &Certificate, now: UnixTime) -> Result<(), Error> {
    let validity = &read.tbs_certificate.validity;
    if now.as_secs() < validity.not_before.to_unix_duration().as_secs() {
        return Err(CertificateError::NotValidYet.into());
    }
    if now.as_secs() > validity.not_after.to_unix_duration().as_secs() {
        return Err(CertificateError::Expired.into());
    }
    Ok(())
}

/// The error for a refused certificate: what is wrong with it, and what to do about it.
fn words(error: &Error, certificate: &CertificateDer<'_>, name: &ServerName<'_>) -> String {
    let read = Certificate::from_der(certificate).ok();
    let host = name.to_str();
    let names = ParsedCertificate::try_from(certificate).is_ok();
    let Error::InvalidCertificate(reason) = error else {
        return format!("tls: the server's certificate is refused: {error}{ONLY_TESTS}");
    };
    let text = match (reason, &read) {
        (_, Some(read)) if is_of_version_1(read) => format!(
            "is of X.509 version 1, which has no field for the names of servers: make one of version 3 with {host} in subjectAltName"
        ),
        (CertificateError::Expired | CertificateError::ExpiredContext { .. }, read) => {
            let until = read.as_ref().map_or_else(String::new, |read| {
                format!(" (it was valid until {})", read.tbs_certificate.validity.not_after)
            });
            format!("has expired{until}, or one of those that vouch for it: renew it")
        }
        (CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. }, read) => {
            let from = read.as_ref().map_or_else(String::new, |read| {
                format!(" (it is from {} on)", read.tbs_certificate.validity.not_before)
            });
            format!("is not valid yet{from}: is the clock of this machine right?")
        }
        (CertificateError::NotValidForNameContext { presented, .. }, _) if presented.is_empty() => format!(
            "names no server in subjectAltName, and its Common Name does not count: make one with {host} in subjectAltName"
        ),
        (CertificateError::NotValidForNameContext { presented, .. }, _) => format!(
            "is for {}, not for {host}: redisHost must name one of these, or the certificate {host} in subjectAltName",
            presented.iter().map(|name| plain(name)).collect::<Vec<_>>().join(", ")
        ),
        (CertificateError::UnknownIssuer | CertificateError::Other(_), Some(read)) if is_self_signed(read) => {
            format!("is signed by itself and not trusted here: {TRUST}")
        }
        (CertificateError::UnknownIssuer, Some(read)) => format!(
            "is signed by {}, which is not trusted here: {TRUST}; if that authority is an intermediate one, the server must send its certificate, too",
            read.tbs_certificate.issuer
        ),
        (CertificateError::BadSignature, _) => format!("has a signature that is not that of the authority it names: {TRUST}"),
        (CertificateError::InvalidPurpose | CertificateError::InvalidPurposeContext { .. }, _) => {
            "is not made for servers: its extendedKeyUsage must have serverAuth".to_owned()
        }
        (CertificateError::BadEncoding, _) => "cannot be read".to_owned(),
        (_, Some(read)) if names && is_marked_as_authority(read) => format!(
            "says that it is one of an authority (CA:TRUE), and is not signed by one that is trusted here: {TRUST}; or make one with basicConstraints=CA:FALSE"
        ),
        _ => "has a key, signature or extension that is not supported: RSA from 2048 bits, ECDSA P-256 and P-384, and Ed25519 are".to_owned(),
    };
    format!("tls: the server's certificate {text}{ONLY_TESTS}")
}

/// The name in the debug form of rustls: `a.example` of `DnsName("a.example")`.
fn plain(name: &str) -> &str {
    let inner = name.split_once('(').map_or(name, |(_, inner)| inner);
    inner.trim_end_matches(')').trim_matches('"')
}

fn is_self_signed(read: &Certificate) -> bool {
    read.tbs_certificate.issuer == read.tbs_certificate.subject
}

fn is_marked_as_authority(read: &Certificate) -> bool {
    matches!(read.tbs_certificate.get::<BasicConstraints>(), Ok(Some((_, constraints))) if constraints.ca)
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        if self.is_insecure {
            return Ok(ServerCertVerified::assertion());
        }
        let refused = match &self.webpki {
            Some(webpki) => webpki.verify_server_cert(certificate, intermediates, name, ocsp, now).err(),
            None => Some(CertificateError::UnknownIssuer.into()),
        };
        let Some(refused) = refused else {
            return Ok(ServerCertVerified::assertion());
        };
        let refused = match self.trusts(certificate, name, now) {
            Ok(true) => return Ok(ServerCertVerified::assertion()),
            Ok(false) => refused,
            Err(refused) => refused,
        };
        Err(Error::General(words(&refused, certificate, name)))
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        if self.is_insecure {
            return Ok(HandshakeSignatureValid::assertion());
        }
        rustls::crypto::verify_tls12_signature(message, certificate, signed, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        if self.is_insecure {
            return Ok(HandshakeSignatureValid::assertion());
        }
        rustls::crypto::verify_tls13_signature(message, certificate, signed, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}
