//! A client that trusts one certificate: our own, when we ask the program that runs beside us.

use std::sync::Arc;

use rustls::client::UnbufferedClientConnection;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, Error, SignatureScheme};
use socket2::Socket;

use super::Stream;
use super::TlsFiles;
use super::tls::{Session, Tls};
use crate::report::Problem;

/// Trusts the server that proves to have this certificate, whatever its names and dates. Any server while the files cannot
/// be used: the program goes on with what they held before, which nobody else knows.
#[derive(Debug)]
pub(crate) struct PinnedCertificate {
    config: Arc<ClientConfig>,
    /// Why any server is trusted.
    pub(crate) unchecked: Option<Problem>,
}

impl PinnedCertificate {
    /// The certificate that the program has taken from these files, or will in a moment.
    ///
    /// # Errors
    ///
    /// rustls refuses the configuration.
    pub(crate) fn load(files: &TlsFiles) -> Result<Self, Problem> {
        let (certificate, unchecked) = match files.certificate() {
            Ok(certificate) => (Some(certificate), None),
            Err(problem) => (None, Some(problem)),
        };
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let verifier = Arc::new(Verifier { certificate, provider: Arc::clone(&provider) });
        let builder = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| Problem::new(format!("TLS cannot be set up: {error}")))?;
        let config = builder.dangerous().with_custom_certificate_verifier(verifier).with_no_client_auth();
        Ok(Self { config: Arc::new(config), unchecked })
    }

    /// A connection over a non-blocking socket, whose handshake has not begun.
    ///
    /// # Errors
    ///
    /// rustls refuses the configuration.
    pub(crate) fn connect(&self, socket: Socket) -> std::io::Result<Stream> {
        let name = ServerName::try_from("localhost").map_err(std::io::Error::other)?;
        let session = UnbufferedClientConnection::new(Arc::clone(&self.config), name);
        let tls = Tls::new(Session::Client(session.map_err(std::io::Error::other)?));
        Ok(Stream::with_tls(socket, Box::new(tls), Vec::new()))
    }
}

#[derive(Debug)]
pub(super) struct Verifier {
    /// The one that is trusted; none: each is.
    pub(super) certificate: Option<CertificateDer<'static>>,
    pub(super) provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        if self.certificate.as_ref().is_none_or(|trusted| trusted == end_entity) {
            return Ok(ServerCertVerified::assertion());
        }
        Err(Error::General("the server there has another certificate than TLS_CERT_FILE".into()))
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signature, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
