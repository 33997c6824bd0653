//! The listener, and the thread that accepts.

use std::io;
use std::net::SocketAddr;
use std::os::fd::AsFd;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use socket2::SockAddr;

use super::clients::OpenConnections;
use super::connection::{self, Context};
use super::error_response::Overload;
use super::limits::Semaphore;
use super::listening_socket::{BACKLOG, ListenAddress, ListeningSocket, bind_both, bind_first};
use super::overflow::Overflow;
use super::shutdown::Shutdown;
use super::thread_pool::ThreadPool;
use super::{Limits, Service};
use crate::log::{self, Throttle};
use crate::net::poll::{self, Ready};
use crate::net::{self, Socket, TlsAcceptor};
use crate::process;

/// How often it is checked at the shutdown whether the accept thread has ended: it serves the backlog first.
const DRAIN_CHECK: Duration = Duration::from_millis(2);
/// Pause after an accept that failed for lack of resources, so that it is not tried in a busy loop.
const ACCEPT_BACKOFF: Duration = Duration::from_millis(50);
/// How long the next client waits for those who are being served and lack a descriptor. Short, because it may be a probe.
const ACCEPT_PATIENCE: Duration = Duration::from_millis(100);
/// When the system lacks a resource, every accept fails: one failure in each period is logged, the others are counted.
static ACCEPT_ERROR_LOG: Throttle = Throttle::every(Duration::from_secs(10));

/// Sockets that listen and refuse no connection yet: clients wait in their backlog.
#[derive(Debug)]
pub struct Listener {
    sockets: Vec<ListeningSocket>,
    /// With TLS towards clients.
    tls: Option<Arc<TlsAcceptor>>,
}

impl From<Vec<ListeningSocket>> for Listener {
    fn from(sockets: Vec<ListeningSocket>) -> Self {
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

    /// Binds to the path of a Unix socket, which is removed when the listener closes. One that nobody listens on is replaced.
    ///
    /// # Errors
    ///
    /// `AddrInUse` when another program listens there, `AlreadyExists` when something else than a socket is there, else the
    /// system's.
    pub fn bind_unix(path: &Path) -> io::Result<Self> {
        ListeningSocket::bind_unix(path).map(|listener| Self::from(vec![listener]))
    }

    /// Takes over sockets that listen already. They stay their owner's: other processes may listen on them before and after.
    ///
    /// # Errors
    ///
    /// The socket's.
    #[cfg_attr(feature = "tiny_http", expect(dead_code, reason = "its server takes addresses alone"))]
    pub(crate) fn inherit(sockets: Vec<Socket>) -> io::Result<Self> {
        sockets.into_iter().map(ListeningSocket::inherited).collect::<io::Result<Vec<_>>>().map(Self::from)
    }

    /// The same, with TLS towards clients.
    #[cfg_attr(feature = "tiny_http", allow(dead_code, reason = "its own listener has no TLS"))]
    pub(crate) fn with_tls(self, tls: Option<Arc<TlsAcceptor>>) -> Self {
        Self { tls, ..self }
    }

    /// The address bound, its port real even where 0 was asked for; the first of several.
    ///
    /// # Errors
    ///
    /// It is a Unix socket.
    pub fn address(&self) -> io::Result<SocketAddr> {
        match self.sockets.first().map(|listener| &listener.address) {
            Some(ListenAddress::Ip(address)) => Ok(*address),
            _ => Err(io::ErrorKind::AddrNotAvailable.into()),
        }
    }

    /// Where it listens.
    pub fn addresses(&self) -> Vec<ListenAddress> {
        self.sockets.iter().map(|listener| listener.address.clone()).collect()
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
        self.tls.as_ref().map(TlsAcceptor::watch).transpose()?;
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
        let large_heads = Arc::new(Semaphore::new(limits.large_heads));
        let open = OpenConnections::default();
        let acceptor = Acceptor {
            listeners: self.sockets,
            tls: self.tls,
            service,
            limits,
            shutdown,
            pool: pool.clone(),
            overflow,
            large_heads,
            open: open.clone(),
        };
        let thread = std::thread::Builder::new().name("accept".into()).stack_size(256 * 1024);
        let thread = thread.spawn(move || acceptor.run())?;
        Ok(ServerHandle { thread: Some(thread), pool, open, overflow_ended: Mutex::new(overflow_ended) })
    }
}

pub struct ServerHandle {
    thread: Option<JoinHandle<()>>,
    pool: ThreadPool,
    open: OpenConnections,
    /// Disconnected once every connection of the overflow is closed.
    overflow_ended: Mutex<Receiver<()>>,
}

impl ServerHandle {
    pub fn connections(&self) -> usize {
        self.pool.busy()
    }

