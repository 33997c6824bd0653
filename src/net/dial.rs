//! From a host and a port to a connected, non-blocking socket: "Happy Eyeballs" (RFC 8305) without threads, as one
//! `poll` on every attempt and on the client's hang-up.

use std::collections::VecDeque;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use socket2::{Domain, Protocol, SockAddr, Socket, TcpKeepalive, Type};

use super::dns::DnsCache;
use super::error::ConnectError;
use super::poll::{self, Ready};

/// Below the four minutes after which Azure's load balancer forgets an idle connection without a word.
const KEEPALIVE: Duration = Duration::from_secs(60);
/// How long an attempt is waited for before the next address is tried beside it: the Connection Attempt Delay of RFC
/// 8305 section 5.
const ATTEMPT_DELAY: Duration = Duration::from_millis(250);
/// So many attempts at a time. The oldest of them has then been silent for two seconds, which is longer than the
/// kernel takes to repeat a SYN that was lost.
const MAX_ATTEMPTS: usize = 8;

/// How long a connection that is being made is waited for: until the deadline, or the hang-up of the client that it is
/// for.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Wait<'a> {
    pub(crate) client: Option<&'a Socket>,
    pub(crate) deadline: Instant,
}

/// Why that wait has ended.
#[derive(Debug)]
pub(super) enum WaitError {
    ClientGone,
    /// `TimedOut` when the deadline passed.
    Io(io::Error),
}

impl WaitError {
    /// The client's hang-up, or else what `error` makes of the other.
    pub(super) fn or_else(self, error: impl FnOnce(io::Error) -> ConnectError) -> ConnectError {
        match self {
            Self::ClientGone => ConnectError::ClientGone,
            Self::Io(cause) => error(cause),
        }
    }
}

impl From<io::Error> for WaitError {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl From<io::ErrorKind> for WaitError {
    fn from(kind: io::ErrorKind) -> Self {
        Self::Io(kind.into())
    }
}

/// Connects to the address of `host` that accepts first, and says which that was.
pub(super) fn dial(
    dns: &DnsCache,
    host: &str,
    port: u16,
    until: Wait<'_>,
) -> Result<(Socket, IpAddr), ConnectError> {
    let addresses = dns.addresses(host, until.deadline)?;
    race(&addresses, port, until).map_err(|error| {
        error.or_else(|cause| ConnectError::Connect { host: format!("{host}:{port}"), cause })
    })
}

/// Tries the addresses in their order, each a little after the one before, or at once when that has failed. The first
/// that connects wins, and the others are closed. When all have failed, the error is that of the first to fail.
fn race(addresses: &[IpAddr], port: u16, until: Wait<'_>) -> Result<(Socket, IpAddr), WaitError> {
    let Wait { client, deadline } = until;
    let mut next_attempt = Instant::now();
    let delay = attempt_delay(deadline.saturating_duration_since(next_attempt), addresses.len());
    let mut untried = addresses.iter();
    let mut attempts = VecDeque::new();
    let mut first_error = None;
    loop {
        let now = Instant::now();
        if now >= next_attempt
            && let Some(address) = untried.next()
        {
            match connect(*address, port) {
                Ok((socket, true)) => return Ok((socket, *address)),
                Ok((socket, false)) => {
                    attempts.push_back((socket, *address));
                    if attempts.len() > MAX_ATTEMPTS {
                        attempts.pop_front();
                    }
                    next_attempt = now + delay;
                }
                Err(error) => {
                    first_error.get_or_insert(error);
                    continue;
                }
            }
        }
        if attempts.is_empty() {
            return Err(first_error.unwrap_or_else(|| io::ErrorKind::TimedOut.into()).into());
        }
        if now >= deadline {
            return Err(io::ErrorKind::TimedOut.into());
        }
        let until = if untried.len() > 0 { next_attempt.min(deadline) } else { deadline };
        let mut awaited: Vec<_> =
            attempts.iter().map(|(socket, _): &(Socket, IpAddr)| (socket.as_fd(), Ready::WRITE)).collect();
        awaited.extend(client.map(|client| (client.as_fd(), Ready::HANGUP)));
        let found = poll::wait_many(&awaited, Some(until))?;
        if client.is_some() && found.last().is_some_and(|client| client.hung_up()) {
            return Err(WaitError::ClientGone);
        }
        let mut found = found.into_iter();
        for (socket, address) in std::mem::take(&mut attempts) {
            if !found.next().is_some_and(Ready::any) {
                attempts.push_back((socket, address));
                continue;
            }
            match socket.take_error()? {
                None => return Ok((socket, address)),
                Some(error) => {
                    first_error.get_or_insert(error);
                    next_attempt = now;
                }
            }
        }
    }
}

/// How long to wait before the next of this many addresses is tried: so short that the last of them, too, has half of
/// the time that is left.
fn attempt_delay(left: Duration, addresses: usize) -> Duration {
    ATTEMPT_DELAY.min(left / u32::try_from(2 * addresses.max(1)).unwrap_or(u32::MAX))
}

/// A socket that connects, and whether it is connected already.
fn connect(address: IpAddr, port: u16) -> io::Result<(Socket, bool)> {
    let address = SocketAddr::new(address, port);
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_nonblocking(true)?;
    socket.set_tcp_nodelay(true)?;
    socket.set_tcp_keepalive(&TcpKeepalive::new().with_time(KEEPALIVE).with_interval(KEEPALIVE / 4))?;
    match socket.connect(&SockAddr::from(address)) {
        Ok(()) => Ok((socket, true)),
        Err(error) if error.raw_os_error() == Some(rustix::io::Errno::INPROGRESS.raw_os_error()) => {
            Ok((socket, false))
        }
        Err(error) => Err(error),
    }
}

/// A connected socket that blocks, for a single question to somebody on this machine.
pub(crate) fn connect_blocking(address: &SockAddr, limit: Duration) -> io::Result<Socket> {
    let socket = Socket::new(address.domain(), Type::STREAM, None)?;
    socket.connect_timeout(address, limit)?;
    Ok(socket)
}

/// Does nothing for this long; the client's hang-up ends that, too.
pub(super) fn pause(time: Duration, client: Option<&Socket>) -> Result<(), ConnectError> {
    let Some(client) = client else {
        std::thread::sleep(time);
        return Ok(());
    };
    match poll::wait_one(client, Ready::HANGUP, Some(Instant::now() + time)) {
        Ok(found) if found.hung_up() => Err(ConnectError::ClientGone),
        _ => Ok(()),
    }
}

/// Waits for a connection that is being made; the client's hang-up ends that, too.
pub(super) fn wait(socket: &impl AsFd, wanted: Ready, until: Wait<'_>) -> Result<Ready, WaitError> {
    let deadline = Some(until.deadline);
    let Some(client) = until.client else {
        return Ok(poll::wait_one(socket, wanted, deadline)?);
    };
    let [found, client] = poll::wait([(socket.as_fd(), wanted), (client.as_fd(), Ready::HANGUP)], deadline)?;
    if client.hung_up() {
        return Err(WaitError::ClientGone);
    }
    if found.any() { Ok(found) } else { Err(io::ErrorKind::TimedOut.into()) }
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream};

