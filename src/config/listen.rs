//! `HOST` and `PORT`: where to listen.

use std::net::{IpAddr, Ipv6Addr};

use super::BaseUrl;
use super::env::Env;
use super::url;
use super::value::{self, Parsed};
use crate::http1::authority::without_brackets;
use crate::report::{Problem, quote};

/// Where to listen; resolved when the listener is bound.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listen {
    /// An IPv4 address, an IPv6 address (without brackets) or a name.
    pub host: String,
    /// The port; 0 takes a free one.
    pub port: u16,
}

impl Listen {
    pub(super) fn read(env: &mut Env<'_>) -> Self {
        Self { host: env.or("HOST", String::from("0.0.0.0"), host), port: env.or("PORT", 8080, value::port) }
    }

    /// Whether requests to this base URL would come back here. Only the certain cases: a name may resolve to anything.
    pub(super) fn is_reached_by(&self, base_url: &BaseUrl) -> bool {
        let every_address = match self.host.parse() {
            Ok(IpAddr::V4(address)) => address.is_unspecified() && !base_url.host().contains(':'),
            Ok(IpAddr::V6(address)) => address.is_unspecified(),
            Err(_) => false,
        };
        // `localhost` is listened on at both of its addresses.
        let is_of_localhost = self.host == "localhost" && ["127.0.0.1", "::1"].contains(&base_url.host());
        self.port == base_url.port()
            && base_url.is_loopback()
            && (every_address || is_of_localhost || self.host == base_url.host())
    }
}

/// `ADMIN_PORT`, another port than `PORT`.
pub(super) fn admin_port(env: &mut Env<'_>, listen: &Listen) -> Option<u16> {
    env.optional("ADMIN_PORT", |text| match value::port(text)? {
        port if port != 0 && port == listen.port => Err(Problem::new(format!("is the same as PORT: {port}"))
            .hint("choose another one, or 0 for a free one")),
        port => Ok(port),
    })
}

/// `ADMIN_HOST`: a proxy on the loopback of a pod is still asked from the node.
pub(super) fn admin_host(env: &mut Env<'_>, listen: &Listen) -> String {
    env.or("ADMIN_HOST", listen.host.clone(), host)
}

fn host(value: &str) -> Parsed<String> {
    let bare = without_brackets(value);
    if let Ok(address) = bare.parse::<IpAddr>() {
        return Ok(address.to_string());
    }
    // A link-local address needs its zone (RFC 4007 section 11), which the system's resolver understands.
    if let Some((address, zone)) = bare.split_once('%')
        && let Ok(address) = address.parse::<Ipv6Addr>()
        && !zone.is_empty()
        && zone.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._".contains(&b))
    {
        return Ok(format!("{address}%{zone}"));
    }
    url::host_name(value).map_err(|_| {
        let problem = Problem::new(format!("is neither an IP address nor a host name: {}", quote(value)));
        if value == "*" {
            problem.hint("use 0.0.0.0 for every IPv4 address, :: for every address")
        } else if value.contains(':') {
            problem.hint("give only the host; the port goes into PORT")
        } else {
            problem.hint("use 0.0.0.0 for every address, 127.0.0.1 for this machine only")
        }
    })
}