    /// The open connections by the addresses of their clients.
    #[cfg_attr(feature = "tiny_http", expect(dead_code, reason = "its own handle knows no clients"))]
    pub(crate) fn clients(&self) -> OpenConnections {
        self.open.clone()
    }

    /// Connections that ended in a panic.
    pub fn panics(&self) -> u64 {
        self.pool.panics()
    }

    /// After [`Shutdown::trigger`]: waits until the listener is closed and every connection has ended; false when the
    /// deadline passed first.
    pub fn drain(&mut self, deadline: Instant) -> bool {
        while self.thread.as_ref().is_some_and(|thread| !thread.is_finished()) {
            if Instant::now() >= deadline {
                return false;
            }
            std::thread::sleep(DRAIN_CHECK);
        }
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
    listeners: Vec<ListeningSocket>,
    tls: Option<Arc<TlsAcceptor>>,
    service: Arc<dyn Service>,
    limits: Arc<Limits>,
    shutdown: Arc<Shutdown>,
    pool: ThreadPool,
    overflow: Overflow,
    large_heads: Arc<Semaphore>,
    open: OpenConnections,
}

impl Acceptor {
    fn run(mut self) {
        while !self.shutdown.is_triggered() {
            // A panic costs the connection that it happened at.
            if catch_unwind(AssertUnwindSafe(|| self.wait())).is_err() {
                std::thread::sleep(ACCEPT_BACKOFF);
            }
        }
        self.listeners.iter_mut().for_each(ListeningSocket::remove_file);
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
        // Whoever is being served comes first, as long as that does not keep all others out.
        let end = Instant::now() + ACCEPT_PATIENCE;
        while net::awaits_descriptor() && Instant::now() < end {
            std::thread::sleep(ACCEPT_BACKOFF / 5);
        }
        let listeners = self.listeners.iter().map(|listener| (listener.socket.as_fd(), Ready::READ));
        let wanted: Vec<_> = listeners.chain([(self.shutdown.as_fd(), Ready::READ)]).collect();
        match poll::wait_many(&wanted, None) {
            Ok(found) => {
                let ready = self.listeners.iter().zip(found).filter(|(_, found)| found.readable());
                ready.for_each(|(listener, _)| self.accept(listener));
            }
            Err(error) => handle_failure(&error),
        }
    }

    fn accept(&self, listener: &ListeningSocket) {
        match listener.accept() {
            Ok((socket, address)) => self.admit(socket, &address, listener),
            Err(error) => handle_failure(&error),
        }
    }

    fn admit(&self, socket: Socket, address: &SockAddr, listener: &ListeningSocket) {
        let Ok(peer) = listener.prepare(&socket, address) else { return };
        let socket = Arc::new(socket);
        let now = limits_now(&self.limits);
        if self.pool.busy() >= now.connections {
            self.overflow.admit(socket, peer, now.connections_bound);
            return;
        }
        let (service, limits) = (Arc::clone(&self.service), Arc::clone(&self.limits));
        let (shutdown, pool) = (Arc::clone(&self.shutdown), self.pool.clone());
        let (served, large_heads) = (Arc::clone(&socket), Arc::clone(&self.large_heads));
        let (served_peer, counted, tls) = (peer.clone(), self.open.enter(peer.address), self.tls.clone());
        let job = move || {
            let _counted = counted;
            // Idle connections close when three quarters of the slots are taken: at the limit new connections would be
            // rejected although the slots of idle ones could be had.
            let threshold = || {
                let connections = limits_now(&limits).connections;
                connections - connections / 4
            };
            let evict = || pool.must_leave(threshold());
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

/// The limits with the descriptors of this moment: somebody may have lowered their limit since the start.
fn limits_now(limits: &Limits) -> Limits {
    limits.with_descriptors(process::descriptor_limit())
}

fn handle_failure(error: &io::Error) {
    if !is_transient(error) {
        log_failure("cannot accept connections; retrying", error, overload_cause(error));
        std::thread::sleep(ACCEPT_BACKOFF);
    }
}

/// Which resource the system lacked.
fn overload_cause(error: &io::Error) -> Overload {
    if net::lacks_descriptor(error) { Overload::Descriptors } else { Overload::Memory }
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
