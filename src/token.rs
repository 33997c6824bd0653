//! The access token: fetched, kept fresh in the background, published.
//!
//! ```text
//! refresher --> credential --POST--> Entra ID      (entra, with an assertion)
//!     |              '--------GET---> IMDS, …       (managed_identity)
//!     |  <-- Grant | TokenError --  response, error (remedies)
//!     '-- Token + next attempt --> store <-- usable / obtain / reject -- proxy
//! ```
//!
//! One writer, the refresher; `schedule` decides when it acts and is pure.

mod bearer;
mod credential;
mod entra;
mod error;
mod http;
mod managed_identity;
mod random;
mod refresher;
mod remedies;
pub mod response;
mod schedule;
mod status;
mod store;
#[cfg(test)]
mod test_kit;

pub use bearer::Grant;
pub(crate) use bearer::Token;
#[cfg(test)]
use credential::ClientAssertion;
pub(crate) use credential::Credential;
pub(crate) use credential::OpenCredential;
pub use credential::open;
pub use entra::Entra;
pub use error::{Class, TokenError};
pub use refresher::Refresher;
pub use remedies::REMEDIES;
pub(crate) use status::{Status, Unavailable};
pub use store::TokenStore;
#[cfg(test)]
pub(crate) use test_kit::store_with_dead_refresher;

use crate::secret::Secret;

/// The token endpoint (RFC 6749 section 3.2), or a script in a test.
pub(crate) trait Endpoint: Send {
    /// One token request with this assertion (RFC 7523 section 2.2); never retried inside.
    ///
    /// # Errors
    ///
    /// No token was granted: refused, unreachable, or the response was invalid.
    fn request(&mut self, assertion: &Secret<String>) -> Result<Grant, TokenError>;

    /// Scheme, host and port, for people who wait for it.
    fn origin(&self) -> &str;
}
