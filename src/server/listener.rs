//! The listening socket, and the thread that accepts.

use std::cell::Cell;
use std::io;
use std::net::SocketAddr;
use std::os::fd::AsFd;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rustix::io::Errno;
use socket2::{Domain, Protocol, SockAddr, TcpKeepalive, Type};

use super::connection::{self, Context};
use super::error_response::Overload;
use super::limits::Semaphore;
use super::overflow::Overflow;
use super::shutdown::Shutdown;
use super::thread_pool::ThreadPool;
use super::{Limits, Peer, PeerAddress, Service};
use crate::log::{self, Throttle};
use crate::net::poll::{self, Ready};
use crate::net::{Socket, TlsAcceptor};

/// std's 128 is short for a burst; the kernel caps it at net.core.somaxconn.
const BACKLOG: i32 = 4096;
/// How often another free port is tried when the first one found is free in one family alone.
const MAX_PORT_RETRIES: u32 = 16;
/// Pause after an accept that failed for lack of resources, so that it is not tried in a busy loop.
const ACCEPT_BACKOFF: Duration = Duration::from_millis(50);
/// A client that vanished is detected after two minutes of silence, not after the system's two hours: it may hold a thread
/// and an open request to the upstream.
const KEEPALIVE: TcpKeepalive = TcpKeepalive::new()
    .with_time(Duration::from_secs(60))
    .with_interval(Duration::from_secs(15))
    .with_retries(4);
/// How many bytes of a response the system buffers that the network does not take yet. Without a bound that is megabytes
/// for each client that reads slowly, and a few hundred of those exhaust the TCP memory of the whole host.
const NOTSENT_LOWAT: u32 = 128 * 1024;
/// When the system lacks a resource, every accept fails: one failure in each period is logged, the others are counted.
static ACCEPT_ERROR_LOG: Throttle = Throttle::every(Duration::from_secs(10));

/// Bound sockets, one or one of each family, which refuse no connection yet: clients wait in their backlog.
#[derive(Debug)]
pub struct Listener {
    sockets: Vec<Socket>,
    /// With TLS towards clients.
    tls: Option<Arc<TlsAcceptor>>,
}

impl From<Vec<Socket>> for Listener {
    fn from(sockets: Vec<Socket>) -> Self {
        Self { sockets, tls: None }
    }
}

impl Listener {
    /// Binds to the first address that allows it. Where all are loopback addresses, such as those of `localhost`, to the
    /// first of each family, on the same port: clients of that name try either, and the one without a listener may belong to
    /// another program. A family that this machine lacks is left out.
    ///
    /// # Errors
    ///
    /// The last address's error.
    pub fn bind(addresses: &[SocketAddr]) -> io::Result<Self> {
        if addresses.iter().all(|address| address.ip().is_loopback())
            && let Some(first) = addresses.first()
            && let Some(second) = addresses.iter().find(|other| other.is_ipv4() != first.is_ipv4())
        {
            return bind_both(*first, *second).map(Self::from);
        }
        bind_first(addresses).map(|listener| Self::from(vec![listener]))
    }

    /// The same, with TLS towards clients.
    #[cfg_attr(feature = "tiny_http", allow(dead_code, reason = "its own listener has no TLS"))]
    pub(crate) fn with_tls(self, tls: Option<TlsAcceptor>) -> Self {
        Self { tls: tls.map(Arc::new), ..self }
    }

    /// The address bound, its port real even where 0 was asked for; the first of several.
    ///
    /// # Errors
    ///
    /// The socket's.
    pub fn address(&self) -> io::Result<SocketAddr> {
        address(self.sockets.first().ok_or(io::ErrorKind::AddrNotAvailable)?)
    }

    /// All addresses bound.
    ///
    /// # Errors
    ///
    /// The socket's.
    pub fn addresses(&self) -> io::Result<Vec<SocketAddr>> {
        self.sockets.iter().map(address).collect()
    }

