//! Connections to ourselves, against two faults of tiny_http.
//!
//! It gives a connection to an idle thread of its pool, where it sees one, through a queue; a thread that was woken
//! for one connection counts as idle until it runs, so that in a burst more connections are queued than threads are
//! idle. Each thread then stays with its connection until that ends, and the rest of the queue waits behind
//! connections that are kept alive. A new thread is only made for a new connection: one of ours, closed at once,
//! makes a thread that finds the queue. Each rescues one connection, or finds nothing to do.
//!
//! Its accept thread ends with an error where accept fails, and without one where the new socket cannot be
//! duplicated. A connection of ours that stays unanswered shows it; a new server takes over the listener.

use std::collections::HashSet;
use std::io::{self, PipeReader, PipeWriter, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, Shutdown, SocketAddr};
use std::os::fd::AsFd;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use socket2::SockRef;

use super::Shared;
use crate::log;
use crate::net::poll::{self, Ready};
use crate::net::{Socket, connect_blocking};
use crate::server::shutdown::Shutdown;

/// Connections to ourselves at a time.
const ROUND: usize = 4;
/// Between rounds while new clients come, and when none do.
const BUSY: Duration = Duration::from_millis(10);
const CALM: Duration = Duration::from_millis(250);
/// For so long after a new client the next one may be waiting.
const STIR: Duration = Duration::from_millis(500);
/// Between two questions whether anybody accepts, and how long an answer may take.
const ASK: Duration = Duration::from_secs(1);
/// Unanswered questions that make a server deaf.
const DEAF: u32 = 3;
/// After a server could not be replaced, or was replaced just now.
const BACK_OFF: Duration = Duration::from_secs(1);
/// Clients remembered; forgetting them costs a few connections to ourselves.
const REMEMBER: usize = 4096;
/// A full backlog must not hold us up.
const CONNECT: Duration = Duration::from_millis(200);

/// When to wake whom.
#[derive(Debug)]
pub(super) struct Wake {
    address: SocketAddr,
    known: Mutex<Known>,
    /// Said when the first new client comes after a calm.
    stirred: PipeWriter,
    hear: PipeReader,
}

#[derive(Debug)]
struct Known {
    peers: HashSet<SocketAddr>,
    newest: Option<Instant>,
}

impl Wake {
    /// For a server that listens on `address`.
    ///
    /// # Errors
    ///
    /// No descriptors are left.
    pub(super) fn new(mut address: SocketAddr) -> io::Result<Self> {
        if address.ip().is_unspecified() {
            address.set_ip(match address {
                SocketAddr::V4(_) => IpAddr::V4(Ipv4Addr::LOCALHOST),
                SocketAddr::V6(_) => IpAddr::V6(Ipv6Addr::LOCALHOST),
            });
        }
        let (hear, stirred) = io::pipe()?;
        let known = Mutex::new(Known { peers: HashSet::new(), newest: None });
        Ok(Self { address, known, stirred, hear })
    }

    /// A request came from this client.
    pub(super) fn saw(&self, peer: SocketAddr) {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if known.peers.len() >= REMEMBER {
            known.peers.clear();
        }
        if known.peers.insert(peer) {
            let calm = known.newest.replace(Instant::now()).is_none();
            if calm {
                let _ = (&self.stirred).write(&[0]);
            }
        }
    }

    /// Waits for the next round, for as long as none is due.
    fn rest(&self, stop: &Shutdown) {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.newest.take_if(|newest| newest.elapsed() > STIR);
        let pause = if known.newest.is_some() { BUSY } else { CALM };
        drop(known);
        let wanted = [(stop.as_fd(), Ready::READ), (self.hear.as_fd(), Ready::READ)];
        if let Ok([_, stirred]) = poll::wait(wanted, Some(Instant::now() + pause))
            && stirred.any()
        {
            let _ = (&self.hear).read(&mut [0]);
        }
    }

    /// Connects and leaves with a reset: ports in TIME_WAIT would run out.
    fn knock(&self) {
        if let Ok(socket) = connect_blocking(self.address, CONNECT) {
            let _ = socket.set_linger(Some(Duration::ZERO));
        }
    }

    /// Sends what is no request; tiny_http answers it by itself. None when we cannot even ask.
    fn ask(&self) -> Option<Socket> {
        let mut stream = connect_blocking(self.address, CONNECT).ok()?;
        stream.set_nonblocking(true).ok()?;
        stream.set_linger(Some(Duration::ZERO)).ok()?;
        stream.write_all(b"\r\n").ok()?;
        Some(stream)
    }
}

/// Until the stop is said; then closes the listener.
pub(super) fn run(shared: &Arc<Shared>) {
    let wake = &shared.wake;
    let (mut asked, mut question, mut unanswered) = (Instant::now(), None, 0);
    let mut not_before = Instant::now();
    while !shared.stop.is_triggered() {
        wake.rest(&shared.stop);
        for _ in 0..ROUND {
            wake.knock();
        }
        if asked.elapsed() >= ASK {
            if let Some(stream) = question.take() {
                unanswered = if answered(&stream) { 0 } else { unanswered + 1 };
            }
            (asked, question) = (Instant::now(), wake.ask());
        }
        let deaf = shared.deaf.load(Ordering::SeqCst) || unanswered >= DEAF;
        if deaf && Instant::now() >= not_before {
            not_before = Instant::now() + BACK_OFF;
            match shared.start_server() {
                Ok(()) => {
                    unanswered = 0;
                    log::warn("the HTTP server had stopped accepting and was replaced", &[]);
                }
                Err(error) => log::warn("the HTTP server cannot be replaced", &[("cause", &error)]),
            }
        }
    }
    // On Linux this ends accept in every server, and connections in the backlog are refused.
    let _ = SockRef::from(&shared.listener).shutdown(Shutdown::Both);
}

fn answered(mut stream: &Socket) -> bool {
    matches!(stream.read(&mut [0]), Ok(1))
}
