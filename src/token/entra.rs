//! The token request: one POST to Entra ID, never redirected, never retried here.

use std::io::Read as _;
use std::time::Duration;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use ureq::Agent;
use ureq::http::Response;
use zeroize::Zeroizing;

use super::error::{Class, TokenError};
use super::{Endpoint, Grant, random, response};
use crate::clock::Clock;
use crate::log;
use crate::net::ConnectError;
use crate::secret::Secret;
use crate::upstream::Fault;

const USER_AGENT: &str = concat!("auth-proxy/", env!("CARGO_PKG_VERSION"));
/// From the first byte out to the last byte in; MSAL Go waits as long.
const TIMEOUT: Duration = Duration::from_secs(30);
/// A real response has 2 to 10 KiB.
const MAX_RESPONSE_BYTES: usize = 64 * 1024;
const MAX_DETAIL_CHARS: usize = 300;
/// What `application/x-www-form-urlencoded` percent-encodes (WHATWG URL section 1.3); the space becomes `+`.
const ENCODED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'*').remove(b'-').remove(b'.').remove(b'_');
const BROKEN_HINT: &str = "if it happens again, check for a firewall or proxy that breaks the connection";

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
        let request = self
            .agent
            .post(&self.token_url)
            .header("content-type", "application/x-www-form-urlencoded")
            .header("accept", "application/json")
            .header("user-agent", USER_AGENT)
            .header("client-request-id", request_id)
            // Declares that we honor 429 and Retry-After.
            .header("x-ms-lib-capability", "retry-after, h429");
        let request = request.config().timeout_global(Some(self.timeout)).build();
        let mut response = request.send(body).map_err(|error| transport_error(&error))?;
        let status = response.status().as_u16();
        let body = match read(&mut response) {
            // An error is clear enough from its status and headers.
            Err(_) if status != 200 => Zeroizing::default(),
            body => body?,
        };
        response::read(status, response.headers(), &body, self.clock.unix())
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

fn read(response: &mut Response<ureq::Body>) -> Result<Zeroizing<Vec<u8>>, TokenError> {
    let mut body = Zeroizing::new(Vec::with_capacity(MAX_RESPONSE_BYTES + 1));
    let mut reader = response.body_mut().as_reader().take(MAX_RESPONSE_BYTES as u64 + 1);
    reader.read_to_end(&mut body).map_err(|error| transport_error(&ureq::Error::from(error)))?;
    if body.len() > MAX_RESPONSE_BYTES {
        let summary =
            format!("the token endpoint's response is larger than {} KiB", MAX_RESPONSE_BYTES / 1024);
        return Err(TokenError {
            status: Some(response.status().as_u16()),
            hints: vec![response::describe_sender(response.status().as_u16(), response.headers())],
            ..TokenError::transient(summary)
        });
    }
    Ok(body)
}

/// The error of a request that got no response, or part of one.
fn transport_error(error: &ureq::Error) -> TokenError {
    let fault = Fault::inside(error);
    let connect = if let Some(Fault::Connect(error)) = fault { Some(error) } else { None };
    let summary = match (connect, error) {
        (Some(ConnectError::Resolve { .. }), _) => "the token endpoint's host name could not be resolved",
        (Some(ConnectError::Connect { .. }), _) => "the token endpoint could not be reached",
        (Some(ConnectError::Timeout { .. }), _) => "connecting to the token endpoint timed out",
        (Some(ConnectError::EgressProxy { .. }), _) => {
            "the egress proxy refused the connection to the token endpoint"
        }
        (Some(ConnectError::EgressProxyAuth { error, .. }), _) => &format!("the egress proxy {error}"),
        (Some(ConnectError::Tls { .. }), _) => "the TLS handshake with the token endpoint failed",
        (_, ureq::Error::Timeout(_)) => "the token endpoint did not respond in time",
        _ => "the connection to the token endpoint failed",
    };
    // Nothing is attempted until then, and only a person can help.
    let retry_after = match connect {
        Some(ConnectError::EgressProxyAuth { retry_in, .. }) => *retry_in,
        _ => None,
    };
    let class = if retry_after.is_some() { Class::Permanent } else { Class::Transient };
    let hint = match (fault, error) {
        (None, ureq::Error::Timeout(_)) => "check whether a firewall or proxy holds the response back".into(),
        _ => fault.and_then(Fault::hint).unwrap_or_else(|| BROKEN_HINT.to_owned()),
    };
    let detail = fault.map_or_else(|| error.to_string(), Fault::to_string);
    let is_unreachable = connect.is_some_and(|error| !matches!(error, ConnectError::EgressProxyAuth { .. }));
    TokenError {
        is_unreachable,
        hints: vec![hint],
        detail: Some(detail.chars().take(MAX_DETAIL_CHARS).collect()),
        retry_after,
        ..TokenError::new(class, summary)
    }
}

#[cfg(test)]
mod tests;
