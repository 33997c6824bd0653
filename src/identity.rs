//! Who we are: the certificate with its private key, and the signed assertion that proves it. Knows no HTTP.

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
}
