//! Who we are: the certificate with its private key, and the signed assertion that proves it. Knows no HTTP.
//!
//! ```text
//! file ──> pem ──> keypair (certificate + key) ──> assertion
//!            every fault on the way: faults        source, federated: read again, keep what works
//! ```

mod assertion;
mod certificate;
mod faults;
mod federated;
mod file;
mod file_faults;
mod keypair;
mod open;
mod pem;
mod source;

#[cfg(test)]
#[path = "../tests/data/pems.rs"]
pub(crate) mod pems;

pub use certificate::Certificate;
pub use federated::FederatedTokenFile;
pub use keypair::{KeyPair, from_pem, load};
pub use open::Identity;
pub use source::{CertificateSource, CurrentCertificate};

use crate::report::Problem;
use crate::secret::Secret;

/// Where the refresher gets a client assertion (RFC 7521 section 4.2, RFC 7523 section 2.2) from.
pub trait AssertionSource: Send {
    /// A fresh assertion for one token request. Reads its file again first; a bad new file leaves the old one in
    /// use and is warned about once.
    ///
    /// # Errors
    ///
    /// Nothing usable was ever read, or signing failed.
    fn assertion(&mut self) -> Result<Secret<String>, Problem>;

    /// Whether the file has changed since it was last read: a reason to try again at once.
    fn changed(&mut self) -> bool;

    /// What to do when the assertion was found outside its time range, if somebody else than this machine's clock has
    /// set its times.
    fn time_hint(&self) -> Option<String> {
        None
    }
}
