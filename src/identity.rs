//! The files that prove who we are: a certificate with its private key, which signs assertions, or a federated token. Knows no
//! HTTP; `token::credential` signs in with what is here.
//!
//! ```text
//! file ──> pem ──> keypair (certificate + key) ──> assertion
//!            every error: certificate_error        source, federated: read again, keep what works
//! ```

mod assertion;
mod certificate;
mod certificate_error;
mod federated;
mod file;
mod file_error;
mod keypair;
mod pem;
mod source;

#[cfg(test)]
#[path = "../tests/data/pems.rs"]
pub(crate) mod pems;

pub(crate) use certificate::Certificate;
pub(crate) use federated::FederatedTokenFile;
#[cfg(test)]
pub(crate) use keypair::load;
pub use keypair::{KeyPair, from_pem};
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

    /// Whether the file has changed since it was last read: a reason to try again at once.
    fn changed(&mut self) -> bool;

    /// What to do when Entra ID finds the assertion outside its time range, if its times were not set by this machine's
    /// clock.
    fn time_hint(&self) -> Option<String> {
        None
    }
}
