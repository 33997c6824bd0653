//! One request on our own server: its body, its response, and what happens to the connection afterwards.

use std::io;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::body::Body;
use super::input::{Input, Source as _};
use super::limits::MinRate;
use super::limits::Permit;
use super::response_writer::ResponseWriter;
use super::shutdown::Shutdown;
use super::{Exchange, Head, Length, Limits, Peer};
use crate::fields::{self, Fields};
use crate::net::poll::{self, Ready};
use crate::net::{Received, Socket, Stream};
use http::{StatusCode, Version};

/// What trailers and chunk extensions of a body may take. Clients send hardly any.
const FRAMING_ALLOWANCE: usize = 16 * 1024;
/// What is read of a body that is not used, so that closing does not destroy the response.
const DRAIN_BYTES: u64 = 256 * 1024;
/// How long that may take.
const DRAIN_TIME: Duration = Duration::from_secs(2);

pub(super) struct Http1Exchange<'a> {
    input: &'a mut Input,
    body: Body,
    rate: MinRate,
    response: ResponseWriter,
    /// The client waits for 100 before it sends the body (RFC 9110 section 10.1.1).
    awaits_continue: bool,
    /// The permit for the memory of a large head.
    head_permit: Option<Permit<'a>>,
    peer: &'a Peer,
    shutdown: &'a Shutdown,
}

impl<'a> Http1Exchange<'a> {
    pub(super) fn new(
        head: &Head,
        close: bool,
        head_permit: Option<Permit<'a>>,
        input: &'a mut Input,
        peer: &'a Peer,
        limits: &'a Limits,
        shutdown: &'a Shutdown,
    ) -> Self {
        Self {
            body: Body::new(head.length, FRAMING_ALLOWANCE),
            rate: MinRate::new(limits.body_idle_timeout),
            response: ResponseWriter::new(head, close, limits),
            awaits_continue: head.version == Version::HTTP_11
                && head.length != Length::Empty
                && head.headers.get("expect").is_some_and(|expected| fields::is(expected, "100-continue")),
            head_permit,
            input,
            peer,
            shutdown,
        }
    }

    /// For the response to a request whose head could not be parsed.
    pub(super) fn for_error(
        input: &'a mut Input,
        peer: &'a Peer,
        limits: &'a Limits,
        shutdown: &'a Shutdown,
    ) -> Self {
        Self {
            body: Body::new(Length::Unknown, 0),
            rate: MinRate::new(limits.body_idle_timeout),
            response: ResponseWriter::for_error(limits.write_timeout),
            awaits_continue: false,
            head_permit: None,
            input,
            peer,
            shutdown,
        }
    }

    /// Called after the service has returned; true when the connection can serve another request.
    pub(super) fn finish_request(mut self) -> bool {
        // The client must see a truncated response as such: close without ending it.
        if !self.response.is_finished() {
            return false;
        }
        if self.response.closes() {
            if !self.body.is_complete() || self.more_was_sent() {
                self.linger();
            } else {
                self.input.stream_mut().close_notify();
            }
            return false;
        }
        self.body.is_complete() || self.drain()
    }

    /// The client sent more after its last request, or has closed its sending side. What TLS has read from the socket already
    /// does not matter: closing resets the connection for what was not read.
    fn more_was_sent(&self) -> bool {
        let wanted = [(self.input.stream().socket().as_fd(), Ready::READ)];
        poll::wait(wanted, Some(Instant::now())).is_ok_and(|[socket]| socket.readable())
    }

    /// Reads what little is left of a body, to keep the connection. Its own frame, see the invariants in lib.rs.
    #[inline(never)]
    fn drain(&mut self) -> bool {
        let deadline = Instant::now() + DRAIN_TIME;
        let mut buffer = [0; 4096];
        let mut drained = 0;
        while !self.body.is_complete() {
            match self.body.read(self.input, &mut buffer, deadline) {
                Ok(n) => drained += n as u64,
                Err(_) => return false,
            }
            if drained > DRAIN_BYTES {
                return false;
            }
        }
        true
    }

