//! Sockets that listen: bound to an address or a path, or given by the service manager.

use std::fmt::{self, Write};
use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use rustix::io::Errno;
use socket2::{Domain, Protocol, SockAddr, TcpKeepalive, Type};

use super::peer::{Credentials, Peer, PeerAddress};
use super::unix_socket::{self, SocketFile};
use crate::log::Value;
use crate::net::Socket;

/// std's 128 is short for a burst; the kernel caps it at net.core.somaxconn.
pub(super) const BACKLOG: i32 = 4096;
/// How often another free port is tried when the first one found is free in one family alone.
const MAX_PORT_RETRIES: u32 = 16;
/// A client that vanished is detected after two minutes of silence, not after the system's two hours: it may hold a thread
/// and an open request to the upstream.
const KEEPALIVE: TcpKeepalive = TcpKeepalive::new()
    .with_time(Duration::from_secs(60))
    .with_interval(Duration::from_secs(15))
    .with_retries(4);
/// How many bytes of a response the system buffers that the network does not take yet. Without a bound that is megabytes
/// for each client that reads slowly, and a few hundred of those exhaust the TCP memory of the whole host.
const NOTSENT_LOWAT: u32 = 128 * 1024;

/// Where a socket listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ListenAddress {
    /// An address and a real port.
    Ip(SocketAddr),
    /// A path, or `@` and an abstract name.
    Unix(String),
}

impl ListenAddress {
    /// Only this machine, or this pod, reaches it.
    pub(crate) fn is_local(&self) -> bool {
        match self {
            Self::Ip(address) => address.ip().is_loopback(),
            Self::Unix(_) => true,
        }
    }

    fn of(socket: &Socket) -> io::Result<Self> {
        let address = socket.local_addr()?;
        if let Some(address) = address.as_socket() {
            return Ok(Self::Ip(address));
        }
        if let Some(path) = address.as_pathname() {
            return Ok(Self::Unix(path.display().to_string()));
        }
        let name = address.as_abstract_namespace().ok_or(io::ErrorKind::AddrNotAvailable)?;
        Ok(Self::Unix(format!("@{}", String::from_utf8_lossy(name))))
    }
}

impl Value for ListenAddress {
    fn write(&self, out: &mut dyn Write) -> fmt::Result {
        match self {
            Self::Ip(address) => address.write(out),
            Self::Unix(name) => write!(out, "unix:{name}"),
        }
    }
}

/// A socket that listens and does not block.
#[derive(Debug)]
pub(super) struct ListeningSocket {
    /// Dropped before the socket: a file without a listener would be taken for one that a killed instance left.
    file: Option<SocketFile>,
    pub(super) socket: Socket,
    pub(super) address: ListenAddress,
}

impl ListeningSocket {
    pub(super) fn bind_unix(path: &Path) -> io::Result<Self> {
        let (socket, file) = unix_socket::bind(path, BACKLOG)?;
        Ok(Self { file: Some(file), address: ListenAddress::of(&socket)?, socket })
    }

    /// One that listens already. Its file, if it has one, belongs to whoever bound it.
    pub(super) fn inherited(socket: Socket) -> io::Result<Self> {
        let address = ListenAddress::of(&socket)?;
        if matches!(address, ListenAddress::Ip(_)) {
            set_inherited_options(&socket)?;
        }
        socket.set_nonblocking(true)?;
        Ok(Self { file: None, socket, address })
    }

    fn bind(address: SocketAddr) -> io::Result<Self> {
        let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
        socket.set_reuse_address(true)?;
        socket.bind(&address.into())?;
        set_inherited_options(&socket)?;
        socket.listen(BACKLOG)?;
        socket.set_nonblocking(true)?;
        Ok(Self { file: None, address: ListenAddress::of(&socket)?, socket })
    }

    fn port(&self) -> u16 {
        if let ListenAddress::Ip(address) = self.address { address.port() } else { 0 }
    }

    /// The next connection, or `WouldBlock`.
    pub(super) fn accept(&self) -> io::Result<(Socket, SockAddr)> {
        self.socket.accept()
    }

    /// Gives an accepted connection its options, and says whose it is.
    pub(super) fn prepare(&self, socket: &Socket, address: &SockAddr) -> io::Result<Peer> {
        socket.set_nonblocking(true)?;
        let address = match &self.address {
            ListenAddress::Ip(_) => {
                socket.set_tcp_nodelay(true)?;
                address.as_socket().map_or(PeerAddress::Unknown, PeerAddress::Ip)
            }
            ListenAddress::Unix(_) => PeerAddress::Unix { credentials: Credentials::of(socket)? },
        };
        let is_loopback_listener =
            matches!(&self.address, ListenAddress::Ip(address) if address.ip().is_loopback());
        Ok(Peer { address, is_loopback_listener, certificate_name: None })
    }

    /// Removes the file of a Unix socket of ours: nobody connects any more, and those in the backlog can be served.
    pub(super) fn remove_file(&mut self) {
        self.file = None;
    }
}

/// Connections inherit both.
fn set_inherited_options(socket: &Socket) -> io::Result<()> {
    socket.set_tcp_keepalive(&KEEPALIVE)?;
    socket.set_tcp_notsent_lowat(NOTSENT_LOWAT)
}

