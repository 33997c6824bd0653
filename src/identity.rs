//! The files that prove who we are: a certificate with its private key, which signs assertions, or a federated token. Knows no
//! HTTP; `token::credential` signs in with what is here.
//!
//! ```text
//! certificate_files ──> contents (pem, pfx) ──> keypair (certificate + key) ──> assertion
//!                          every error: certificate_error        source, federated: read again, keep what works
//! ```

mod assertion;
mod ber;
mod certificate;
mod certificate_error;
mod certificate_files;
mod contents;
mod decrypt;
mod federated;
mod file;
mod file_error;
mod keypair;
mod pem;
mod pfx;
mod source;

#[cfg(test)]
#[path = "../tests/data/pems.rs"]
pub(crate) mod pems;
#[cfg(test)]
#[path = "../tests/data/pfx_writer.rs"]
pub(crate) mod pfx_writer;

pub(crate) use certificate::Certificate;
pub(crate) use federated::FederatedTokenFile;
pub(crate) use file_error::not_opened as file_not_opened;
pub use keypair::{KeyPair, from_file};
pub use source::CertificateSource;
pub(crate) use source::CurrentCertificate;

use crate::report::Problem;
use crate::secret::Secret;

/// The refresher's source of client assertions (RFC 7521 section 4.2, RFC 7523 section 2.2).
pub(crate) trait AssertionSource: Send {
    /// A fresh assertion for one token request. Reads its file again first; a bad new file leaves the old one in
    /// use and is warned about once.
    ///
    /// # Errors
    ///
    /// Nothing usable was ever read, or signing failed.
    fn assertion(&mut self) -> Result<Secret<String>, Problem>;

    /// Entra ID has granted a token for the last assertion.
    fn accepted(&mut self) {}

    /// Entra ID does not know the certificate of the last assertion. Another assertion, of the certificate before, if there is
    /// one to go back to.
    fn fallback(&mut self) -> Option<Secret<String>> {
        None
    }

    /// Entra ID has granted a token for [`AssertionSource::fallback`].
    fn fell_back(&mut self) {}

    /// Whether the file has changed since it was last read: a reason to try again at once.
    fn changed(&mut self) -> bool;

    /// What to do when Entra ID finds the assertion outside its time range, if its times were not set by this machine's
    /// clock.
    fn time_hint(&self) -> Option<String> {
        None
    }
}

/// The certificate at a path that needs no password.
#[cfg(test)]
pub(crate) fn load(path: &std::path::Path, now: u64) -> Result<(KeyPair, Vec<Problem>), Problem> {
    certificate_files::CertificateFiles::new(path, None).load(now)
}
