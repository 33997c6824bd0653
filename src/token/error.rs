//! Why no token was granted. Holds neither assertion nor token nor body, so that it can be logged whole.

use std::time::Duration;

use super::remedies;
use crate::report::Problem;

/// Whether trying again may help by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Class {
    /// It may: Entra ID or the network is failing.
    Transient,
    /// It will not, until a person changes something.
    Permanent,
}

/// A token request that gave no token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenError {
    /// Decided from status and `error`, not from the description.
    pub class: Class,
    /// The HTTP status, if there was a response.
    pub status: Option<u16>,
    /// The number in `AADSTSnnn`.
    pub code: Option<u32>,
    /// `error` of RFC 6749 section 5.2.
    pub error: Option<String>,
    /// What failed, one sentence of ours without a full stop, fit for clients.
    pub summary: String,
    /// What to do about it, one line each.
    pub hints: Vec<String>,
    /// What the response said, shortened; for the log alone.
    pub detail: Option<String>,
    /// Entra ID's support finds the request by this.
    pub trace_id: Option<String>,
    /// As `trace_id`, for several requests.
    pub correlation_id: Option<String>,
    /// The `client-request-id` that we sent.
    pub request_id: Option<String>,
    /// How long Entra ID asks us to wait.
    pub retry_after: Option<Duration>,
    /// How many seconds our clock is ahead of Entra ID's, when the time may be the cause.
    pub date_skew: Option<i64>,
    /// How many seconds our clock is ahead of the responder's, by the response's `Date`.
    pub clock_ahead: Option<i64>,
    /// There was no connection to send the request on: unknown name, refused, timed out, no TLS.
    pub is_unreachable: bool,
}

impl TokenError {
    /// An error of this class, with nothing known but what failed.
    pub fn new(class: Class, summary: impl Into<String>) -> Self {
        Self {
            class,
            status: None,
            code: None,
            error: None,
            summary: summary.into(),
            hints: Vec::new(),
            detail: None,
            trace_id: None,
            correlation_id: None,
            request_id: None,
            retry_after: None,
            date_skew: None,
            clock_ahead: None,
            is_unreachable: false,
        }
    }

    /// An error that may resolve by itself.
    pub fn transient(summary: impl Into<String>) -> Self {
        Self::new(Class::Transient, summary)
    }

    /// Whether this is the same error as `other`, so that it need not be logged again.
    pub(super) fn same_as(&self, other: &Self) -> bool {
        (self.class, self.code, &self.summary) == (other.class, other.code, &other.summary)
    }
}

/// No assertion could be made: that stays so until the file changes.
impl From<Problem> for TokenError {
    fn from(problem: Problem) -> Self {
        Self { hints: problem.hints, ..Self::new(Class::Permanent, problem.message) }
    }
}

/// The values of `error` (RFC 6749 section 5.2, and what Entra ID adds) that only a person can end.
const PERMANENT: [&str; 9] = [
    "invalid_client",
    "unauthorized_client",
    "invalid_request",
    "invalid_scope",
    "invalid_resource",
    "invalid_grant",
    "unsupported_grant_type",
    "interaction_required",
    "access_denied",
];
const TRANSIENT: [&str; 3] = ["temporarily_unavailable", "server_error", "request_timeout"];

/// Whether `error` is a token endpoint's, and not a gateway's in between.
pub(super) fn is_token_endpoint_error(error: &str) -> bool {
    PERMANENT.contains(&error) || TRANSIENT.contains(&error)
}

/// Transient or permanent, from the status and `error` (RFC 6749 section 5.2); the AADSTS number is only consulted for
/// errors that look permanent and are known to be transient.
pub(super) fn classify(status: u16, error: Option<&str>, code: Option<u32>) -> Class {
    let is_transient = matches!(status, 408 | 429 | 500..) || code.is_some_and(remedies::is_transient);
    match error {
        Some(error) if PERMANENT.contains(&error) && !is_transient => Class::Permanent,
        // Not one of Entra ID's values: a gateway in between, whose errors may be temporary.
        _ => Class::Transient,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classes() {
        use Class::{Permanent, Transient};
        let rows = [
            (401, Some("invalid_client"), Some(700_027), Permanent),
            (400, Some("unauthorized_client"), Some(700_016), Permanent),
            (400, Some("invalid_request"), None, Permanent),
            (400, Some("invalid_scope"), None, Permanent),
            (400, Some("invalid_resource"), None, Permanent),
            (400, Some("invalid_grant"), None, Permanent),
            (400, Some("unsupported_grant_type"), None, Permanent),
            (400, Some("interaction_required"), None, Permanent),
            (400, Some("access_denied"), Some(53_003), Permanent),
            (400, Some("temporarily_unavailable"), None, Transient),
            (400, Some("server_error"), None, Transient),
            (400, Some("invalid_request"), Some(90_033), Transient),
            (400, Some("invalid_request"), Some(90_055), Transient),
            (400, Some("invalid_grant"), Some(50_196), Transient),
            (408, Some("invalid_request"), None, Transient),
            (429, Some("invalid_client"), None, Transient),
            (500, Some("invalid_client"), Some(700_027), Transient),
            (503, Some("temporarily_unavailable"), Some(90_033), Transient),
            (403, Some("Forbidden"), None, Transient),
            (404, None, None, Transient),
            (200, None, None, Transient),
            (302, None, None, Transient),
        ];
        for (status, error, code, expected) in rows {
            assert_eq!(classify(status, error, code), expected, "{status} {error:?} {code:?}");
        }
    }
}
