//! From a host and a port to a connected, non-blocking socket.

use std::io;
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use socket2::{Domain, Protocol, SockAddr, Socket, TcpKeepalive, Type};

use super::Fault;
use super::resolver::Names;
use crate::sys::{self, Ready};

/// Below the four minutes after which Azure's load balancer forgets an idle connection without a word.
const KEEPALIVE: Duration = Duration::from_secs(60);

/// How long a connection that is being made is waited for: until the deadline, or the hang-up of the client that it is
/// for.
#[derive(Debug, Clone, Copy)]
pub(super) struct Wait<'a> {
    pub(super) client: Option<&'a TcpStream>,
    pub(super) deadline: Instant,
}

/// Connects to the first address that accepts. The time left is shared out, so that one address that does not
/// answer cannot use up what the next one needs.
pub(super) fn dial(names: &Names, host: &str, port: u16, until: Wait<'_>) -> Result<TcpStream, Fault> {
    let deadline = until.deadline;
    let addresses = names.addresses(host, deadline)?;
    let name = || format!("{host}:{port}");
    let mut last = io::Error::from(io::ErrorKind::TimedOut);
    for (i, address) in addresses.iter().enumerate() {
        let left = deadline.saturating_duration_since(Instant::now());
        let share = left / u32::try_from(addresses.len() - i).unwrap_or(1);
        match connect(*address, port, Wait { deadline: Instant::now() + share, ..until }) {
            Ok(socket) => return Ok(socket),
            Err(error) if Fault::inside_io(&error).is_some() => return Err(Fault::ClientGone),
            Err(error) => last = error,
        }
    }
    Err(Fault::Connect { host: name(), cause: last })
}

fn connect(address: IpAddr, port: u16, until: Wait<'_>) -> io::Result<TcpStream> {
    let address = SocketAddr::new(address, port);
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_nonblocking(true)?;
    socket.set_tcp_nodelay(true)?;
    socket.set_tcp_keepalive(&TcpKeepalive::new().with_time(KEEPALIVE).with_interval(KEEPALIVE / 4))?;
    match socket.connect(&SockAddr::from(address)) {
        Ok(()) => {}
        Err(error) if error.raw_os_error() == Some(rustix::io::Errno::INPROGRESS.raw_os_error()) => {
            wait(&socket, Ready::WRITE, until)?;
            if let Some(error) = socket.take_error()? {
                return Err(error);
            }
        }
        Err(error) => return Err(error),
    }
    Ok(socket.into())
}

/// Waits for a connection that is being made; the client's hang-up ends that, too.
pub(super) fn wait(socket: &impl AsFd, wanted: Ready, until: Wait<'_>) -> io::Result<Ready> {
    let deadline = Some(until.deadline);
    let Some(client) = until.client else {
        return sys::wait_one(socket, wanted, deadline);
    };
    let [found, client] = sys::wait([(socket.as_fd(), wanted), (client.as_fd(), Ready::HANGUP)], deadline)?;
    if client.hung_up() {
        return Err(Fault::ClientGone.into());
    }
    if found.any() { Ok(found) } else { Err(io::ErrorKind::TimedOut.into()) }
}
