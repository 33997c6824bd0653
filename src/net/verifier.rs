//! Which servers are trusted when `SSL_CERT_FILE` names a bundle of certificates.

use std::sync::Arc;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{CertificateError, DigitallySignedStruct, Error, SignatureScheme};
use x509_cert::Certificate;
use x509_cert::der::Decode as _;
use x509_cert::der::asn1::ObjectIdentifier;
use x509_cert::ext::pkix::ExtendedKeyUsage;

use super::tls_error::is_ca_as_server;

/// id-kp-serverAuth.
const SERVER_AUTH: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.5.5.7.3.1");

/// Trusts what webpki trusts, and a server that presents a certificate of the bundle itself. webpki takes those for
/// authorities alone: one that `openssl req -x509` has made is a CA and may not be a server's, and one that a private
/// CA has issued has no issuer there. curl and browsers accept both once they trust them.
#[derive(Debug)]
pub(super) struct BundleVerifier {
    pub(super) webpki: Arc<WebPkiServerVerifier>,
    pub(super) bundle: Arc<[CertificateDer<'static>]>,
}

impl ServerCertVerifier for BundleVerifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let error = match self.webpki.verify_server_cert(
            end_entity,
            intermediates,
            server_name,
            ocsp_response,
            now,
        ) {
            Err(Error::InvalidCertificate(error)) => error,
            outcome => return outcome,
        };
        let has_no_issuer = matches!(error, CertificateError::UnknownIssuer) || is_ca_as_server(&error);
        if !has_no_issuer || !self.bundle.iter().any(|trusted| trusted == end_entity) {
            return Err(error.into());
        }
        // All that webpki has not checked, or may not have: name, time and purpose. The handshake's signature, by which
        // the server proves that the certificate is its own, is checked as ever.
        rustls::client::verify_server_name(&ParsedCertificate::try_from(end_entity)?, server_name)?;
        let certificate = Certificate::from_der(end_entity).map_err(|_| CertificateError::BadEncoding)?;
        verify_time(&certificate, now.as_secs())?;
        verify_purpose(&certificate)?;
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.webpki.verify_tls12_signature(message, certificate, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.webpki.verify_tls13_signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.webpki.supported_verify_schemes()
    }
}

/// RFC 5280 section 4.1.2.5: both ends of the validity period are part of it.
fn verify_time(certificate: &Certificate, now: u64) -> Result<(), CertificateError> {
    let validity = certificate.tbs_certificate().validity();
    if now < validity.not_before.to_unix_duration().as_secs() {
        Err(CertificateError::NotValidYet)
    } else if now > validity.not_after.to_unix_duration().as_secs() {
        Err(CertificateError::Expired)
    } else {
        Ok(())
    }
}

/// RFC 5280 section 4.2.1.12: "If the extension is present, then the certificate MUST only be used for one of the purposes
/// indicated."
fn verify_purpose(certificate: &Certificate) -> Result<(), CertificateError> {
    let usage = certificate.tbs_certificate().get_extension::<ExtendedKeyUsage>();
    match usage.map_err(|_| CertificateError::BadEncoding)? {
        Some((_, purposes)) if !purposes.0.contains(&SERVER_AUTH) => Err(CertificateError::InvalidPurpose),
        _ => Ok(()),
    }
}
