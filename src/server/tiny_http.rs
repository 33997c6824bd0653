//! The server of the `tiny_http` crate as a thin adapter: its requests are parsed by the rules of `http1`, like those of
//! our own server. `docs/decisions/0001-http-server.md` says what it does not support.
//!
//! ```text
//! tiny_http's threads: accept -> one per connection, parses heads -> its queue
//! ours:                dispatch (takes requests off the queue) -> pool, one thread per request
//!                      self-connect (against connections that wait, and a server that no longer accepts)
//! ```

mod exchange;
mod self_connect;

use std::collections::HashMap;
use std::io;
use std::mem::ManuallyDrop;
use std::net::{SocketAddr, TcpListener};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use ::tiny_http::{Request, Server};
use socket2::SockRef;

use super::listening_socket::bind_first;
use super::thread_pool::ThreadPool;
use super::{Limits, ListenAddress, OpenConnections, Service, Shutdown};
use crate::log;

/// How often a thread checks whether it is still needed. Requests do not wait for it.
const POLL_INTERVAL: Duration = Duration::from_secs(1);
/// A replaced server is kept for the connections that it still has, until they have been quiet for this long.
const RETIREMENT_PERIOD: Duration = Duration::from_secs(600);
/// How long a connection stays banned: its client's address and port may be another connection some day.
const BAN_PERIOD: Duration = Duration::from_secs(60);
/// Expired bans are thrown out when there are this many.
const MAX_BANS: usize = 1024;

/// A bound listener, which refuses no connection yet: clients wait in its backlog.
#[derive(Debug)]
pub struct Listener(TcpListener);

impl Listener {
    /// Binds to the first address that allows it.
    ///
    /// # Errors
    ///
    /// The last address's error.
    pub fn bind(addresses: &[SocketAddr]) -> io::Result<Self> {
        bind_first(addresses).map(|listener| Self(listener.socket.into()))
    }

    /// The address bound, its port real even where 0 was asked for.
    ///
    /// # Errors
    ///
    /// The socket's.
    pub fn address(&self) -> io::Result<SocketAddr> {
        self.0.local_addr()
    }

    /// Where it listens: one address.
    pub fn addresses(&self) -> Vec<ListenAddress> {
        self.address().map(ListenAddress::Ip).into_iter().collect()
    }

    /// Starts to serve, on threads of its own.
    ///
    /// # Errors
    ///
    /// No thread can be started, or the socket refuses its options.
    pub fn serve(
        self,
        service: Arc<dyn Service>,
        limits: Limits,
        shutdown: Arc<Shutdown>,
    ) -> io::Result<ServerHandle> {
        // Accepted connections inherit these on Linux; tiny_http sets none.
        self.0.set_nonblocking(false)?;
        let socket = SockRef::from(&self.0);
        socket.set_tcp_nodelay(true)?;
        socket.set_keepalive(true)?;
        socket.set_read_timeout(Some(limits.keep_alive))?;
        socket.set_write_timeout(Some(limits.write_timeout))?;
        let is_loopback_listener = self.0.local_addr()?.ip().is_loopback();
        let state = Arc::new(ServerState {
            is_loopback_listener,
            listener: self.0,
            service,
            limits,
            shutdown,
            pool: ThreadPool::new("request"),
            bans: Mutex::default(),
            generation: AtomicU64::new(0),
            accept_failed: AtomicBool::new(false),
            active: AtomicBool::new(false),
            ended: AtomicBool::new(false),
        });
        state.start_server()?;
        let connecting = Arc::clone(&state);
        let thread = thread::Builder::new().name("self-connect".into()).stack_size(256 * 1024);
        let thread = thread.spawn(move || self_connect::run(&connecting))?;
        Ok(ServerHandle { thread: Some(thread), state })
    }
}

pub struct ServerHandle {
    thread: Option<thread::JoinHandle<()>>,
    state: Arc<ServerState>,
}

impl ServerHandle {
    /// Requests in flight: tiny_http does not expose its connections.
    pub fn connections(&self) -> usize {
        self.state.pool.busy()
    }

    /// None: tiny_http does not expose its connections.
    pub(crate) fn clients(&self) -> OpenConnections {
        OpenConnections::default()
    }

    /// Requests that ended in a panic.
    pub fn panics(&self) -> u64 {
        self.state.pool.panics()
    }

