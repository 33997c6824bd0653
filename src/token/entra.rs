//! The token request: one POST to Entra ID, never redirected, never retried here.

use std::time::Duration;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use ureq::Agent;
use ureq::http::Request;
use zeroize::Zeroizing;

use super::error::TokenError;
use super::http::{self, TIMEOUT, USER_AGENT};
use super::{Endpoint, Grant, random, response};
use crate::clock::Clock;
use crate::log;
use crate::secret::Secret;

/// What `application/x-www-form-urlencoded` percent-encodes (WHATWG URL section 1.3); the space becomes `+`.
const ENCODED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'*').remove(b'-').remove(b'.').remove(b'_');

/// Entra ID's token endpoint (RFC 6749 section 4.4, with the assertion of RFC 7523 section 2.2).
#[derive(Debug)]
pub struct Entra {
    agent: Agent,
    clock: Clock,
    token_url: String,
    origin: String,
    client_id: String,
    scope: String,
    timeout: Duration,
}

impl Entra {
    /// The endpoint at `token_url`, reached through `agent`, which must neither follow redirects nor make errors
    /// of statuses.
    pub fn new(agent: Agent, clock: Clock, token_url: &str, client_id: &str, scope: &str) -> Self {
        let origin = token_url.splitn(4, '/').take(3).collect::<Vec<_>>().join("/");
        let (token_url, client_id, scope) = (token_url.into(), client_id.into(), scope.into());
        Self { agent, clock, token_url, origin, client_id, scope, timeout: TIMEOUT }
    }

    fn post(&self, body: &str, request_id: &str) -> Result<Grant, TokenError> {
        let request = Request::post(&self.token_url)
            .header("content-type", "application/x-www-form-urlencoded")
            .header("accept", "application/json")
            .header("user-agent", USER_AGENT)
            .header("client-request-id", request_id)
            // Declares that we honor 429 and Retry-After.
            .header("x-ms-lib-capability", "retry-after, h429");
        let request = request.body(body).map_err(|error| TokenError::transient(error.to_string()))?;
        let response = http::send(&self.agent, request, self.timeout, "the token endpoint")?;
        response::read(response.status, &response.headers, &response.body, self.clock.unix())
    }
}

impl Endpoint for Entra {
    fn request(&mut self, assertion: &Secret<String>) -> Result<Grant, TokenError> {
        let body = form(&[
            ("client_id", &self.client_id),
            ("scope", &self.scope),
            ("client_assertion_type", "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"),
            ("client_assertion", assertion.expose()),
            ("grant_type", "client_credentials"),
        ]);
        let request_id = random::uuid();
        log::debug("token request", &[("url", &self.token_url), ("client_request_id", &request_id)]);
        self.post(&body, &request_id).map_err(|error| TokenError { request_id: Some(request_id), ..error })
    }

    fn origin(&self) -> &str {
        &self.origin
    }
}

/// The fields as `application/x-www-form-urlencoded`, wiped after use: the assertion is in it.
fn form(fields: &[(&str, &str)]) -> Zeroizing<String> {
    // Capacity for the worst case at once: growing would leave copies that are not wiped.
    let capacity = fields.iter().map(|(name, value)| 3 * (name.len() + value.len()) + 2).sum();
    let mut body = Zeroizing::new(String::with_capacity(capacity));
    for (name, value) in fields {
        if !body.is_empty() {
            body.push('&');
        }
        push_encoded(&mut body, name);
        body.push('=');
        push_encoded(&mut body, value);
    }
    body
}

fn push_encoded(body: &mut String, text: &str) {
    for (i, word) in text.split(' ').enumerate() {
        body.extend((i > 0).then_some('+'));
        body.extend(utf8_percent_encode(word, ENCODED));
    }
}

#[cfg(test)]
mod tests;
