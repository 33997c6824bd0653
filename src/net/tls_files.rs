//! The files of TLS towards clients: how they are read, what may be wrong with them, and what rustls makes of them.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::pki_types::CertificateDer;
use rustls::server::{NoServerSessionStorage, ResolvesServerCert, WebPkiClientVerifier};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{Error, InconsistentKeys, RootCertStore, ServerConfig};
use x509_cert::Certificate;
use x509_cert::der::Decode as _;
use zeroize::{Zeroize as _, Zeroizing};

use super::exhausted;
use crate::files::{self, Stamp};
use crate::log::{self, rfc3339};
use crate::report::{Problem, shell_quoted};

const CERTIFICATE: &str = "TLS_CERT_FILE";
const KEY: &str = "TLS_KEY_FILE";
const CLIENT_CA: &str = "TLS_CLIENT_CA_FILE";

/// Larger is a mistake, or has no end; Mozilla's whole bundle has 220 KiB.
pub(super) const MAX_FILE: u64 = 1 << 20;
/// How often a pair is read again that does not fit: both files may be replaced in one step between two reads.
const MAX_READS: u32 = 3;
/// The one protocol that we speak (RFC 7301).
const HTTP_1_1: &[u8] = b"http/1.1";
/// A certificate is to be renewed before less is left than this part of its life, or this number of seconds. cert-manager renews at a third, ACME
/// clients at a third or 30 of 90 days: what has less than a tenth was forgotten. Those made by hand for years are another matter.
const RENEW_BEFORE: (f64, f64) = (0.1, 30.0 * 86_400.0);

/// PEM files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsFiles {
    /// `TLS_CERT_FILE`: the server's certificate, then its intermediates.
    pub certificate: PathBuf,
    /// `TLS_KEY_FILE`: its private key.
    pub key: PathBuf,
    /// `TLS_CLIENT_CA_FILE`: clients must present a certificate that one of these has issued.
    pub client_ca: Option<PathBuf>,
}

pub(super) type Stamps = [Option<Stamp>; 3];

/// The public half of the files' content. Another key has another certificate.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Certificates {
    own: Vec<CertificateDer<'static>>,
    client_ca: Vec<CertificateDer<'static>>,
}

/// When a certificate may be used: seconds since the Unix epoch, both ends included (RFC 5280 section 4.1.2.5).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Validity {
    pub not_before_unix: u64,
    pub not_after_unix: u64,
}

/// What is wrong with a certificate's dates.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum DateProblem {
    NotYetValid,
    ExpiresSoon,
    Expired,
}

impl Validity {
    /// What is wrong with it now.
    pub(crate) fn problem(self, now_unix: u64) -> Option<DateProblem> {
        let left = self.not_after_unix.saturating_sub(now_unix) as f64;
        let life = self.not_after_unix.saturating_sub(self.not_before_unix) as f64;
        if now_unix > self.not_after_unix {
            Some(DateProblem::Expired)
        } else if now_unix < self.not_before_unix {
            Some(DateProblem::NotYetValid)
        } else {
            let (part, seconds) = RENEW_BEFORE;
            (left < (part * life).min(seconds)).then_some(DateProblem::ExpiresSoon)
        }
    }
}

impl Certificates {
    /// That of the server's own certificate; none where its dates cannot be read.
    pub(super) fn validity(&self) -> Option<Validity> {
        let certificate = Certificate::from_der(self.own.first()?).ok()?;
        let validity = certificate.tbs_certificate().validity();
        Some(Validity {
            not_before_unix: validity.not_before.to_unix_duration().as_secs(),
            not_after_unix: validity.not_after.to_unix_duration().as_secs(),
        })
    }
}

impl TlsFiles {
    pub(super) fn stamps(&self) -> Stamps {
        let client_ca = self.client_ca.as_deref();
        [Stamp::of(&self.certificate), Stamp::of(&self.key), client_ca.and_then(Stamp::of)]
    }

    /// What the files are configured to, and their stamps. Read again while they change.
    pub(super) fn read(&self) -> (Stamps, Result<(ServerConfig, Certificates), Problem>) {
        let mut reads = 1;
        loop {
            // Looked at before they are opened: a write in between shows as a change afterwards, never the other way round.
            let stamps = self.stamps();
            let read = self.read_once();
            if read.is_ok() || reads >= MAX_READS || self.stamps() == stamps {
                return (stamps, read);
            }
            reads += 1;
        }
    }

