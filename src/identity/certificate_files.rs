//! Where the certificate lies: one file, or the directory that a kubernetes.io/tls Secret is mounted as.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::file::WatchedFile;
use super::keypair::{self, Loaded};
use crate::secret::Secret;

/// What the file is called in messages.
pub(super) const FILE_KIND: &str = "certificate file";
/// A key with a chain of four certificates is 10 KB.
pub(super) const MAX_FILE_BYTES: u64 = 1024 * 1024;
/// The files of a kubernetes.io/tls Secret, as cert-manager and External Secrets write them.
const CERTIFICATES: &str = "tls.crt";
const KEY: &str = "tls.key";
/// Two files are read again when one changes in between, this often.
const ATTEMPTS: usize = 3;

/// The files that `AZURE_CERTIFICATE_PATH` names, and what opens them.
pub(super) struct CertificateFiles {
    path: PathBuf,
    password: Option<Arc<Secret<String>>>,
    /// As they were at the last attempt to load them; a file may become a directory.
    watched: Watched,
}

enum Watched {
    One(WatchedFile),
    Two { certificates: WatchedFile, key: WatchedFile },
}

impl CertificateFiles {
    pub(super) fn new(path: &Path, password: Option<Arc<Secret<String>>>) -> Self {
        Self { path: path.to_owned(), password, watched: Watched::One(watch(path)) }
    }

    /// Reads everything again.
    pub(super) fn load(&mut self, now: u64) -> Loaded {
        let password = self.password.as_ref().map(|password| password.expose().as_str());
        match (has_tls_files(&self.path), &self.watched) {
            (true, Watched::One(_)) => {
                let (certificates, key) = (watch(&self.path.join(CERTIFICATES)), watch(&self.path.join(KEY)));
                self.watched = Watched::Two { certificates, key };
            }
            (false, Watched::Two { .. }) => self.watched = Watched::One(watch(&self.path)),
            _ => {}
        }
        match &mut self.watched {
            Watched::One(file) => keypair::from_file(&file.read()?, &self.path, password, now),
            Watched::Two { certificates, key } => {
                let mut attempts = 1..ATTEMPTS;
                loop {
                    let read = (certificates.read(), key.read());
                    // kubelet replaces both in one step, which may lie between the two reads.
                    if certificates.changed() && attempts.next().is_some() {
                        continue;
                    }
                    let (read, key_read) = (read.0?, read.1?);
                    let certificates = (read.as_slice(), certificates.path());
                    return keypair::from_two_files(certificates, (&key_read, key.path()), password, now);
                }
            }
        }
    }

    /// Whether another attempt may give something else than the last one.
    pub(super) fn changed(&mut self) -> bool {
        match &mut self.watched {
            Watched::One(file) => file.changed(),
            // Both are asked: each remembers what it saw.
            Watched::Two { certificates, key } => certificates.changed() | key.changed(),
        }
    }
}

fn watch(path: &Path) -> WatchedFile {
    WatchedFile::new(FILE_KIND, path, MAX_FILE_BYTES)
}

/// A directory with at least one of the two files: what is wrong with the other is reported by its name.
fn has_tls_files(path: &Path) -> bool {
    path.is_dir() && [CERTIFICATES, KEY].iter().any(|name| fs::symlink_metadata(path.join(name)).is_ok())
}
