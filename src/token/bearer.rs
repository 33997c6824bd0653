//! What Entra ID grants, and the token as requests carry it.

use std::fmt;
use std::time::Duration;

use http::HeaderValue;
use zeroize::Zeroizing;

use super::schedule;
use crate::clock::{Moment, Reading};

/// A successful response (RFC 6749 section 5.1), validated.
pub struct Grant {
    bearer: HeaderValue,
    /// How long the token lives from the request on; more than zero.
    pub expires_in: Duration,
    /// When Entra ID wants it replaced, from the request on.
    pub refresh_in: Option<Duration>,
    /// How many seconds our clock is ahead of the responder's, by the response's `Date`.
    pub clock_ahead: Option<i64>,
}

impl Grant {
    /// A grant of this token, or none when it cannot stand in a header (RFC 6750 section 2.1) or `expires_in` is zero.
    pub fn new(access_token: &str, expires_in: Duration, refresh_in: Option<Duration>) -> Option<Self> {
        let legal = !access_token.is_empty() && access_token.bytes().all(|byte| byte.is_ascii_graphic());
        if !legal || expires_in.is_zero() {
            return None;
        }
        // The header value itself cannot be wiped; it is shared with the HTTP client's buffers anyway.
        let text = Zeroizing::new(format!("Bearer {access_token}"));
        let mut bearer = HeaderValue::from_str(&text).ok()?;
        bearer.set_sensitive(true);
        Some(Self { bearer, expires_in, refresh_in, clock_ahead: None })
    }

    /// `Bearer …`, marked sensitive.
    pub fn bearer(&self) -> &HeaderValue {
        &self.bearer
    }
}

impl fmt::Debug for Grant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Grant").field("expires_in", &self.expires_in).finish_non_exhaustive()
    }
}

/// An access token, shared as `Arc<Token>` with every request that carries it.
///
/// Its expiry is measured on the boot clock, which goes on while the process is stopped and the machine is suspended, and
/// which cannot be set. While a virtual machine is paused that clock stands still, and only the wall clock, set afterwards,
/// shows it; the store puts time forward by that ([`Clock::now_including_suspend`]). Time never goes back.
///
/// [`Clock::now_including_suspend`]: crate::clock::Clock::now_including_suspend
pub struct Token {
    bearer: HeaderValue,
    requested: Reading,
    usable_until: Moment,
    expires: Moment,
    clock_ahead: Option<i64>,
}

impl Token {
    /// Expiry counts from the instant before the request was sent, so that a slow response cannot lengthen it.
    pub(super) fn new(grant: Grant, requested: Reading) -> Self {
        let expires = requested.boot.after(grant.expires_in);
        let usable_until = expires.before(schedule::margin(grant.expires_in));
        Self { bearer: grant.bearer, requested, usable_until, expires, clock_ahead: grant.clock_ahead }
    }

    /// `Bearer …`, the value for `Authorization` (RFC 6750 section 2.1), marked sensitive.
    pub fn bearer(&self) -> &HeaderValue {
        &self.bearer
    }

    /// See [`Grant`].
    pub(super) fn clock_ahead(&self) -> Option<i64> {
        self.clock_ahead
    }

    /// The instant before its request was sent.
    pub(super) fn requested(&self) -> Reading {
        self.requested
    }

    /// How long ago it was requested.
    pub fn age(&self, now: Moment) -> Duration {
        now.since(self.requested.boot)
    }

    /// From when on it must not be sent any more.
    pub fn usable_until(&self) -> Moment {
        self.usable_until
    }

    /// How long it may still be sent; zero when it may not.
    pub fn usable_for(&self, now: Moment) -> Duration {
        self.usable_until.since(now)
    }

    /// How long until it expires; zero when it has.
    pub fn expires_in(&self, now: Moment) -> Duration {
        self.expires.since(now)
    }

    /// How long ago it expired; zero when it has not.
    pub fn expired_for(&self, now: Moment) -> Duration {
        now.since(self.expires)
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(hidden)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_token_that_fits_a_header_is_granted() {
        let hour = Duration::from_secs(3600);
        for good in ["x", "eyJ0.eyJh.c2ln-_~+/=="] {
            assert!(Grant::new(good, hour, None).is_some(), "{good}");
        }
        for bad in ["", "a b", "a\r\nb: c", "a\u{7f}", "a\tb", "é"] {
            assert!(Grant::new(bad, hour, None).is_none(), "{bad:?}");
        }
        assert!(Grant::new("x", Duration::ZERO, None).is_none());
    }

    #[test]
    fn debug_hides_the_token() {
        let grant = Grant::new("s3cr3t", Duration::from_secs(60), None).unwrap();
        assert!(!format!("{grant:?}{:?}", grant.bearer).contains("s3cr3t"));
        let token = Token::new(grant, crate::clock::Clock::system().reading());
        assert!(!format!("{token:?}{:?}", token.bearer()).contains("s3cr3t"));
        assert_eq!(token.bearer(), "Bearer s3cr3t");
    }
}
