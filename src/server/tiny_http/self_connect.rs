//! Connections to ourselves, to work around two faults of tiny_http.
//!
//! It gives a connection to an idle thread of its pool through a queue. A thread that was woken for one connection counts
//! as idle until it runs, so that in a burst more connections are queued than threads are idle, and the rest of the queue
//! waits for connections that are kept alive. A new thread is only made for a new connection: one of ours, closed at once,
//! makes a thread that empties the queue.
//!
//! Its accept thread ends where accept fails, with an error, and where the new socket cannot be duplicated, without one. A
//! connection of ours that stays unanswered shows it; a new server takes over the listener.

use std::io::{self, Read, Write};
use std::net::{self, IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use socket2::SockRef;

use super::ServerState;
use crate::log;
use crate::net::poll::{self, Ready};
use crate::net::{Socket, connect_blocking};

/// Connections to ourselves at a time.
const CONNECTIONS_PER_ROUND: usize = 4;
/// Between rounds while requests come, and while none do.
const ACTIVE_INTERVAL: Duration = Duration::from_millis(10);
const IDLE_INTERVAL: Duration = Duration::from_millis(100);
/// Between two probes whether the server accepts, and after a server was replaced.
const PROBE_INTERVAL: Duration = Duration::from_secs(1);
/// After this many probes without a response the server counts as dead.
const MAX_UNANSWERED: u32 = 3;
/// A full backlog must not block this thread.
const CONNECT_TIMEOUT: Duration = Duration::from_millis(200);

/// Until the shutdown begins; then closes the listener.
pub(super) fn run(state: &Arc<ServerState>) {
    let (mut probed_at, mut probe, mut unanswered) = (Instant::now(), None, 0);
    while !state.shutdown.is_triggered() {
        let pause = if state.active.swap(false, Ordering::SeqCst) { ACTIVE_INTERVAL } else { IDLE_INTERVAL };
        let _ = poll::wait_one(&*state.shutdown, Ready::READ, Some(Instant::now() + pause));
        for _ in 0..CONNECTIONS_PER_ROUND {
            let _ = connect(state);
        }
        if probed_at.elapsed() < PROBE_INTERVAL {
            continue;
        }
        let is_alive = probe.is_none_or(|mut stream: Socket| matches!(stream.read(&mut [0]), Ok(1)));
        unanswered = if is_alive { 0 } else { unanswered + 1 };
        // Not a request; tiny_http responds to it by itself.
        let send = |mut stream: Socket| stream.write_all(b"\r\n").map(|()| stream);
        (probed_at, probe) = (Instant::now(), connect(state).and_then(send).ok());
        if state.accept_failed.load(Ordering::SeqCst) || unanswered >= MAX_UNANSWERED {
            match state.start_server() {
                Ok(()) => {
                    unanswered = 0;
                    log::warn("the HTTP server had stopped accepting and was replaced", &[]);
                }
                Err(error) => log::warn("the HTTP server cannot be replaced", &[("cause", &error)]),
            }
        }
    }
    // On Linux this ends accept in every server, and connections in the backlog are refused.
    let _ = SockRef::from(&state.listener).shutdown(net::Shutdown::Both);
}

/// A connection that ends with a reset: ports in TIME_WAIT would run out.
fn connect(state: &ServerState) -> io::Result<Socket> {
    let mut address: SocketAddr = state.listener.local_addr()?;
    if address.ip().is_unspecified() {
        address.set_ip(match address {
            SocketAddr::V4(_) => IpAddr::V4(Ipv4Addr::LOCALHOST),
            SocketAddr::V6(_) => IpAddr::V6(Ipv6Addr::LOCALHOST),
        });
    }
    let socket = connect_blocking(&address.into(), CONNECT_TIMEOUT)?;
    socket.set_linger(Some(Duration::ZERO))?;
    socket.set_nonblocking(true)?;
    Ok(socket)
}
