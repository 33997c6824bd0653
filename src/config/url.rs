//! The parts of a URL that settings need (RFC 3986), and what a host may look like.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::value;
use crate::report::{is_quotable, quote, secret_kind};

/// A URL cut at its delimiters, nothing checked yet.
pub(super) struct Url<'a> {
    /// Lower case; none when there is no `://`.
    pub scheme: Option<String>,
    /// What stands before the last `@`. May hold a credential: never shown.
    pub userinfo: Option<&'a str>,
    pub host: &'a str,
    /// Empty, or begins with `/`.
    pub path: &'a str,
    /// Whether there is a `?`. What follows it may hold a credential: never shown.
    pub has_query: bool,
    /// Whether there is a `#`.
    pub has_fragment: bool,
}

impl<'a> Url<'a> {
    /// Cuts at the delimiters of RFC 3986 section 3.
    pub(super) fn split(url: &'a str) -> Self {
        let (scheme, rest) = match url.split_once("://") {
            Some((scheme, rest)) if is_scheme(scheme) => (Some(scheme.to_ascii_lowercase()), rest),
            _ => (None, url),
        };
        let (rest, has_fragment) = rest.split_once('#').map_or((rest, false), |(before, _)| (before, true));
        let (rest, has_query) = rest.split_once('?').map_or((rest, false), |(before, _)| (before, true));
        let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
        let (userinfo, host) = match authority.rsplit_once('@') {
            Some((userinfo, host)) => (Some(userinfo), host),
            None => (None, authority),
        };
        Self { scheme, userinfo, host, path, has_query, has_fragment }
    }
}

fn is_scheme(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_alphabetic())
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"+-.".contains(&b))
}

/// A part of a text for a message. What the whole may hold may have been cut in two.
pub(super) fn quote_part(whole: &str, part: &str) -> String {
    if whole.contains(['@', '?', '#']) || secret_kind(whole).is_some() { quote(whole) } else { quote(part) }
}

/// `name`, `name:port`, `[ipv6]` or `[ipv6]:port` as a lower-case host without brackets and a port.
///
/// # Errors
///
/// A predicate that shows nothing of the text, which may be a cut-off piece of a credential.
pub(super) fn host_and_port(text: &str) -> Result<(String, Option<u16>), &'static str> {
    let (host, port) = if let Some(rest) = text.strip_prefix('[') {
        let (address, after) = rest.split_once(']').ok_or("has a `[` without its `]`")?;
        let address: Ipv6Addr = address
            .parse()
            .map_err(|_| "has brackets around what is not an IPv6 address (zones are not supported)")?;
        let port = match after {
            "" => None,
            _ => Some(after.strip_prefix(':').ok_or("has more than a port after the IPv6 address")?),
        };
        (address.to_string(), port)
    } else if text.parse::<Ipv6Addr>().is_ok() {
        return Err("has an IPv6 address without the brackets around it");
    } else {
        let (host, port) = text.split_once(':').map_or((text, None), |(host, port)| (host, Some(port)));
        (host_name(host)?, port)
    };
    let port = match port {
        Some(port) => Some(
            value::digits(port)
                .and_then(|number| u16::try_from(number).ok())
                .filter(|number| *number != 0)
                .ok_or("has a port that is not a number from 1 to 65535")?,
        ),
        None => None,
    };
    Ok((host, port))
}

/// An IPv4 address or a name (RFC 1123 section 2.1, and `_`, which container networks use), lower case.
pub(super) fn host_name(text: &str) -> Result<String, &'static str> {
    let labels = text.strip_suffix('.').unwrap_or(text);
    if labels.is_empty() {
        return Err("has no host");
    }
    if !text.is_ascii() {
        return Err("has a host name beyond ASCII (write its xn-- form)");
    }
    if !text.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._".contains(&b)) {
        return Err("has a host name with characters other than letters, digits, `-`, `.` and `_`");
    }
    if labels.len() > 253 || labels.split('.').any(|label| label.is_empty() || label.len() > 63) {
        return Err("has a host name that is too long, or with an empty or too long part between dots");
    }
    // From now on it is named in messages. A key that was put here would do for a name without dots.
    let may_be_named = if labels.contains('.') { secret_kind(text).is_none() } else { is_quotable(text) };
    if !may_be_named {
        return Err("has a host name that looks like a secret");
    }
    // The resolver would read `127.1` and `2130706433` as addresses, which no check of ours sees.
    let last = labels.rsplit('.').next().unwrap_or(labels);
    if last.bytes().all(|b| b.is_ascii_digit()) && text.parse::<Ipv4Addr>().is_err() {
        return Err("has a host that looks like an IPv4 address and is none (four numbers from 0 to 255)");
    }
    Ok(text.to_ascii_lowercase())
}

/// Host and port as a URL has them: an IPv6 address in brackets.
pub(super) fn authority(host: &str, port: Option<u16>) -> String {
    let host = if host.contains(':') { format!("[{host}]") } else { host.to_owned() };
    port.map_or_else(|| host.clone(), |port| format!("{host}:{port}"))
}

/// Whether a host without brackets is this machine: `localhost`, `127.0.0.0/8` or `::1`.
pub(super) fn is_loopback(host: &str) -> bool {
    let host = host.strip_suffix('.').unwrap_or(host);
    host.eq_ignore_ascii_case("localhost")
        || host.parse::<IpAddr>().is_ok_and(|address| address.to_canonical().is_loopback())
}

/// Whether a lower-case host is a name below `domain`, which begins with a dot.
pub(super) fn is_below(host: &str, domain: &str) -> bool {
    host.strip_suffix('.').unwrap_or(host).ends_with(domain)
}
