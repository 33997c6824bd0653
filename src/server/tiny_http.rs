//! The server of the `tiny_http` crate behind our seam, with what can be done about its faults from outside: with
//! std, socket options and its public API. `docs/decisions/0001-http-server.md` says what that leaves.
//!
//! ```text
//! tiny_http's threads: accept -> one per connection, parses heads -> its queue
//! ours:                dispatch (takes requests off the queue) -> pool, one thread per request
//!                      wake (rescues connections that wait behind busy threads; replaces a server gone deaf)
//! ```

mod bans;
mod request;
mod serving;
mod wake;

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use socket2::SockRef;

use self::bans::Bans;
use self::request::Incoming;
use self::wake::Wake;
use super::listener::bind_first;
use super::pool::Pool;
use super::shutdown::Shutdown;
use super::{Limits, Service};
use crate::log;

/// How often a thread looks whether it is still needed. Requests do not wait for it.
const LOOK_UP: Duration = Duration::from_secs(1);
/// A replaced server is kept for the connections that it still has, until they have been quiet for this long.
const RETIREMENT: Duration = Duration::from_secs(600);

/// A bound listener, which refuses nobody yet: clients wait in its backlog.
#[derive(Debug)]
pub struct Listener(TcpListener);

impl Listener {
    /// Binds to the first address that allows it.
    ///
    /// # Errors
    ///
    /// The last address's error.
    pub fn bind(addresses: &[SocketAddr]) -> io::Result<Self> {
        bind_first(addresses).map(|socket| Self(socket.into()))
    }

    /// The address bound, its port real even where 0 was asked for; the first of several.
    ///
    /// # Errors
    ///
    /// The socket's.
    pub fn address(&self) -> io::Result<SocketAddr> {
        self.0.local_addr()
    }

    /// All addresses bound.
    ///
    /// # Errors
    ///
    /// The socket's.
    pub fn addresses(&self) -> io::Result<Vec<SocketAddr>> {
        self.address().map(|address| vec![address])
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
        stop: Arc<Shutdown>,
    ) -> io::Result<Running> {
        let address = self.address()?;
        let listener = self.0;
        bequeath(&listener, &limits)?;
        let shared = Arc::new(Shared {
            listener,
            service,
            limits,
            stop,
            pool: Pool::new("request"),
            bans: Bans::default(),
            generation: AtomicU64::new(0),
            deaf: AtomicBool::new(false),
            ended: AtomicBool::new(false),
            wake: Wake::new(address)?,
        });
        shared.start_server()?;
        let (thread, waker) = (std::thread::Builder::new().name("wake".into()), Arc::clone(&shared));
        let thread = thread.stack_size(256 * 1024).spawn(move || wake::run(&waker))?;
        Ok(Running { thread: Some(thread), shared })
    }
}

/// Options that the sockets of accepted connections inherit on Linux: tiny_http sets none. A client that is silent
/// for as long as keep-alive lasts has its connection closed; accept would time out, too, but for the wake-ups.
fn bequeath(listener: &TcpListener, limits: &Limits) -> io::Result<()> {
    listener.set_nonblocking(false)?;
    let socket = SockRef::from(listener);
    socket.set_tcp_nodelay(true)?;
    socket.set_keepalive(true)?;
    socket.set_read_timeout(Some(limits.keep_alive))?;
    socket.set_write_timeout(Some(limits.write_stall))
}

/// A server at work.
pub struct Running {
    thread: Option<JoinHandle<()>>,
    shared: Arc<Shared>,
}

impl Running {
    /// Requests being answered: tiny_http does not show its connections.
    pub fn connections(&self) -> usize {
        self.shared.pool.busy()
    }

    /// Requests that ended in a panic.
    pub fn panics(&self) -> u64 {
        self.shared.pool.panics()
    }

    /// After [`Shutdown::trigger`]: waits until the listener is closed and every request is answered; false when the
    /// deadline passed first.
    pub fn drain(&mut self, deadline: Instant) -> bool {
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
        let drained = self.shared.pool.wait_idle(deadline);
        if drained {
            self.shared.ended.store(true, Ordering::SeqCst);
        }
        drained
    }
}

struct Shared {
    /// The one that every server is built from.
    listener: TcpListener,
    service: Arc<dyn Service>,
    limits: Limits,
    stop: Arc<Shutdown>,
    pool: Pool,
    bans: Bans,
    /// Counts the servers built.
    generation: AtomicU64,
    /// The newest server no longer accepts.
    deaf: AtomicBool,
    ended: AtomicBool,
    wake: Wake,
}

impl Shared {
    /// Builds a server and starts the thread that takes requests from it.
    fn start_server(self: &Arc<Self>) -> io::Result<()> {
        let server = ::tiny_http::Server::from_listener(self.listener.try_clone()?, None);
        let server = server.map_err(|error| io::Error::other(error.to_string()))?;
        let generation = self.generation.fetch_add(1, Ordering::SeqCst) + 1;
        self.deaf.store(false, Ordering::SeqCst);
        let shared = Arc::clone(self);
        let thread = std::thread::Builder::new().name("dispatch".into()).stack_size(256 * 1024);
        thread.spawn(move || shared.dispatch(&server, generation)).map(drop)
    }

    fn dispatch(self: &Arc<Self>, server: &::tiny_http::Server, generation: u64) {
        let mut last = Instant::now();
        while !self.ended.load(Ordering::SeqCst) {
            match server.recv_timeout(LOOK_UP) {
                Ok(Some(request)) => {
                    last = Instant::now();
                    self.admit(Incoming::new(request, &self.limits, &self.bans));
                }
                Ok(None) => {
                    if generation < self.generation.load(Ordering::SeqCst) && last.elapsed() > RETIREMENT {
                        return;
                    }
                }
                // Its accept thread has ended: there will be no new connections, but the old ones go on.
                Err(error) => {
                    if !self.stop.is_triggered() {
                        log::warn("cannot accept connections; retrying", &[("cause", &error)]);
                        self.deaf.store(true, Ordering::SeqCst);
                    }
                }
            }
        }
    }

    fn admit(self: &Arc<Self>, request: Incoming) {
        if let Some(peer) = request.peer {
            self.wake.saw(peer);
        }
        let (most, overflow) = (self.limits.connections, self.limits.overflow.max(1));
        let crowded = self.pool.busy() >= most;
        // A refusal may have to wait for its turn on the connection: it takes a thread as well, up to a point.
        self.pool.wait_below(most.saturating_add(overflow));
        let shared = Arc::clone(self);
        if let Err(error) = self.pool.run(Box::new(move || serving::serve(request, &shared, crowded))) {
            log::warn("cannot start a thread for a request", &[("cause", &error)]);
        }
    }
}
