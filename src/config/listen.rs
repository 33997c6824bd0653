//! `HOST` and `PORT`: where to listen.

/// Where to listen; resolved when the listener is bound.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listen {
    /// An IPv4 address, an IPv6 address (without brackets) or a name.
    pub host: String,
    /// The port; 0 takes a free one.
    pub port: u16,
}
