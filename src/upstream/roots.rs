//! Whom we trust: Mozilla's roots, or the bundle that `SSL_CERT_FILE` names.

use std::path::Path;
use std::sync::Arc;

use rustls::crypto::{CryptoProvider, KeyProvider};
use rustls::pki_types::PrivateKeyDer;
use rustls::sign::SigningKey;
use rustls::{ClientConfig, RootCertStore};

use crate::report::Problem;

/// The TLS configuration for every connection that leaves: TLS 1.2 and 1.3, certificates always checked.
///
/// # Errors
///
/// The bundle cannot be read or holds no usable certificate.
pub(super) fn client_config(ca_file: Option<&Path>) -> Result<Arc<ClientConfig>, Problem> {
    let roots = match ca_file {
        None => RootCertStore::from_iter(webpki_roots::TLS_SERVER_ROOTS.iter().cloned()),
        Some(file) => bundle(file)?,
    };
    let provider = CryptoProvider { key_provider: &NoKeys, ..rustls::crypto::ring::default_provider() };
    let config = ClientConfig::builder_with_provider(Arc::new(provider))
        .with_safe_default_protocol_versions()
        .map_err(|error| Problem::new(format!("TLS cannot be set up: {error}")))?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(Arc::new(config))
}

/// No connection has a client certificate; without what ring signs with for one, the binary is 50 KB smaller.
#[derive(Debug)]
struct NoKeys;

impl KeyProvider for NoKeys {
    fn load_private_key(&self, _: PrivateKeyDer<'static>) -> Result<Arc<dyn SigningKey>, rustls::Error> {
        Err(rustls::Error::General("client certificates are not supported".into()))
    }
}

fn bundle(file: &Path) -> Result<RootCertStore, Problem> {
    let name = file.display();
    let bytes = std::fs::read(file).map_err(|error| {
        Problem::new(format!("SSL_CERT_FILE {name} cannot be read: {error}"))
            .hint("it must name a PEM file with the certificates of the authorities to trust")
    })?;
    let mut roots = RootCertStore::empty();
    let mut refused = 0;
    for certificate in rustls_pemfile::certs(&mut bytes.as_slice()) {
        let added = certificate.map(|der| roots.add(der));
        if !matches!(added, Ok(Ok(()))) {
            refused += 1;
        }
    }
    if roots.is_empty() {
        return Err(Problem::new(format!("SSL_CERT_FILE {name} holds no usable certificate"))
            .hint("it must be PEM: blocks that begin with -----BEGIN CERTIFICATE-----"));
    }
    if refused > 0 {
        crate::log::warn(
            "certificates in SSL_CERT_FILE were skipped because they cannot be parsed",
            &[("file", &name), ("skipped", &refused), ("used", &roots.len())],
        );
    }
    Ok(roots)
}
