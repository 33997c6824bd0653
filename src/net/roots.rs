//! The trusted roots: Mozilla's, or the bundle that an environment variable names (`SSL_CERT_FILE`), which may be replaced at
//! any time.

use std::fs::File;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rustls::client::WebPkiServerVerifier;
use rustls::crypto::{CryptoProvider, KeyProvider};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::SigningKey;
use rustls::{ClientConfig, RootCertStore};
use zeroize::Zeroizing;

use super::verifier::BundleVerifier;
use crate::files::{self, Stamp};
use crate::log;
use crate::report::Problem;

/// How often the file is looked at, at most: a `stat`, before a connection is made.
const LOOK_EVERY: Duration = Duration::from_secs(10);
/// Larger is a mistake, or has no end; Mozilla's bundle has 220 KiB.
const MAX_BUNDLE: u64 = 16 << 20;

/// The TLS configuration for connections that leave. Clones share it.
#[derive(Debug, Clone)]
pub(super) struct Roots(Arc<TrustStore>);

#[derive(Debug)]
struct TrustStore {
    /// For new connections; established ones keep theirs. A new one begins without TLS sessions to resume, so that
    /// every certificate is checked again.
    current: Mutex<Arc<ClientConfig>>,
    /// What names the bundle, in messages.
    variable: &'static str,
    file: Option<Watched>,
}

#[derive(Debug)]
struct Watched {
    variable: &'static str,
    path: PathBuf,
    state: Mutex<BundleState>,
}

#[derive(Debug)]
struct BundleState {
    looked_at: Instant,
    /// The file as it was when it was last read.
    stamp: Option<Stamp>,
    /// It had been written so shortly before that the stamp alone does not show a change.
    is_racy: bool,
    certificates: Arc<[CertificateDer<'static>]>,
    /// What was last found wrong with it, which is logged once.
    problem: Option<String>,
}

impl Roots {
    /// The configuration at start.
    ///
    /// # Errors
    ///
    /// The bundle cannot be read or holds no usable certificate.
    pub(super) fn load(variable: &'static str, file: Option<&Path>) -> Result<Self, Problem> {
        let Some(path) = file else {
            let roots = RootCertStore::from_iter(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
            return Ok(Self::new(client_config(roots, None)?, variable, None));
        };
        let stamp = Stamp::of(path);
        let is_racy = stamp.is_some_and(Stamp::is_racy);
        // Whatever it is: at start a pipe does, too.
        let read = File::open(path).and_then(|file| files::read_bounded(file, MAX_BUNDLE));
        let bytes = read.map_err(|error| unreadable(variable, path, &error))?;
        let bundle = Bundle::parse(&format!("{variable} {}", path.display()), &bytes)?;
        bundle.log_skipped(variable, path);
        let certificates = Arc::clone(&bundle.certificates);
        let config = client_config(bundle.roots, Some(bundle.certificates))?;
        let state = BundleState { looked_at: Instant::now(), stamp, is_racy, certificates, problem: None };
        let file = Watched { variable, path: path.to_owned(), state: Mutex::new(state) };
        Ok(Self::new(config, variable, Some(file)))
    }

    /// The certificates in this PEM text, the value of a variable.
    ///
    /// # Errors
    ///
    /// There is none in it.
    pub(super) fn of_pem(variable: &'static str, pem: &[u8]) -> Result<Self, Problem> {
        let bundle = Bundle::parse(variable, pem)?;
        let config = client_config(bundle.roots, Some(bundle.certificates))?;
        Ok(Self::new(config, variable, None))
    }

    fn new(config: ClientConfig, variable: &'static str, file: Option<Watched>) -> Self {
        Self(Arc::new(TrustStore { current: Mutex::new(Arc::new(config)), variable, file }))
    }

    /// What names the bundle, or would.
    pub(super) fn variable(&self) -> &'static str {
        self.0.variable
    }

    /// The configuration for a new connection, read again before if the file has changed.
    pub(super) fn current(&self) -> Arc<ClientConfig> {
        // Whoever is looking already does it for all: a file system that hangs holds up one connection.
        if let Some(file) = &self.0.file
            && let Ok(mut state) = file.state.try_lock()
            && state.looked_at.elapsed() >= LOOK_EVERY
        {
            state.looked_at = Instant::now();
            if Stamp::of(&file.path) != state.stamp {
                self.read_again(file, &mut state);
            }
        }
        Arc::clone(&lock(&self.0.current))
    }

    /// A server's certificate was refused with this configuration: another one that may accept it, if the file has
    /// been replaced. However many are refused, it is read again only when it may have changed.
    pub(super) fn newer_than(&self, used: &Arc<ClientConfig>) -> Option<Arc<ClientConfig>> {
        let file = self.0.file.as_ref()?;
        let mut state = lock(&file.state);
        if state.is_racy || Stamp::of(&file.path) != state.stamp {
            self.read_again(file, &mut state);
        }
        drop(state);
        Some(Arc::clone(&lock(&self.0.current))).filter(|current| !Arc::ptr_eq(current, used))
    }

