//! The access token: fetched, kept fresh in the background, published.
//!
//! ```text
//! refresher --assertion--> entra --POST--> Entra ID
//!     |  <-- Grant | TokenError --  response, error (remedies)
//!     '-- Token + next attempt --> store <-- usable / obtain / reject -- proxy
//! ```
//!
//! One writer, the refresher; `schedule` decides when it acts and is pure.

mod bearer;
mod entra;
mod error;
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
pub use entra::Entra;
pub use error::{Class, TokenError};
pub use refresher::Refresher;
pub use remedies::REMEDIES;
pub(crate) use status::{RefresherState, Status, Unavailable};
pub use store::TokenStore;
#[cfg(test)]
pub(crate) use test_kit::store_with_dead_refresher;

use crate::identity::AssertionSource;
use crate::secret::Secret;

/// The token endpoint (RFC 6749 section 3.2), or a script in a test.
pub trait Endpoint: Send {
    /// One token request with this assertion (RFC 7523 section 2.2); never retried inside.
    ///
    /// # Errors
    ///
    /// No token was granted: refused, unreachable, or the response was invalid.
    fn request(&mut self, assertion: &Secret<String>) -> Result<Grant, TokenError>;

    /// Scheme, host and port, for people who wait for it.
    fn origin(&self) -> &str;
}

/// One attempt to get a token, with an assertion made for it.
///
/// # Errors
///
/// As [`AssertionSource::assertion`] and [`Endpoint::request`].
pub(crate) fn sign_in(
    source: &mut dyn AssertionSource,
    endpoint: &mut dyn Endpoint,
) -> Result<Grant, TokenError> {
    let assertion = source.assertion()?;
    endpoint.request(&assertion).map_err(|error| match source.time_hint() {
        // The signer of the assertion set its times, not this machine's clock.
        Some(hint) if error.code == Some(response::OUTSIDE_TIME_RANGE) => {
            TokenError { hints: vec![hint], ..error }
        }
        _ => error,
    })
}
