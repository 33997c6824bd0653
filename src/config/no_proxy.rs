//! One entry of `NO_PROXY`. There is no standard; this is the union of what curl, Go and Python agree on.

use std::net::IpAddr;

use super::{url, value};

/// What is reached directly.
pub(super) enum NoProxyEntry {
    /// `*`
    Everything,
    /// A name and all names below it, whether or not it begins with `.` or `*.`.
    Domain { name: String, port: Option<u16> },
    /// An address, or a network in CIDR notation (RFC 4632 section 3.1).
    Network { address: IpAddr, prefix: u32, port: Option<u16> },
}

impl NoProxyEntry {
    /// None for what cannot be understood.
    pub(super) fn parse(text: &str) -> Option<Self> {
        if text == "*" {
            return Some(Self::Everything);
        }
        if let Some((address, prefix)) = text.split_once('/') {
            let address: IpAddr = address.parse().ok()?;
            let prefix = value::digits(prefix).filter(|prefix| *prefix <= bits(address))?;
            return Some(Self::Network { address, prefix, port: None });
        }
        if let Ok(address) = text.parse() {
            return Some(Self::single(address, None));
        }
        let name = text.strip_prefix("*.").or_else(|| text.strip_prefix('.')).unwrap_or(text);
        let (name, port) = url::host_and_port(name).ok()?;
        match name.parse() {
            Ok(address) => Some(Self::single(address, port)),
            Err(_) => Some(Self::Domain { name: name.trim_end_matches('.').to_owned(), port }),
        }
    }

    /// Whether a connection to this host (without brackets) and port is meant.
    pub(super) fn matches(&self, host: &str, port: u16) -> bool {
        let host = host.strip_suffix('.').unwrap_or(host).to_ascii_lowercase();
        let host_address = host.parse().ok().map(|address: IpAddr| address.to_canonical());
        match (self, host_address) {
            (Self::Everything, _) => true,
            (Self::Domain { name, port: only }, None) => {
                only.is_none_or(|only| only == port)
                    && host
                        .strip_suffix(name.as_str())
                        .is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
            }
            (Self::Network { address, prefix, port: only }, Some(host)) => {
                only.is_none_or(|only| only == port) && contains(*address, *prefix, host)
            }
            // A name is never an address, not even one that ends like it.
            (Self::Domain { .. }, Some(_)) | (Self::Network { .. }, None) => false,
        }
    }

    fn single(address: IpAddr, port: Option<u16>) -> Self {
        let address = address.to_canonical();
        Self::Network { address, prefix: bits(address), port }
    }
}

fn bits(address: IpAddr) -> u32 {
    if address.is_ipv4() { 32 } else { 128 }
}

fn contains(network: IpAddr, prefix: u32, host: IpAddr) -> bool {
    // A shift by the full width, for prefix 0, leaves nothing to differ.
    match (network, host) {
        (IpAddr::V4(network), IpAddr::V4(host)) => {
            (network.to_bits() ^ host.to_bits()).checked_shr(32 - prefix).unwrap_or(0) == 0
        }
        (IpAddr::V6(network), IpAddr::V6(host)) => {
            (network.to_bits() ^ host.to_bits()).checked_shr(128 - prefix).unwrap_or(0) == 0
        }
        _ => false,
    }
}
