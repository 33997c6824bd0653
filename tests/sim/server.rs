//! A blocking server: one thread accepts, one thread per connection serves request after request.

use std::io;
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, Weak};
use std::thread::JoinHandle;
use std::time::Duration;

use rustix::io::Errno;
use rustix::net::RecvFlags;
use rustls::ServerConfig;
use socket2::{Domain, SockRef, Socket, Type};

use super::conn::{Conn, ConnState};
use super::exchange::{self, Exchange};
use super::record::Log;

/// Serves one request; an error ends the connection.
pub type Handler = dyn Fn(&mut Exchange<'_>) -> io::Result<()> + Send + Sync;

/// A listening server. Dropping it closes the port and every connection.
pub struct Server {
    inner: Arc<Inner>,
    accepting: Mutex<Option<Accepting>>,
}

struct Accepting {
    listener: Arc<TcpListener>,
    thread: JoinHandle<()>,
}

struct Inner {
    address: SocketAddr,
    /// Keeps the port ours during an outage: bound, never listening.
    reservation: Socket,
    tls: Mutex<Option<Arc<ServerConfig>>>,
    handler: Arc<Handler>,
    log: Arc<Log>,
    stopping: AtomicBool,
    silent: AtomicBool,
    accepted: AtomicU64,
    connections: Mutex<Vec<Connection>>,
}

struct Connection {
    /// Weak, because a socket is closed by its last handle.
    tcp: Weak<TcpStream>,
    state: Arc<ConnState>,
}

impl Server {
    /// Listens on this loopback port, 0 for a free one.
    pub fn start(port: u16, tls: Option<Arc<ServerConfig>>, log: Arc<Log>, handler: Arc<Handler>) -> Self {
        Self::start_at(SocketAddr::from(([127, 0, 0, 1], port)), tls, log, handler)
    }

    /// Listens at this address of the machine or of a network namespace.
    pub fn start_at(
        address: SocketAddr,
        tls: Option<Arc<ServerConfig>>,
        log: Arc<Log>,
        handler: Arc<Handler>,
    ) -> Self {
        let reservation = bind(address).expect("an address of this machine");
        let address = reservation.local_addr().unwrap().as_socket().unwrap();
        let listener = listen(address, &reservation).expect("a port to listen on");
        let inner = Arc::new(Inner {
            address,
            reservation,
            tls: Mutex::new(tls),
            handler,
            log,
            stopping: AtomicBool::new(false),
            silent: AtomicBool::new(false),
            accepted: AtomicU64::new(0),
            connections: Mutex::new(Vec::new()),
        });
        let accepting = Mutex::new(Some(accept_in_background(&inner, listener)));
        Self { inner, accepting }
    }

    pub fn port(&self) -> u16 {
        self.inner.address.port()
    }

    pub fn scheme(&self) -> &'static str {
        if self.inner.tls.lock().unwrap().is_some() { "https" } else { "http" }
    }

    /// An outage: the port refuses, every connection is closed.
    pub fn stop(&self) {
        let Some(accepting) = self.accepting.lock().unwrap().take() else { return };
        self.inner.stopping.store(true, Ordering::SeqCst);
        // Closing alone is not enough: a child process that some other test is starting holds a copy of the socket
        // until its exec, and for so long the kernel would accept connections, to reset them later. Also wakes the
        // thread that waits in accept.
        let _ = SockRef::from(&*accepting.listener).shutdown(Shutdown::Both);
        let _ = accepting.thread.join();
        self.close_connections();
    }

    /// Ends an outage: listens again on the same port.
    pub fn restart(&self) {
        let mut accepting = self.accepting.lock().unwrap();
        if accepting.is_none() {
            let listener = listen(self.inner.address, &self.inner.reservation).expect("the same port again");
            self.inner.stopping.store(false, Ordering::SeqCst);
            *accepting = Some(accept_in_background(&self.inner, listener));
        }
    }

    /// While true, new connections are accepted and never get a byte: not even a TLS handshake.
    pub fn set_silent(&self, silent: bool) {
        self.inner.silent.store(silent, Ordering::SeqCst);
    }

    /// Shows another certificate on new connections.
    pub fn set_tls(&self, tls: Arc<ServerConfig>) {
        *self.inner.tls.lock().unwrap() = Some(tls);
    }

    /// Closes every connection, busy or idle, and goes on listening.
    pub fn close_connections(&self) {
        let connections = std::mem::take(&mut *self.inner.connections.lock().unwrap());
        for tcp in connections.into_iter().filter_map(|connection| connection.tcp.upgrade()) {
            let _ = tcp.shutdown(Shutdown::Both);
        }
    }

    /// Resets connections, as a firewall does that has forgotten them: the idle ones, or all. Returns how many.
    pub fn reset_connections(&self, idle_only: bool) -> usize {
        let connections = self.inner.connections.lock().unwrap();
        let mut count = 0;
        for connection in connections.iter() {
            let Some(tcp) = connection.tcp.upgrade() else { continue };
            if idle_only {
                count += usize::from(reset_if_idle(&tcp, &connection.state));
                continue;
            }
            connection.state.reset.store(true, Ordering::SeqCst);
            // Its thread reads an end and closes the socket, and the kernel sends RST then.
            let _ = SockRef::from(&*tcp).set_linger(Some(Duration::ZERO));
            let _ = tcp.shutdown(Shutdown::Read);
            count += 1;
        }
        count
    }

    /// How many connections were accepted since the start.
    pub fn accepted(&self) -> u64 {
        self.inner.accepted.load(Ordering::SeqCst)
    }

    /// How many connections are open now.
    pub fn open(&self) -> usize {
        self.inner.connections.lock().unwrap().iter().filter(|it| it.tcp.strong_count() > 0).count()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop();
    }
}