/// Binds to the first address that allows it.
///
/// # Errors
///
/// The last address's error.
pub(super) fn bind_first(addresses: &[SocketAddr]) -> io::Result<ListeningSocket> {
    let mut last = io::Error::from(io::ErrorKind::AddrNotAvailable);
    for address in addresses {
        match ListeningSocket::bind(*address) {
            Ok(listener) => return Ok(listener),
            Err(error) => last = error,
        }
    }
    Err(last)
}

/// Binds to one address of each family, on the same port.
///
/// # Errors
///
/// The address's, unless this machine lacks its family.
pub(super) fn bind_both(first: SocketAddr, second: SocketAddr) -> io::Result<Vec<ListeningSocket>> {
    let mut retries = if first.port() == 0 { MAX_PORT_RETRIES } else { 0 };
    loop {
        let listener = match ListeningSocket::bind(first) {
            Err(error) if lacks_family(&error) => {
                return ListeningSocket::bind(second).map(|listener| vec![listener]);
            }
            bound => bound?,
        };
        match ListeningSocket::bind(SocketAddr::new(second.ip(), listener.port())) {
            Ok(other) => return Ok(vec![listener, other]),
            Err(error) if lacks_family(&error) => return Ok(vec![listener]),
            // The port that was free for the first may be another program's for the second.
            Err(error) if error.kind() == io::ErrorKind::AddrInUse && retries > 0 => retries -= 1,
            Err(error) => return Err(error),
        }
    }
}

/// IPv6 is not in the kernel, or switched off.
fn lacks_family(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::AddrNotAvailable
        || error.raw_os_error() == Some(Errno::AFNOSUPPORT.raw_os_error())
}

#[cfg(test)]
mod tests {
    use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
    use std::time::Instant;

    use super::super::Listener;
    use super::*;
    use crate::net::connect_blocking;
    use crate::net::poll::{self, Ready};

    const V4: Ipv4Addr = Ipv4Addr::LOCALHOST;
    const V6: Ipv6Addr = Ipv6Addr::LOCALHOST;

    #[test]
    fn connections_inherit_the_listeners_options() {
        let bound = ListeningSocket::bind((V4, 0).into()).unwrap();
        // One of a service manager, which sets none of them.
        let given = Socket::from(std::net::TcpListener::bind((V4, 0)).unwrap());
        for listener in [bound, ListeningSocket::inherited(given).unwrap()] {
            let patience = Duration::from_secs(20);
            let _client =
                connect_blocking(&SocketAddr::from((V4, listener.port())).into(), patience).unwrap();
            poll::wait_one(&listener.socket, Ready::READ, Some(Instant::now() + patience)).unwrap();
            let (accepted, address) = listener.accept().unwrap();
            let peer = listener.prepare(&accepted, &address).unwrap();
            assert!(peer.is_loopback_listener && matches!(peer.address, PeerAddress::Ip(_)));
            assert!(accepted.keepalive().unwrap() && accepted.tcp_nodelay().unwrap());
            assert_eq!(accepted.tcp_keepalive_time().unwrap(), Duration::from_secs(60));
            assert_eq!(accepted.tcp_keepalive_retries().unwrap(), 4);
            assert_eq!(accepted.tcp_notsent_lowat().unwrap(), NOTSENT_LOWAT);
            assert_eq!(listener.accept().unwrap_err().kind(), io::ErrorKind::WouldBlock);
        }
    }

    fn bound(addresses: &[SocketAddr]) -> io::Result<Vec<SocketAddr>> {
        let ip = |address| if let ListenAddress::Ip(address) = address { Some(address) } else { None };
        Ok(Listener::bind(addresses)?.addresses().into_iter().filter_map(ip).collect())
    }

    /// The machine that runs the tests may lack IPv6: then there is one listener, which is what is promised of it.
    #[test]
    fn the_addresses_of_a_loopback_name_are_both_listened_on() {
        let has_v6 = ListeningSocket::bind((V6, 0).into()).is_ok();
        let (v4, v6) = (SocketAddr::from((V4, 0)), SocketAddr::from((V6, 0)));
        for addresses in [vec![v4, v6], vec![v6, v4], vec![v6, v6, v4, v4]] {
            let found = bound(&addresses).unwrap();
            assert_eq!(found.len(), if has_v6 { 2 } else { 1 }, "{addresses:?}: {found:?}");
            assert!(found.iter().all(|address| address.port() == found[0].port() && address.port() != 0));
            assert!(found.iter().any(SocketAddr::is_ipv4), "{addresses:?}: {found:?}");
        }
        // An address is one listener, and so is a name with addresses of other machines.
        let elsewhere = SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0));
        for addresses in [vec![v4], vec![v4, v4], vec![elsewhere], vec![elsewhere, v6], vec![v4, elsewhere]] {
            assert_eq!(bound(&addresses).unwrap().len(), 1, "{addresses:?}");
        }
        assert_eq!(bound(&[]).unwrap_err().kind(), io::ErrorKind::AddrNotAvailable);
    }

    /// Another program on the port of the other family would get half of the clients of this name.
    #[test]
    fn a_port_that_is_taken_in_one_family_is_taken() {
        let taken = ListeningSocket::bind((V4, 0).into()).unwrap();
        let port = taken.port();
        for addresses in [[(V4.into(), port), (V6.into(), port)], [(V6.into(), port), (V4.into(), port)]] {
            let error = bound(&addresses.map(|pair: (IpAddr, u16)| pair.into())).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::AddrInUse, "{addresses:?}");
        }
    }
}
