//! Who is at the other end of a connection, as far as the connection itself says.

use std::fmt::{self, Write};
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use nix::sys::socket::{getsockopt, sockopt};

use crate::log::Value;
use crate::net::Socket;

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
    /// A process of this machine, which connected to a Unix socket.
    Unix { credentials: Credentials },
    /// The system does not say: the client has left already.
    Unknown,
}

/// Whose process a client is, as the kernel noted when it connected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Credentials {
    pub uid: u32,
    pub gid: u32,
    /// None for a process in another PID namespace, such as that of another container of the pod.
    pub pid: Option<u32>,
}

impl Credentials {
    /// Those of the process that connected this Unix socket.
    ///
    /// # Errors
    ///
    /// The socket's.
    pub(super) fn of(socket: &Socket) -> io::Result<Self> {
        let found = getsockopt(socket, sockopt::PeerCredentials)?;
        let pid = u32::try_from(found.pid()).ok().filter(|pid| *pid != 0);
        Ok(Self { uid: found.uid(), gid: found.gid(), pid })
    }
}

impl PeerAddress {
    /// The fields that name the client in the log.
    pub(crate) fn log_fields(&self) -> impl Iterator<Item = (&'static str, &dyn Value)> {
        let credentials = if let Self::Unix { credentials } = self { Some(credentials) } else { None };
        let uid = credentials.map(|it| ("client_uid", &it.uid as &dyn Value));
        let gid = credentials.map(|it| ("client_gid", &it.gid as &dyn Value));
        let pid = credentials.and_then(|it| it.pid.as_ref()).map(|pid| ("client_pid", pid as &dyn Value));
        [Some(("client", self as &dyn Value)), uid, gid, pid].into_iter().flatten()
    }
}

impl Value for PeerAddress {
    fn write(&self, out: &mut dyn Write) -> fmt::Result {
        match self {
            Self::Ip(address) => address.write(out),
            Self::Unix { .. } => out.write_str("unix"),
            Self::Unknown => out.write_str("unknown"),
        }
    }
}
