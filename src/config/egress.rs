//! `HTTPS_PROXY` and `NO_PROXY`: the egress proxy of a closed network.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use percent_encoding::percent_decode_str;
use zeroize::Zeroizing;

use super::effective::{Shown, ValueSource};
use super::env::Env;
use super::no_proxy::NoProxyEntry;
use super::url::{self, Url};
use super::value::Parsed;
use crate::http1::authority::without_brackets;
use crate::net::ProxyAddress;
use crate::report::{Problem, visible};
use crate::secret::Secret;

/// The port of a proxy URL without one: that of its scheme. (curl would take 1080.)
const DEFAULT_PORT: u16 = 80;

/// Which connections go through an HTTP proxy with CONNECT (RFC 9110 section 9.3.6).
#[derive(Debug, Default)]
pub struct Egress {
    /// The proxy, from `HTTPS_PROXY`; none means every connection is direct.
    pub proxy: Option<ProxyAddress>,
    /// Hosts that are reached directly, from `NO_PROXY`, lower case.
    pub no_proxy: Vec<String>,
}

/// How a host is reached over TLS.
#[derive(Debug, Clone, Copy)]
pub enum Route<'a> {
    /// Directly: there is no proxy.
    Direct,
    /// Directly, whatever proxy there is: it is this machine.
    Loopback,
    /// Directly, because `NO_PROXY` names it.
    NoProxy,
    /// Through this proxy.
    Proxy(&'a ProxyAddress),
}

impl Route<'_> {
    /// For a person: directly, and why in spite of an egress proxy, or through which one.
    pub(crate) fn describe(self, is_https: bool) -> String {
        match self {
            Self::Direct => "direct".into(),
            Self::Loopback => "direct (loopback is never proxied)".into(),
            Self::Proxy(_) if !is_https => "direct (HTTPS_PROXY is for https alone)".into(),
            Self::NoProxy => "direct (NO_PROXY names it)".into(),
            Self::Proxy(proxy) => {
                format!("through the egress proxy {}", visible(&format!("{}:{}", proxy.host, proxy.port)))
            }
        }
    }
}

impl Egress {
    /// The route of a TLS connection to `host` (an IPv6 address with or without brackets). Names are not resolved, so
    /// an address in `NO_PROXY` matches only an address.
    pub fn route(&self, host: &str, port: u16) -> Route<'_> {
        let host = without_brackets(host);
        let mut exceptions = self.no_proxy.iter().filter_map(|entry| NoProxyEntry::parse(entry));
        match &self.proxy {
            None => Route::Direct,
            Some(_) if url::is_loopback(host) => Route::Loopback,
            Some(_) if exceptions.any(|entry| entry.matches(host, port)) => Route::NoProxy,
            Some(proxy) => Route::Proxy(proxy),
        }
    }

    /// The proxy for a TLS connection to `host`, or none when it is reached directly. See [`Egress::route`].
    pub fn proxy_for(&self, host: &str, port: u16) -> Option<&ProxyAddress> {
        if let Route::Proxy(proxy) = self.route(host, port) { Some(proxy) } else { None }
    }

    /// Reads both variables in either case; upper case wins, as it is the one in the table.
    pub(super) fn read(env: &mut Env<'_>) -> Self {
        let proxy = either_case(env, "HTTPS_PROXY", "https_proxy").and_then(|(name, value)| {
            let value = Secret::new(value);
            let proxy = env.parse(name, value.expose().trim(), ProxyAddress::parse)?;
            env.record("HTTPS_PROXY", proxy.shown(), ValueSource::Environment);
            Some(proxy)
        });
        let mut no_proxy = Vec::new();
        if let Some((name, value)) = either_case(env, "NO_PROXY", "no_proxy") {
            let entries =
                value.split(|c: char| c == ',' || c.is_whitespace()).filter(|entry| !entry.is_empty());
            for entry in entries {
                if NoProxyEntry::parse(entry).is_some() {
                    no_proxy.push(entry.to_ascii_lowercase());
                } else if proxy.is_some() {
                    // One variable serves many programs, each with its own dialect: no reason not to start.
                    env.note(
                        Problem::new(format!(
                            "{name} has an invalid entry, which is ignored: {}",
                            url::quote_part(&value, entry)
                        ))
                        .hint("entries are hosts, domains, host:port, addresses, networks (10.0.0.0/8) or *"),
                    );
                }
            }
            if !no_proxy.is_empty() {
                env.record("NO_PROXY", no_proxy.shown(), ValueSource::Environment);
            }
        }
        Self { proxy, no_proxy }
    }
}