    /// The file that is trusted, if there is one.
    pub(super) fn file(&self) -> Option<&Path> {
        self.0.file.as_ref().map(|file| file.path.as_path())
    }

    fn read_again(&self, file: &Watched, state: &mut BundleState) {
        // Looked at before it is opened: a write in between shows as a change afterwards, never the other way round.
        state.stamp = Stamp::of(&file.path);
        state.is_racy = state.stamp.is_some_and(Stamp::is_racy);
        match read_whole(&file.path) {
            Ok(Some(bytes)) => self.replace(file, state, &bytes),
            // A pipe gives its content once.
            Ok(None) => {}
            Err(error) => state.report(unreadable(file.variable, &file.path, &error)),
        }
    }

    fn replace(&self, file: &Watched, state: &mut BundleState, bytes: &[u8]) {
        let (variable, path) = (file.variable, &file.path);
        let bundle = match Bundle::parse(&format!("{variable} {}", path.display()), bytes) {
            // At start what can be read counts. Here it is more likely a file that is being written.
            Ok(Bundle { damaged: true, .. }) => {
                return state.report(Problem::new(format!(
                    "{variable} {} has a certificate that is cut off or damaged",
                    path.display()
                )));
            }
            Ok(bundle) => bundle,
            Err(problem) => return state.report(problem),
        };
        let was_bad = state.problem.take().is_some();
        if bundle.certificates == state.certificates {
            if was_bad {
                log::info(&format!("{variable} is valid again and unchanged"), &[("file", &path.display())]);
            }
            return;
        }
        bundle.log_skipped(variable, path);
        let used = bundle.roots.len();
        match client_config(bundle.roots, Some(Arc::clone(&bundle.certificates))) {
            Ok(config) => {
                state.certificates = bundle.certificates;
                *lock(&self.0.current) = Arc::new(config);
                log::info(
                    &format!("{variable} changed; using its certificates"),
                    &[("file", &path.display()), ("certificates", &used)],
                );
            }
            Err(problem) => state.report(problem),
        }
    }
}

impl BundleState {
    fn report(&mut self, problem: Problem) {
        if self.problem.as_ref() == Some(&problem.message) {
            return;
        }
        let hint = "the certificates it held before stay trusted";
        log::warn(&problem.message, &[("hint", &hint), ("certificates", &self.certificates.len())]);
        self.problem = Some(problem.message);
    }
}

/// The certificates of a PEM file.
struct Bundle {
    certificates: Arc<[CertificateDer<'static>]>,
    roots: RootCertStore,
    skipped: usize,
    /// Not all of it is PEM.
    damaged: bool,
}

impl Bundle {
    /// `name` is what messages call it.
    fn parse(name: &str, bytes: &[u8]) -> Result<Self, Problem> {
        let (mut certificates, mut roots) = (Vec::new(), RootCertStore::empty());
        let (mut skipped, mut damaged) = (0, false);
        for certificate in rustls_pemfile::certs(&mut &*bytes) {
            match certificate {
                Ok(certificate) if roots.add(certificate.clone()).is_ok() => certificates.push(certificate),
                Ok(_) => skipped += 1,
                Err(_) => {
                    skipped += 1;
                    damaged = true;
                }
            }
        }
        if roots.is_empty() {
            return Err(Problem::new(format!("{name} holds no usable certificate"))
                .hint("it must be PEM: blocks that begin with -----BEGIN CERTIFICATE-----"));
        }
        Ok(Self { certificates: certificates.into(), roots, skipped, damaged })
    }