    /// After [`Shutdown::trigger`]: waits until the listener is closed and every request has its response; false when the
    /// deadline passed first.
    pub fn drain(&mut self, deadline: Instant) -> bool {
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
        let drained = self.state.pool.wait_idle(deadline);
        self.state.ended.store(drained, Ordering::SeqCst);
        drained
    }
}

struct ServerState {
    /// The one that every server is built from.
    listener: TcpListener,
    is_loopback_listener: bool,
    service: Arc<dyn Service>,
    limits: Limits,
    shutdown: Arc<Shutdown>,
    pool: ThreadPool,
    /// Connections that sent malformed requests, by their clients' address and port. tiny_http cannot close them: it goes
    /// on to read what follows, which may be the rest of a body taken for a request. Every further request on them is
    /// rejected.
    bans: Mutex<HashMap<SocketAddr, Instant>>,
    /// Counts the servers built.
    generation: AtomicU64,
    /// The newest server no longer accepts.
    accept_failed: AtomicBool,
    /// Requests arrived since `self_connect` last checked.
    active: AtomicBool,
    ended: AtomicBool,
}

impl ServerState {
    /// Builds a server and starts the thread that takes requests from it.
    fn start_server(self: &Arc<Self>) -> io::Result<()> {
        let server = Server::from_listener(self.listener.try_clone()?, None);
        let server = server.map_err(|error| io::Error::other(error.to_string()))?;
        let generation = self.generation.fetch_add(1, Ordering::SeqCst) + 1;
        self.accept_failed.store(false, Ordering::SeqCst);
        let state = Arc::clone(self);
        let thread = thread::Builder::new().name("dispatch".into()).stack_size(256 * 1024);
        thread.spawn(move || state.dispatch(&server, generation)).map(drop)
    }

    fn dispatch(self: &Arc<Self>, server: &Server, generation: u64) {
        let mut last = Instant::now();
        let is_retired = |last: Instant| {
            generation < self.generation.load(Ordering::SeqCst) && last.elapsed() > RETIREMENT_PERIOD
        };
        while !self.ended.load(Ordering::SeqCst) && !is_retired(last) {
            match server.recv_timeout(POLL_INTERVAL) {
                Ok(Some(request)) => {
                    last = Instant::now();
                    self.active.store(true, Ordering::SeqCst);
                    self.admit(request);
                }
                Ok(None) => {}
                // Its accept thread has ended: there will be no new connections, but the old ones go on.
                Err(error) if !self.shutdown.is_triggered() => {
                    log::warn("cannot accept connections; retrying", &[("cause", &error)]);
                    self.accept_failed.store(true, Ordering::SeqCst);
                }
                Err(_) => {}
            }
        }
    }

    /// Checks the requests of each connection in their order, so that what follows a malformed one is rejected, too, even
    /// where tiny_http returns both at once; then starts a thread for each.
    fn admit(self: &Arc<Self>, request: Request) {
        let head = exchange::head(&request, self);
        if head.is_err()
            && let Some(address) = request.remote_addr()
        {
            self.ban(*address);
        }
        let (max, overflow) = (self.limits.connections, self.limits.overflow.max(1));
        let under_pressure = self.pool.busy() >= max;
        // An error response may have to wait for its turn on the connection: it takes a thread as well, up to a limit.
        self.pool.wait_below(max.saturating_add(overflow));
        // To drop a request may take as long as its client likes: one for which no thread can be had is given up together
        // with its connection.
        let (state, request) = (Arc::clone(self), ManuallyDrop::new(request));
        let job = move || exchange::respond(ManuallyDrop::into_inner(request), head, &state, under_pressure);
        if let Err(error) = self.pool.run(Box::new(job)) {
            log::warn("cannot start a thread for a request", &[("cause", &error)]);
        }
    }

    fn ban(&self, address: SocketAddr) {
        let mut bans = self.bans.lock().unwrap_or_else(PoisonError::into_inner);
        if bans.len() >= MAX_BANS {
            bans.retain(|_, since| since.elapsed() < BAN_PERIOD);
        }
        bans.insert(address, Instant::now());
    }

    fn is_banned(&self, request: &Request) -> bool {
        let bans = self.bans.lock().unwrap_or_else(PoisonError::into_inner);
        let since = request.remote_addr().and_then(|peer| bans.get(peer));
        since.is_some_and(|since| since.elapsed() < BAN_PERIOD)
    }
}