fn either_case(env: &Env<'_>, upper: &'static str, lower: &'static str) -> Option<(&'static str, String)> {
    env.raw(upper).map(|value| (upper, value)).or_else(|| env.raw(lower).map(|value| (lower, value)))
}

/// Without its credentials.
impl Shown for ProxyAddress {
    fn shown(&self) -> String {
        visible(&format!("http://{}", url::authority(&self.host, Some(self.port))))
    }
}

impl ProxyAddress {
    /// `[http://][user:password@]host[:port]`. Nothing of the value is ever shown: a password with an unescaped
    /// delimiter can turn up in any part of it.
    fn parse(value: &str) -> Parsed<Self> {
        let url = Url::split(value);
        match url.scheme.as_deref() {
            None | Some("http") => {}
            Some("https") => {
                return Err(Problem::new("is an https:// proxy; only http:// proxies are supported")
                    .hint("most proxies speak http too; what passes through is encrypted either way"));
            }
            Some(scheme) => {
                let kind = if scheme.starts_with("socks") { "a SOCKS proxy" } else { "not an http:// URL" };
                return Err(Problem::new(format!("is {kind}; only http:// proxies (CONNECT) are supported"))
                    .hint("write http://host:port; many proxies speak both"));
            }
        }
        if !matches!(url.path, "" | "/") || url.has_query || url.has_fragment {
            return Err(Problem::new("has more than a host and a port")
                .hint("write http://user:password@host:port")
                .hint("percent-encode `/`, `?`, `#` and `@` in user name and password: %2F, %3F, %23, %40"));
        }
        let (host, port) = url::host_and_port(url.host).map_err(|what| {
            Problem::new(what).hint("write http://host:port or http://user:password@host:port")
        })?;
        let authorization = url.userinfo.filter(|userinfo| !userinfo.is_empty()).map(basic).transpose()?;
        Ok(Self { host, port: port.unwrap_or(DEFAULT_PORT), authorization })
    }
}

/// Percent-decoded userinfo as `Basic` credentials.
fn basic(userinfo: &str) -> Parsed<Secret<String>> {
    let (user, password) = userinfo.split_once(':').unwrap_or((userinfo, ""));
    let (user, password) = (percent_decoded(user), percent_decoded(password));
    if user.contains(&b':') {
        return Err(Problem::new("has a user name with a colon, which Basic authentication cannot carry")
            .hint("the first `:` ends the user name; ask for a user name without one"));
    }
    if user.iter().chain(password.iter()).any(u8::is_ascii_control) {
        return Err(Problem::new("has control characters in its user name or password")
            .hint("look for %00 to %1F, such as the line break %0A of a copied secret"));
    }
    let pair = Zeroizing::new([user.as_slice(), b":", password.as_slice()].concat());
    let encoded = Zeroizing::new(STANDARD.encode(pair.as_slice()));
    Ok(Secret::new(format!("Basic {}", encoded.as_str())))
}

/// Decodes `%XX`; a `%` without two hexadecimal digits stays, as in curl, where the value probably worked.
fn percent_decoded(text: &str) -> Zeroizing<Vec<u8>> {
    // Capacity for everything at once: growing would leave copies that are not wiped.
    let mut decoded = Zeroizing::new(Vec::with_capacity(text.len()));
    decoded.extend(percent_decode_str(text));
    decoded
}
