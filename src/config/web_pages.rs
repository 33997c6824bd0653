//! `ALLOWED_ORIGINS` and `ALLOWED_HOSTS`: which web pages may call, and under which names auth-proxy is called.

use std::net::IpAddr;

use super::effective::Shown;
use super::url::{self, Url};
use super::value::Parsed;
use crate::http1::authority::without_brackets;
use crate::report::Problem;

const ORIGIN_HINT: &str = "an origin is what the browser sends as Origin, such as https://app.example or \
                           http://localhost:3000; separate several with commas";
const HOST_HINT: &str =
    "give names or addresses alone, such as proxy.example or *.example; separate several with commas";

/// Origins as browsers send them, or `*`.
#[derive(Debug, Clone, Default)]
pub struct AllowedOrigins(Vec<String>);

impl Shown for AllowedOrigins {
    fn shown(&self) -> String {
        self.0.shown()
    }
}

impl AllowedOrigins {
    pub(super) fn parse(value: &str) -> Parsed<Self> {
        elements(value, "is not a list of origins", ORIGIN_HINT, origin).map(Self)
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether every page may call.
    pub(super) fn is_any(&self) -> bool {
        self.0.iter().any(|origin| origin == "*")
    }

    /// Whether pages of this origin may call.
    pub fn allow(&self, origin: &[u8]) -> bool {
        self.is_any() || self.0.iter().any(|allowed| allowed.as_bytes() == origin)
    }
}

/// Names and addresses; one that begins with a dot stands for every name that ends with it.
#[derive(Debug, Clone, Default)]
pub struct AllowedHosts(Vec<String>);

impl Shown for AllowedHosts {
    fn shown(&self) -> String {
        self.0.shown()
    }
}

impl AllowedHosts {
    pub(super) fn parse(value: &str) -> Parsed<Self> {
        elements(value, "is not a list of hosts", HOST_HINT, host).map(Self)
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether auth-proxy may be called by this host, in lower case and without brackets or a final dot.
    pub fn allow(&self, host: &str) -> bool {
        self.0.iter().any(|allowed| allowed == host || allowed.starts_with('.') && host.ends_with(allowed))
    }
}

/// The elements of a list, each parsed by `parse`, whose error is a predicate that shows nothing of the element.
fn elements(
    value: &str,
    problem: &str,
    hint: &str,
    parse: impl Fn(&str) -> Result<String, &'static str>,
) -> Parsed<Vec<String>> {
    let elements: Vec<&str> = value.split(',').map(str::trim).filter(|element| !element.is_empty()).collect();
    if elements.is_empty() {
        return Err(Problem::new(format!("{problem}: it has no element")).hint(hint));
    }
    let parsed = elements.into_iter().map(|element| {
        parse(element).map_err(|why| {
            let shown = url::quote_part(value, element);
            Problem::new(format!("{problem}: {shown} {why}")).hint(hint)
        })
    });
    parsed.collect()
}

/// An origin as browsers serialize it: lower case, no default port (HTML, "serialization of an origin").
fn origin(text: &str) -> Result<String, &'static str> {
    if text == "*" {
        return Ok(text.to_owned());
    }
    if text == "null" {
        return Err("is the origin of every sandboxed page and file, so that it names none");
    }
    let url = Url::split(text);
    let scheme = url.scheme.ok_or("has no scheme")?;
    if url.userinfo.is_some() {
        return Err("has user information");
    }
    if !url.path.is_empty() || url.has_query || url.has_fragment {
        return Err("has more than a scheme, a host and a port (no path, not even a slash)");
    }
    let default_port = match scheme.as_str() {
        "http" => 80,
        "https" => 443,
        // Of browser extensions and desktop applications; the host is an identifier.
        _ if is_identifier(url.host) => return Ok(format!("{scheme}://{}", url.host)),
        _ => return Err("has a host with characters other than letters, digits, `-`, `.` and `_`"),
    };
    let (host, port) = url::host_and_port(url.host)?;
    let authority = url::authority(&host, port.filter(|port| *port != default_port));
    Ok(format!("{scheme}://{authority}"))
}

fn is_identifier(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._".contains(&b))
}

/// A name or an address, in lower case and without brackets or a final dot. `*.example` becomes `.example`.
fn host(text: &str) -> Result<String, &'static str> {
    if text == "*" {
        return Err("would let every web page call, by DNS rebinding");
    }
    if let Ok(address) = without_brackets(text).parse::<IpAddr>() {
        return Ok(address.to_string());
    }
    if text.contains("://") {
        return Err("has a scheme");
    }
    if text.contains('/') {
        return Err("has a path");
    }
    if text.contains(':') {
        return Err("has a port, which makes no difference here");
    }
    let (dot, name) = match text.strip_prefix("*.").or_else(|| text.strip_prefix('.')) {
        Some(name) => (".", name),
        None => ("", text),
    };
    let name = url::host_name(name)?;
    Ok(format!("{dot}{}", name.trim_end_matches('.')))
}