    use super::*;

    /// A socket that listens on this address of the loopback network; its queue is so short.
    fn listen(address: [u8; 4], port: u16, backlog: i32) -> TcpListener {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        socket.bind(&SocketAddr::from((address, port)).into()).unwrap();
        socket.listen(backlog).unwrap();
        socket.into()
    }

    /// Fills the queue of a listener, so that it does not respond any more.
    fn fill(listener: &TcpListener) -> Vec<TcpStream> {
        let address = listener.local_addr().unwrap();
        let fill = || TcpStream::connect_timeout(&address, Duration::from_millis(200)).ok();
        let queue: Vec<TcpStream> = std::iter::from_fn(fill).take(16).collect();
        assert!(queue.len() < 16, "the queue has no end");
        queue
    }

    fn ip(last: u8) -> IpAddr {
        [127, 0, 0, last].into()
    }

    /// A share of such a deadline for each address would take longer than any test may.
    fn far() -> Instant {
        Instant::now() + Duration::from_secs(24 * 60 * 60)
    }

    #[test]
    fn silent_and_refusing_addresses_do_not_hold_up_one_that_accepts() {
        let silent = listen([127, 0, 0, 2], 0, 0);
        let port = silent.local_addr().unwrap().port();
        let accepting = listen([127, 0, 0, 3], port, 16);
        let _queue = fill(&silent);
        let refusing = ip(4);
        let rows: [&[IpAddr]; 7] = [
            &[ip(3)],
            &[ip(2), ip(3)],
            &[ip(3), ip(2)],
            &[refusing, ip(3)],
            &[refusing, ip(2), refusing, ip(3)],
            &[ip(2), ip(2), refusing, ip(3)],
            // More of them than are tried at a time.
            &[&[ip(2); MAX_ATTEMPTS + 1], &[ip(3)][..]].concat(),
        ];
        for row in rows {
            let (socket, address) = race(row, port, Wait { client: None, deadline: far() }).unwrap();
            assert_eq!(address, ip(3), "{row:?}");
            assert_eq!(socket.peer_addr().unwrap().as_socket(), accepting.local_addr().ok());
            accepting.accept().unwrap();
        }
    }

    #[test]
    fn when_nobody_accepts_the_first_error_or_the_deadline_ends_it() {
        let silent = listen([127, 0, 0, 2], 0, 0);
        let port = silent.local_addr().unwrap().port();
        let _queue = fill(&silent);
        let soon = || Instant::now() + Duration::from_millis(50);
        let rows: [(&[IpAddr], Instant, io::ErrorKind); 5] = [
            (&[], far(), io::ErrorKind::TimedOut),
            (&[ip(4), ip(5)], far(), io::ErrorKind::ConnectionRefused),
            (&[ip(2)], soon(), io::ErrorKind::TimedOut),
            (&[ip(4), ip(2)], soon(), io::ErrorKind::TimedOut),
            (&[ip(2), ip(4)], soon(), io::ErrorKind::TimedOut),
        ];
        for (addresses, deadline, expected) in rows {
            match race(addresses, port, Wait { client: None, deadline }) {
                Err(WaitError::Io(error)) => assert_eq!(error.kind(), expected, "{addresses:?}"),
                other => panic!("{addresses:?}: {other:?}"),
            }
        }
    }

    #[test]
    fn the_last_address_has_half_of_the_time() {
        let ms = Duration::from_millis;
        let rows =
            [(10_000, 0, 250), (10_000, 1, 250), (10_000, 2, 250), (300, 2, 75), (1000, 10, 50), (0, 2, 0)];
        for (left, addresses, delay) in rows {
            assert_eq!(attempt_delay(ms(left), addresses), ms(delay), "{left} ms, {addresses}");
        }
    }
}
