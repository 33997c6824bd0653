//! Who is at the other end of a connection, as far as the connection itself says.

use std::fmt::{self, Write};
use std::net::SocketAddr;
use std::sync::Arc;

use crate::log::Value;

/// A client, and the listener that it came through.
#[derive(Debug, Clone)]
pub struct Peer {
    pub address: PeerAddress,
    /// It came through a listener that is bound to a loopback address.
    pub is_loopback_listener: bool,
    /// The name in the certificate that it has proven to be its own, where one is demanded.
    pub certificate_name: Option<Arc<str>>,
}

/// Where a client is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PeerAddress {
    /// An address and a port.
    Ip(SocketAddr),
    /// The system does not say: the client has left already.
    Unknown,
}

impl Value for PeerAddress {
    fn write(&self, out: &mut dyn Write) -> fmt::Result {
        match self {
            Self::Ip(address) => address.write(out),
            Self::Unknown => out.write_str("unknown"),
        }
    }
}
