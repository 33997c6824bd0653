//! TLS towards clients: the certificate and key that we present, the authorities whose client certificates we accept, and new sessions with both.
//! The files may be replaced at any time: new connections get what is new, established ones go on.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rustls::pki_types::CertificateDer;
use rustls::server::{
    NoServerSessionStorage, ResolvesServerCert, UnbufferedServerConnection, WebPkiClientVerifier,
};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{Error, InconsistentKeys, RootCertStore, ServerConfig};
use socket2::Socket;
use x509_cert::Certificate;
use x509_cert::der::Decode as _;
use zeroize::{Zeroize as _, Zeroizing};

use super::Stream;
use super::tls::{Session, Tls};
use crate::clock::unix_now;
use crate::files::{self, Stamp};
use crate::log;
use crate::report::{Problem, shell_quoted};

const CERTIFICATE: &str = "TLS_CERT_FILE";
const KEY: &str = "TLS_KEY_FILE";
const CLIENT_CA: &str = "TLS_CLIENT_CA_FILE";

/// How often the files are looked at, at most: a `stat` of each.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// Larger is a mistake, or has no end; Mozilla's whole bundle has 220 KiB.
const MAX_FILE: u64 = 1 << 20;
/// How often a pair is read again that does not fit: both files may be replaced in one step between two reads.
const MAX_READS: u32 = 3;
/// The one protocol that we speak (RFC 7301).
const HTTP_1_1: &[u8] = b"http/1.1";

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

/// Begins TLS sessions with clients.
#[derive(Debug)]
pub(crate) struct TlsAcceptor {
    files: TlsFiles,
    /// For new connections; established ones keep theirs. A new one begins without sessions to resume, so that every client's
    /// certificate is checked against the new authorities.
    current: Mutex<Arc<ServerConfig>>,
    seen: Mutex<Seen>,
}

/// What is known of the files.
#[derive(Debug)]
struct Seen {
    looked_at: Instant,
    /// The files as they were when they were last read.
    stamps: Stamps,
    /// One of them had been written so shortly before that the stamp alone does not show a change.
    is_racy: bool,
    /// What of their content is in use.
    certificates: Certificates,
    /// What was last found wrong with them, which is logged once.
    problem: Option<String>,
}

type Stamps = [Option<Stamp>; 3];

/// The public half of the files' content. Another key has another certificate.
#[derive(Debug, PartialEq, Eq)]
struct Certificates {
    own: Vec<CertificateDer<'static>>,
    client_ca: Vec<CertificateDer<'static>>,
}

impl TlsAcceptor {
    /// Reads the files.
    ///
    /// # Errors
    ///
    /// One of them cannot be used, or they do not fit together.
    pub(crate) fn open(files: &TlsFiles) -> Result<Self, Problem> {
        let (stamps, read) = files.read();
        let (config, certificates) = read?;
        warn_of_dates(&files.certificate, &certificates.own);
        let seen =
            Seen { looked_at: Instant::now(), is_racy: is_racy(stamps), stamps, certificates, problem: None };
        Ok(Self { files: files.clone(), current: Mutex::new(Arc::new(config)), seen: Mutex::new(seen) })
    }

    /// A client's connection, whose handshake has not begun.
    ///
    /// # Errors
    ///
    /// rustls refuses the configuration.
    pub(crate) fn accept(&self, socket: Arc<Socket>) -> std::io::Result<Stream> {
        let tls = session(&lock(&self.current)).map_err(std::io::Error::other)?;
        Ok(Stream::expecting_tls(socket, tls))
    }

    /// Checks the files once a second from now on, on a thread of its own: a file system may hang, and where every connection is
    /// taken none comes that could check them.
    ///
    /// # Errors
    ///
    /// The system gives no thread.
    pub(crate) fn watch(self: &Arc<Self>) -> std::io::Result<()> {
        let watched = Arc::downgrade(self);
        let thread = std::thread::Builder::new().name("tls-files".into()).stack_size(256 * 1024);
        let look = move || {
            while let Some(acceptor) = watched.upgrade() {
                acceptor.reload_if_changed();
                drop(acceptor);
                std::thread::sleep(LOOK_EVERY / 4);
            }
        };
        thread.spawn(look).map(drop)
    }

