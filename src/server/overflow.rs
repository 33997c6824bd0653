//! Connections beyond a limit. One thread serves all of them, so that an overload costs no more than that, and a health
//! probe gets its response however many others arrive.
//!
//! ```text
//! reading the head --known, or malformed--> response sent, reading on so that it survives --> closed
//!        |                                        ^                     (2 s, or the client closes)
//!        '-- 2 s passed, or room is needed: 503 --'
//! ```

use std::collections::VecDeque;
use std::io::{self, PipeReader, PipeWriter, Read, Write};
use std::os::fd::AsFd;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::{Duration, Instant};

use super::error_response::{ErrorResponse, Overload};
use super::exchange::Http1Exchange;
use super::input::Input;
use super::shutdown::Shutdown;
use super::{Head, Limits, Peer, Service};
use crate::http1::head::{self, FaultKind, Scan};
use crate::net::poll::{self, Ready};
use crate::net::{Received, Socket, Stream, TlsAcceptor};

/// How long one of these connections may take to send its request, and then to read the response.
const TIMEOUT: Duration = Duration::from_secs(2);
/// A head longer than this is not worth reading here.
const MAX_HEAD: usize = 16 * 1024;

/// Deep enough for a TLS handshake in a debug build.
const STACK_BYTES: usize = 512 * 1024;

/// Connections in the channel. Few, because each holds a descriptor that counts against the limit.
const MAX_ARRIVALS: usize = 8;
/// Connections accepted from the queue at a time, at least as many as the bytes that woke the thread.
const MAX_BATCH: usize = 64;

/// The accept thread's end of the channel.
pub(super) struct Overflow {
    arrivals: SyncSender<(Arc<Socket>, Peer, Overload)>,
    wake: PipeWriter,
}

impl Overflow {
    /// Starts the thread. It ends when this is dropped and every connection has its response and had time to read it; then
    /// `ended` is dropped, too.
    ///
    /// # Errors
    ///
    /// There is no thread or descriptor for it.
    pub(super) fn start(
        service: Arc<dyn Service>,
        limits: Arc<Limits>,
        tls: Option<Arc<TlsAcceptor>>,
        shutdown: Arc<Shutdown>,
        ended: SyncSender<()>,
    ) -> io::Result<Self> {
        let (woken, wake) = io::pipe()?;
        // One thread serves all, so that it must not wait. A response of this size fits into an empty send buffer.
        let limits = Limits { write_timeout: Duration::ZERO, ..(*limits).clone() };
        let (sender, arrivals) = sync_channel(MAX_ARRIVALS);
        let queue =
            OverloadQueue { arrivals, woken, service, limits, tls, shutdown, connections: VecDeque::new() };
        let thread = std::thread::Builder::new().name("overflow".into()).stack_size(STACK_BYTES);
        thread.spawn(move || {
            queue.run();
            drop(ended);
        })?;
        Ok(Self { arrivals: sender, wake })
    }

    /// Passes a connection on, with the limit that it exceeds.
    pub(super) fn admit(&self, socket: Arc<Socket>, peer: Peer, by: Overload) {
        let _ = self.arrivals.send((socket, peer, by));
        let _ = (&self.wake).write(&[0]);
    }
}

struct OverloadQueue {
    arrivals: Receiver<(Arc<Socket>, Peer, Overload)>,
    woken: PipeReader,
    service: Arc<dyn Service>,
    limits: Limits,
    tls: Option<Arc<TlsAcceptor>>,
    shutdown: Arc<Shutdown>,
    /// The oldest first.
    connections: VecDeque<Rejected>,
}

struct Rejected {
    input: Input,
    peer: Peer,
    scan: Scan,
    by: Overload,
    deadline: Instant,
    /// Its response was sent, and it is given time to read it.
    has_response: bool,
}

impl OverloadQueue {
    fn run(mut self) {
        // A panic costs the connections held now; others will come.
        while catch_unwind(AssertUnwindSafe(|| self.poll_once(true))).unwrap_or(true) {}
        self.accept_pending();
        // No further connections arrive. Those held now get a response and the time to read it.
        while !self.connections.is_empty() {
            let _ = catch_unwind(AssertUnwindSafe(|| self.poll_once(false)));
        }
    }

    /// Waits for an event and handles it. False when the server has ended.
    fn poll_once(&mut self, is_open: bool) -> bool {
        let deadline = self.connections.iter().map(|connection| connection.deadline).min();
        let mut wanted = vec![(self.woken.as_fd(), if is_open { Ready::READ } else { Ready::NOTHING })];
        wanted.extend(
            self.connections
                .iter()
                .map(|connection| (connection.input.stream().socket().as_fd(), Ready::READ)),
        );
        let Ok(found) = poll::wait_many(&wanted, deadline) else {
            // Out of memory: close them all.
            self.connections.clear();
            return true;
        };
        if is_open && found[0].any() && !matches!((&self.woken).read(&mut [0; MAX_BATCH]), Ok(1..)) {
            return false;
        }
        let now = Instant::now();
        let connections = std::mem::take(&mut self.connections);
        for (mut connection, found) in connections.into_iter().zip(&found[1..]) {
            let stays = (!found.any() || self.process(&mut connection)) && now < connection.deadline;
            if stays || self.refuse(&mut connection) {
                self.connections.push_back(connection);
            }
        }
        self.accept_pending();
        true
    }