    /// The server's own certificate.
    ///
    /// # Errors
    ///
    /// The files cannot be used.
    pub(super) fn certificate(&self) -> Result<CertificateDer<'static>, Problem> {
        let (_, read) = self.read();
        read.map(|(_, mut certificates)| certificates.own.swap_remove(0))
    }

    fn read_once(&self) -> Result<(ServerConfig, Certificates), Problem> {
        let own = read_certificates(&self.certificate)?;
        let key = read_key(&self.key)?;
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let pair = CertifiedKey::new(own.clone(), key);
        match pair.keys_match() {
            Ok(()) | Err(Error::InconsistentKeys(InconsistentKeys::Unknown)) => {}
            Err(Error::InconsistentKeys(_)) => {
                return Err(Problem::new(format!(
                    "{KEY} {} is not the key of the first certificate in {CERTIFICATE} {}",
                    self.key.display(),
                    self.certificate.display()
                ))
                .hint("the server's certificate comes first, then its intermediates; the key is the one that it was issued for"));
            }
            Err(_) => {
                return Err(Problem::new(format!(
                    "the first certificate in {CERTIFICATE} {} cannot be used",
                    self.certificate.display()
                ))
                .hint("it must be an X.509 certificate of version 3: `openssl x509 -noout -text` shows what it is"));
            }
        }
        let resolver: Arc<dyn ResolvesServerCert> = Arc::new(SingleCertAndKey::from(pair));
        let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .map_err(|error| Problem::new(format!("TLS cannot be set up: {error}")))?;
        let (builder, client_ca) = match &self.client_ca {
            None => (builder.with_no_client_auth(), Vec::new()),
            Some(path) => {
                let (roots, client_ca) = read_authorities(path)?;
                let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
                let verifier = verifier.build().map_err(|error| {
                    Problem::new(format!("{CLIENT_CA} {} cannot be used: {error}", path.display()))
                })?;
                (builder.with_client_cert_verifier(verifier), client_ca)
            }
        };
        let mut config = builder.with_cert_resolver(resolver);
        config.alpn_protocols = vec![HTTP_1_1.to_vec()];
        // The best cipher that both have, not the one that the client happens to name first.
        config.ignore_client_order = true;
        if !client_ca.is_empty() {
            // A resumed session would carry a certificate on that has expired since.
            config.session_storage = Arc::new(NoServerSessionStorage {});
            config.send_tls13_tickets = 0;
        }
        Ok((config, Certificates { own, client_ca }))
    }
}

/// The certificates in `TLS_CERT_FILE`, at least one.
///
/// # Errors
///
/// It cannot be read, or not all of it is PEM.
pub(super) fn read_certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, Problem> {
    let bytes = read(CERTIFICATE, path)?;
    let certificates: Result<Vec<_>, _> = rustls_pemfile::certs(&mut &**bytes).collect();
    let certificates = certificates.map_err(|_| damaged(CERTIFICATE, path))?;
    if certificates.is_empty() {
        return Err(Problem::new(format!("{CERTIFICATE} {} holds no certificate in PEM", path.display()))
            .hint("it must have blocks that begin with -----BEGIN CERTIFICATE-----: the server's certificate, then its intermediates")
            .hint("convert a PFX with `openssl pkcs12 -in FILE -nokeys`, DER with `openssl x509 -inform DER -in FILE`"));
    }
    Ok(certificates)
}