    /// Starts to serve, on threads of its own.
    ///
    /// # Errors
    ///
    /// No thread can be started.
    pub fn serve(
        self,
        service: Arc<dyn Service>,
        limits: Limits,
        shutdown: Arc<Shutdown>,
    ) -> io::Result<ServerHandle> {
        let pool = ThreadPool::new("connection");
        let limits = Arc::new(limits);
        let (ended, overflow_ended) = sync_channel(0);
        let overflow = Overflow::start(
            Arc::clone(&service),
            Arc::clone(&limits),
            self.tls.clone(),
            Arc::clone(&shutdown),
            ended,
        )?;
        let (large_heads, evicting) = (Arc::new(Semaphore::new(limits.large_heads)), Arc::default());
        let acceptor = Acceptor {
            listeners: self.sockets,
            tls: self.tls,
            service,
            limits,
            shutdown,
            pool: pool.clone(),
            overflow,
            large_heads,
            evicting,
        };
        let thread = std::thread::Builder::new().name("accept".into()).stack_size(256 * 1024);
        let thread = thread.spawn(move || acceptor.run())?;
        Ok(ServerHandle { thread: Some(thread), pool, overflow_ended: Mutex::new(overflow_ended) })
    }
}

pub struct ServerHandle {
    thread: Option<JoinHandle<()>>,
    pool: ThreadPool,
    /// Disconnected once every connection of the overflow is closed.
    overflow_ended: Mutex<Receiver<()>>,
}

impl ServerHandle {
    pub fn connections(&self) -> usize {
        self.pool.busy()
    }

    /// Connections that ended in a panic.
    pub fn panics(&self) -> u64 {
        self.pool.panics()
    }

    /// After [`Shutdown::trigger`]: waits until the listener is closed and every connection has ended; false when the
    /// deadline passed first.
    pub fn drain(&mut self, deadline: Instant) -> bool {
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
        if !self.pool.wait_idle(deadline) {
            return false;
        }
        let left = deadline.saturating_duration_since(Instant::now());
        let overflow_ended = self.overflow_ended.get_mut().unwrap_or_else(PoisonError::into_inner);
        overflow_ended.recv_timeout(left) == Err(RecvTimeoutError::Disconnected)
    }
}

struct Acceptor {
    listeners: Vec<Socket>,
    tls: Option<Arc<TlsAcceptor>>,
    service: Arc<dyn Service>,
    limits: Arc<Limits>,
    shutdown: Arc<Shutdown>,
    pool: ThreadPool,
    overflow: Overflow,
    large_heads: Arc<Semaphore>,
    /// Idle connections that are about to close so that others find room.
    evicting: Arc<AtomicUsize>,
}

impl Acceptor {
    fn run(self) {
        while !self.shutdown.is_triggered() {
            // A panic costs the connection that it happened at.
            if catch_unwind(AssertUnwindSafe(|| self.wait())).is_err() {
                std::thread::sleep(ACCEPT_BACKOFF);
            }
        }
        // Connections that were in the backlog before the shutdown came in time.
        for listener in &self.listeners {
            for _ in 0..BACKLOG {
                match listener.accept() {
                    Ok((socket, address)) => self.admit(socket, &address, listener),
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                    Err(_) => {}
                }
            }
        }
    }

    /// Waits for a connection or the shutdown. Of several listeners each gets its turn.
    fn wait(&self) {
        let listeners = self.listeners.iter().map(|listener| (listener.as_fd(), Ready::READ));
        let wanted: Vec<_> = listeners.chain([(self.shutdown.as_fd(), Ready::READ)]).collect();
        match poll::wait_many(&wanted, None) {
            Ok(found) => {
                let ready = self.listeners.iter().zip(found).filter(|(_, found)| found.readable());
                ready.for_each(|(listener, _)| self.accept(listener));
            }
            Err(error) => handle_failure(&error),
        }
    }

    fn accept(&self, listener: &Socket) {
        match listener.accept() {
            Ok((socket, address)) => self.admit(socket, &address, listener),
            Err(error) => handle_failure(&error),
        }
    }

