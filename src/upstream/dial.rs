//! From a host and a port to a connected, non-blocking socket.

use std::io;
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use socket2::{Domain, Protocol, SockAddr, Socket, TcpKeepalive, Type};

use super::resolver::Names;
use super::{Call, Fault};
use crate::sys::{self, Ready};

/// Below the four minutes after which Azure's load balancer forgets an idle connection without a word.
const KEEPALIVE: Duration = Duration::from_secs(60);

/// Connects to the first address that accepts. The time left is shared out, so that one address that does not
/// answer cannot use up what the next one needs.
pub(super) fn dial(names: &Names, host: &str, port: u16, deadline: Instant) -> Result<TcpStream, Fault> {
    let addresses = names.addresses(host, deadline)?;
    let name = || format!("{host}:{port}");
    let mut last = io::Error::from(io::ErrorKind::TimedOut);
    for (i, address) in addresses.iter().enumerate() {
        let left = deadline.saturating_duration_since(Instant::now());
        let share = left / u32::try_from(addresses.len() - i).unwrap_or(1);
        match connect(*address, port, Instant::now() + share) {
            Ok(socket) => return Ok(socket),
            Err(error) if Fault::inside_io(&error).is_some() => return Err(Fault::ClientGone),
            Err(error) => last = error,
        }
    }
    Err(Fault::Connect { host: name(), cause: last })
}

fn connect(address: IpAddr, port: u16, deadline: Instant) -> io::Result<TcpStream> {
    let address = SocketAddr::new(address, port);
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_nonblocking(true)?;
    socket.set_tcp_nodelay(true)?;
    socket.set_tcp_keepalive(&TcpKeepalive::new().with_time(KEEPALIVE).with_interval(KEEPALIVE / 4))?;
    match socket.connect(&SockAddr::from(address)) {
        Ok(()) => {}
        Err(error) if error.raw_os_error() == Some(rustix::io::Errno::INPROGRESS.raw_os_error()) => {
            wait(&socket, Ready::WRITE, deadline)?;
            if let Some(error) = socket.take_error()? {
                return Err(error);
            }
        }
        Err(error) => return Err(error),
    }
    Ok(socket.into())
}

/// Waits for a connection that is being made; the application's hang-up ends that, too.
pub(super) fn wait(socket: &impl AsFd, wanted: Ready, deadline: Instant) -> io::Result<Ready> {
    let call = Call::current();
    let Some(client) = call.as_ref().and_then(|call| call.client()) else {
        return sys::wait_one(socket, wanted, Some(deadline));
    };
    let [found, client] =
        sys::wait([(socket.as_fd(), wanted), (client.as_fd(), Ready::HANGUP)], Some(deadline))?;
    if client.hung_up() {
        return Err(Fault::ClientGone.into());
    }
    if found.any() { Ok(found) } else { Err(io::ErrorKind::TimedOut.into()) }
}