pub(super) fn read_key(path: &Path) -> Result<Arc<dyn rustls::sign::SigningKey>, Problem> {
    let bytes = read(KEY, path)?;
    let named = |what: &str| Problem::new(format!("{KEY} {} {what}", path.display()));
    let holds = |text: &[u8]| bytes.windows(text.len()).any(|window| window == text);
    if holds(b"BEGIN ENCRYPTED PRIVATE KEY-----") || holds(b"Proc-Type: 4,ENCRYPTED") {
        let command = format!("openssl pkey -in {} -out FILE", shell_quoted(path));
        return Err(named("holds an encrypted private key")
            .hint(format!("decrypt it, and let nobody else read the file: {command}")));
    }
    let key = rustls_pemfile::private_key(&mut &**bytes).map_err(|_| damaged(KEY, path))?;
    let Some(mut key) = key else {
        return Err(named("holds no private key in PEM")
            .hint("it must have a block that begins with -----BEGIN PRIVATE KEY-----, or RSA or EC PRIVATE KEY")
            .hint("convert a PFX with `openssl pkcs12 -in FILE -nocerts -nodes`, DER with `openssl pkey -inform DER -in FILE`"));
    };
    let signing = rustls::crypto::ring::sign::any_supported_type(&key);
    key.zeroize();
    signing.map_err(|_| {
        named("holds a private key that cannot be used")
            .hint("it must be RSA of 2048 to 4096 bits, ECDSA on P-256 or P-384, or Ed25519")
    })
}

fn read_authorities(path: &Path) -> Result<(RootCertStore, Vec<CertificateDer<'static>>), Problem> {
    let bytes = read(CLIENT_CA, path)?;
    let (mut roots, mut certificates) = (RootCertStore::empty(), Vec::new());
    for certificate in rustls_pemfile::certs(&mut &**bytes) {
        let certificate = certificate.map_err(|_| damaged(CLIENT_CA, path))?;
        // One that cannot be an authority's does no harm.
        if roots.add(certificate.clone()).is_ok() {
            certificates.push(certificate);
        }
    }
    if roots.is_empty() {
        return Err(Problem::new(format!("{CLIENT_CA} {} holds no usable certificate", path.display()))
            .hint("it must be PEM: the certificates of the authorities that issue those of clients"));
    }
    Ok((roots, certificates))
}

fn damaged(variable: &str, path: &Path) -> Problem {
    Problem::new(format!("{variable} {} has a block that is cut off or damaged", path.display()))
        .hint("copy the file again: PEM is base64 text between BEGIN and END lines")
}

/// The content of a regular file.
fn read(variable: &str, path: &Path) -> Result<Zeroizing<Vec<u8>>, Problem> {
    let named = |what: &str| Problem::new(format!("{variable} {} {what}", path.display()));
    let content = files::open(path).and_then(|file| {
        if !file.metadata()?.is_file() {
            return Err(std::io::Error::new(ErrorKind::InvalidInput, "it is not a regular file"));
        }
        files::read_bounded(file, MAX_FILE)
    });
    let content = content.map_err(|error| match error.kind() {
        ErrorKind::NotFound => named("does not exist").hint("mount the file there, or correct the path"),
        ErrorKind::PermissionDenied => named("cannot be read: permission denied")
            .hint("let the user that auth-proxy runs as read it (in containers of ours 65532)"),
        ErrorKind::FileTooLarge => {
            named(&format!("is larger than {} MiB", MAX_FILE >> 20)).hint("it must be a PEM file")
        }
        _ => named(&format!("cannot be read: {error}"))
            .hint(exhausted(&error).unwrap_or("it must be a PEM file")),
    })?;
    if content.trim_ascii().is_empty() {
        return Err(named("is empty").hint("it must be a PEM file; check what should have written it"));
    }
    Ok(content)
}

/// Clients refuse a certificate out of its time, whatever we do.
pub(super) fn warn_of_dates(path: &Path, validity: Validity, problem: DateProblem) {
    let message = match problem {
        DateProblem::NotYetValid => "the certificate in TLS_CERT_FILE is not valid yet",
        DateProblem::ExpiresSoon => "the certificate in TLS_CERT_FILE expires soon; renew it",
        DateProblem::Expired => "the certificate in TLS_CERT_FILE has expired",
    };
    let (from, until) = (rfc3339(validity.not_before_unix), rfc3339(validity.not_after_unix));
    let date: (&str, &dyn log::Value) = match problem {
        DateProblem::NotYetValid => ("certificate_valid_from", &from),
        DateProblem::ExpiresSoon | DateProblem::Expired => ("certificate_expires", &until),
    };
    let hint = match problem {
        DateProblem::ExpiresSoon => "replace both files: no restart is needed",
        _ => "clients will refuse it: renew it, or correct this machine's clock",
    };
    log::warn(message, &[("file", &path.display()), date, ("hint", &hint)]);
}
