//! One request for a token over HTTP, to Entra ID or to an endpoint of a managed identity: never redirected, never retried
//! here, its response bounded and wiped.

use std::io::Read as _;
use std::time::Duration;

use http::HeaderMap;
use ureq::Agent;
use ureq::http::Request;
use zeroize::Zeroizing;

use super::error::{Class, TokenError};
use super::response;
use crate::net::ConnectError;
use crate::upstream::Fault;

pub(super) const USER_AGENT: &str = concat!("auth-proxy/", env!("CARGO_PKG_VERSION"));
/// From the first byte out to the last byte in; MSAL Go waits as long.
pub(super) const TIMEOUT: Duration = Duration::from_secs(30);
/// A real response has 2 to 10 KiB.
pub(super) const MAX_RESPONSE_BYTES: usize = 64 * 1024;
const MAX_DETAIL_CHARS: usize = 300;
const BROKEN_HINT: &str = "if it happens again, check for a firewall or proxy that breaks the connection";

/// A response of any status.
pub(super) struct TokenResponse {
    pub(super) status: u16,
    pub(super) headers: HeaderMap,
    pub(super) body: Zeroizing<Vec<u8>>,
}

/// Sends a request through `agent`, which must neither follow redirects nor make errors of statuses. `endpoint` is what
/// messages call the peer.
///
/// # Errors
///
/// No response, or not all of one with status 200.
pub(super) fn send(
    agent: &Agent,
    request: Request<&str>,
    timeout: Duration,
    endpoint: &str,
) -> Result<TokenResponse, TokenError> {
    let failed = |error: &ureq::Error| transport_error(error, endpoint);
    let request = agent.configure_request(request).timeout_global(Some(timeout)).build();
    let (parts, mut body) = agent.run(request).map_err(|error| failed(&error))?.into_parts();
    let status = parts.status.as_u16();
    let mut bytes = Zeroizing::new(Vec::with_capacity(MAX_RESPONSE_BYTES + 1));
    let mut reader = body.as_reader().take(MAX_RESPONSE_BYTES as u64 + 1);
    let read = reader.read_to_end(&mut bytes).map_err(|error| failed(&ureq::Error::from(error)));
    let is_too_large = bytes.len() > MAX_RESPONSE_BYTES;
    if status != 200 {
        // An error is clear enough from its status and headers.
        if read.is_err() || is_too_large {
            bytes.clear();
        }
    } else if is_too_large {
        let summary = format!("{endpoint}'s response is larger than {} KiB", MAX_RESPONSE_BYTES / 1024);
        return Err(TokenError {
            status: Some(status),
            hints: vec![format!(
                "the response {}, not one of {endpoint}: check whether a proxy, a filter or a sign-in page responds in \
                 its place",
                response::describe_content(&parts.headers)
            )],
            ..TokenError::transient(summary)
        });
    } else {
        read?;
    }
    Ok(TokenResponse { status, headers: parts.headers, body: bytes })
}

/// The error of a request that got no response, or part of one.
pub(super) fn transport_error(error: &ureq::Error, endpoint: &str) -> TokenError {
    let fault = Fault::inside(error);
    let connect = if let Some(Fault::Connect(error)) = fault { Some(error) } else { None };
    let summary = match (connect, error) {
        (Some(ConnectError::Resolve { .. }), _) => format!("{endpoint}'s host name could not be resolved"),
        (Some(ConnectError::Connect { .. }), _) => format!("{endpoint} could not be reached"),
        (Some(ConnectError::Timeout { .. }), _) => format!("connecting to {endpoint} timed out"),
        (Some(ConnectError::EgressProxy { .. }), _) => {
            format!("the egress proxy refused the connection to {endpoint}")
        }
        (Some(ConnectError::EgressProxyAuth { error, .. }), _) => format!("the egress proxy {error}"),
        (Some(ConnectError::Tls { .. }), _) => format!("the TLS handshake with {endpoint} failed"),
        (_, ureq::Error::Timeout(_)) => format!("{endpoint} did not respond in time"),
        _ => format!("the connection to {endpoint} failed"),
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
    let detail = match (fault, error) {
        (Some(fault), _) => Some(fault.to_string()),
        // The summary says it all.
        (None, ureq::Error::Timeout(_)) => None,
        (None, error) => Some(error.to_string()),
    };
    let is_unreachable = connect.is_some_and(|error| !matches!(error, ConnectError::EgressProxyAuth { .. }));
    TokenError {
        is_unreachable,
        hints: vec![hint],
        detail: detail.map(|detail| detail.chars().take(MAX_DETAIL_CHARS).collect()),
        retry_after,
        ..TokenError::new(class, summary)
    }
}
