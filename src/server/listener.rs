//! The listening socket, and the thread that accepts.

use std::io;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsFd;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use socket2::{Domain, Protocol, SockRef, Socket, Type};

use super::connection::{self, Context};
use super::overflow::Overflow;
use super::pool::Pool;
use super::stop::Stop;
use super::{Limits, Service};
use crate::log;
use crate::sys::{self, Ready};

/// std's 128 is short for a burst; the kernel caps it at net.core.somaxconn.
const BACKLOG: i32 = 1024;
/// After an accept that failed for lack of something, so that it is not tried in a spin.
const BACK_OFF: Duration = Duration::from_millis(50);

/// A bound listener, which refuses nobody yet: clients wait in its backlog.
#[derive(Debug)]
pub struct Listener(pub(super) TcpListener);

impl Listener {
    /// Binds to the first address that allows it.
    ///
    /// # Errors
    ///
    /// The last address's error.
    pub fn bind(addresses: &[SocketAddr]) -> io::Result<Self> {
        let mut last = io::Error::from(io::ErrorKind::AddrNotAvailable);
        for address in addresses {
            match bind(*address) {
                Ok(listener) => return Ok(Self(listener)),
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    /// The address bound, its port real even where 0 was asked for.
    ///
    /// # Errors
    ///
    /// The socket's.
    pub fn address(&self) -> io::Result<SocketAddr> {
        self.0.local_addr()
    }

    /// Starts to serve, on threads of its own.
    ///
    /// # Errors
    ///
    /// No thread can be started.
    pub fn serve(self, service: Arc<dyn Service>, limits: Limits, stop: Arc<Stop>) -> io::Result<Running> {
        let pool = Pool::new("connection");
        let limits = Arc::new(limits);
        let overflow = Overflow::start(Arc::clone(&service), Arc::clone(&limits), Arc::clone(&stop))?;
        let acceptor = Acceptor { listener: self.0, service, limits, stop, pool: pool.clone(), overflow };
        let thread = std::thread::Builder::new().name("accept".into()).stack_size(256 * 1024);
        let thread = thread.spawn(move || acceptor.run())?;
        Ok(Running { thread: Some(thread), pool })
    }
}

/// A server at work.
pub struct Running {
    thread: Option<JoinHandle<()>>,
    pool: Pool,
}

impl Running {
    /// Connections open.
    pub fn connections(&self) -> usize {
        self.pool.busy()
    }

    /// Connections that ended in a panic.
    pub fn panics(&self) -> u64 {
        self.pool.panics()
    }

    /// After [`Stop::say`]: waits until the listener is closed and every connection has ended; false when the
    /// deadline passed first.
    pub fn drain(&mut self, deadline: Instant) -> bool {
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
        self.pool.wait_idle(deadline)
    }
}

struct Acceptor {
    listener: TcpListener,
    service: Arc<dyn Service>,
    limits: Arc<Limits>,
    stop: Arc<Stop>,
    pool: Pool,
    overflow: Overflow,
}

impl Acceptor {
    fn run(self) {
        let mut failing = false;
        while !self.stop.said() {
            let wanted = [(self.listener.as_fd(), Ready::READ), (self.stop.as_fd(), Ready::READ)];
            let _ = sys::wait(wanted, None);
            match self.listener.accept() {
                Ok((stream, peer)) => {
                    failing = false;
                    self.admit(stream, peer);
                }
                Err(error) if is_passing(&error) => {}
                Err(error) => {
                    if !failing {
                        log::warn("cannot accept connections; trying on", &[("cause", &error)]);
                    }
                    failing = true;
                    std::thread::sleep(BACK_OFF);
                }
            }
        }
    }

    fn admit(&self, stream: TcpStream, peer: SocketAddr) {
        if prepare(&stream).is_err() {
            return;
        }
        if self.pool.busy() >= self.limits.connections {
            self.overflow.admit(stream);
            return;
        }
        let (service, limits) = (Arc::clone(&self.service), Arc::clone(&self.limits));
        let (stop, pool) = (Arc::clone(&self.stop), self.pool.clone());
        let job = move || {
            let crowded = || pool.busy() > limits.connections - limits.connections / 4;
            let context = Context { service: &*service, limits: &limits, stop: &stop, crowded: &crowded };
            connection::serve(stream, peer, &context);
        };
        if let Err(error) = self.pool.run(Box::new(job)) {
            log::warn("cannot start a thread for a connection", &[("cause", &error)]);
        }
    }
}

fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    socket.set_nonblocking(true)?;
    Ok(socket.into())
}

fn prepare(stream: &TcpStream) -> io::Result<()> {
    stream.set_nonblocking(true)?;
    stream.set_nodelay(true)?;
    SockRef::from(stream).set_keepalive(true)
}

/// The peer left before it was accepted, or nobody is there: the next accept may well succeed.
fn is_passing(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::WouldBlock
            | io::ErrorKind::Interrupted
            | io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionReset
    )
}