    /// Reads the files again if they have changed.
    fn reload_if_changed(&self) {
        if let Some(mut seen) = files::try_lock(&self.seen)
            && seen.looked_at.elapsed() >= LOOK_EVERY
        {
            seen.looked_at = Instant::now();
            // What was wrong may have been the system's fault, of which a stamp shows nothing.
            if seen.is_racy || seen.problem.is_some() || self.files.stamps() != seen.stamps {
                self.reload(&mut seen);
            }
        }
    }

    // Not part of its caller's frame: parsing takes much stack, and stack once used stays with the thread.
    #[inline(never)]
    fn reload(&self, seen: &mut Seen) {
        let (stamps, read) = self.files.read();
        (seen.stamps, seen.is_racy) = (stamps, is_racy(stamps));
        let file = self.files.certificate.display();
        let (config, certificates) = match read {
            Ok(read) => read,
            Err(problem) => return seen.report(problem),
        };
        let was_bad = seen.problem.take().is_some();
        if certificates == seen.certificates {
            if was_bad {
                log::info("TLS_CERT_FILE and its key are valid again and unchanged", &[("file", &file)]);
            }
            return;
        }
        *lock(&self.current) = Arc::new(config);
        log::info("TLS_CERT_FILE, its key or TLS_CLIENT_CA_FILE changed; using them", &[("file", &file)]);
        warn_of_dates(&self.files.certificate, &certificates.own);
        seen.certificates = certificates;
    }
}

// Not part of its caller's frame: the connection is kilobytes, moved by value.
#[inline(never)]
fn session(config: &Arc<ServerConfig>) -> Result<Box<Tls>, Error> {
    Ok(Box::new(Tls::new(Session::Server(UnbufferedServerConnection::new(Arc::clone(config))?))))
}

impl Seen {
    fn report(&mut self, problem: Problem) {
        if self.problem.as_ref() == Some(&problem.message) {
            return;
        }
        let hint = format!("new connections get the previous certificate; {}", problem.hints.join("; "));
        log::warn(&problem.message, &[("hint", &hint)]);
        self.problem = Some(problem.message);
    }
}

impl TlsFiles {
    fn stamps(&self) -> Stamps {
        let client_ca = self.client_ca.as_deref();
        [Stamp::of(&self.certificate), Stamp::of(&self.key), client_ca.and_then(Stamp::of)]
    }

    /// What the files are configured to, and their stamps. Read again while they change.
    fn read(&self) -> (Stamps, Result<(ServerConfig, Certificates), Problem>) {
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

fn is_racy(stamps: Stamps) -> bool {
    stamps.into_iter().flatten().any(Stamp::is_racy)
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

fn read_key(path: &Path) -> Result<Arc<dyn rustls::sign::SigningKey>, Problem> {
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
        _ => named(&format!("cannot be read: {error}")).hint("it must be a PEM file"),
    })?;
    if content.trim_ascii().is_empty() {
        return Err(named("is empty").hint("it must be a PEM file; check what should have written it"));
    }
    Ok(content)
}

/// Clients refuse a certificate out of its time, whatever we do.
fn warn_of_dates(path: &Path, certificates: &[CertificateDer<'static>]) {
    let now = unix_now();
    let Some(Ok(certificate)) = certificates.first().map(|first| Certificate::from_der(first)) else {
        return;
    };
    let validity = certificate.tbs_certificate().validity();
    let (from, until) = (validity.not_before.to_unix_duration(), validity.not_after.to_unix_duration());
    let dates: (String, String) = (log::rfc3339(from.as_secs()), log::rfc3339(until.as_secs()));
    let file = path.display();
    let hint = "clients will refuse it: renew it, or correct this machine's clock";
    if now > until {
        log::warn(
            "the certificate in TLS_CERT_FILE has expired",
            &[("file", &file), ("certificate_expires", &dates.1), ("hint", &hint)],
        );
    } else if now < from {
        log::warn(
            "the certificate in TLS_CERT_FILE is not valid yet",
            &[("file", &file), ("certificate_valid_from", &dates.0), ("hint", &hint)],
        );
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