/// Resets a connection that waits for a request: at once, so that no request can come between the look and the reset.
fn reset_if_idle(tcp: &TcpStream, state: &ConnState) -> bool {
    let unread = rustix::net::recv(tcp, &mut [0u8], RecvFlags::PEEK | RecvFlags::DONTWAIT);
    // In this order: who takes a byte has said before that the connection is not idle.
    let is_idle = matches!(unread, Err(Errno::AGAIN)) && state.idle.load(Ordering::SeqCst);
    is_idle && rustix::net::connect_unspec(tcp).is_ok()
}

/// Listens beside the reservation, which lets nobody else in.
fn listen(address: SocketAddr, reservation: &Socket) -> io::Result<TcpListener> {
    reservation.set_reuse_address(true)?;
    let listener = bind(address)?;
    // std listens with a backlog of 128, less than a load test opens at once.
    listener.listen(4096)?;
    reservation.set_reuse_address(false)?;
    Ok(listener.into())
}

fn bind(address: SocketAddr) -> io::Result<Socket> {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
    socket.set_reuse_address(true)?;
    // Connections inherit it: many clients that read nothing shall not fill this side of the proxy with megabytes each.
    socket.set_tcp_notsent_lowat(64 * 1024)?;
    socket.bind(&address.into())?;
    Ok(socket)
}

fn accept_in_background(inner: &Arc<Inner>, listener: TcpListener) -> Accepting {
    let (inner, listener) = (inner.clone(), Arc::new(listener));
    let accepted = Arc::clone(&listener);
    let thread = std::thread::spawn(move || {
        let listener = accepted;
        for tcp in listener.incoming() {
            if inner.stopping.load(Ordering::SeqCst) {
                return;
            }
            match tcp {
                Ok(tcp) => connection_in_background(&inner, tcp),
                // Out of descriptors, most likely: some will be free again.
                Err(_) => std::thread::sleep(Duration::from_millis(20)),
            }
        }
    });
    Accepting { listener, thread }
}

fn connection_in_background(inner: &Arc<Inner>, tcp: TcpStream) {
    let id = inner.accepted.fetch_add(1, Ordering::SeqCst) + 1;
    let tcp = Arc::new(tcp);
    let mut connections = inner.connections.lock().unwrap();
    connections.retain(|connection| connection.tcp.strong_count() > 0);
    let state = Arc::new(ConnState::default());
    connections.push(Connection { tcp: Arc::downgrade(&tcp), state: state.clone() });
    drop(connections);
    let inner = inner.clone();
    let thread = std::thread::Builder::new().stack_size(512 * 1024);
    // When no thread can be had, the connection is closed, as an overloaded server would.
    let _ = thread.spawn(move || {
        let tls = inner.tls.lock().unwrap().clone();
        let mut conn = Conn::new(tcp, tls.as_ref());
        conn.state = state;
        if inner.silent.load(Ordering::SeqCst) {
            let mut raw = [0; 1024];
            let tcp = conn.take_socket();
            while matches!(io::Read::read(&mut &*tcp, &mut raw), Ok(1..)) {}
            return;
        }
        exchange::serve(&mut conn, id, &inner.log, &*inner.handler);
    });
}