    fn admit(&self, socket: Socket, address: &SockAddr, listener: &Socket) {
        if prepare(&socket).is_err() {
            return;
        }
        let peer = Peer {
            address: address.as_socket().map_or(PeerAddress::Unknown, PeerAddress::Ip),
            is_loopback_listener: self::address(listener).is_ok_and(|ours| ours.ip().is_loopback()),
            certificate_name: None,
        };
        let socket = Arc::new(socket);
        if self.pool.busy() >= self.limits.connections {
            self.overflow.admit(socket, peer, self.limits.connections_bound);
            return;
        }
        let (service, limits) = (Arc::clone(&self.service), Arc::clone(&self.limits));
        let (shutdown, pool) = (Arc::clone(&self.shutdown), self.pool.clone());
        let (served, large_heads) = (Arc::clone(&socket), Arc::clone(&self.large_heads));
        let (evicting, tls) = (Arc::clone(&self.evicting), self.tls.clone());
        let served_peer = peer.clone();
        let job = move || {
            // Idle connections close when three quarters of the slots are taken: at the limit new connections would be
            // rejected although the slots of idle ones could be had.
            let threshold = limits.connections - limits.connections / 4;
            let eviction = Eviction { evicting: &evicting, is_claimed: Cell::new(false) };
            let evict = || eviction.claim(|others| pool.busy().saturating_sub(others) > threshold);
            let context = Context {
                service: &*service,
                limits: &limits,
                shutdown: &shutdown,
                tls: tls.as_deref(),
                large_heads: &large_heads,
                evict: &evict,
            };
            connection::serve(served, served_peer, &context);
        };
        if let Err(error) = self.pool.run(Box::new(job)) {
            let by =
                if error.kind() == io::ErrorKind::OutOfMemory { Overload::Memory } else { Overload::Threads };
            log_failure("cannot start a thread for a connection; refusing it", &error, by);
            self.overflow.admit(socket, peer, by);
        }
    }
}

/// One idle connection's claim to close so that others find room. Without it all idle ones would close at once when one is
/// too many, and their clients' next requests would fail.
struct Eviction<'a> {
    evicting: &'a AtomicUsize,
    is_claimed: Cell<bool>,
}

impl Eviction<'_> {
    /// Whether this connection has to close: `is_needed` says so, given how many others are closing.
    fn claim(&self, is_needed: impl FnOnce(usize) -> bool) -> bool {
        let others = self.evicting.fetch_add(1, Ordering::Relaxed);
        if is_needed(others) {
            self.is_claimed.set(true);
            return true;
        }
        self.evicting.fetch_sub(1, Ordering::Relaxed);
        false
    }
}