    fn log_skipped(&self, variable: &str, path: &Path) {
        if self.skipped > 0 {
            log::warn(
                &format!("certificates in {variable} were skipped because they cannot be parsed"),
                &[("file", &path.display()), ("skipped", &self.skipped), ("used", &self.roots.len())],
            );
        }
    }
}

fn unreadable(variable: &str, path: &Path, error: &io::Error) -> Problem {
    let fault = match error.kind() {
        ErrorKind::FileTooLarge => format!("is larger than {} MiB", MAX_BUNDLE >> 20),
        _ => format!("cannot be read: {error}"),
    };
    Problem::new(format!("{variable} {} {fault}", path.display()))
        .hint("it must name a PEM file with the certificates of the authorities to trust")
}

/// The content of a regular file; none when it is something else.
fn read_whole(path: &Path) -> io::Result<Option<Zeroizing<Vec<u8>>>> {
    let file = files::open(path)?;
    if !file.metadata()?.is_file() {
        return Ok(None);
    }
    files::read_bounded(file, MAX_BUNDLE).map(Some)
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// TLS 1.2 and 1.3, certificates always checked. The `bundle` has what may also be a server's own certificate.
fn client_config(
    roots: RootCertStore,
    bundle: Option<Arc<[CertificateDer<'static>]>>,
) -> Result<ClientConfig, Problem> {
    let failed = |error: &dyn std::fmt::Display| Problem::new(format!("TLS cannot be set up: {error}"));
    let provider =
        Arc::new(CryptoProvider { key_provider: &NoKeys, ..rustls::crypto::ring::default_provider() });
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(|error| failed(&error))?;
    let Some(bundle) = bundle else {
        return Ok(builder.with_root_certificates(roots).with_no_client_auth());
    };
    let webpki = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider);
    let webpki = webpki.build().map_err(|error| failed(&error))?;
    let verifier = Arc::new(BundleVerifier { webpki, bundle });
    Ok(builder.dangerous().with_custom_certificate_verifier(verifier).with_no_client_auth())
}

/// No connection has a client certificate; without what ring signs with for one, the binary is 50 KB smaller.
#[derive(Debug)]
struct NoKeys;

impl KeyProvider for NoKeys {
    fn load_private_key(&self, _: PrivateKeyDer<'static>) -> Result<Arc<dyn SigningKey>, rustls::Error> {
        Err(rustls::Error::General("client certificates are not supported".into()))
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::process::Command;

    use super::*;
    use crate::identity::pems;

    #[test]
    fn a_good_file_replaces_the_roots_and_a_bad_one_does_not() {
        let directory = pems::scratch("bundle of roots");
        let path = directory.join("ca.pem");
        let beside = directory.join("new");
        // As it is renewed: moved over the old one in one step.
        let put = |content: &str| {
            fs::write(&beside, content).unwrap();
            fs::rename(&beside, &path).unwrap();
        };
        let pem = |name: &str| fs::read_to_string(pems::pem(name)).unwrap();
        let (one, other) = (pem("ca.crt"), pem("other.crt"));
        put(&one);
        let roots = Roots::load("SSL_CERT_FILE", Some(&path)).unwrap();
        let file = roots.0.file.as_ref().unwrap();
        let trusted = || lock(&file.state).certificates.len();
        let problem = || lock(&file.state).problem.clone();
        let first = roots.current();
        assert!(roots.newer_than(&first).is_none());

        put(&format!("{one}{other}"));
        assert!(Arc::ptr_eq(&roots.current(), &first), "it was looked at a moment ago");
        let second = roots.newer_than(&first).expect("a certificate was refused");
        assert_eq!((trusted(), problem()), (2, None));
        assert!(Arc::ptr_eq(&roots.current(), &second));
        assert!(roots.newer_than(&first).is_some(), "somebody else was first to read it");

        let cut = &one[..one.len() / 2];
        let damaged = one.replace("MII", "M!!");
        for bad in ["", "no PEM", cut, &format!("{other}{cut}"), &format!("{other}{damaged}")] {
            put(bad);
            assert!(roots.newer_than(&second).is_none(), "{bad:?}");
            assert!(problem().is_some(), "{bad:?}");
        }
        assert_eq!(trusted(), 2);
        // What is sparse costs no room: the good part alone would be taken.
        put(&format!("{one}{other}\n"));
        File::options().write(true).open(&path).unwrap().set_len(MAX_BUNDLE + 1).unwrap();
        assert!(roots.newer_than(&second).is_none());
        assert!(problem().unwrap().ends_with("is larger than 16 MiB"));
        assert!(
            Roots::load("SSL_CERT_FILE", Some(&path)).unwrap_err().message.ends_with("is larger than 16 MiB")
        );
        put(&format!("{one}{other}"));
        assert!(roots.newer_than(&second).is_none(), "nothing has changed");
        assert_eq!(problem(), None, "a later fault is logged again");
        fs::remove_file(&path).unwrap();
        assert!(roots.newer_than(&second).is_none());
        assert!(problem().unwrap().contains("cannot be read"));
        assert!(Command::new("mkfifo").arg(&path).status().unwrap().success());
        assert!(roots.newer_than(&second).is_none(), "nobody waits for a pipe's writer");

        put(&other);
        lock(&file.state).looked_at = Instant::now().checked_sub(LOOK_EVERY).unwrap();
        assert!(!Arc::ptr_eq(&roots.current(), &second), "it is looked at without any fault, too");
        assert_eq!((trusted(), problem()), (1, None));
        fs::remove_dir_all(directory).unwrap();
    }

    /// A storm of refused certificates must not read the bundle once for each.
    #[test]
    fn an_unchanged_file_is_not_read_again() {
        let directory = pems::scratch("bundle that stays");
        let path = directory.join("ca.pem");
        fs::copy(pems::pem("ca.crt"), &path).unwrap();
        let roots = Roots::load("SSL_CERT_FILE", Some(&path)).unwrap();
        let first = roots.current();
        let file = roots.0.file.as_ref().unwrap();
        // As if another write had left the same stamp: only reading it would show.
        fs::copy(pems::pem("other.crt"), &path).unwrap();
        let same_stamp = |is_racy| {
            let mut state = lock(&file.state);
            (state.stamp, state.is_racy) = (Stamp::of(&path), is_racy);
        };
        same_stamp(false);
        assert!(roots.newer_than(&first).is_none());
        same_stamp(true);
        assert!(roots.newer_than(&first).is_some(), "a racy stamp may hide a write");
        fs::remove_dir_all(directory).unwrap();
    }

    #[test]
    fn the_built_in_roots_do_not_change() {
        let roots = Roots::load("SSL_CERT_FILE", None).unwrap();
        assert!(roots.newer_than(&roots.current()).is_none());
        assert_eq!(roots.file(), None);
    }
}