    /// Closing a socket with unread input resets it, and a reset destroys a response in transit: closes our sending side,
    /// then reads on for a while (RFC 9112 section 9.6).
    pub(super) fn linger(&mut self) {
        let stream = self.input.stream_mut();
        if stream.shutdown_write().is_err() {
            return;
        }
        let deadline = Instant::now() + DRAIN_TIME;
        let mut buffer = [0; 4096];
        let mut drained = 0;
        while drained < DRAIN_BYTES && Instant::now() < deadline {
            match stream.read(&mut buffer, deadline) {
                Ok(0) | Err(_) => return,
                Ok(count) => drained += count as u64,
            }
        }
    }
}

impl Exchange for Http1Exchange<'_> {
    fn read_body(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.send_continue()?;
        let n = self.body.read(self.input, buffer, self.rate.deadline())?;
        self.rate.record(n);
        Ok(n)
    }

    fn send_continue(&mut self) -> io::Result<Option<Instant>> {
        if std::mem::take(&mut self.awaits_continue)
            && self.input.bytes().is_empty()
            && !self.response.has_started()
        {
            self.response.send_continue(self.input.stream_mut())?;
        }
        Ok(Some(self.rate.deadline()))
    }

    fn has_buffered_body(&mut self) -> io::Result<bool> {
        loop {
            if self.body.poll(self.input)? {
                return Ok(true);
            }
            match self.input.fill_buffered()? {
                Received::Bytes(_) => {}
                // The end of the connection: reading the body says so.
                Received::Eof => return Ok(true),
                Received::WouldBlock => return Ok(false),
            }
        }
    }

    fn poll_body(&mut self) -> io::Result<bool> {
        if self.body.poll(self.input)? {
            return Ok(true);
        }
        match self.input.fill(Instant::now()) {
            // The end of the connection: reading the body says so.
            Ok(0) => Ok(true),
            Ok(_) => self.body.poll(self.input),
            Err(error) if error.kind() == io::ErrorKind::TimedOut => Ok(false),
            Err(error) => Err(error),
        }
    }

    fn peer(&self) -> &Peer {
        self.peer
    }

    fn release_head(&mut self) {
        self.head_permit = None;
    }

    fn client(&self) -> Option<Arc<Socket>> {
        Some(self.input.stream().share_socket())
    }

    fn tunnel(&mut self) -> Option<&mut Stream> {
        Some(self.input.rewind())
    }

    fn start(&mut self, status: StatusCode, headers: &Fields, length: Length) {
        // Whether the rest of the body is worth reading to keep the connection is decided now, because the head announces
        // it. A client that still waits for 100 will not send its body after a final response (RFC 9110 section 10.1.1).
        let unread =
            self.body.remaining().is_none_or(|left| left > DRAIN_BYTES || self.awaits_continue && left > 0);
        let late = status == StatusCode::REQUEST_TIMEOUT && !self.body.is_complete();
        if unread || late || self.shutdown.is_triggered() {
            self.response.close_after();
        }
        self.response.start(status, headers, length);
        if self.response.ends_with_connection() {
            // The end of the connection is the end of this body. Until it is complete, every close is a reset, also when
            // the process ends, because an orderly close would look like a complete body. Elsewhere the framing shows that
            // a body was truncated, and what was sent should still be readable.
            let _ = self.input.stream().socket().set_linger(Some(Duration::ZERO));
        }
    }

    fn has_started(&self) -> bool {
        self.response.has_started()
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.response.write(self.input.stream_mut(), bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.response.flush(self.input.stream_mut())
    }

    fn finish(&mut self) -> io::Result<()> {
        let ends_with_connection = self.response.ends_with_connection();
        self.response.finish(self.input.stream_mut())?;
        if ends_with_connection {
            self.input.stream().socket().set_linger(None)?;
        }
        Ok(())
    }
}
