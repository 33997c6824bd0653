//! Web pages cannot call, unless their origin is allowed. A browser sends requests for every page that it shows, to
//! loopback addresses, too, where the token is added to whatever comes. A page differs from a program by:
//!
//! - **`Origin` or `Sec-Fetch-Site`**: forms, `fetch`, images, links and WebSockets of another origin carry at least one of
//!   them. Programs send neither (`Sec-Fetch-Mode`, which Node.js sends, says nothing).
//! - **`Host`**: with DNS rebinding a page's own name leads to our address, so that we are its origin. It is then that name
//!   which stands in `Host`. A client that takes us for its `http_proxy` shows the same way.

use std::net::IpAddr;

use http::StatusCode;

use crate::config::{AllowedHosts, AllowedOrigins, Config};
use crate::fields::Fields;
use crate::http1::authority::{self, without_brackets};
use crate::report::quote;
use crate::server::{ErrorResponse, Head, Peer};

/// Checks that no web page sends this request, or one that may.
///
/// # Errors
///
/// A 403 response.
pub(crate) fn check(config: &Config, head: &Head, peer: &Peer) -> Result<(), ErrorResponse> {
    check_origin(&config.allowed_origins, &head.headers)?;
    check_host(&config.allowed_hosts, &head.headers, peer)
}

/// Checks which site the browser says the request is from. That `Origin` equals `Host` means nothing: rebinding makes them
/// equal.
///
/// # Errors
///
/// A 403 response.
pub(super) fn check_origin(allowed: &AllowedOrigins, headers: &Fields) -> Result<(), ErrorResponse> {
    let forbidden = headers.get_all("origin").find(|origin| !allowed.allow(origin));
    // `same-site` is another port of the same host, for example. What no browser sends today is no better.
    let is_foreign = |site: &[u8]| !matches!(site, b"none" | b"same-origin");
    let message = if let Some(origin) = forbidden {
        let origin = quote(&String::from_utf8_lossy(origin));
        format!("web pages of the origin {origin} may not call: if they should, add it to ALLOWED_ORIGINS")
    } else if !headers.contains("origin") && headers.get_all("sec-fetch-site").any(is_foreign) {
        "web pages may not call by links, images or forms (Sec-Fetch-Site): use fetch, and add their origin to \
         ALLOWED_ORIGINS"
            .to_owned()
    } else {
        return Ok(());
    };
    Err(forbidden_response("origin_not_allowed", message))
}

/// Checks by which name we are called: on a loopback listener, and everywhere when the names are set. An address can be
/// rebound to nothing, so that on other listeners all of them will do: probes come to the pod's.
fn check_host(allowed: &AllowedHosts, headers: &Fields, peer: &Peer) -> Result<(), ErrorResponse> {
    // HTTP/1.0 without a `Host`: no browser does that.
    let Some(sent) = headers.get("host") else { return Ok(()) };
    if !peer.is_loopback_listener && allowed.is_empty() {
        return Ok(());
    }
    let host = String::from_utf8_lossy(authority::host(sent)).to_ascii_lowercase();
    let host = without_brackets(host.strip_suffix('.').unwrap_or(&host));
    let address = host.parse::<IpAddr>().ok();
    let is_local = host == "localhost"
        || host.ends_with(".localhost")
        || address.is_some_and(|address| address.to_canonical().is_loopback());
    let is_unchecked = !peer.is_loopback_listener && address.is_some();
    if is_local || is_unchecked || allowed.allow(host) {
        return Ok(());
    }
    let message = format!(
        "auth-proxy may not be called by the host {}: call it by localhost or 127.0.0.1 (as a base URL, not as a \
         proxy), or add this host to ALLOWED_HOSTS",
        quote(host)
    );
    Err(forbidden_response("host_not_allowed", message))
}

fn forbidden_response(code: &str, message: String) -> ErrorResponse {
    ErrorResponse::new(StatusCode::FORBIDDEN, "permission_error", code, message)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::server::PeerAddress;

    /// As the table over the running program (tests/spec/web_pages.rs), which listens on loopback addresses alone.
    #[test]
    fn hosts_count_on_loopback_listeners_and_where_they_are_set() {
        let settings = |allowed: &'static str| {
            move |name: &str| match name {
                "AZURE_CLIENT_ID" | "AZURE_TENANT_ID" => Some("11111111-2222-4333-8444-555555555555".into()),
                "AZURE_CERTIFICATE_PATH" => Some("/nowhere.pem".into()),
                "API_BASE_URL" => Some("https://name.openai.azure.com".into()),
                "ALLOWED_HOSTS" => Some(allowed.to_owned()),
                _ => None,
            }
        };
        for (allowed, host, is_loopback_listener, passes) in [
            ("", "evil.test", false, true),
            ("", "evil.test", true, false),
            ("", "10.0.0.1:8080", false, true),
            ("", "10.0.0.1:8080", true, false),
            ("proxy.example", "evil.test", false, false),
            ("proxy.example", "proxy.example", false, true),
            ("proxy.example", "10.0.0.1:8080", false, true),
            ("proxy.example", "[2001:db8::1]", false, true),
            ("proxy.example", "10.0.0.1:8080", true, false),
            ("proxy.example", "localhost", false, true),
        ] {
            let config = Config::from_lookup(&settings(allowed)).unwrap();
            let headers = Fields::from([("host", host)]);
            let peer = Peer { address: PeerAddress::Unknown, is_loopback_listener, certificate_name: None };
            let checked = check_host(&config.allowed_hosts, &headers, &peer);
            assert_eq!(checked.is_ok(), passes, "{allowed} {host} {is_loopback_listener}");
        }
    }
}