    fn accept_pending(&mut self) {
        let arrivals: Vec<_> = self.arrivals.try_iter().take(MAX_BATCH).collect();
        for (socket, peer, by) in arrivals {
            if self.connections.len() >= self.limits.overflow.max(1) {
                // Prefer one that has its response: it had a chance to read it.
                let oldest =
                    self.connections.iter().position(|connection| connection.has_response).unwrap_or(0);
                self.connections.remove(oldest).into_iter().for_each(|connection| self.evict(connection));
            }
            let deadline = Instant::now() + TIMEOUT;
            // The handshake, if there is one, is driven by what is received, like everything here: nothing waits for it.
            let stream = match &self.tls {
                None => Ok(Stream::from(socket)),
                Some(tls) => tls.accept(socket),
            };
            let Ok(stream) = stream else { continue };
            let (input, scan) = (Input::new(stream), Scan::default());
            let mut connection = Rejected { input, peer, scan, by, deadline, has_response: false };
            // Most arrive with their request, and many others may follow at once.
            if self.process(&mut connection) || self.refuse(&mut connection) {
                self.connections.push_back(connection);
            }
        }
    }

    /// Closes this connection to make room for another: by now its request may have been received.
    fn evict(&self, mut connection: Rejected) {
        if !connection.has_response {
            self.process(&mut connection);
        }
        self.refuse(&mut connection);
    }

    /// Reads what was received, and responds once the request is known. False when the connection is over.
    fn process(&self, connection: &mut Rejected) -> bool {
        if connection.has_response {
            // The rest is read and discarded, because closing with unread input would reset the connection and destroy the
            // response.
            let received = connection.input.stream_mut().receive(&mut [0; 4096]);
            return matches!(received, Ok(Received::Bytes(_) | Received::WouldBlock));
        }
        loop {
            match connection.input.fill(Instant::now()) {
                Ok(1..) => {}
                Err(error) if error.kind() == io::ErrorKind::TimedOut => return true,
                Ok(0) | Err(_) => {
                    connection.has_response = true;
                    return false;
                }
            }
            if connection.input.stream().is_plain_http() {
                return self.respond(connection, &ErrorResponse::tls_required());
            }
            while connection.input.bytes().starts_with(b"\r\n") {
                connection.input.consume(2);
            }
            match head::read_request(connection.input.bytes(), &mut connection.scan, MAX_HEAD) {
                // poll(2) does not know of what TLS has received with it.
                Ok(None) if connection.input.stream_mut().has_buffered() => {}
                Ok(None) => return true,
                Ok(Some((head, length))) => {
                    connection.input.consume(length);
                    return self.reject(connection, head);
                }
                // A head that is too long for this thread may be legal on a thread of its own, so that 431 would be wrong.
                Err(fault)
                    if fault.kind == FaultKind::FieldsTooLarge || fault.kind == FaultKind::UriTooLong =>
                {
                    return false;
                }
                Err(fault) => return self.respond(connection, &fault.into()),
            }
        }
    }

    /// Lets the service respond to a request.
    fn reject(&self, connection: &mut Rejected, head: Head) -> bool {
        connection.peer.certificate_name = connection.input.stream().certificate_name();
        let Rejected { input, peer, by, .. } = connection;
        let mut exchange = Http1Exchange::new(&head, true, None, input, peer, &self.limits, &self.shutdown);
        self.service.reject_overloaded(head, *by, &mut exchange);
        drop(exchange);
        self.mark_responded(connection)
    }

    /// Responds to what is no request, or not known to be one.
    fn respond(&self, connection: &mut Rejected, response: &ErrorResponse) -> bool {
        self.service.refused(response, &connection.peer);
        response.send(&mut Http1Exchange::for_error(
            &mut connection.input,
            &connection.peer,
            &self.limits,
            &self.shutdown,
        ));
        self.mark_responded(connection)
    }

    /// Gives the client time to read what it was sent. False when it is gone already.
    fn mark_responded(&self, connection: &mut Rejected) -> bool {
        connection.has_response = true;
        connection.deadline = Instant::now() + TIMEOUT;
        connection.input.stream_mut().shutdown_write().is_ok()
    }

    /// Responds 503 to one whose request is not known; not to one that has its response. False when the connection is over.
    fn refuse(&self, connection: &mut Rejected) -> bool {
        if connection.has_response {
            return false;
        }
        self.respond(connection, &ErrorResponse::overloaded(connection.by))
    }
}
