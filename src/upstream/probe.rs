//! One GET request, for `check`. Over the same agents, so over the same TLS, names and egress proxy
//! as everything else.

use std::io::Read as _;
use std::time::{Duration, Instant};

use http::header::{ACCEPT, AUTHORIZATION, USER_AGENT};
use http::{HeaderMap, HeaderValue, Uri};
use ureq::Agent;

use super::Fault;
use crate::report::Problem;

/// Enough of a body to find an error's message in it.
const LARGEST: u64 = 64 * 1024;

/// A response, with the beginning of its body.
#[derive(Debug)]
pub(crate) struct ProbeResponse {
    /// The status.
    pub status: u16,
    /// Every field.
    pub headers: HeaderMap,
    /// The body, or its beginning.
    pub body: Vec<u8>,
    /// From the name to the body.
    pub took: Duration,
}

/// Sends one GET, with the token where there is one. Nothing is repeated or followed.
///
/// # Errors
///
/// The problem of a request without a response.
pub(crate) fn get(
    agent: &Agent,
    uri: &Uri,
    bearer: Option<&HeaderValue>,
    patience: Duration,
) -> Result<ProbeResponse, Problem> {
    let started = Instant::now();
    let mut request = http::Request::new(());
    *request.uri_mut() = uri.clone();
    let headers = request.headers_mut();
    headers.insert(USER_AGENT, HeaderValue::from_static(concat!("auth-proxy/", env!("CARGO_PKG_VERSION"))));
    headers.insert(ACCEPT, HeaderValue::from_static("application/json"));
    if let Some(bearer) = bearer {
        headers.insert(AUTHORIZATION, bearer.clone());
    }
    let request = agent.configure_request(request).timeout_global(Some(patience)).build();
    let response = agent.run(request).map_err(|error| no_response(uri, &error, patience))?;
    let (parts, body) = response.into_parts();
    let mut bytes = Vec::new();
    // The status says the most; a body that breaks off is left out.
    let _ = body.into_reader().take(LARGEST).read_to_end(&mut bytes);
    Ok(ProbeResponse {
        status: parts.status.as_u16(),
        headers: parts.headers,
        body: bytes,
        took: started.elapsed(),
    })
}

fn no_response(uri: &Uri, error: &ureq::Error, patience: Duration) -> Problem {
    let host = uri.authority().map(ToString::to_string).unwrap_or_default();
    let fault = Fault::inside(error);
    if let (None, ureq::Error::Timeout(_)) = (fault, error) {
        return Problem::new(format!("no response from {host} within {} s", patience.as_secs()))
            .hint("the connection stands and nothing comes: check whether a firewall or proxy holds the response back");
    }
    let cause = fault.map_or_else(|| error.to_string(), Fault::to_string);
    // Most faults name the host themselves.
    let problem =
        Problem::new(if cause.contains(&host) { cause } else { format!("no response from {host}: {cause}") });
    match fault.and_then(Fault::hint) {
        Some(hint) => problem.hint(hint),
        None => problem.hint("check whether a firewall or proxy in between breaks connections"),
    }
}