impl Drop for Eviction<'_> {
    fn drop(&mut self) {
        if self.is_claimed.get() {
            self.evicting.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

fn handle_failure(error: &io::Error) {
    if !is_transient(error) {
        log_failure("cannot accept connections; retrying", error, overload_cause(error));
        std::thread::sleep(ACCEPT_BACKOFF);
    }
}

/// Which resource the system lacked.
fn overload_cause(error: &io::Error) -> Overload {
    let is = |errno: Errno| error.raw_os_error() == Some(errno.raw_os_error());
    if is(Errno::MFILE) || is(Errno::NFILE) { Overload::Descriptors } else { Overload::Memory }
}

fn log_failure(what: &str, cause: &io::Error, by: Overload) {
    if let Some(suppressed) = ACCEPT_ERROR_LOG.allow() {
        let hint = match by {
            Overload::Descriptors => "raise ulimit -n (LimitNOFILE)",
            Overload::Threads => "raise the limit of processes (pids.max, ulimit -u, TasksMax)",
            _ => "raise the memory limit, or lower MAX_CONNECTIONS",
        };
        let fields: log::LogFields<'_> =
            &[("cause", cause), ("reason", &by.name()), ("suppressed", &suppressed), ("hint", &hint)];
        log::warn(what, fields);
    }
}

pub(super) fn bind_first(addresses: &[SocketAddr]) -> io::Result<Socket> {
    let mut last = io::Error::from(io::ErrorKind::AddrNotAvailable);
    for address in addresses {
        match bind(*address) {
            Ok(listener) => return Ok(listener),
            Err(error) => last = error,
        }
    }
    Err(last)
}

fn bind_both(first: SocketAddr, second: SocketAddr) -> io::Result<Vec<Socket>> {
    let mut retries = if first.port() == 0 { MAX_PORT_RETRIES } else { 0 };
    loop {
        let listener = match bind(first) {
            Err(error) if lacks_family(&error) => return bind(second).map(|listener| vec![listener]),
            bound => bound?,
        };
        match bind(SocketAddr::new(second.ip(), address(&listener)?.port())) {
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

fn bind(address: SocketAddr) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    socket.bind(&address.into())?;
    // Connections inherit both.
    socket.set_tcp_keepalive(&KEEPALIVE)?;
    socket.set_tcp_notsent_lowat(NOTSENT_LOWAT)?;
    socket.listen(BACKLOG)?;
    socket.set_nonblocking(true)?;
    Ok(socket)
}

fn address(socket: &Socket) -> io::Result<SocketAddr> {
    socket.local_addr()?.as_socket().ok_or_else(|| io::ErrorKind::AddrNotAvailable.into())
}

fn prepare(socket: &Socket) -> io::Result<()> {
    socket.set_nonblocking(true)?;
    socket.set_tcp_nodelay(true)
}

/// The peer left before it was accepted, or no connection is pending: the next accept may well succeed.
fn is_transient(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::WouldBlock
            | io::ErrorKind::Interrupted
            | io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionReset
    )
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, Ipv6Addr};

    use super::*;
    use crate::net::connect_blocking;

    #[test]
    fn no_more_idle_connections_go_than_have_to() {
        let evicting = AtomicUsize::new(0);
        let all: Vec<_> =
            (0..10).map(|_| Eviction { evicting: &evicting, is_claimed: Cell::new(false) }).collect();
        // Ten are there where seven may stay.
        let gone = all.iter().filter(|one| one.claim(|others| 10 - others > 7)).count();
        assert_eq!((gone, evicting.load(Ordering::Relaxed)), (3, 3));
        drop(all);
        assert_eq!(evicting.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn connections_inherit_the_listeners_options() {
        let listener = Listener::bind(&["127.0.0.1:0".parse().unwrap()]).unwrap();
        let listener = &listener.sockets[0];
        let _client = connect_blocking(address(listener).unwrap(), Duration::from_secs(20)).unwrap();
        poll::wait_one(listener, Ready::READ, Some(Instant::now() + Duration::from_secs(20))).unwrap();
        let (accepted, _) = listener.accept().unwrap();
        assert!(accepted.keepalive().unwrap());
        assert_eq!(accepted.tcp_keepalive_time().unwrap(), Duration::from_secs(60));
        assert_eq!(accepted.tcp_keepalive_retries().unwrap(), 4);
        assert_eq!(accepted.tcp_notsent_lowat().unwrap(), NOTSENT_LOWAT);
    }

    const V4: Ipv4Addr = Ipv4Addr::LOCALHOST;
    const V6: Ipv6Addr = Ipv6Addr::LOCALHOST;

    fn bound(addresses: &[SocketAddr]) -> io::Result<Vec<SocketAddr>> {
        Listener::bind(addresses)?.addresses()
    }

    /// The machine that runs the tests may lack IPv6: then there is one listener, which is what is promised of it.
    #[test]
    fn the_addresses_of_a_loopback_name_are_both_listened_on() {
        let has_v6 = bind((V6, 0).into()).is_ok();
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
        let taken = bind((V4, 0).into()).unwrap();
        let port = address(&taken).unwrap().port();
        for addresses in [[(V4.into(), port), (V6.into(), port)], [(V6.into(), port), (V4.into(), port)]] {
            let error = bound(&addresses.map(|pair: (std::net::IpAddr, u16)| pair.into())).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::AddrInUse, "{addresses:?}");
        }
    }
}
